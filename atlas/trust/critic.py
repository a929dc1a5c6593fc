"""How good a judge of steps is: what it said during episodes whose end is known, against that end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from math import log
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.records import Record
from atlas.stats import Interval, bounded_mean
from atlas.stats.resampling import bounded, cluster_counts
from atlas.stats.scores import auroc_beyond, ordered_pairs, unit_ratio

THIRDS = ("first", "second", "last")
SAME_STEP = "same step"
ALL = "all arms"
_LEAST = 1e-7
"""A chance nearer to 0 or 1 than this counts as this far from it, so that no loss is infinite."""

Floats = NDArray[np.float64]


class Foretold(NamedTuple):
    """An episode and what the judge said of it."""

    arm: str
    task: str
    success: bool
    chances: tuple[float, ...]
    """After each action, in order: the probability that the episode succeeds."""


class CriticRow(Record):
    """The judge on one part of the episodes of an arm.

    The parts are the thirds of each episode, where an episode's chance is the mean over the steps, so that a long
    episode counts no more than a short one; and ``same step``, where all steps are looked at and each is compared with
    those of the same number in other episodes. Thirds are cut when the end is known, and failures are longer as a rule:
    a third of a failure lies later, so that much can be told by counting. At the same step it cannot.

    Intervals are 95 %, percentile bootstraps over tasks; those of AUROCs count episodes as ``n``, that of the loss
    tasks. A judge that makes no mistake has an AUROC of 1 with a width of 0, which is honest about the sample only;
    with one task its interval is [0, 1].
    """

    arm: str
    part: str
    """``first``, ``second`` or ``last`` third; ``same step``."""
    episodes: int
    """Those with a step in this part."""
    tasks: int
    succeeded: int
    auroc: Interval | None
    """The chance that a successful episode is given more than a failed one, ties half (Hanley and McNeil 1982). At the
    same step: over all pairs of a success and a failure that both came so far. None where there is no pair."""
    clock: Interval | None
    """The same of a judge that only counts steps, fewer being better: the control of the thirds. None at the same step,
    where it guesses."""
    loss: Interval
    """The logistic loss, ``-log`` of the chance given to what came: the mean over the steps, episodes, then tasks."""
    base: float
    """The same mean of the loss of always saying the share of these episodes that succeeded."""


def critic_rows(judged: Iterable[Foretold], *, resamples: int = 2_000, seed: int = 0) -> list[CriticRow]:
    """Four rows per arm in order of first appearance, and four for all of them where there are several. A third in
    which no episode has a step has no row."""
    arms: dict[str, list[Foretold]] = defaultdict(list)
    for episode in judged:
        arms[episode.arm].append(episode)
    if len(arms) > 1:
        arms[ALL] = [episode for found in arms.values() for episode in found]
    rows = []
    for arm, episodes in arms.items():
        for number, part in enumerate((*THIRDS, SAME_STEP)):
            found = [(e, third_of(len(e.chances), number)) for e in episodes]
            if part == SAME_STEP:
                found = [(e, range(len(e.chances))) for e in episodes]
            if any(steps for _, steps in found):
                rows.append(_row(arm, part, [(e, steps) for e, steps in found if steps], resamples, seed))
    return rows


def third_of(steps: int, number: int) -> range:
    """The indices of an episode's first (``number`` 0), second or last third; an episode of two steps has no last."""
    return range(-(-steps * number // 3), -(-steps * (number + 1) // 3))


def _row(arm: str, part: str, found: Sequence[tuple[Foretold, range]], resamples: int, seed: int) -> CriticRow:
    names = {name: index for index, name in enumerate(dict.fromkeys(e.task for e, _ in found))}
    won = np.array([e.success for e, _ in found], dtype=float)
    drawn = cluster_counts(len(names), resamples=resamples, seed=seed)
    # How often each episode counts: once as it was, then in each resample.
    times = np.concatenate([np.ones((1, len(names))), drawn])[:, np.array([names[e.task] for e, _ in found])]
    clock: Interval | None = None
    if part == SAME_STEP:
        longest = max(len(steps) for _, steps in found)
        here = [[i for i, (_, steps) in enumerate(found) if step in steps] for step in range(longest)]
        told = [(np.array([found[i][0].chances[step] for i in at]), np.array(at)) for step, at in enumerate(here)]
    else:
        everyone = np.arange(len(found))
        told = [(np.array([fmean(e.chances[i] for i in steps) for e, steps in found]), everyone)]
        clock = _auroc([(np.array([-fmean(steps) for _, steps in found]), everyone)], won, times, len(names))
    losses: dict[str, list[float]] = defaultdict(list)
    bases: dict[str, list[float]] = defaultdict(list)
    for e, steps in found:
        losses[e.task].append(fmean(_loss(e.chances[i], e.success) for i in steps))
        bases[e.task].append(_loss(float(won.mean()), e.success))
    auroc = _auroc(told, won, times, len(names))
    return CriticRow(
        arm=arm,
        part=part,
        episodes=len(found),
        tasks=len(names),
        succeeded=int(won.sum()),
        auroc=auroc,
        clock=clock,
        loss=bounded_mean(
            [fmean(values) for values in losses.values()], within=(0.0, -log(_LEAST)), resamples=resamples, seed=seed
        ),
        base=fmean(fmean(values) for values in bases.values()),
    )


def _auroc(told: Sequence[tuple[Floats, NDArray[np.int_]]], won: Floats, times: Floats, tasks: int) -> Interval | None:
    """Over the pairs within each group of ``told``, which is scores and whose they are; both of shape (members,).

    ``times``: how often each episode counts, shape (1 + resamples, episodes). The first row gives the estimate.
    """
    above, pairs = np.zeros(len(times)), np.zeros(len(times))
    for scores, members in told:
        higher, all_of_them = ordered_pairs(times[:, members], won[members], scores)
        above += higher
        pairs += all_of_them
    if not pairs[0]:
        return None
    # A resample in which all ended alike tells nothing.
    areas = unit_ratio(above, pairs)
    beyond = partial(auroc_beyond, float(areas[0]), float(won.mean()))
    return bounded(float(areas[0]), areas[1:], len(won), clusters=tasks, worst=beyond)


def _loss(chance: float, success: bool) -> float:
    return -log(min(1.0 - _LEAST, max(_LEAST, chance if success else 1.0 - chance)))
