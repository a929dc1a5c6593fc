"""Values in texts, and the part each of them plays: what it takes to do again what was done about other things.

A value in a task is known by its kind, its place and the words around it; a value in an observation by where it stands
in its structure (Python's or JSON's, whichever it is in): the column, the keys that lead to it, and what sort of thing
it belongs to. No benchmark's names are known here.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from atlas.loose_json import loose_json

_KINDS = {
    "url": r"https?://[^\s`'\",\])]+",
    "guid": r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
    "sid": r"\bS-1-\d+(?:-\d+)+\b",
    "mail": r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+\b",
    "date": r"\b\d{4}-\d\d-\d\d(?:[T ][\d:.]+)?",
    "ip": r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
    "file": r"\b[\w-]{1,120}\.[a-z][a-z0-9]{1,4}\b",
    "name": r"\b[A-Za-z]\w*-\w*\d\w*\b",
    "number": r"\b\d+\b",
}
_VALUE = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS.items()))
_MARKED = re.compile(r"`([^`]+)`")
_WORD = re.compile(r"[a-z]{3,}")
_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z`])")
_COMMON = frozenset("the and was were for from with that this are its has have had there what which".split())
_STEM = 6
_AROUND = 4
"""Words on each side of a value that it is known by."""
_DEEP = 12
LONGEST = 200_000
"""Characters of an observation that are taken apart; what is longer plays no part."""

_LIKE = 0.5
"""From what share of common marks two things of a structure are of one sort."""


@dataclass(frozen=True)
class Told:
    """A value in a task's text."""

    text: str
    kind: str
    marked: bool
    """Whether it stands between code marks."""
    number: int
    """Its place among the values of its kind, from 0."""
    around: frozenset[str]


@dataclass(frozen=True)
class Leaf:
    """A value in an observation."""

    text: str
    path: tuple[str | int, ...]
    """Columns and keys that lead to it; ``*`` for a place in a list."""
    marks: frozenset[str]
    """What the mapping that it stands in is recognised by: its keys, and what it says of its own type."""
    row: int
    """Which of the observation's rows it stands in; 0 where it has none."""

    def alike(self, other: Leaf) -> float:
        """How much both play the same part, from 0 to 1."""
        if self.path != other.path:
            return 0.0
        union = self.marks | other.marks
        share = len(self.marks & other.marks) / len(union) if union else 1.0
        return share if share >= _LIKE and _types(self.marks) == _types(other.marks) else 0.0


@dataclass(frozen=True)
class Shown:
    """An observation, taken apart."""

    leaves: tuple[Leaf, ...]
    rows: tuple[frozenset[str], ...]
    """The words of each row."""
    outcome: str
    """``rows``, ``nothing``, or the first word of a text, such as an error's name."""
    by_path: Mapping[tuple[str | int, ...], Sequence[Leaf]]
    by_text: Mapping[str, Sequence[Leaf]]


def stems(text: str) -> frozenset[str]:
    """The words of ``text`` that are no values, cut to their beginnings."""
    plain = _VALUE.sub(" ", _MARKED.sub(" ", text)).casefold()
    return frozenset(word[:_STEM] for word in _WORD.findall(plain) if word not in _COMMON)


@lru_cache(maxsize=16_384)
def sentences(text: str) -> tuple[str, ...]:
    return tuple(part for part in _SENTENCE.split(text.strip()) if part)


@lru_cache(maxsize=16_384)
def told(text: str) -> tuple[Told, ...]:
    """The values in a task's text, in order, each once."""
    spans = [(m.start(1), m.end(1), True) for m in _MARKED.finditer(text)]
    for match in _VALUE.finditer(text):
        if not any(start <= match.start() < end for start, end, _ in spans):
            spans.append((match.start(), match.end(), False))
    found: dict[str, Told] = {}
    counts: Counter[str] = Counter()
    for start, end, marked in sorted(spans):
        value = text[start:end]
        if value in found:
            continue
        kind = kind_of(value)
        before, after = _WORD.findall(text[:start].casefold()), _WORD.findall(text[end:].casefold())
        around = frozenset(word[:_STEM] for word in (*before[-_AROUND:], *after[:_AROUND]))
        found[value] = Told(value, kind, marked, counts[kind], around)
        counts[kind] += 1
    return tuple(found.values())


def kind_of(value: str) -> str:
    match = _VALUE.fullmatch(value)
    return (match.lastgroup or "phrase") if match else "phrase"


@lru_cache(maxsize=8192)
def shown(text: str) -> Shown:
    """An observation's values with the parts they play."""
    content = _content(text)
    if content is None:
        words = _WORD.findall(text.casefold())
        return Shown((), (), words[0] if words else "nothing", {}, {})
    rows = content if isinstance(content, list) else [content]
    leaves = tuple(
        Leaf(value, path, marks, number)
        for number, row in enumerate(rows)
        for value, path, marks in _leaves(row, (), frozenset(), _DEEP)
    )
    said = tuple(frozenset().union(*(stems(cell) for cell in _prose(row))) for row in rows)
    by_path: dict[tuple[str | int, ...], list[Leaf]] = {}
    by_text: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        by_path.setdefault(leaf.path, []).append(leaf)
        by_text.setdefault(leaf.text, []).append(leaf)
    return Shown(leaves, said, "rows" if rows else "nothing", by_path, by_text)


def _content(text: str) -> Any:
    """The structure that ``text`` is, possibly below a line of prose; None where it is none."""
    if len(text) > LONGEST:
        return None
    for part in (text, text.partition("\n")[2]):
        if part[:1] not in "[{(" or not part:
            continue
        for read in (ast.literal_eval, json.loads):
            try:
                return read(part)
            except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
                continue
    return None


def _leaves(
    value: Any, path: tuple[str | int, ...], marks: frozenset[str], deep: int
) -> Iterator[tuple[str, tuple[str | int, ...], frozenset[str]]]:
    if deep == 0:
        return
    if isinstance(value, dict):
        own = frozenset(str(key) for key in value) | _types_of(value)
        for key, part in value.items():
            yield from _leaves(part, (*path, str(key)), own, deep - 1)
    elif isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from _leaves(part, (*path, number), marks, deep - 1)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, (*path, "*"), marks, deep - 1)
    elif isinstance(value, str) and value:
        inner = loose_json(value) if value[0] in "[{" and len(value) <= LONGEST else None
        if isinstance(inner, list | dict):
            yield from _leaves(inner, path, marks, deep - 1)
        else:
            yield value, path, marks
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value), path, marks


def _types_of(value: dict[Any, Any]) -> frozenset[str]:
    return frozenset(f"{key}={said}" for key, said in value.items() if str(key).casefold() in ("type", "kind"))


def _types(marks: frozenset[str]) -> frozenset[str]:
    return frozenset(mark for mark in marks if "=" in mark)


def _prose(row: Any) -> list[str]:
    cells = row if isinstance(row, tuple | list) else [row]
    return [cell for cell in cells if isinstance(cell, str) and cell[:1] not in ("[", "{")]


def ranks(wanted: frozenset[str], rows: Sequence[frozenset[str]]) -> list[int]:
    """The place of each row by how much of ``wanted`` it says, from 0; words that few rows have count more."""
    common = Counter(word for row in rows for word in row)
    scores = [sum(math.log(1 + len(rows) / common[word]) for word in sorted(wanted & row)) for row in rows]
    order = sorted(range(len(rows)), key=lambda number: (-scores[number], number))
    return [place for _, place in sorted((number, place) for place, number in enumerate(order))]
