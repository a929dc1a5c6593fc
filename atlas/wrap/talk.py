"""A conversation as steps: what the agent said, and what was shown after it."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from atlas.actions import Actions
from atlas.records import Decision, Message, Reply, Task, Turn, View
from atlas.wire.chat import with_calls

_ANY = View(task=Task(id="", goal=""), opening="")
"""Past messages are read without their context: the tools they called may be offered no more."""


def opening_of(messages: Sequence[Message]) -> str:
    """What the agent was shown before it first spoke."""
    first = next((i for i, m in enumerate(messages) if m.role == "assistant"), len(messages))
    return _seen(messages[:first])


def turns_of(messages: Sequence[Message], actions: Actions) -> tuple[Turn, ...]:
    """The past steps: each assistant message, and what was shown after it (tool results, the user's words)."""
    spoke = [i for i, m in enumerate(messages) if m.role == "assistant"]
    turns = []
    for here, following in pairwise([*spoke, len(messages)]):
        action, thought = action_of(messages[here], actions)
        turns.append(Turn(action=action, observation=_seen(messages[here + 1 : following]), thought=thought))
    return tuple(turns)


def after_last_turn(messages: Sequence[Message]) -> tuple[Message | None, str]:
    """The agent's last message (None where it has not spoken), and what was shown after it."""
    for i in range(len(messages) - 1, -1, -1):
        if messages[i].role == "assistant":
            return messages[i], _seen(messages[i + 1 :])
    return None, ""


def action_of(message: Message, actions: Actions) -> tuple[str, str]:
    """(action, thought) of an assistant message."""
    parsed = actions.parse(Reply(text=message.content, tool_calls=message.tool_calls), _ANY)
    return parsed.action or "", parsed.thought


class CallIds:
    """The ids of the tool calls of an answer: new to the conversation, and the provider's own where those are so. Calls
    that are told while they are made keep the ids that they were told with."""

    def __init__(self, used: Iterable[str]) -> None:
        self._used = set(used)
        self._heard: dict[Any, str] = {}
        self._named: set[str] = set()

    def heard(self, delta: dict[str, Any]) -> dict[str, Any]:
        """A piece of an answer, whose calls have their places and, in their first pieces, their ids and names."""
        calls = delta.get("tool_calls")
        if not calls:
            return delta
        return {**delta, "tool_calls": [self._piece(call) for call in calls]}

    def _piece(self, call: Mapping[str, Any]) -> dict[str, Any]:
        place = call.get("index", len(self._heard))
        known = place in self._heard
        if not known:
            self._heard[place] = self._fresh(str(call.get("id") or ""))
        id = self._heard[place]
        # Some servers tell again with each piece what it is called: who puts pieces together would have it twice.
        piece: dict[str, Any] = {name: value for name, value in call.items() if name not in ("id", "type", "index")}
        for kind in ("function", "custom"):
            if isinstance(made := piece.get(kind), Mapping):
                piece[kind] = {k: v for k, v in made.items() if k != "name" or id not in self._named}
                self._named |= {id} if made.get("name") else set()
        first = {} if known else {"id": id, "type": call.get("type") or "function"}
        return {"index": list(self._heard).index(place), **first, **piece}

    def _fresh(self, id: str) -> str:
        fresh = id if id and id not in self._used else f"call_{uuid.uuid4().hex}"
        self._used.add(fresh)
        return fresh

    def given(self, decided: Decision) -> Decision:
        """``decided`` with such ids."""
        told = [self._heard[place] for place in sorted(self._heard)]
        self._heard = {}
        calls = []
        for number, call in enumerate(decided.tool_calls):
            calls.append(call.replace(id=told[number] if number < len(told) else self._fresh(call.id)))
        return decided.replace(tool_calls=tuple(calls), message=with_calls(decided.message, calls))


class Talks:
    """The newest conversations of an episode, so that what was said before is kept once: every call sends all of it."""

    def __init__(self) -> None:
        self._newest: deque[tuple[Message, ...]] = deque(maxlen=4)
        """One for each of a few subagents."""
        self._lock = threading.Lock()

    def same(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """``messages``, with the very objects of an earlier call where they begin as that did."""
        with self._lock:
            shared, before = max(
                ((_shared(messages, talk), talk) for talk in self._newest), default=(0, ()), key=_first
            )
            messages = before[:shared] + messages[shared:]
            if shared == len(before) and before:
                self._newest.remove(before)
            self._newest.append(messages)
            return messages


def _first(pair: tuple[int, object]) -> int:
    return pair[0]


def _shared(one: Sequence[Message], other: Sequence[Message]) -> int:
    """Length of the common beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _seen(messages: Iterable[Message]) -> str:
    return "\n".join(m.content for m in messages if m.role != "system" and m.content)
