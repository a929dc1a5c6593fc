"""A finished episode as the formats of whole trajectories see it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from atlas.export.rows import Row, asks_for_lines
from atlas.records import Episode, Message, Step


@dataclass(frozen=True)
class Whole:
    """An episode, its steps and the rows made of them, in order. It has at least one step."""

    run: str
    result: Episode
    steps: Sequence[Step]
    rows: Sequence[Row]
    without: Collection[str] = ()

    def began(self, index: int) -> float:
        """Unix time at which step number ``index`` began, as far as the steps' durations tell."""
        return self.result.started + sum(step.seconds for step in self.steps[:index])

    def shown_after(self, index: int) -> list[Message] | None:
        """The messages that came between the reply of a step and the next one; None where the trace does not tell.

        The last step's are never told; nor are they where the agent began another conversation or cut this one.
        """
        return shown_between(self.steps[index], self.steps[index + 1]) if index + 1 < len(self.steps) else None

    def results(self, index: int) -> dict[str, str]:
        """Tool call id -> what it returned, as far as the trace tells."""
        return results_of(self.steps[index], self.shown_after(index))

    def user_messages(self, index: int) -> list[Message]:
        """What a user said between the reply of a step and the next one; an environment's answer is none of that."""
        if asks_for_lines(self.steps[index].decision.prompt):
            return []
        return [m for m in self.shown_after(index) or () if m.role in ("user", "system")]


def shown_between(step: Step, following: Step) -> list[Message] | None:
    """The messages between the reply of ``step`` and ``following``; None where that was another conversation."""
    before, after = step.decision.prompt.history, following.decision.prompt.history
    if after[: len(before)] != before or len(after) <= len(before) or after[len(before)].role != "assistant":
        return None
    return list(after[len(before) + 1 :])


def results_of(step: Step, shown: Sequence[Message] | None) -> dict[str, str]:
    """Tool call id -> what it returned, as far as is told by the messages ``shown`` after ``step``, None if unknown."""
    calls = step.decision.tool_calls
    if shown is not None:
        known = {call.id for call in calls}
        return {m.tool_call_id: m.content for m in shown if m.tool_call_id is not None and m.tool_call_id in known}
    return {calls[0].id: step.outcome.text} if len(calls) == 1 and step.outcome.text else {}


def timestamp(seconds: float) -> str:
    """Unix time in ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
