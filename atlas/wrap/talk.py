"""A conversation as steps: what the agent said, and what was shown after it."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise

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


def with_ids(decided: Decision, used: set[str]) -> Decision:
    """``decided`` with an id for each tool call that is not among those ``used``, to which it is added; the provider's
    own where it is new."""
    calls = []
    for call in decided.tool_calls:
        fresh = call if call.id and call.id not in used else call.replace(id=f"call_{uuid.uuid4().hex}")
        used.add(fresh.id)
        calls.append(fresh)
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
