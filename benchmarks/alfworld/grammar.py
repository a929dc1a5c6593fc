"""TextWorld's text templates ("twl2" files with a context-sensitive grammar inside), parsed.

A grammar file gives every action a command template and a feedback template, and named rules as JSON. A
template mixes plain text with ``#rule#``, ``{expression}``, ``{expression | query}`` (once for every answer of
the query) and ``[{... | ...}]`` (the same, as a list with separators). `render.py` turns them into text.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from atlas.errors import DataError
from atlas.jsontext import read_json

Placeholder = tuple[str, str]
"""Name and type of a variable of a query; both together are its identity, as in TextWorld."""


@dataclass(frozen=True, slots=True)
class Entity:
    """What a template can say of an object."""

    id: str
    type: str
    name: str
    indefinite: str = "a"
    definite: str = "the"

    def __str__(self) -> str:
        return self.name


Expression = Callable[[Mapping[str, Entity]], object]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One conjunct of a query: a predicate over placeholders."""

    predicate: str
    placeholders: tuple[Placeholder, ...]


Query = tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """``#name#``: the text of a rule."""

    name: str


@dataclass(frozen=True, slots=True)
class Slot:
    """``{...}``: an expression or a rule, once for every answer of `query` (once, if there is none)."""

    content: Expression | Reference
    query: Query = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """``[{...}]``: the texts of a slot, joined as a list."""

    slot: Slot


