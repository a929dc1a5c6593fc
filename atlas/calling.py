"""Tool calls as text: what a model that only writes text is told of an agent's tools, and what it calls by its words.

Local models and students write text. A call is a line of it, as a history and a demonstration show calls::

    lookup({"order": "A17"})

The forms that some models were trained to write (``<tool_call>`` around a JSON object, such an object alone) are read
as well. What begins as a call and is none that can be made stays one, as it was written, so that no vote agrees with it
and it is not taken for an answer to the user.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from atlas.records import Ask, Prompt, Reply, ToolCall, View, reply_text

HEAD = (
    "You can call tools. To call one, reply with its name and, in brackets, its arguments as JSON, on a line of its "
    "own, and with nothing after it{example}. Several calls are a line each. You are then shown what came of them. To "
    "answer, write the answer alone. The tools:"
)

_LINES = re.compile(r"^[^\w\n]*action[^\w\n]*:", re.IGNORECASE | re.MULTILINE)
_TAG = re.compile(r"<tool_call>\s*")
_FENCE = re.compile(r"\s*(?:```(?:json)?\s*)?")
_BETWEEN = re.compile(r"(?:[\s,;]|</tool_call>|```)*")
_CLOSES = re.compile(r"\)[ \t]*$", re.MULTILINE)
_SPACE = re.compile(r"\s*")
_COMMA = re.compile(r"\s*,?")
_LINE = re.compile(r".*")
_KEYWORD = re.compile(r"\s*(\w+)\s*=\s*")
_DECODER = json.JSONDecoder(strict=False)


def canonical_call(call: ToolCall) -> str:
    """A tool call as one line: name, and arguments as JSON with sorted keys (as written where they are not JSON)."""
    try:
        arguments = json.dumps(json.loads(call.arguments or "{}"), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        arguments = " ".join(call.arguments.split())
    return f"{call.name}({arguments})"


def call_lines(content: str, calls: Iterable[ToolCall]) -> str:
    """What an agent said and called, as such a model writes it."""
    return "\n".join(filter(None, (content, *map(canonical_call, calls))))


# --- what is told of tools --------------------------------------------------------------------------------------------


def prompt_for(ask: Ask) -> Prompt:
    """The prompt of ``ask``, with its tools where an action is asked for and one may be called."""
    return with_tools(ask.prompt) if ask.purpose == "act" and _may_call(ask.view) else ask.prompt


def with_tools(prompt: Prompt) -> Prompt:
    """``prompt`` with what :func:`tools_text` says of its tools, where it stays the same for the whole episode."""
    text = tools_text(prompt.tools)
    return prompt.replace(stable="\n\n".join(filter(None, (prompt.stable, text)))) if text else prompt


def tools_text(tools: Sequence[Mapping[str, Any]]) -> str:
    """What a model is told of ``tools`` (as chat APIs take them): a line each, and one for each argument that is
    described. Empty for none."""
    lines = [line for tool in tools for line in _tool(tool)]
    return "\n".join((HEAD.format(example=_example(tools)), *lines)) if lines else ""


def _example(tools: Sequence[Mapping[str, Any]]) -> str:
    """A call of the first tool that takes an argument: a small model that is shown a placeholder's name calls that."""
    for own in map(inner, tools):
        given = own.get("parameters")
        properties = _properties(given) if isinstance(given, Mapping) else {}
        if properties and isinstance(own.get("name"), str):
            return f': {own["name"]}({{"{next(iter(properties))}": ...}})'
    return ""


