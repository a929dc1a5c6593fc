"""What the agent of an ATIF trajectory used: by step, as far as it tells, and as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.export.atif_schema import FinalMetrics, Trajectory
from atlas.export.atif_talk import Own, own_turns
from atlas.records import Spend, Usage, by_actor, total


def step_spend(own: Own, actor: str) -> tuple[Spend, ...]:
    """What a turn used; tokens and dollars that it does not tell are unknown, and a program's own step used none."""
    metrics, calls = own.turn.metrics, own.turn.llm_call_count
    if calls == 0 and metrics is None:
        return ()
    count = 1 if calls is None else calls
    if metrics is None:
        usage = Usage(calls=count, dollars=None, unmetered=count)
    else:
        usage = Usage(
            calls=count,
            prompt_tokens=metrics.prompt_tokens or 0,
            cached_tokens=metrics.cached_tokens or 0,
            completion_tokens=metrics.completion_tokens or 0,
            dollars=metrics.cost_usd,
            unmetered=count if metrics.prompt_tokens is None or metrics.completion_tokens is None else 0,
        )
    agent = own.document.agent
    return (Spend(actor=actor, model=own.turn.model_name or agent.model_name or agent.name, usage=usage),)


def episode_spend(documents: Sequence[Trajectory], turns: Sequence[Own], actor: str) -> tuple[Spend, ...]:
    """What the whole run used: the trajectory's totals where it tells them, and never less than its steps tell.

    What only the totals tell is the agent's own model's.
    """
    spends = [spend for own in turns for spend in step_spend(own, actor)]
    steps = total(spends)
    dollars = sum(spend.usage.dollars or 0.0 for spend in spends)
    prompt = _more(documents, "total_prompt_tokens", steps.prompt_tokens)
    completion = _more(documents, "total_completion_tokens", steps.completion_tokens)
    cached = _more(documents, "total_cached_tokens", steps.cached_tokens)
    cost = _more(documents, "total_cost_usd", dollars)
    if steps.dollars is not None and not steps.unmetered:
        # The totals may hold what subagents used, who have episodes of their own.
        parts = [_used(part) for document in documents for part in document.subagent_trajectories or ()]
        inner = total(Spend(actor=actor, model="", usage=usage) for usage in parts)
        if (prompt or 0) >= inner.prompt_tokens and (completion or 0) >= inner.completion_tokens:
            prompt, completion = (prompt or 0) - inner.prompt_tokens, (completion or 0) - inner.completion_tokens
            cached = max(0, (cached or 0) - inner.cached_tokens)
            cost = max(0.0, (cost or 0.0) - (inner.dollars or 0.0))
    metered = prompt is not None and completion is not None
    known = [_known(spend, dollars=cost is not None, tokens=metered) for spend in spends]
    rest = Usage(
        prompt_tokens=int(prompt or 0),
        completion_tokens=int(completion or 0),
        cached_tokens=int(cached or 0),
        dollars=cost or 0.0,
    )
    if rest == Usage():
        return by_actor(known)
    agent = documents[0].agent
    return by_actor([*known, Spend(actor=actor, model=agent.model_name or agent.name, usage=rest)])


def _more(documents: Sequence[Trajectory], field: str, steps: float) -> float | None:
    """How much more the totals tell than the steps; None where they tell nothing."""
    totals = [getattr(document.final_metrics or FinalMetrics(), field) for document in documents]
    told: list[float] = [number for number in totals if number is not None]
    if not told:
        return None
    # The last of several documents of a run may tell the sum of all, or each its own.
    all_of_it = told[-1] if told[-1] >= max(max(told), steps) else sum(told)
    return max(0, all_of_it - steps)


def _known(spend: Spend, *, dollars: bool, tokens: bool) -> Spend:
    """``spend`` without what is unknown of it, where the totals make up for that."""
    usage = spend.usage
    update = {"dollars": usage.dollars or 0.0} if dollars else {}
    return spend.model_copy(
        update={"usage": usage.model_copy(update={**update, **({"unmetered": 0} if tokens else {})})}
    )


def _used(part: Trajectory) -> Usage:
    """What an embedded subagent used, and those embedded in it."""
    inner = [_used(other) for other in part.subagent_trajectories or ()]
    own = episode_spend([part], own_turns([part]), "")
    return total([*own, *(Spend(actor="", model="", usage=usage) for usage in inner)])
