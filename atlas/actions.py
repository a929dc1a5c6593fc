"""From a model's reply to an action, and when two actions are the same.

Agreement is only as good as its notion of equality: spurious disagreement calls the teacher for nothing. So replies are
reduced to a canonical form before they are compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from atlas.records import Light, Reply, ToolCall, View

MAX_ACTION = 400
"""Characters. Longer text is prose, not an action."""
MAX_CALL = 10_000
"""Characters of an action with brackets, such as ``execute[SELECT ...]``, whose argument may be long."""

# Each match stays within one line: a pattern that may cross lines takes quadratic time on a reply of many empty ones.
_ACTION = re.compile(r"^[^\w\n]*action[^\w\n]*?:[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE)
_THOUGHT = re.compile(r"^[^\w\n]*(?:thought|think|reason(?:ing)?)[^\w\n]*?:[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE)
_CALL = re.compile(r"\w+\[")
_FENCE = re.compile(r"\A\s*```\w*\n")
_MARKS = "`\"'*_.>,;: \t\r\n"


class Parsed(Light, kw_only=False):
    """What a reply says: ``action`` is what the environment gets, ``key`` is what votes are compared by."""

    action: str | None
    key: str | None
    thought: str = ""


class Actions(Protocol):
    """How replies of one kind of agent are read."""

    def parse(self, reply: Reply, view: View) -> Parsed: ...


def normalise(text: str) -> str:
    """Case, spacing, quotes and final punctuation do not make two text actions different."""
    return " ".join(text.strip(_MARKS).split()).casefold()


@lru_cache(maxsize=1 << 14)
def _offered(action: str) -> str:
    """``normalise``, remembered: environments offer the same actions at step after step."""
    return normalise(action)


@lru_cache(maxsize=1 << 10)
def _by_key(admissible: tuple[str, ...]) -> dict[str, str]:
    """The actions by their normal form: made once for all samples of a step."""
    return {_offered(action): action for action in admissible}


class TextActions:
    """Text actions, one per reply, as ``Thought: ... / Action: ...`` or as a bare line.

    Where the environment lists admissible actions, a reply that equals one of them up to spelling becomes it. Anything
    else is passed on as written: the environment's answer to a wrong action is part of the experience. Where it lists
    none, an action with brackets (``execute[SELECT ...]``) may go over several lines.
    """

    def parse(self, reply: Reply, view: View) -> Parsed:
        return _parsed(reply.text, view.admissible)


@lru_cache(maxsize=1 << 10)
def _parsed(text: str, admissible: tuple[str, ...]) -> Parsed:
    """What a reply says; remembered, since the samples of a step often say the same."""
    text = text.strip()
    thought = " ".join(m.strip() for m in _THOUGHT.findall(text)).strip()
    found = _ACTION.search(text)
    begins = found.start(1) if found else 0
    if not admissible and (called := _called(text[begins:])):
        return Parsed(called, normalise(called), thought)
    candidates = [found.group(1)] if found else text.splitlines()
    by_key = _by_key(admissible)
    for line in candidates:
        key = normalise(line)
        if key in by_key:
            return Parsed(by_key[key], key, thought)
    line = next((c for c in candidates if c.strip(_MARKS)), "")
    action = " ".join(line.strip(_MARKS).split())
    if not action or len(action) > MAX_ACTION:
        return Parsed(None, None, thought)
    return Parsed(action, normalise(action), thought)


def _called(text: str) -> str | None:
    """The action with brackets that ``text`` begins with, to the end of the first line that closes it."""
    taken: list[str] = []
    open_ = 0
    for line in _FENCE.sub("", text, count=1).lstrip(_MARKS).splitlines():
        taken.append(line)
        if not _CALL.match(taken[0]):
            return None
        open_ += line.count("[") - line.count("]")
        if open_ <= 0 and line.rstrip(_MARKS).endswith("]"):
            call = "\n".join(taken).strip(_MARKS)
            return call if len(call) <= MAX_CALL else None
    return None


def canonical_call(call: ToolCall) -> str:
    """A tool call as one line: name, and arguments as JSON with sorted keys (as written where they are not JSON)."""
    try:
        arguments = json.dumps(json.loads(call.arguments or "{}"), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        arguments = " ".join(call.arguments.split())
    return f"{call.name}({arguments})"


def answer_key(text: str) -> str:
    """JSON objects and lists by content (structured output), other text by its words."""
    if text.startswith(("{", "[")):
        try:
            return json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    return normalise(text)


class ChatActions:
    """Replies of a tool-calling agent: its tool calls, or its text where it calls none.

    Calls made in parallel have no order: the same calls in another order agree. A call that cannot work (a tool that
    was not offered, arguments that are no JSON object) agrees with nothing, so that a cascade asks its teacher.

    Texts agree when ``text_key`` gives the same for both. The default compares JSON by content and prose by its words,
    and a student rarely words an answer twice alike: where any answer to the user is as good as another, pass
    ``text_key=lambda text: "answer"``.
    """

    def __init__(self, text_key: Callable[[str], str] | None = None) -> None:
        self.text_key = text_key or answer_key

    def parse(self, reply: Reply, view: View) -> Parsed:
        text = reply.text.strip()
        if not reply.tool_calls:
            return Parsed(text, self.text_key(text)) if text else Parsed(None, None)
        calls = [canonical_call(call) for call in reply.tool_calls]
        offered = {str(tool.get("function", tool).get("name")) for tool in view.tools}
        sound = all(_takes_object(call) and (not offered or call.name in offered) for call in reply.tool_calls)
        return Parsed("\n".join(calls), "\n".join(sorted(calls)) if sound else None, text)


def _takes_object(call: ToolCall) -> bool:
    try:
        return isinstance(json.loads(call.arguments or "{}"), dict)
    except (ValueError, RecursionError):
        return False
