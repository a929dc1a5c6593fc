"""Preference pairs from what a cascade knows: at one state, what the student proposed and what the teacher did."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from atlas.actions import TextActions
from atlas.export.rows import Row, asks_for_lines
from atlas.meaning import answer_key, call_key, normalise, schemas_of, written_key
from atlas.records import STUDENT, TEACHER, Message, Record, Reply, Task, ToolCall, View, Vote, reply_text

_CALL = re.compile(r"([^\s()]+)\((\{.*\})\)")
_ANY = View(task=Task(id="", goal=""), opening="")


class Pair(Record):
    """Two replies at one state, the better one first."""

    chosen: Message
    rejected: Message
    key: str
    """Both actions, in canonical form."""


def pairs(row: Row) -> Iterator[Pair]:
    """What the teacher did against each other action that the student's votes named; each action once.

    Where the student acted and the teacher was asked as well (an audited step), what the teacher would have done
    against what the student did. Nothing where both agree, where one of them was not asked, or where one of them may
    not be trained on. Votes without an action are left out.
    """
    if row.escalated:
        best, chosen = canonical_action(row), row.completion if row.trainable else None
    else:
        best, chosen = _audited(row)
    if chosen is None:
        return
    taken = canonical_action(row)
    seen = {best}
    for vote in row.votes:
        if vote.actor != STUDENT or vote.action is None or vote.action in seen or vote.model not in row.permitted:
            continue
        seen.add(vote.action)
        if row.escalated:
            yield Pair(chosen=chosen, rejected=reply_of(vote, row), key=f"{best}\n{vote.action}")
        elif vote.action == taken:
            yield Pair(chosen=chosen, rejected=row.completion, key=f"{best}\n{taken}")


def _audited(row: Row) -> tuple[str, Message | None]:
    """The teacher's vote where the student acted: its action, and the reply; None where it gave none."""
    if row.actor != STUDENT:
        return "", None
    for vote in row.votes:
        if vote.actor == TEACHER and vote.action is not None and vote.model in row.permitted:
            return vote.action, reply_of(vote, row)
    return "", None


def canonical_action(row: Row) -> str:
    """The action taken, in the form in which votes are compared; as written where no vote tells."""
    own = [v.action for v in row.votes if v.actor == row.actor and v.action is not None]
    schemas = schemas_of(row.prompt.tools)
    calls = sorted(_call_key(line, schemas) for line in row.action.split("\n"))
    spelt = (normalise(row.action), written_key(row.action), "\n".join(calls), answer_key(row.action))
    return next((action for action in own if action in spelt), own[0] if own else row.action)


def _call_key(line: str, schemas: Mapping[str, Mapping[str, Any]]) -> str:
    """A line of an action in the form in which votes are compared, where it spells a tool call."""
    match = _CALL.fullmatch(line)
    return call_key(ToolCall(name=match[1], arguments=match[2]), schemas.get(match[1])) if match else line


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