def inner(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool's own part: chat APIs put it under the tool's type."""
    own = tool.get("function") or tool.get("custom")
    return own if isinstance(own, Mapping) else tool


def _tool(tool: Mapping[str, Any]) -> list[str]:
    own = inner(tool)
    name, about = own.get("name"), _line(own.get("description"))
    if not isinstance(name, str) or not name:
        return []
    if tool.get("type") == "custom":
        return [f"- {name}(any text){about}"]
    given = own.get("parameters")
    schema: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    lines = [f"- {name}({_shape(schema)}){about}"]
    for argument, stated in _properties(schema).items():
        if said := _line(stated.get("description")):
            lines.append(f"    {argument}{said}")
    return lines


def _line(text: object) -> str:
    return f": {' '.join(text.split())}" if isinstance(text, str) and text.strip() else ""


def _properties(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = schema.get("properties")
    return {k: v for k, v in found.items() if isinstance(v, Mapping)} if isinstance(found, Mapping) else {}


def _shape(schema: Mapping[str, Any], depth: int = 3) -> str:
    """A schema as one reads it: ``{"order": string, "limit"?: integer}``."""
    if isinstance(options := schema.get("enum"), list):
        return " | ".join(json.dumps(option, ensure_ascii=False) for option in options)
    kind = schema.get("type")
    if depth and kind == "array":
        items = schema.get("items")
        return f"[{_shape(items, depth - 1) if isinstance(items, Mapping) else 'any'}]"
    properties = _properties(schema)
    if depth and properties:
        stated = schema.get("required")
        required = stated if isinstance(stated, list | tuple) else ()
        parts = (f'"{k}"{"" if k in required else "?"}: {_shape(v, depth - 1)}' for k, v in properties.items())
        return "{" + ", ".join(parts) + "}"
    if kind == "object" or (kind is None and depth == 3):
        return "{}"
    return " | ".join(map(str, kind)) if isinstance(kind, list) else str(kind or "any")


# --- what is called ---------------------------------------------------------------------------------------------------


def acted(view: View, action: str, thought: str = "", **fields: Any) -> Reply:
    """The reply that takes ``action``, as the agent of ``view`` reads it: its calls or its words, where it is a wrapped
    one whose conversation shows no lines that begin with "Action:". ``fields`` are the reply's others."""
    if not view.messages or (not view.tools and any(_LINES.search(message.content) for message in view.messages)):
        return Reply(text=reply_text(action, thought), **fields)
    content, calls = called(action, view.tools) if _may_call(view) else (action, ())
    return Reply(text=content, tool_calls=calls, **fields)


def wrote(ask: Ask, text: str, **fields: Any) -> Reply:
    """The reply of a model that wrote ``text`` to ``ask``, with what it calls by it; ``fields`` are its others."""
    if ask.purpose != "act" or not _may_call(ask.view):
        return Reply(text=text, **fields)
    content, calls = called(text, ask.view.tools)
    return Reply(text=content, tool_calls=calls, **fields)


def _may_call(view: View) -> bool:
    return view.options.get("tool_choice") != "none"


def called(text: str, tools: Sequence[Mapping[str, Any]]) -> tuple[str, tuple[ToolCall, ...]]:
    """What ``text`` says before its calls, and its calls of ``tools``. What is written after them is left out: a small
    model goes on with what it thinks would come of them."""
    kinds = {str(inner(tool).get("name")): str(tool.get("type")) for tool in tools}
    begun = _beginning(text, kinds) if kinds else None
    if begun is None:
        return text, ()
    calls: list[ToolCall] = []
    at = begun
    while (found := _call(text, at, kinds)) is not None:
        calls.append(found.call)
        at = _end(_BETWEEN, text, found.end)
    before = text[:begun].rstrip().removesuffix("```json").removesuffix("```")
    return before.strip(), tuple(calls)


class _Found(NamedTuple):
    call: ToolCall
    end: int
    """Where in the text the call ends."""


def _beginning(text: str, kinds: Mapping[str, str]) -> int | None:
    """Where the first call begins."""
    whole = _end(_FENCE, text, 0)
    if _object(text, whole, kinds) is not None:
        return whole
    named = _names(tuple(kinds.items())).at_a_line.search(text)
    places = [found.start() for found in (named, _TAG.search(text)) if found]
    return min(places, default=None)


def _call(text: str, at: int, kinds: Mapping[str, str]) -> _Found | None:
    """The call that begins there."""
    if tag := _TAG.match(text, at):
        return _object(text, tag.end(), {}) or _Found(ToolCall(name="tool_call", arguments=text[at:]), len(text))
    if (named := _names(tuple(kinds.items())).anywhere.match(text, _end(_SPACE, text, at))) is None:
        return _object(text, at, kinds)
    name, begins = named[1] or named[2], named.end()
    if kinds[name] == "custom":
        closes = _CLOSES.search(text, begins)
        end = closes.start() if closes else len(text)
        return _Found(ToolCall(name=name, arguments=text[begins:end], kind="custom"), closes.end() if closes else end)
    arguments, end = _braces(text, begins) or _keywords(text, begins)
    closed = _end(_SPACE, text, end)
    if text[closed : closed + 1] == ")":
        return _Found(ToolCall(name=name, arguments=arguments), closed + 1)
    # No arguments that can be read: as written, to the end of its line.
    end = _end(_LINE, text, begins)
    return _Found(ToolCall(name=name, arguments=text[begins:end].rstrip().removesuffix(")")), end)


def _braces(text: str, at: int) -> tuple[str, int] | None:
    """Arguments as a JSON object, and where it ends."""
    begins = _end(_SPACE, text, at)
    value, end = _value(text, begins) if text[begins : begins + 1] == "{" else (None, at)
    return (text[begins:end], end) if isinstance(value, dict) else None


def _keywords(text: str, at: int) -> tuple[str, int]:
    """Arguments as Python writes them, ``order="A17", limit=3``; or none at all."""
    made: dict[str, Any] = {}
    while key := _KEYWORD.match(text, at):
        made[key[1]], end = _value(text, key.end())
        if end == key.end():
            return "", at
        at = _end(_COMMA, text, end)
    return json.dumps(made, ensure_ascii=False), at


def _object(text: str, at: int, kinds: Mapping[str, str]) -> _Found | None:
    """``{"name": ..., "arguments": {...}}``, of one of these tools; of any where ``kinds`` is empty."""
    value, end = _value(text, at) if text[at : at + 1] == "{" else (None, at)
    if not isinstance(value, dict) or not isinstance(name := value.get("name"), str) or (kinds and name not in kinds):
        return None
    given = value.get("arguments", value.get("parameters"))
    if given is None:
        return None
    arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return _Found(ToolCall(name=name, arguments=arguments), end)


def _value(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins there and where it ends: ``at`` itself where there is none."""
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where what ``pattern`` finds right there ends."""
    found = pattern.match(text, at)
    return found.end() if found else at


class _Names(NamedTuple):
    anywhere: re.Pattern[str]
    at_a_line: re.Pattern[str]


@lru_cache(maxsize=256)
def _names(kinds: tuple[tuple[str, str], ...]) -> _Names:
    """Where one of these tools is called: its name, a bracket, and in it a brace, a keyword or nothing, or free text.
    Prose that begins with a tool's name and a bracket has a word there."""
    custom = _either(name for name, kind in kinds if kind == "custom")
    others = _either(name for name, kind in kinds if kind != "custom")
    call = rf"(?i:action:[ \t]*)?(?:({others})\((?=\s*(?:[{{)]|\w+\s*=))|({custom})\()"
    return _Names(re.compile(call), re.compile(rf"^[ \t]*{call}", re.MULTILINE))


def _either(names: Iterable[str]) -> str:
    """A pattern of these names, of nothing where there are none; a longer one before its own beginning."""
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)"
