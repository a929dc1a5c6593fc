"""Preference pairs from what a cascade knows: at one state, what the student proposed and what the teacher did."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from atlas.actions import TextActions
from atlas.export.rows import Row, asks_for_lines
from atlas.records import STUDENT, Message, Reply, Task, ToolCall, View, Vote, reply_text

_CALL = re.compile(r"([^\s()]+)\((\{.*\})\)")
_ANY = View(task=Task(id="", goal=""), opening="")


def rejected(row: Row) -> Iterator[tuple[str, Message]]:
    """What the student proposed instead of the teacher's action: (canonical action, reply), each action once.

    Nothing where the teacher did not act after the student was asked, or the student agrees with it. Votes without an
    action, and those of models that may not be trained on, are left out.
    """
    if not row.escalated:
        return
    chosen = canonical_action(row)
    seen = {chosen}
    for vote in row.votes:
        if (
            vote.actor == STUDENT
            and vote.action is not None
            and vote.action not in seen
            and vote.model in row.permitted
        ):
            seen.add(vote.action)
            yield vote.action, reply_of(vote, row)


def canonical_action(row: Row) -> str:
    """The action taken, in the form in which votes are compared; as written where no vote tells."""
    own = [v.action for v in row.votes if v.actor == row.actor and v.action is not None]
    return own[0] if own else row.action


def reply_of(vote: Vote, row: Row) -> Message:
    """The reply behind a vote: as text in the form that the prompt asks for, or as the tool calls it stood for."""
    if calls := _calls(vote, row):
        return Message(role="assistant", content=vote.text, tool_calls=calls)
    if asks_for_lines(row.prompt):
        parsed = TextActions().parse(Reply(text=vote.text), _ANY)
        return Message(role="assistant", content=reply_text(parsed.action or vote.action or "", parsed.thought))
    return Message(role="assistant", content=vote.text or vote.action or "")


def _calls(vote: Vote, row: Row) -> tuple[ToolCall, ...]:
    """The tool calls that a vote's canonical action spells: a line each, ``name({...})``.

    A vote keeps no calls of its own; its canonical action holds all of them but their ids, which are made here.
    """
    offered = {str(tool.get("function", tool).get("name")) for tool in row.prompt.tools}
    if not offered or not vote.action:
        return ()
    calls = []
    for i, line in enumerate(vote.action.split("\n")):
        match = _CALL.fullmatch(line)
        if match is None or match[1] not in offered or not _is_object(match[2]):
            return ()
        calls.append(ToolCall(id=f"call_{i}", name=match[1], arguments=match[2]))
    return tuple(calls)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
