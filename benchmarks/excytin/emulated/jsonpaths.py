"""Paths into JSON: ``$``, then members, indexes, ranges and wildcards."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import NamedTuple

from atlas.benchmarks.excytin.engine import SqlError

_LEG = re.compile(
    r'(?:(\*\*)|\.(?:"((?:[^"\\]|\\.)*+)"|([A-Za-z_$\u0080-\uffff][\w$-]*)|(\*))'
    r"|\[(?:(\*)|(\d{1,9}|last(?:-\d{1,9})?|-\d{1,9})(?: to (\d{1,9}|last(?:-\d{1,9})?))?)\])"
)


class Leg(NamedTuple):
    """A step: ``.`` to a member, ``[]`` to items between two indexes, ``.*``, ``[*]`` and ``**`` to many."""

    kind: str
    name: str = ""
    first: int = 0
    last: int = 0


class Path(NamedTuple):
    legs: tuple[Leg, ...]
    many: bool
    """Whether it may find several values."""


@lru_cache(256)
def path_of(text: str) -> Path:
    """SqlError: it is no path."""
    path = re.sub(r"\s+(?=[.\[\]])|(?<=[.\[])\s+", "", text.strip())
    if not path.startswith("$"):
        raise _bad(1)
    at, legs, many = 1, [], False
    while at < len(path):
        leg = _LEG.match(path, at)
        if leg is None:
            raise _bad(at)
        deep, quoted, name, members, items, first, last = leg.groups()
        many = many or bool(deep or members or items or last)
        if deep:
            legs.append(Leg("**"))
        elif members or items:
            legs.append(Leg(".*" if members else "[*]"))
        elif first is not None:
            begin = _index(first)
            legs.append(Leg("[]", first=begin, last=_index(last) if last else begin))
        else:
            legs.append(Leg(".", json.loads(f'"{quoted}"') if quoted is not None else name))
        at = leg.end()
    if legs and legs[-1].kind == "**":
        raise _bad(len(path))
    return Path(tuple(legs), many)


def _index(text: str) -> int:
    if text.startswith("last"):
        return -1 - int(text[5:] or 0)
    return int(text)


def _bad(at: int) -> SqlError:
    return SqlError("ProgrammingError", f"Invalid JSON path expression. The error is around character position {at}.")