Template = tuple[str | Reference | Slot | Listing, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A template that applies when its query has an answer (always, if it has none)."""

    condition: Query
    template: Template


@dataclass(frozen=True, slots=True)
class ActionText:
    """How an action is commanded and what the player reads after it."""

    command: Template
    feedback: Template


@dataclass(frozen=True, slots=True)
class Grammar:
    """The templates of a game: by action name (lower case) and by rule name."""

    actions: Mapping[str, ActionText]
    rules: Mapping[str, tuple[Rule, ...]]


_SKIP = re.compile(r"(?:\s+|#[^\n]*)*")
_FIELD = re.compile(
    r'(?P<key>grammar|pddl|template|feedback)\s*::\s*(?:"""(?P<block>.*?)"""|"(?P<line>[^"]*)")\s*;',
    re.DOTALL,
)
_ACTION = re.compile(r"action\s+(?P<name>[\w/-]+)\s*\{")


def parse_grammar(text: str) -> Grammar:
    """Parse a twl2 file. Later rules of the same name replace earlier ones, as in TextWorld."""
    actions: dict[str, ActionText] = {}
    rules: dict[str, Any] = {}
    fields: dict[str, str] = {}
    action: str | None = None
    place = _after(_SKIP, text, 0)
    while place < len(text):
        if action is None and (opened := _ACTION.match(text, place)):
            action, fields = opened["name"].lower(), {}
            place = opened.end()
        elif action is not None and text[place] == "}":
            actions[action] = _action_text(action, fields)
            action = None
            place += 1
        elif field := _FIELD.match(text, place):
            if field["key"] == "grammar":
                rules |= _read_rules(field["block"] or "{}")
            fields[field["key"]] = field["line"] or ""
            place = field.end()
        else:
            line = text.count("\n", 0, place) + 1
            raise DataError(f"the grammar cannot be read from its line {line} on: {text[place : place + 40]!r}")
        place = _after(_SKIP, text, place)
    if action is not None:
        raise DataError(f"the grammar ends inside its action {action!r}")
    return Grammar(actions, {name: _rules(name, entries) for name, entries in rules.items()})


def _after(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place


def _action_text(name: str, fields: Mapping[str, str]) -> ActionText:
    for field in ("template", "feedback"):
        if field not in fields:
            raise DataError(f"the grammar's action {name!r} has no {field}")
    return ActionText(parse_template(fields["template"]), parse_template(fields["feedback"]))


def _read_rules(block: str) -> dict[str, Any]:
    lines = (line for line in textwrap.dedent(block).split("\n") if not line.lstrip().startswith("#"))
    try:
        rules = read_json("\n".join(lines))
    except ValueError as error:
        raise DataError(f"a rule block of the grammar is not JSON ({error})") from error
    if not isinstance(rules, dict):
        raise DataError("a rule block of the grammar must be a JSON object")
    return rules


def _rules(name: str, entries: Any) -> tuple[Rule, ...]:
    try:
        return tuple(Rule(parse_query(entry.get("condition", "")), parse_template(entry["rhs"])) for entry in entries)
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"the grammar's rule {name!r} must be a list of objects with 'rhs' texts") from error


# TextWorld's parser drops blank space at the start of a line, which only ever shows at the start of a template.
_BLANK = re.compile(r"\A\s+|\t+")
_NAME = re.compile(r"#([\w()/!<>\-\s,.]+)#")
_EXPRESSION = re.compile(r"[^|\[\]{}\n<>]+")
_GIVEN = re.compile(r"\s*\|\s*([^;|{}\n\[\]#]+)")
_LITERAL = re.compile(r'[^;|"<>\[\]#{}]*')


@lru_cache(maxsize=4096)
def parse_template(text: str) -> Template:
    """Parse a template. What follows the first place that does not parse is dropped, as TextWorld does."""
    parts: list[str | Reference | Slot | Listing] = []
    place = 0
    while True:
        place = _after(_BLANK, text, place)
        part, after = _part(text, place)
        if part is None or after == place:
            return tuple(parts)
        parts.append(part)
        place = after


def _part(text: str, place: int) -> tuple[str | Reference | Slot | Listing | None, int]:
    match text[place : place + 1]:
        case "[":
            slot, after = _slot(text, place + 1)
            return (Listing(slot), after + 1) if slot and text[after : after + 1] == "]" else (None, place)
        case "{":
            return _slot(text, place)
        case "#":
            name = _NAME.match(text, place)
            return (Reference(name[1]), name.end()) if name else (None, place)
        case '"':
            end = _after(_LITERAL, text, place + 1)
            return (text[place + 1 : end], end + 1) if text[end : end + 1] == '"' else (None, place)
        case _:
            end = _after(_LITERAL, text, place)
            return text[place:end], end


def _slot(text: str, place: int) -> tuple[Slot | None, int]:
    if text[place : place + 1] != "{":
        return None, place
    content: Expression | Reference
    if name := _NAME.match(text, place + 1):
        content, after = Reference(name[1]), name.end()
    elif expression := _EXPRESSION.match(text, place + 1):
        content, after = parse_expression(expression[0]), expression.end()
    else:
        return None, place
    query: Query = ()
    if given := _GIVEN.match(text, after):
        query, after = parse_query(given[1]), given.end()
    return (Slot(content, query), after + 1) if text[after : after + 1] == "}" else (None, place)


_PATTERN = re.compile(r"\s*([^\s(&]+)\s*\(([^()]*)\)\s*")


@lru_cache(maxsize=1024)
def parse_query(text: str) -> Query:
    """Parse ``p(a:t, b:u) & q(b:u)``; a placeholder without a type has its name for one."""
    if not text:
        return ()
    patterns = []
    for part in text.split("&"):
        match = _PATTERN.fullmatch(part)
        if match is None:
            raise DataError(f"the grammar's condition {text!r} is not a list of facts joined by '&'")
        names = [name.strip() for name in match[2].split(",") if name.strip()]
        pairs = [name.partition(":") for name in names]
        patterns.append(
            Pattern(match[1], tuple((name.strip(), kind.strip() or name.strip()) for name, _, kind in pairs))
        )
    return tuple(patterns)


@lru_cache(maxsize=1024)
def parse_expression(text: str) -> Expression:
    """Compile what a slot says, such as ``o.indefinite + ' ' + o.name``: attributes, strings, ``+``, ``or``, ``and``.

    TextWorld evaluates any Python here; a file that a user downloads gets no such right from us.
    """
    try:
        return _compile(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError) as error:
        raise DataError(f"the grammar's expression {text!r} is not one this engine reads") from error


def _compile(node: ast.expr) -> Expression:
    match node:
        case ast.Name(id=name):
            return lambda variables: variables[name]
        case ast.Constant(value=str() as value):
            return lambda variables: value
        case ast.Attribute(value=inner, attr=attribute) if attribute in Entity.__dataclass_fields__:
            owner = _compile(inner)
            return lambda variables: getattr(owner(variables), attribute)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = _compile(left), _compile(right)
            return lambda variables: str(first(variables)) + str(second(variables))
        case ast.BoolOp(op=op, values=values):
            choices = [_compile(value) for value in values]
            wanted = isinstance(op, ast.Or)

            def choose(variables: Mapping[str, Entity]) -> object:
                value: object = ""
                for choice in choices:
                    value = choice(variables)
                    if bool(value) == wanted:
                        break
                return value

            return choose
    raise ValueError(f"not supported: {ast.dump(node)}")
