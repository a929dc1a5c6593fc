"""REGEXP and LIKE. Patterns are the agents' own: a search is ended at the query's limit of time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from atlas.benchmarks.excytin.emulated.collations import folded
from atlas.benchmarks.excytin.emulated.texts import bounded
from atlas.benchmarks.excytin.engine import SqlError, too_slow


class Patterns:
    """The functions that search with regular expressions."""

    def __init__(self) -> None:
        self.deadline = float("inf")
        """``time.monotonic()`` at which a pattern that is still searching is given up."""

    def matches(self, text: str, pattern: str, how: str, flags: str = "") -> int:
        return int(next(self._found(text, pattern, how, flags), None) is not None)

    def instr(self, text: str, pattern: str, how: str) -> int:
        found = next(self._found(text, pattern, how), None)
        return found.start() + 1 if found else 0

    def substr(self, text: str, pattern: str, how: str) -> str | None:
        found = next(self._found(text, pattern, how), None)
        return str(found[0]) if found else None

    def replace(self, text: str, pattern: str, new: str, how: str) -> str | None:
        parts: list[str] = []
        at = 0
        for found in self._found(text, pattern, how):
            parts += [text[at : found.start()], _expanded(new, found)]
            at = found.end()
        return bounded("".join([*parts, text[at:]]))

    def _found(self, text: str, pattern: str, how: str, flags: str = "") -> Iterator[Any]:
        import regex

        left = max(0.001, self.deadline - time.monotonic())
        try:
            options = regex.V0 | (0 if how == "b" or "c" in flags else regex.IGNORECASE)
            compiled = regex.compile(pattern, options)
            yield from compiled.finditer(text, timeout=left if left < 1e9 else None)
        except regex.error as error:
            raise SqlError("DatabaseError", f"Illegal argument to a regular expression: {error.msg}") from error
        except TimeoutError as error:
            raise too_slow() from error


def _expanded(new: str, found: Any) -> str:
    """A replacement with ``\\1`` in it."""
    parts: list[str] = []
    at = 0
    while at < len(new):
        if new[at] == "\\" and at + 1 < len(new):
            at += 1
            digit = new[at]
            if digit in "0123456789":
                parts.append((found[int(digit)] or "") if int(digit) <= found.re.groups else "")
            else:
                parts.append(digit)
        else:
            parts.append(new[at])
        at += 1
    return "".join(parts)


@lru_cache(1024)
def _parts(pattern: str, escape: str, how: str) -> tuple[tuple[str | None, ...], ...]:
    """What stands between percent signs, character by character; None is any character."""
    parts: list[list[str | None]] = [[]]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == escape and at + 1 < len(pattern):
            at += 1
            parts[-1].append(folded(pattern[at], how))
        elif char == "%":
            parts.append([])
        else:
            parts[-1].append(None if char == "_" else folded(char, how))
        at += 1
    return tuple(map(tuple, parts))


def like(text: str, pattern: str, escape: str, how: str) -> int:
    """Whether a text is as a pattern says: ``%`` is any text, ``_`` a character.

    After each ``%`` the next part is taken where it first stands, for good, so the time is bounded by the two lengths.
    """
    text = folded(text, how)
    first, *rest = _parts(pattern, escape, how)
    if not rest:
        return int(len(text) == len(first) and _stands(first, text, 0))
    if not _stands(first, text, 0):
        return 0
    at, last = len(first), rest.pop()
    for part in rest:
        found = _find(part, text, at)
        if found < 0:
            return 0
        at = found + len(part)
    begin = len(text) - len(last)
    return int(begin >= at and _stands(last, text, begin))


def _stands(part: tuple[str | None, ...], text: str, at: int) -> bool:
    return len(text) - at >= len(part) and all(
        wanted is None or wanted == found for wanted, found in zip(part, text[at : at + len(part)], strict=True)
    )


def _find(part: tuple[str | None, ...], text: str, at: int) -> int:
    """Where a part first stands from a place on; -1 where it does not."""
    if None not in part:
        return text.find("".join(filter(None, part)), at)
    return next((place for place in range(at, len(text) - len(part) + 1) if _stands(part, text, place)), -1)
