"""Episodes as ATIF trajectories, and the messages that a trajectory's turns stand for.

All that the format has no field for is kept under ``extra.atlas``, so that :mod:`atlas.export.atif_read` gives the
episode back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import atlas
from atlas.export.atif_schema import VERSION as VERSION
from atlas.export.atif_schema import Agent, Call, FinalMetrics, Metrics, Observed, Result, Trajectory, Turn, text_of
from atlas.export.rows import DISPATCHED, PARTS, asks_for_lines, completion_of, stripped
from atlas.export.whole import Whole, timestamp
from atlas.records import Message, ToolCall, Usage, total

OWN = "atlas"
"""The key under ``extra`` for what is ours."""


def trajectory(whole: Whole) -> dict[str, Any]:
    """The trajectory of an episode, as JSON values."""
    result = whole.result
    first = whole.steps[0].decision.prompt
    turns: list[Turn] = []

    def add(**fields: Any) -> None:
        turns.append(Turn(step_id=len(turns) + 1, **fields))

    if first.stable:
        add(source="system", message=first.stable)
    for message in first.history:
        _context(add, message)
    for index in range(len(whole.steps)):
        add(**_agent(whole, index, turns))
        for message in whole.user_messages(index):
            add(source="user" if message.role == "user" else "system", message=message.content)
    usage = total(result.spend)
    document = Trajectory(
        schema_version=VERSION,
        session_id=whole.run,
        trajectory_id=result.id,
        agent=Agent(
            name="atlas",
            version=atlas.__version__,
            tool_definitions=first.tools or None,
            extra={"arm": result.arm, "config": result.config},
        ),
        steps=tuple(turns),
        final_metrics=FinalMetrics(
            total_prompt_tokens=usage.told(usage.prompt_tokens),
            total_completion_tokens=usage.told(usage.completion_tokens),
            total_cached_tokens=usage.told(usage.cached_tokens),
            total_cost_usd=usage.dollars,
            total_steps=len(turns),
        ),
        extra={OWN: {"episode": result.model_dump(mode="json", exclude_defaults=True)}},
    )
    return document.model_dump(mode="json", exclude_none=True)


def _context(add: Any, message: Message) -> None:
    """A message that was there before the first step; an assistant's is an example or an earlier talk."""
    if message.role == "assistant":
        add(source="agent", message=message.content, tool_calls=_calls(message.tool_calls), is_copied_context=True)
    elif message.role == "tool":
        add(source="user", message=message.content, extra={OWN: {"tool_call_id": message.tool_call_id}})
    else:
        add(source=message.role, message=message.content)


def _agent(whole: Whole, index: int, before: Sequence[Turn]) -> dict[str, Any]:
    step = whole.steps[index]
    completion = completion_of(step)
    prompt = stripped(step.decision.prompt, whole.without)
    own: dict[str, Any] = {
        "step": step.model_dump(mode="json", exclude={"decision": {"prompt"}}, exclude_defaults=True),
        "prompt": {field: text for field in PARTS.values() if (text := getattr(prompt, field))},
    }
    # Where the conversation went on as told nothing more is needed; else (another attempt, a cut history) all of it.
    if tuple(conversation(before)) != prompt.history:
        own["history"] = [m.model_dump(exclude_defaults=True) for m in prompt.history]
    if prompt.stable != stable_of(before):
        own["stable"] = prompt.stable
    if prompt.tools != whole.steps[0].decision.prompt.tools:
        own["tools"] = list(prompt.tools)
    usage = total(step.spend)
    dispatched = step.decision.reason == DISPATCHED
    return {
        "source": "agent",
        "timestamp": timestamp(whole.began(index)) if whole.result.started else None,
        "model_name": None if dispatched else whole.rows[index].model or None,
        "message": completion.content,
        "reasoning_content": step.decision.thought or None,
        "tool_calls": _calls(completion.tool_calls),
        "observation": _observed(whole, index),
        "metrics": _metrics(usage) if step.spend else None,
        "llm_call_count": 0 if dispatched and not step.spend else usage.calls or None,
        "extra": {OWN: own},
    }


def _metrics(usage: Usage) -> Metrics:
    return Metrics(
        prompt_tokens=usage.told(usage.prompt_tokens),
        completion_tokens=usage.told(usage.completion_tokens),
        cached_tokens=usage.told(usage.cached_tokens),
        cost_usd=usage.dollars,
    )


def _observed(whole: Whole, index: int) -> Observed | None:
    step = whole.steps[index]
    if results := whole.results(index):
        return Observed(results=tuple(Result(source_call_id=call, content=text) for call, text in results.items()))
    told = asks_for_lines(step.decision.prompt) or not whole.user_messages(index)
    if step.outcome.text and told:
        return Observed(results=(Result(content=step.outcome.text),))
    return None


def _calls(calls: tuple[ToolCall, ...]) -> tuple[Call, ...] | None:
    found = []
    for call in calls:
        arguments = _object(call.arguments)
        same = arguments is not None and json.dumps(arguments, ensure_ascii=False) == call.arguments
        found.append(
            Call(
                tool_call_id=call.id,
                function_name=call.name,
                arguments=arguments or {},
                extra=None if same else {OWN: call.arguments},
            )
        )
    return tuple(found) or None


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


# --- back -------------------------------------------------------------------------------------------------------------


def stable_of(turns: Sequence[Turn]) -> str:
    """The system message that a trajectory begins with; empty where it begins with another."""
    return text_of(turns[0].message) if turns and turns[0].source == "system" else ""


def conversation(turns: Sequence[Turn]) -> list[Message]:
    """The messages that turns stand for, without the system message that comes first."""
    found: list[Message] = []
    for i, turn in enumerate(turns):
        if i or turn.source != "system":
            found.extend(messages_of(turn))
    return found


def messages_of(turn: Turn) -> list[Message]:
    """The messages that one turn stands for: what was said, and what came back."""
    text = text_of(turn.message)
    if turn.source != "agent":
        own = (turn.extra or {}).get(OWN)
        call = own.get("tool_call_id") if isinstance(own, dict) else None
        return [
            Message(role="tool", content=text, tool_call_id=str(call))
            if call
            else Message(role=turn.source, content=text)
        ]
    results = turn.observation.results if turn.observation else ()
    return [
        Message(role="assistant", content=text, tool_calls=tool_calls_of(turn)),
        *(
            Message(role="user", content=text_of(r.content))
            if r.source_call_id is None
            else Message(role="tool", content=text_of(r.content), tool_call_id=r.source_call_id)
            for r in results
        ),
    ]


def tool_calls_of(turn: Turn) -> tuple[ToolCall, ...]:
    """The tool calls of a turn, their arguments as they were written where the trajectory tells."""
    return tuple(
        ToolCall(id=call.tool_call_id, name=call.function_name, arguments=_written(call))
        for call in turn.tool_calls or ()
    )


def _written(call: Call) -> str:
    raw = (call.extra or {}).get(OWN)
    return raw if isinstance(raw, str) else json.dumps(call.arguments, ensure_ascii=False)
