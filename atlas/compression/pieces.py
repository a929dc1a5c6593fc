"""What a demonstration can be cut into: an action with what it brought about, and clauses of what was long to read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import log1p

from atlas.records import DemoStep, Window
from atlas.tokens import estimate_tokens

LEFT_OUT = "..."
"""Stands in the place of a long observation of which nothing stays."""
LONG = 40
"""Tokens up to which an observation stays whole or not at all, so that it reads as others of its kind do."""

_ENDS = re.compile(r"[.;,!?:]\s+|\n+")
_WORDS = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")
_FEW = frozenset(
    "a an and as at by for from in into is it its of on or that the then this to was with you your".split()
)

Row = tuple[float, ...]
"""A number for each of :data:`OF_ACTIONS` or of :data:`OF_PIECES`."""

OF_ACTIONS = ("any", "tokens", "goal", "task", "used later", "shows", "place", "repeats")
OF_PIECES = ("any", "tokens", "next", "later", "goal", "task", "opening", "first", "repeats")
"""What is known of an action with what it brought about, and of a piece; see :func:`features`."""


@lru_cache(maxsize=16_384)
def pieces(observation: str, long: int = LONG) -> tuple[str, ...]:
    """``observation`` in pieces, which joined are the whole: each up to a comma or the like before a space, or a line.
    None of one that takes no more than ``long`` tokens."""
    if piece_tokens(observation) <= long:
        return ()
    ends = [0, *(found.end() for found in _ENDS.finditer(observation))]
    if ends[-1] < len(observation):
        ends.append(len(observation))
    return tuple(observation[a:b] for a, b in pairwise(ends))


@dataclass(frozen=True)
class Stay:
    """What of a demonstration stays."""

    actions: tuple[bool, ...]
    """Each action with the observation after it; the last one and that of the best match always do."""
    pieces: tuple[tuple[bool, ...], ...]
    """Of each observation, each of its :func:`pieces`."""

    @classmethod
    def whole(cls, window: Window, long: int = LONG) -> Stay:
        of_pieces = tuple((True,) * len(pieces(step.observation, long)) for step in window.steps)
        return cls((True,) * len(window.steps), of_pieces)


def fixed(window: Window) -> frozenset[int]:
    """The places of the actions that always stay."""
    return frozenset((len(window.steps) - 1, window.best))


def to_the_end(window: Window) -> Window:
    """A whole trajectory, of which no step is the match: nothing of it has to stay but its end."""
    return window.replace(best=len(window.steps) - 1)


def cut(window: Window, stay: Stay, long: int = LONG) -> Window:
    """``window`` with what stays, where observations of more than ``long`` tokens are in pieces. An action is then seen
    after what the action before it brought about of those that stay."""
    if stay == Stay.whole(window, long):
        return window
    seen = [shorter(s.observation, flags, long) for s, flags in zip(window.steps, stay.pieces, strict=True)]
    kept = [n for n, flag in enumerate(stay.actions) if flag or n in fixed(window)]
    before = [0, *(n + 1 for n in kept[:-1])]
    steps = tuple(
        window.steps[n] if window.steps[n].observation == seen[b] else window.steps[n].replace(observation=seen[b])
        for n, b in zip(kept, before, strict=True)
    )
    return window.replace(steps=steps, best=kept.index(window.best))


def shorter(observation: str, flags: Sequence[bool], long: int = LONG) -> str:
    """``observation`` with those of its pieces that stay."""
    if all(flags):
        return observation
    kept = "".join(piece for piece, flag in zip(pieces(observation, long), flags, strict=True) if flag)
    return kept.rstrip(", \n") or LEFT_OUT


@lru_cache(maxsize=4096)
def features(steps: tuple[DemoStep, ...], goal: str, task: str) -> tuple[tuple[Row, ...], tuple[tuple[Row, ...], ...]]:
    """Of each action with the observation after it a number for each of :data:`OF_ACTIONS`, and of each piece of each
    observation one for each of :data:`OF_PIECES`.

    ``goal`` is the demonstration's, ``task`` that of whoever reads it. *any* is 1; *tokens* the logarithm of what it
    takes; *goal* and *task* how much of their words it holds, by their rarity in the demonstration. Of an action, *used
    later* is how much of its words some later action has, *shows* how much of some later action's words the observation
    after it has; of a piece, *next* how much of the next action's words it has and *later* of any later one's;
    *opening* and *first* whether it belongs to what is seen first, and whether it begins an observation. *place* is how
    far on it is, 0 to 1; *repeats* whether the same was done or said before, numbers aside.
    """
    texts = [text for step in steps for text in (step.action, step.observation)]
    often = Counter(word for text in texts for word in words(text))
    actions = [words(step.action) for step in steps]
    wanted, ours = words(goal), words(task)
    done: set[str] = set()
    of_actions = []
    for n, step in enumerate(steps):
        after = words(steps[n + 1].observation) if n + 1 < len(steps) else frozenset[str]()
        both = actions[n] | after
        of_actions.append(
            (
                1.0,
                log1p(exchange_tokens(steps, n)),
                share(wanted, both, often),
                share(ours, both, often),
                max((share(actions[n], later, often) for later in actions[n + 1 :]), default=0.0),
                max((share(later, after, often) for later in actions[n + 1 :]), default=0.0),
                n / max(1, len(steps) - 1),
                float(_plain(step.action) in done),
            )
        )
        done.add(_plain(step.action))
    said: set[str] = set()
    of_pieces = []
    for n, step in enumerate(steps):
        rows = []
        for at, piece in enumerate(pieces(step.observation)):
            there = words(piece)
            rows.append(
                (
                    1.0,
                    log1p(piece_tokens(piece)),
                    share(actions[n], there, often),
                    max((share(later, there, often) for later in actions[n + 1 :]), default=0.0),
                    share(wanted, there, often),
                    share(ours, there, often),
                    float(n == 0),
                    float(at == 0),
                    float(_plain(piece) in said),
                )
            )
            said.add(_plain(piece))
        of_pieces.append(tuple(rows))
    return tuple(of_actions), tuple(of_pieces)


def tokens(window: Window) -> int:
    """About the tokens that it takes, its goal and plan left aside."""
    return sum(piece_tokens(step.action) + 2 + piece_tokens(step.observation) for step in window.steps)


def exchange_tokens(steps: Sequence[DemoStep], n: int, long: int = LONG) -> int:
    """About the tokens of an action and of the observation after it, where that is not one of pieces."""
    after = steps[n + 1].observation if n + 1 < len(steps) else ""
    return piece_tokens(steps[n].action) + 2 + (1 if pieces(after, long) else piece_tokens(after))


@lru_cache(maxsize=16_384)
def piece_tokens(piece: str) -> int:
    return estimate_tokens(piece)


@lru_cache(maxsize=16_384)
def words(text: str) -> frozenset[str]:
    """Those of ``text`` that say something, in small letters."""
    return frozenset(_WORDS.findall(text.casefold())) - _FEW


def _plain(text: str) -> str:
    return _DIGITS.sub("#", text.casefold()).strip()


def share(of: frozenset[str], those: frozenset[str], often: Counter[str]) -> float:
    """How much of the words ``of`` stands in ``those``; one that stands nowhere in the demonstration does not count,
    and one that stands in many places counts little."""
    whole = sum(1 / often[word] for word in of if often[word])
    return sum(1 / often[word] for word in of & those) / whole if whole else 0.0
