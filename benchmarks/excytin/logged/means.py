"""Mean rewards of a run by model and incident, beside what was published for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean

from atlas.benchmarks.excytin.logged.published import MEANS, QUESTIONS, ROUNDING, TOTALS, mean_over
from atlas.records import Episode, Record, total
from atlas.stats import Interval, bounded_mean, wilson

_INCIDENT = re.compile(r"incident_(\d+)/")


class MeanRow(Record):
    """One model on one incident, or on all of them (``incident`` None)."""

    model: str
    incident: int | None
    questions: int
    """Scored ones; a question with several trials counts once, at their mean."""
    of: int | None
    """As many as the benchmark has there; None for an incident that it does not have."""
    reward: Interval
    """Mean, with a bootstrap interval over questions."""
    right: Interval
    """Share with the full reward, 1."""
    credited: Interval
    """Share with a reward of at least 0.4, which the ATLAS paper counts as success."""
    steps: float
    dollars: float | None
    """Per question, over ``priced`` of them; None where no tokens were logged."""
    priced: int
    published: float | None
    compared: str
    """``equal``, ``differs``, or why it cannot be compared."""


def mean_rows(episodes: Sequence[Episode]) -> list[MeanRow]:
    """By model, its incidents in order and then all of them together."""
    rows = []
    for model in dict.fromkeys(e.arm for e in episodes):
        by_incident: dict[int, list[Episode]] = {}
        for e in episodes:
            found = _INCIDENT.match(e.task.id)
            if e.arm == model and e.score is not None and found:
                by_incident.setdefault(int(found[1]), []).append(e)
        for incident, group in sorted(by_incident.items()):
            rows.append(_row(model, incident, group))
        if by_incident:
            rows.append(_row(model, None, [e for group in by_incident.values() for e in group], sorted(by_incident)))
    return rows


def _row(model: str, incident: int | None, group: Sequence[Episode], incidents: list[int] | None = None) -> MeanRow:
    trials: dict[str, list[float]] = {}
    for e in group:
        trials.setdefault(e.task.id, []).append(e.score or 0.0)
    rewards = [fmean(scores) for scores in trials.values()]
    reward = bounded_mean(rewards)
    costs = [cost for e in group if (cost := total(e.spend).dollars) is not None]
    if incident is None:
        of: int | None = sum(QUESTIONS.values())
        published = TOTALS.get(model)
        compared = _total_compared(model, incidents or [], reward, len(rewards))
    else:
        of = QUESTIONS.get(incident)
        published = MEANS.get(model, {}).get(incident)
        compared = _compared(reward.mean, published, len(rewards), of)
    return MeanRow(
        model=model,
        incident=incident,
        questions=len(rewards),
        of=of,
        reward=reward,
        right=wilson(sum(r >= 1 for r in rewards), len(rewards)),
        credited=wilson(sum(r >= 0.4 for r in rewards), len(rewards)),
        steps=fmean(e.steps for e in group),
        dollars=fmean(costs) if costs else None,
        priced=len(costs),
        published=published,
        compared=compared,
    )


def _compared(mean: float, published: float | None, n: int, of: int | None) -> str:
    if published is None or of is None:
        return "nothing published"
    if n == of:
        return "equal" if abs(mean - published) <= ROUNDING + 1e-9 else "differs"
    if n > of:
        return f"{n - of} questions more than the benchmark has"
    # A question that is missing was worth something from 0 to 1.
    low, high = mean * n / of, (mean * n + of - n) / of
    fits = low - ROUNDING <= published <= high + ROUNDING
    missing = f"{of - n} question{'s' if of - n > 1 else ''} missing in the file"
    return f"{missing}: {low:.3f} to {high:.3f} if it were whole, {'fits' if fits else 'differs'}"


def _total_compared(model: str, incidents: list[int], reward: Interval, n: int) -> str:
    missing = [i for i in QUESTIONS if i not in incidents]
    if not missing:
        return _compared(reward.mean, TOTALS.get(model), n, sum(QUESTIONS.values()))
    same = mean_over(model, incidents)
    if same is None:
        return "nothing published"
    told = f"published for these incidents: {same:.3f}"
    lacking = sum(QUESTIONS[i] for i in incidents) - n
    if lacking > 0:
        told += f" ({lacking} question{'s' if lacking > 1 else ''} missing in the files)"
    return f"{told}; no files of {', '.join(map(str, missing))}"
