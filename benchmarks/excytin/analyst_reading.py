"""What a scripted analyst reads: the values in a question, the rows in an observation, the entities in an alert."""

from __future__ import annotations

import ast
import math
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from atlas.loose_json import loose_json

CUT = "Retrieved "
"""How an observation begins of which only the first rows are shown."""
_QUOTED = re.compile(r"`([^`]+)`")
_VALUES = (
    re.compile(r"https?://[^\s`'\",]+"),
    re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE),
    re.compile(r"\bS-1-\d+(?:-\d+)+\b"),
    re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+\b"),
    re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"),
    re.compile(
        r"\b[\w-]{1,120}\.(?:exe|ps1|dll|docm|xlsm|docx|xlsx|zip|7z|vbs|js|bat|lnk|aspx|jsp|kirbi)\b", re.IGNORECASE
    ),
    re.compile(r"\b[a-z][a-z0-9]*-[a-z]*\d+[a-z]*\b", re.IGNORECASE),
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d.*")
_WORD = re.compile(r"[a-z]{3,}")
_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z`])")
_STOP = frozenset(
    "the and was were has have had that this with from for are its which what who whom there their they them been "
    "being can you your provide identify find involved incident security alert alerts same attack part elsewhere also "
    "other activity activities associated related detected observed account name address following during into about "
    "potential potentially possible possibly indicating suspicious".split()
)
_STEM = 6
"""Letters of a word that count: ``downloaded`` and ``download`` are one word."""


_KNOWN_BY = (
    "Sid AadUserId UserPrincipalName HostName Address Url ProcessId CommandLine NetworkMessageId Subject AppId".split()
)


@dataclass(frozen=True)
class Found:
    """An alert that a query has shown."""

    id: str
    title: str
    description: str
    entities: tuple[dict[str, Any], ...] = field(hash=False)
    raw: str
    """The entities as they were shown; empty where they were not."""


def sentences(text: str) -> list[str]:
    return [part for part in _SENTENCE.split(text.strip()) if part]


def clues(text: str) -> list[str]:
    """Values in ``text`` that a query can look for, the most telling kinds first."""
    quoted = [value.strip() for value in _QUOTED.findall(text)]
    plain = [value for pattern in _VALUES for value in pattern.findall(text)]
    found = [value for value in dict.fromkeys([*plain, *quoted]) if len(value) > 2 and not _DATE.fullmatch(value)]
    return sorted(found, key=lambda value: (_rank(value), value not in quoted))


def _rank(value: str) -> int:
    kinds = (number for number, pattern in enumerate(_VALUES) if pattern.fullmatch(value))
    return next(kinds, len(_VALUES))


def searchable(value: str, longest: int = 120) -> str:
    """The longest part of ``value`` that stands as it is in SQL, in JSON and in the action's own form."""
    parts = re.split(r"[\\'\"%;`\[\]]|\s{2,}", value)
    return max((part.strip()[:longest] for part in parts), key=len)


@lru_cache(maxsize=4096)
def table_rows(text: str) -> tuple[tuple[Any, ...], ...] | None:
    """The rows of an observation; None where it is an error."""
    if text.startswith(CUT):
        text = text.partition("\n")[2]
    if not text.startswith("["):
        return None
    try:
        return tuple(row for row in ast.literal_eval(text) if isinstance(row, tuple))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


@lru_cache(maxsize=4096)
def alerts(text: str) -> tuple[Found, ...]:
    """The alerts of an observation whose rows are id, title, description and mostly entities; each once."""
    rows = table_rows(text) or ()
    whole = (row for row in rows if len(row) in (3, 4) and all(isinstance(cell, str) for cell in row))
    found = (Found(row[0], row[1], row[2], tuple(_entities("".join(row[3:]))), "".join(row[3:])) for row in whole)
    return tuple({alert.id: alert for alert in found}.values())


def with_entities(alert: Found, text: str) -> Found:
    """The alert with the entities in an observation whose rows are texts of them."""
    said = [row[0] for row in table_rows(text) or () if row and isinstance(row[0], str)]
    return replace(alert, entities=tuple(entity for one in said for entity in _entities(one)), raw="\n".join(said))


def _entities(text: str) -> Iterator[dict[str, Any]]:
    # The benchmark's tables went through CSV files, and lost the escapes.
    yield from _walk(loose_json(text))


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("Type"), str):
            yield value
        for part in value.values():
            yield from _walk(part)
    elif isinstance(value, list):
        for part in value:
            yield from _walk(part)


@lru_cache(maxsize=65_536)
def stems(text: str) -> frozenset[str]:
    """The words of ``text`` that say something, cut to their beginnings."""
    plain = _QUOTED.sub(" ", text).casefold()
    return frozenset(word[:_STEM] for word in _WORD.findall(plain) if word not in _STOP)


def likeness(asked: str, among: Sequence[Found]) -> list[float]:
    """How much of ``asked`` each alert's title and description say: words that few of the alerts use count more."""
    wanted = stems(asked)
    said = [(stems(alert.title), stems(alert.description)) for alert in among]
    common = Counter(word for title, rest in said for word in title | rest)
    weight = {word: math.log(1 + len(among) / count) for word, count in common.items()}
    return [
        sum(weight[word] * (1.0 if word in title else 0.6) for word in sorted(wanted & (title | rest)))
        for title, rest in said
    ]


@lru_cache(maxsize=65_536)
def values_of(alert: Found) -> frozenset[str]:
    """What the alert's entities are known by: two alerts with one of these in common are about the same thing."""
    return frozenset(
        str(entity[name]).casefold() for entity in alert.entities for name in _KNOWN_BY if entity.get(name)
    )


def mentions(alert: Found, values: Iterable[str]) -> int:
    """How many of ``values`` the alert's entities hold."""
    raw = alert.raw.casefold()
    return sum(searchable(value).casefold() in raw for value in values)


def distances(first: Found, among: Sequence[Found]) -> list[int]:
    """Steps over things in common from ``first`` to each alert; more than there are alerts where none leads there."""
    found = {first.id: 0}
    waiting = deque([first])
    while waiting:
        here = waiting.popleft()
        for other in among:
            if other.id not in found and values_of(here) & values_of(other):
                found[other.id] = found[here.id] + 1
                waiting.append(other)
    return [found.get(alert.id, len(among) + 1) for alert in among]
