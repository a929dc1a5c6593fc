"""What stands in whatever a pattern finds: texts of which one has to be there, read off the pattern.

Looking for a word takes a hundredth of what looking for a pattern does, so that a rule whose words are not there is not
run. A pattern of which nothing can be said is run on everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

try:  # the standard library's own parser, without a public name
    from re import _constants as _codes  # type: ignore[attr-defined]
    from re import _parser  # type: ignore[attr-defined]
except ImportError:  # pragma: no cover - a Python that has it elsewhere: nothing is said, and all is run
    _parser = _codes = None

_MOST = 24
"""Texts in place of one: more are no quicker to look for than the pattern."""
_EVERYWHERE = frozenset(
    "all and any are for from has have not one open see take task the that this was what will with you your".split()
)
"""Words that stand in every other text: better none of these."""
Needs = frozenset[str]


def needs_of(pattern: re.Pattern[str]) -> Needs | None:
    """Texts of which at least one is a part of each match of ``pattern``; None where nothing can be said. For patterns
    that tell upper from lower case."""
    if _parser is None or pattern.flags & re.IGNORECASE:
        return None
    return _of_all(_parser.parse(pattern.pattern, pattern.flags))


def _of_all(parts: Iterable[tuple[Any, Any]]) -> Needs | None:
    """Of parts that follow one another: the best of what any of them needs."""
    found: list[Needs] = []
    word = ""
    for code, given in parts:
        if code is _codes.LITERAL:
            word += chr(given)
            continue
        if word:
            found.append(frozenset([word]))
            word = ""
        if (needs := _of(code, given)) is not None:
            found.append(needs)
    if word:
        found.append(frozenset([word]))
    return max(found, key=_worth, default=None)


def _of(code: Any, given: Any) -> Needs | None:
    if code is _codes.SUBPATTERN:
        return None if given[1] & re.IGNORECASE else _of_all(given[-1])
    if code is _codes.BRANCH:
        return _either([_of_all(branch) for branch in given[1]])
    if code is _codes.IN:
        letters = all(one is _codes.LITERAL for one, _ in given)
        return _either([frozenset([chr(letter)]) for _, letter in given]) if letters else None
    if code in (_codes.MAX_REPEAT, _codes.MIN_REPEAT, _codes.POSSESSIVE_REPEAT):
        least, _, inner = given
        return _of_all(inner) if least else None
    return _of_all(given) if code is _codes.ATOMIC_GROUP else None


def _either(ways: Sequence[Needs | None]) -> Needs | None:
    known = [way for way in ways if way is not None]
    if len(known) < len(ways):
        return None
    every = frozenset[str]().union(*known)
    # What holds another of them is found with it.
    least = frozenset(one for one in every if not any(other in one for other in every if other != one))
    return least if len(least) <= _MOST else None


def _worth(needs: Needs) -> tuple[bool, bool, int, int]:
    """Long words are rare, and few are quick to look for; a letter or two stand everywhere."""
    return min(map(len, needs)) > 2, needs.isdisjoint(_EVERYWHERE), min(4, *map(len, needs)), -len(needs)
