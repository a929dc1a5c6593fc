"""When two actions are the same: the forms in which votes are compared.

Agreement is only as good as its notion of equality. Spurious disagreement calls the teacher for nothing, and an
agreement of two actions that do different things lets the student act where it should not. So what is taken out is what
cannot change what an action does: order and spacing of JSON, the two ways to write a whole number, values that a tool's
schema says it takes anyway, how Unicode spells a letter, the fence around a block of code and the thought before it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from atlas.records import ToolCall

MARKS = "`\"'*_.>,;: \t\r\n"
_NESTED = 40
"""Levels of a schema that are followed."""
_END = ("<end_code>", "<end_action>")
"""What some agents' models write behind their code."""

# What stands in quotes, and what is escaped: there every character counts. An apostrophe within a word quotes nothing.
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|(?<!\w)'(?:[^'\\]|\\.)*'|`[^`]*`|\\.""", re.DOTALL)
_SQL = re.compile(
    r"(?:select|insert|update|delete|with|show|describe|desc|explain|create|drop|alter|pragma|replace)\b", re.IGNORECASE
)
_WHOLE = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`")
_BRACKETS = re.compile(r"(\w+)\[(.*)\]\Z", re.DOTALL)


def normalise(text: str) -> str:
    """Case, spacing, quotes and final punctuation do not make two text actions different: where the environment lists
    its actions, and in prose."""
    return " ".join(_composed(text).strip(MARKS).split()).casefold()


def written_key(text: str) -> str:
    """A text action of an environment that lists none, where case and quotes may matter: a shell's command keeps both,
    SQL keeps what stands in quotes. Spacing outside of quotes does not count."""
    text = _composed(text).strip()
    called = _BRACKETS.match(text)
    if called:
        return f"{called[1].casefold()}[{written_key(called[2])}]"
    if _SQL.match(text) and "--" not in text:
        return _outside(text.rstrip("; \t\r\n"), str.casefold)
    if "\n" in text:
        return _code(text)
    return _outside(text, str)


def answer_key(text: str, schema: Mapping[str, Any] | None = None) -> str:
    """A reply that calls no tool: JSON by content (by ``schema``, where the caller gave one), a block of code at its
    end by that code, other text by its words; what stands in quotes is compared as it is."""
    block = _last_block(text)
    bare = text if block is None else block
    content = _content(bare, schema) if bare.lstrip().startswith(("{", "[")) else None
    if content is not None:
        return content
    return _prose(_composed(text)) if block is None else _code(_composed(block))


def call_key(call: ToolCall, schema: Mapping[str, Any] | None = None) -> str:
    """A tool call: its name, and its arguments by content; by the ``schema`` of the tool's parameters, where that is
    known. As written where they are no JSON, or the tool takes free text."""
    if call.kind == "custom":
        return f"{call.name}({written_key(call.arguments)})"
    arguments = _content(call.arguments or "{}", schema)
    return f"{call.name}({' '.join(call.arguments.split()) if arguments is None else arguments})"


def schemas_of(tools: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The schema of the parameters of each tool, by its name, as chat APIs take them."""
    found = {}
    for tool in tools:
        function = tool.get("function", tool)
        if isinstance(function, Mapping) and isinstance(function.get("parameters"), Mapping):
            found[str(function.get("name"))] = function["parameters"]
    return found


# --- JSON -------------------------------------------------------------------------------------------------------------


def _content(text: str, schema: Mapping[str, Any] | None) -> str | None:
    """JSON in one spelling; None where ``text`` is none."""
    try:
        value = _canonical(json.loads(text), schema or {}, schema or {}, 0)
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _canonical(value: Any, schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    """``value`` with whole numbers as integers, composed letters, and without what ``schema`` says is there anyway."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return _composed(value)
    if not isinstance(value, dict | list):
        return value
    known = _resolved(schema, root) if depth < _NESTED else {}
    if isinstance(value, list):
        items = known.get("items")
        return [_canonical(item, items, root, depth + 1) for item in value]
    properties, required = known.get("properties"), known.get("required")
    parts = properties if isinstance(properties, Mapping) else {}
    needed = required if isinstance(required, list) else ()
    return {
        _composed(name): _canonical(item, parts.get(name), root, depth + 1)
        for name, item in value.items()
        if name in needed or name not in parts or not _implied(item, _resolved(parts[name], root), parts[name])
    }


def _implied(value: Any, schema: Mapping[str, Any], stated: Any) -> bool:
    """Whether leaving a property that may be left out says the same: it has this default, or it may be null and has
    none."""
    for said in (stated, schema):
        if isinstance(said, Mapping) and "default" in said:
            default = said["default"]
            return isinstance(default, bool) == isinstance(value, bool) and bool(default == value)
    return value is None and isinstance(stated, Mapping) and _nullable(stated)


def _nullable(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    if kind == "null" or (isinstance(kind, list) and "null" in kind) or schema.get("nullable") is True:
        return True
    options = schema.get("anyOf") or schema.get("oneOf")
    return isinstance(options, list) and any(isinstance(one, Mapping) and _nullable(one) for one in options)


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """``schema`` itself, what it refers to within ``root``, or the one part of it that is not null."""
    for _ in range(_NESTED):
        if not isinstance(schema, Mapping):
            return {}
        reference = schema.get("$ref")
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(reference, str) and reference.startswith("#/"):
            schema = _at(root, reference)
        elif isinstance(options, list):
            real = [one for one in options if isinstance(one, Mapping) and one.get("type") != "null"]
            if len(real) != 1:
                return {}
            schema = real[0]
        else:
            return schema
    return {}


def _at(root: Any, reference: str) -> Any:
    for name in reference[2:].split("/"):
        root = root.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(root, Mapping) else None
    return root


# --- text -------------------------------------------------------------------------------------------------------------


def _composed(text: str) -> str:
    """One spelling of each letter: Unicode's form C."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _prose(text: str) -> str:
    """Words: without the marks around all of them, and with their case only in quotes."""
    text = text.strip(MARKS.translate({ord(mark): None for mark in "\"'`"}))
    whole = _WHOLE.fullmatch(text)
    return _outside(text if whole is None else text[1:-1], str.casefold)


def _outside(text: str, change: Any) -> str:
    """``text`` with ``change`` done, and white space made one space, outside of quotes."""
    parts, at = [], 0
    for quoted in _QUOTED.finditer(text):
        parts += [_spaced(change(text[at : quoted.start()])), quoted[0]]
        at = quoted.end()
    return "".join([*parts, _spaced(change(text[at:]))]).strip()


def _spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _code(text: str) -> str:
    """Lines of code: what trails a line does not count."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()).strip("\n")


def _last_block(text: str) -> str | None:
    """The one block of code of a reply that ends with it, whatever stands before; None where there is none."""
    text = text.strip()
    for mark in _END:
        text = text.removesuffix(mark).rstrip()
    if text.endswith("</code>") and text.count("<code>") == 1:
        return text[text.index("<code>") + len("<code>") : -len("</code>")]
    if not text.endswith("```"):
        return None
    lines = text.splitlines()
    fences = [i for i, line in enumerate(lines) if line.lstrip().startswith("```")]
    if len(fences) != 2 or lines[-1].strip() != "```":
        return None
    return "\n".join(lines[fences[0] + 1 : -1])
