"""How alike two goals are: one laid beside the other, word by word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING

from atlas.entities import entities
from atlas.records import DemoStep, View, Window

if TYPE_CHECKING:
    from atlas.protocols import Demonstrations

CANDIDATES = 40
"""Demonstrations that an embedder finds likest, of which the words of the goal choose: what is likest as a sentence may
be another kind of task."""

_WORD = re.compile(r"[a-z]+")


@lru_cache(maxsize=16_384)
def align(theirs: str, ours: str, classes: frozenset[str]) -> tuple[tuple[tuple[str, str], ...], int]:
    """Lay one goal beside another.

    Returns the pairs (their class, our class) for the words of their goal that are entity classes (``classes``: all
    that their episode mentions), and how many words differ for no such reason: 0 is the same task about other things.
    """
    a, b = _WORD.findall(theirs.casefold()), _WORD.findall(ours.casefold())
    pairs: list[tuple[str, str]] = []
    odd = 0
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind in ("equal", "replace") and i2 - i1 == j2 - j1:
            for x, y in zip(a[i1:i2], b[j1:j2], strict=True):
                if x in classes:
                    pairs.append((x, y))
                elif x != y:
                    odd += 1
        else:
            odd += max(i2 - i1, j2 - j1)
            pairs.extend((x, "") for x in a[i1:i2] if x in classes)
    return tuple(pairs), odd


@lru_cache(maxsize=4096)
def classes(steps: tuple[DemoStep, ...]) -> frozenset[str]:
    """The classes of the things that these steps mention."""
    return frozenset(kind for s in steps for kind, _ in entities(s.observation) + entities(s.action))


def likest(windows: Sequence[Window], goal: str, k: int) -> tuple[Window, ...]:
    """The ``k`` windows whose goals differ from ``goal`` in the fewest words, other things put in place of things not
    counted; of equally many, those that came first."""
    return tuple(sorted(windows, key=lambda window: align(window.goal, goal, classes(window.steps))[1])[:k])


def lasting(demos: Demonstrations, view: View, k: int) -> tuple[Window, ...]:
    """The ``k`` demonstrations for a whole episode: those found at its beginning, or that would have been found there,
    whole, best first."""
    return likest(demos.similar(view.replace(turns=()), max(k, CANDIDATES)), view.task.goal, k)
