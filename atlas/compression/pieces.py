"""What a demonstration can be cut into: clauses and lines of what was observed. Its actions always stay."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import log1p

from atlas.records import DemoStep, Window
from atlas.tokens import estimate_tokens

LEFT_OUT = "..."
"""Stands in the place of an observation of which nothing stays."""

_ENDS = re.compile(r"[.;,!?:]\s+|\n+")
_WORDS = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")
_FEW = frozenset(
    "a an and as at by for from in into is it its of on or that the then this to was with you your".split()
)

Row = tuple[float, ...]
"""A number for each of :data:`FEATURES`."""

FEATURES = (
    "any", "tokens", "next", "same action", "later", "goal", "task", "opening", "first", "last step", "place", "repeats"
)  # fmt: skip
"""What is known of a piece; see :func:`features`."""


@lru_cache(maxsize=16_384)
def pieces(observation: str) -> tuple[str, ...]:
    """``observation`` in pieces, which joined are the whole: up to a comma or the like before a space, or a line."""
    ends = [0, *(found.end() for found in _ENDS.finditer(observation))]
    if ends[-1] < len(observation):
        ends.append(len(observation))
    return tuple(observation[a:b] for a, b in pairwise(ends))


def cut(window: Window, stay: Sequence[Sequence[bool]]) -> Window:
    """``window`` with those pieces of its observations that ``stay``, a flag for each piece of each step."""
    steps = []
    for step, flags in zip(window.steps, stay, strict=True):
        kept = "".join(piece for piece, flag in zip(pieces(step.observation), flags, strict=True) if flag)
        text = kept.rstrip(", \n") or (LEFT_OUT if step.observation else "")
        steps.append(step if all(flags) else step.replace(observation=text))
    return window.replace(steps=tuple(steps))


@lru_cache(maxsize=4096)
def features(
    steps: tuple[DemoStep, ...], start: int, goal: str, task: str
) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Of each piece of each step, a number for each of :data:`FEATURES`.

    ``goal`` is the demonstration's, ``task`` that of whoever reads it. *any* is 1; *tokens* the logarithm of what it
    takes; *next* how much of the next action's words it holds, by their rarity among the pieces, *later* of any later
    one's, *goal* of the demonstration's, *task* of the reader's, *same action* of the action that it answers; *opening*
    and *first* whether it belongs to what is seen first of all, and whether it begins an observation; *last step*
    whether the demonstration's last action follows; *place* how far on it is, 0 to 1; *repeats* whether the same was
    said before, numbers aside.
    """
    actions = [_words(step.action) for step in steps]
    wanted, ours = _words(goal), _words(task)
    said: set[str] = set()
    found = []
    often = Counter(word for step in steps for piece in pieces(step.observation) for word in _words(piece))
    for number, step in enumerate(steps):
        rows = []
        for at, piece in enumerate(pieces(step.observation)):
            words = _words(piece)
            plain = _DIGITS.sub("#", piece.casefold()).strip()
            rows.append(
                (
                    1.0,
                    log1p(piece_tokens(piece)),
                    _share(actions[number], words, often),
                    _share(actions[number - 1], words, often) if number else 0.0,
                    max((_share(action, words, often) for action in actions[number + 1 :]), default=0.0),
                    _share(wanted, words, often),
                    _share(ours, words, often),
                    float(start + number == 0),
                    float(at == 0),
                    float(number == len(steps) - 1),
                    number / max(1, len(steps) - 1),
                    float(plain in said),
                )
            )
            said.add(plain)
        found.append(tuple(rows))
    return tuple(found)


def tokens(window: Window) -> int:
    """About the tokens that it takes, its goal and plan left aside."""
    return sum(action_tokens(step) + sum(map(piece_tokens, pieces(step.observation))) for step in window.steps)


@lru_cache(maxsize=16_384)
def piece_tokens(piece: str) -> int:
    return estimate_tokens(piece)


def action_tokens(step: DemoStep) -> int:
    return piece_tokens(step.action) + 2


@lru_cache(maxsize=16_384)
def _words(text: str) -> frozenset[str]:
    return frozenset(_WORDS.findall(text.casefold())) - _FEW


def _share(of: frozenset[str], words: frozenset[str], often: Counter[str]) -> float:
    """How much of the words ``of`` stands in ``words``; one that stands in no piece at all does not count, and one
    that stands in many counts little."""
    whole = sum(1 / often[word] for word in of if often[word])
    return sum(1 / often[word] for word in of & words) / whole if whole else 0.0
