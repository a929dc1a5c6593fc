"""What foresight is worth on groups of tasks that it has not seen: how well it tells successes from failures, and
whether what it states is what happens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.chances.folding import folded
from atlas.chances.foresight import STAGES, Past, learn
from atlas.protocols import Embedder
from atlas.records import Record
from atlas.stats import Interval, wilson
from atlas.stats.resampling import bounded, cluster_counts
from atlas.stats.scores import aurocs, calibration_error

Floats = NDArray[np.float64]

EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)
"""Of the bins of a reliability table."""


class Stated(NamedTuple):
    """A chance that was stated of an episode, and how that ended."""

    task: str
    student: str
    chance: float
    success: float


class Bin(Record):
    """Episodes of which about the same chance was stated."""

    low: float
    high: float
    stated: float
    """The mean."""
    happened: Interval
    """The share that succeeded."""


class Quality(Record):
    """Of chances stated after so many steps."""

    after: int
    episodes: int
    tasks: int
    base: float
    """The share that succeeded."""
    auroc: Interval
    """Resampled by task: its episodes of several students stay together."""
    by_student: dict[str, float]
    """The same within the episodes of each student."""
    ece: float
    """Expected calibration error, in ten bins of equal width."""
    bins: tuple[Bin, ...]


def foreseen(past: Sequence[Past], embedder: Embedder, *, stages: Sequence[int] = STAGES) -> dict[int, list[Stated]]:
    """By stage: the chance of each episode that was still going, learned from other groups."""
    found: dict[int, list[Stated]] = {}
    for rest, held in folded([one.group for one in past], [one.task for one in past]):
        made = learn([past[i] for i in rest], embedder, stages=stages)
        for one in (past[i] for i in held):
            for stage in made.stages:
                if not stage.after or len(one.turns) > stage.after:
                    chance = made.chance(one.goal, one.turns[: stage.after], one.student, embedder)
                    found.setdefault(stage.after, []).append(Stated(one.task, one.student, chance, one.success))
    return found


def quality(stated: Sequence[Stated], after: int = 0, *, resamples: int = 2_000, seed: int = 0) -> Quality:
    """Figures of ``stated``, which is some."""
    chance, right = np.array([s.chance for s in stated]), np.array([s.success for s in stated])
    names = {task: place for place, task in enumerate(dict.fromkeys(s.task for s in stated))}
    place = np.array([names[s.task] for s in stated])
    drawn = cluster_counts(len(names), resamples=resamples, seed=seed)[:, place]
    value = float(aurocs(np.ones((1, len(stated))), right, chance)[0])
    who = np.array([s.student for s in stated])
    return Quality(
        after=after,
        episodes=len(stated),
        tasks=len(names),
        base=float(right.mean()),
        auroc=bounded(value, aurocs(drawn, right, chance), len(stated), clusters=len(names)),
        by_student={
            student: float(
                aurocs(np.ones((1, int((who == student).sum()))), right[who == student], chance[who == student])[0]
            )
            for student in dict.fromkeys(who.tolist())
        },
        ece=calibration_error(chance, right, bins=10) or 0.0,
        bins=reliability(stated),
    )


def reliability(stated: Sequence[Stated]) -> tuple[Bin, ...]:
    """Stated chances against what happened. Runs of one task are not independent: the intervals are narrow where
    several students played the same tasks."""
    found = []
    for low, high in pairwise(EDGES):
        here = [s for s in stated if low <= s.chance < high or (s.chance == high == 1.0)]
        if here:
            found.append(
                Bin(
                    low=low,
                    high=high,
                    stated=float(np.mean([s.chance for s in here])),
                    happened=wilson(sum(s.success for s in here), len(here)),
                )
            )
    return tuple(found)
