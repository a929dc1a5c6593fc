"""What can be told of a demonstration that was found, beside the others, without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log1p

from atlas.compression.pieces import tokens, words
from atlas.entities import skeleton
from atlas.goals import align, classes
from atlas.records import DemoStep, View, Window

Row = tuple[float, ...]
"""A number for each of :data:`OF_WINDOWS`."""

OF_WINDOWS = (
    "likeness",
    "rank",
    "goal shared",
    "goal besides",
    "goal differs",
    "goal done",
    "goal seen",
    "here seen",
    "action before",
    "place",
    "steps",
    "tokens",
    "repeats",
    "usual",
)
"""What is known of a demonstration; see :func:`features`."""


def features(windows: Sequence[Window], view: View) -> tuple[Row, ...]:
    """Of each of ``windows``, in the order in which they were found, a number for each of :data:`OF_WINDOWS`.

    *likeness* is the score that retrieval gave it, *rank* the logarithm of its place. Of the words of the reader's
    goal, *goal shared* is how much stands in its goal, *goal done* in its actions, *goal seen* in its observations;
    *goal besides* is how much of its goal's words the reader's has not, *goal differs* the logarithm of the words that
    differ once other things stand in place of things. *here seen* is how much of the words that the reader sees now
    stands in what was seen at its best match; *action before* is how much of the words of the reader's last action
    stands in the action before that; *place* is how far apart the two are in their episodes. *steps* and *tokens* are
    logarithms of what it takes; *repeats* is the share of its actions that it had done before, *usual* how much of what
    it does the others do, things aside.
    """
    kinds = [_kinds(window.steps) for window in windows]
    goal, here = words(view.task.goal), words(view.observation)
    last = words(view.turns[-1].action) if view.turns else frozenset[str]()
    rows = []
    for n, window in enumerate(windows):
        steps, theirs = window.steps, words(window.goal)
        done, seen = _said(steps)
        before = steps[window.best - 1].action if window.best else ""
        others = [kind for m, kind in enumerate(kinds) if m != n]
        rows.append(
            (
                window.score,
                log1p(n),
                _share(goal, theirs),
                1.0 - _share(theirs, goal) if theirs else 0.0,
                log1p(align(window.goal, view.task.goal, classes(steps))[1]),
                _share(goal, done),
                _share(goal, seen),
                _share(here, words(steps[window.best].observation)),
                _share(last, words(before)),
                log1p(abs(window.start + window.best - view.index)),
                log1p(len(steps)),
                log1p(tokens(window)),
                1.0 - len({step.action for step in steps}) / len(steps),
                sum(_share(kinds[n], other) for other in others) / len(others) if others else 0.0,
            )
        )
    return tuple(rows)


@lru_cache(maxsize=4096)
def _kinds(steps: tuple[DemoStep, ...]) -> frozenset[str]:
    """What is done in them, things aside."""
    return frozenset(skeleton(step.action) for step in steps)


@lru_cache(maxsize=4096)
def _said(steps: tuple[DemoStep, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """The words of their actions, and those of their observations."""
    return (
        frozenset[str]().union(*(words(step.action) for step in steps)),
        frozenset[str]().union(*(words(step.observation) for step in steps)),
    )


def _share(of: frozenset[str], those: frozenset[str]) -> float:
    return len(of & those) / len(of) if of else 0.0
