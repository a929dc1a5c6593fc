"""How far a judge can be trusted: its scores against recorded verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from atlas.records import Record
from atlas.stats import Interval
from atlas.stats.resampling import bounded, bounded_rate, drawn
from atlas.stats.scores import bin_of, error_beyond, mean_gap

Floats = NDArray[np.float64]


class Judged(Record):
    """One case judged twice: by the judge under test, and by the verdict on record."""

    score: float | None
    """The judge's score in [0, 1]; None where it gave no verdict."""
    recorded: bool
    group: str
    """What the case is about: cases of one group (one question, several agents) are not independent."""


class Calibration(Record):
    """Agreement of a judge with recorded verdicts. Intervals are 95 %, resampled by group."""

    n: int
    """Cases that both judged."""
    groups: int
    missing: int
    """Cases without a verdict of the judge: in no rate."""
    accuracy: Interval
    kappa: Interval
    """Cohen's kappa (1960); 0 where a rater always says the same and chance explains all agreement."""
    ece: Interval
    """Expected calibration error of the score as the probability of success, equal-width bins (Naeini et al. 2015).
    Its resampled interval leans upwards: noise within bins never lowers it."""
    confusion: tuple[int, int, int, int]
    """True positives, false positives, false negatives, true negatives against the record."""


def calibrate(
    cases: Sequence[Judged], *, at_least: float = 0.5, bins: int = 10, resamples: int = 2_000, seed: int = 0
) -> Calibration:
    """Accuracy, kappa and expected calibration error; a score of ``at_least`` counts as success."""
    kept = [c for c in cases if c.score is not None]
    scores = np.array([c.score for c in kept], dtype=float)
    truth = np.array([c.recorded for c in kept], dtype=float)
    names = {name: index for index, name in enumerate(dict.fromkeys(c.group for c in kept))}
    groups = np.array([names[c.group] for c in kept], dtype=int)
    table = _table(scores >= at_least, truth, scores, groups, len(names), bins)
    counts = table.sum(axis=0)
    if not kept:
        nothing = Interval(mean=float("nan"), low=float("nan"), high=float("nan"), n=0)
        return Calibration(
            n=0, groups=0, missing=len(cases), accuracy=nothing, kappa=nothing, ece=nothing, confusion=(0, 0, 0, 0)
        )
    clusters = len(names)
    sums = drawn(lambda tables: tables.sum(axis=1), table, resamples=resamples, seed=seed)
    accuracy, kappa, ece = (float(f(counts[None])[0]) for f in (_accuracy, _kappa, partial(_error, bins=bins)))
    tp, fp, fn, tn = (int(c) for c in counts[:4])
    return Calibration(
        n=len(kept),
        groups=len(names),
        missing=len(cases) - len(kept),
        accuracy=bounded_rate(accuracy, _accuracy(sums), len(kept), clusters=clusters),
        kappa=bounded(
            kappa,
            _kappa(sums),
            len(kept),
            clusters=clusters,
            within=(-1.0, 1.0),
            worst=partial(_kappa_beyond, counts[:4] / len(kept)),
        ),
        ece=bounded(ece, _error(sums, bins), len(kept), clusters=clusters, worst=partial(error_beyond, ece)),
        confusion=(tp, fp, fn, tn),
    )


def _table(
    says: NDArray[np.bool_],
    truth: Floats,
    scores: Floats,
    groups: NDArray[np.int_],
    size: int,
    bins: int,
) -> Floats:
    """``(groups, 4 + 2 * bins)``: the confusion counts, then per bin the summed score and the summed truth."""
    table = np.zeros((size, 4 + 2 * bins))
    cell = np.where(says, np.where(truth > 0, 0, 1), np.where(truth > 0, 2, 3))
    np.add.at(table, (groups, cell), 1.0)
    which = bin_of(scores, bins)
    np.add.at(table, (groups, 4 + which), scores)
    np.add.at(table, (groups, 4 + bins + which), truth)
    return table


def _accuracy(counts: Floats) -> Floats:
    rate: Floats = (counts[:, 0] + counts[:, 3]) / counts[:, :4].sum(axis=1)
    return rate


def _kappa(counts: Floats) -> Floats:
    tp, fp, fn, tn = counts[:, :4].T
    n = tp + fp + fn + tn
    chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2
    observed = (tp + tn) / n
    room = 1 - chance
    kappa: Floats = np.where(room > 0, (observed - chance) / np.where(room > 0, room, 1), 0.0)
    return kappa


_ELSEWHERE = np.array([*np.eye(4), [0.5, 0, 0, 0.5], [0, 0.5, 0.5, 0], [0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0]])
"""Where cases that were not looked at may stand in the table of confusion."""


def _kappa_beyond(shares: Floats, rest: float) -> tuple[float, float]:
    """The least and the most of kappa where the share ``rest`` of all cases may stand elsewhere in the table."""
    found = _kappa((1 - rest) * shares[None] + rest * _ELSEWHERE)
    return float(found.min()), float(found.max())


def _error(counts: Floats, bins: int) -> Floats:
    return mean_gap(counts[:, 4 : 4 + bins] - counts[:, 4 + bins :], counts[:, :4].sum(axis=1))
