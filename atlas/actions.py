"""From a model's reply to an action: what the environment gets, and what votes are compared by."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol

from atlas.calling import canonical_call as canonical_call
from atlas.calling import inner
from atlas.meaning import MARKS, answer_key, call_key, schemas_of, written_key
from atlas.meaning import normalise as normalise
from atlas.records import Light, Reply, ToolCall, View

MAX_ACTION = 400
"""Characters. Longer text is prose, not an action."""
MAX_CALL = 10_000
"""Characters of an action with brackets, such as ``execute[SELECT ...]``, whose argument may be long, and of a fenced
block of commands."""
CUT = frozenset({"length", "max_tokens"})
"""Finish reasons of a reply that ended at its limit: what it says last is not all that was meant."""

# Each match stays within one line: a pattern that may cross lines takes quadratic time on a reply of many empty ones.
_ACTION = re.compile(r"^([^\w\n]*)action[^\w\n]*?:(\*\*|__|\*|_)?[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE)
_THOUGHT = re.compile(r"^[^\w\n]*(?:thought|think|reason(?:ing)?)[^\w\n]*?:[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE)
_CALL = re.compile(r"\w+\[")
_FENCE = re.compile(r"\A\s*```\w*\n")
_WRAPPED = re.compile(r"`([^`]+)`[.;,]?|\*\*([^*]+)\*\*|\*([^\s*][^*]*)\*|__([^_]+)__|\"([^\"]+)\"|'([^']+)'")


class Parsed(Light, kw_only=False):
    """What a reply says: ``action`` is what the environment gets, ``key`` is what votes are compared by."""

    action: str | None
    key: str | None
    thought: str = ""


class Actions(Protocol):
    """How replies of one kind of agent are read."""

    def parse(self, reply: Reply, view: View) -> Parsed: ...


@lru_cache(maxsize=1 << 14)
def _offered(action: str) -> str:
    """``normalise``, remembered: environments offer the same actions at step after step."""
    return normalise(action)


@lru_cache(maxsize=1 << 10)
def _by_key(admissible: tuple[str, ...]) -> dict[str, str]:
    """The actions by their normal form: made once for all samples of a step."""
    return dict(zip(map(_offered, admissible), admissible, strict=True))


class TextActions:
    """Text actions, one per reply, as ``Thought: ... / Action: ...``, as a bare line or in a fenced block.

    Where the environment lists admissible actions, a reply that equals one of them up to spelling becomes it. Anything
    else is passed on as written, less the marks around it: the environment's answer to a wrong action is part of the
    experience. Where it lists none, an action with brackets (``execute[SELECT ...]``) or in a fenced block may go over
    several lines, and two actions are the same by :func:`atlas.meaning.written_key`.

    An action that was cut at the reply's limit agrees with nothing.
    """

    def parse(self, reply: Reply, view: View) -> Parsed:
        parsed = _parsed(reply.text, view.admissible)
        if reply.finish in CUT and parsed.key is not None:
            whole, _, _ = reply.text.rpartition("\n")
            if _parsed(whole, view.admissible).key != parsed.key:
                return Parsed(parsed.action, None, parsed.thought)
        return parsed


@lru_cache(maxsize=1 << 10)
def _parsed(text: str, admissible: tuple[str, ...]) -> Parsed:
    """What a reply says; remembered, since the samples of a step often say the same."""
    return _at_once(text, admissible) or _read(text, admissible)


def _at_once(text: str, admissible: tuple[str, ...]) -> Parsed | None:
    """A reply of the two lines that are asked for, with an admissible action: most of them, read in a third of the time
    that :func:`_read` takes, and with the same result. None for any other."""
    thought, _, rest = text.strip().partition("\n")
    if not (thought.startswith("Thought:") and rest.startswith("Action: ")) or "\n" in rest:
        return None
    key, by_key = normalise(rest[8:].strip()), _by_key(admissible)
    return Parsed(by_key[key], key, thought[8:].strip()) if key and key in by_key else None


def _read(text: str, admissible: tuple[str, ...]) -> Parsed:
    text = text.strip()
    thought = " ".join(m.strip() for m in _THOUGHT.findall(text)).strip()
    found = _ACTION.search(text)
    said = text if found is None else text[found.start(3) :]
    if not admissible and (called := _called(said)):
        return Parsed(called, written_key(called), thought)
    if found is not None and found[3].strip(MARKS):
        candidates = [_unmarked(found)]
    else:
        block = _block(said, anywhere=found is None)
        if block is not None and not admissible and "\n" in block.strip():
            # Without its own white space: the first line of a script may be indented.
            action = block.strip("\n")
            return (
                Parsed(action, written_key(action), thought) if len(action) <= MAX_CALL else Parsed(None, None, thought)
            )
        candidates = (said if block is None else block).splitlines()
    by_key = _by_key(admissible)
    for line in candidates:
        key = normalise(line)
        if key in by_key:
            return Parsed(by_key[key], key, thought)
    line = next((c for c in candidates if c.strip(MARKS)), "")
    action = unwrapped(line)
    longest = MAX_CALL if "```" in text and not admissible else MAX_ACTION
    if not action or len(action) > longest:
        return Parsed(None, None, thought)
    return Parsed(action, normalise(action) if admissible else written_key(action), thought)


def unwrapped(line: str) -> str:
    """``line`` without the marks that stand around all of it: what is emphasised, quoted or shown as code."""
    line = line.strip()
    while (marked := _WRAPPED.fullmatch(line)) is not None:
        line = next(part for part in marked.groups() if part is not None).strip()
    return line


def _unmarked(found: re.Match[str]) -> str:
    """What stands behind ``Action:``, without the end of an emphasis that began before."""
    before, closed, said = found[1].strip(), found[2], found[3].strip()
    if before and not closed and before[-1] in "*_`":
        mark = before[len(before.rstrip(before[-1])) :]
        return said.removesuffix(mark)
    # A mark that opens right behind the colon is none that closes.
    return said if closed is None or before.endswith(closed) else f"{closed}{said}"


def _block(text: str, *, anywhere: bool) -> str | None:
    """What stands in the first fenced block: of all of ``text``, or of one that begins with it."""
    lines = text.splitlines()
    begins = next((i for i, line in enumerate(lines) if line.lstrip().startswith("```")), None)
    if begins is None or (not anywhere and any(line.strip() for line in lines[:begins])):
        return None
    ends = next((i for i in range(begins + 1, len(lines)) if lines[i].lstrip().startswith("```")), len(lines))
    return "\n".join(lines[begins + 1 : ends])


def _called(text: str) -> str | None:
    """The action with brackets that ``text`` begins with, to the end of the first line that closes it."""
    taken: list[str] = []
    open_ = 0
    for line in _FENCE.sub("", text, count=1).lstrip(MARKS).splitlines():
        taken.append(line)
        if not _CALL.match(taken[0]):
            return None
        open_ += line.count("[") - line.count("]")
        if open_ <= 0 and line.rstrip(MARKS).endswith("]"):
            call = "\n".join(taken).strip(MARKS)
            return call if len(call) <= MAX_CALL else None
    return None


class ChatActions:
    """Replies of a tool-calling agent: its tool calls, or its text where it calls none.

    Calls made in parallel have no order: the same calls in another order agree, and arguments are compared by content
    and by the tool's schema (:func:`atlas.meaning.call_key`). A call that cannot work (a tool that was not offered,
    arguments that are no JSON object) agrees with nothing, so that a cascade asks its teacher; so does a reply that was
    cut at its limit.

    Texts agree when ``text_key`` gives the same for both. The default compares JSON and code by content and prose by
    its words, and a student rarely words an answer twice alike: where any answer to the user is as good as another,
    pass ``text_key=lambda text: "answer"``.
    """

    def __init__(self, text_key: Callable[[str], str] | None = None) -> None:
        self.text_key = text_key

    def parse(self, reply: Reply, view: View) -> Parsed:
        text, cut = reply.text.strip(), reply.finish in CUT
        if not reply.tool_calls:
            return Parsed(text, None if cut else self._text(text, view)) if text else Parsed(None, None)
        calls = [canonical_call(call) for call in reply.tool_calls]
        offered = {str(inner(tool).get("name")) for tool in view.tools}
        sound = all(_takes_object(call) and (not offered or call.name in offered) for call in reply.tool_calls)
        if cut or not sound:
            return Parsed("\n".join(calls), None, text)
        schemas = schemas_of(view.tools)
        keys = [call_key(call, schemas.get(call.name)) for call in reply.tool_calls]
        return Parsed("\n".join(calls), "\n".join(sorted(keys)), text)

    def _text(self, text: str, view: View) -> str:
        if self.text_key is not None:
            return self.text_key(text)
        form = view.options.get("response_format")
        stated = form.get("json_schema") if isinstance(form, Mapping) else None
        schema = stated.get("schema") if isinstance(stated, Mapping) else None
        return answer_key(text, schema if isinstance(schema, Mapping) else None)


def _takes_object(call: ToolCall) -> bool:
    if call.kind == "custom":
        return True
    try:
        return isinstance(json.loads(call.arguments or "{}"), dict)
    except (ValueError, RecursionError):
        return False
