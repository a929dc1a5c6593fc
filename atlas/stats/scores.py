"""How well a number between 0 and 1 tells what is right from what is wrong, and how well it says how often.

Functions take R weightings of the same n cases at once, such as resamples: ``weight`` has the shape (R, n), ``right``
(0 or 1) and ``scores`` have the shape (n,), and what comes back has the shape (R,), with nan where nothing is told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auroc(scores: ArrayLike, right: ArrayLike, weights: ArrayLike | None = None) -> float | None:
    """Area under the receiver operating characteristic: P(a right one scores higher than a wrong one), ties half.

    sum over pairs (i right, j wrong) of w_i w_j ([s_i > s_j] + [s_i = s_j] / 2), over the sum of w_i w_j (Hanley and
    McNeil, Radiology 1982; Mann and Whitney's U over the number of pairs). All of shape (n,). None without a pair.
    """
    weight, truth, numbers = _arrays(scores, right, weights)
    return _one(aurocs(weight, truth, numbers))


def aurocs(weight: Floats, right: Floats, scores: Floats) -> Floats:
    """:func:`auroc` of each row of ``weight``."""
    return unit_ratio(*ordered_pairs(weight, right, scores))


def ordered_pairs(weight: Floats, right: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """The weight of the pairs of a right and a wrong case in which the right one scores higher, ties half; and that of
    all pairs. Over several groups, within which alone cases compare, both add up."""
    if not len(scores):
        return np.zeros(len(weight)), np.zeros(len(weight))
    order = np.argsort(scores, kind="stable")
    _, begins = np.unique(scores[order], return_index=True)
    good = np.add.reduceat(weight[:, order] * right[order], begins, axis=1)
    bad = np.add.reduceat(weight[:, order] * (1.0 - right[order]), begins, axis=1)
    below = np.cumsum(bad, axis=1) - bad
    return (good * (below + bad / 2)).sum(axis=1), good.sum(axis=1) * bad.sum(axis=1)


def auroc_beyond(area: float, right: float, rest: float) -> tuple[float, float]:
    """The least and the most that an AUROC is in a population of which the share ``rest`` may be anything, and the
    others have it at ``area``, with the share ``right`` of them right.

    Those may score below all wrong ones where they are right, and above all right ones where they are wrong, or the
    other way round; the pairs among the others are the smallest part where as many are right as wrong in all (gross
    errors as in Huber, Annals of Mathematical Statistics 35, 1964, for a ratio of pairs).
    """
    good, bad = (1 - rest) * right, (1 - rest) * (1 - right)
    more = min(rest, max(0.0, 0.5 - good))
    pairs = (good + more) * (bad + rest - more)
    known = good * bad / pairs if pairs else 0.0
    return known * area, 1.0 - known * (1.0 - area)


def error_beyond(error: float, rest: float) -> tuple[float, float]:
    """The least and the most that a calibration error is in a population of which the share ``rest`` may be anything,
    and the others have it at ``error``: a sum of absolute values, in which the two can only add up or cancel."""
    known = (1 - rest) * error
    return max(0.0, known - rest), min(1.0, known + rest)


def calibration_error(
    scores: ArrayLike, right: ArrayLike, weights: ArrayLike | None = None, *, bins: int | None = None
) -> float | None:
    """Expected calibration error: sum over bins b of W_b / W |acc(b) - conf(b)|, which is between 0 and 1.

    W_b is the weight in the bin, acc(b) the weighted share of right ones, conf(b) the weighted mean score (Naeini,
    Cooper and Hauskrecht, AAAI 2015; Guo et al., arXiv 1706.04599, equation 3). ``bins`` have equal width over [0, 1];
    None makes a bin of every distinct score, as for shares k/n of n votes, where conf(b) is the share itself. All of
    shape (n,). None where there is nothing. Of resamples it leans upwards: noise within bins never lowers it.
    """
    weight, truth, numbers = _arrays(scores, right, weights)
    return _one(calibration_errors(weight, truth, numbers, bins))


def calibration_errors(weight: Floats, right: Floats, scores: Floats, bins: int | None) -> Floats:
    """:func:`calibration_error` of each row of ``weight``."""
    if not len(scores):
        return np.full(len(weight), np.nan)
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    _, begins = np.unique(ranked if bins is None else bin_of(ranked, bins), return_index=True)
    gaps = np.add.reduceat(weight[:, order] * (right[order] - ranked), begins, axis=1)
    return mean_gap(gaps, weight.sum(axis=1))


def bin_of(scores: Floats, bins: int) -> NDArray[np.int_]:
    """Which of ``bins`` of equal width over [0, 1] each score is in; 1 is in the last."""
    found: NDArray[np.int_] = np.minimum((scores * bins).astype(int), bins - 1)
    return found


def mean_gap(gaps: Floats, total: Floats) -> Floats:
    """The calibration error from its bins: ``gaps``, shape (R, bins), are sums of weight times (right - score)."""
    return unit_ratio(np.abs(gaps).sum(axis=1), total)


def unit_ratio(above: Floats, below: Floats) -> Floats:
    """A ratio that is between 0 and 1 but for an ulp of the floats; nan where ``below`` is 0."""
    found: Floats = np.where(below > 0, np.clip(above / np.where(below > 0, below, 1.0), 0.0, 1.0), np.nan)
    return found


def _arrays(scores: ArrayLike, right: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    numbers = np.asarray(scores, dtype=float)
    weight = np.ones(len(numbers)) if weights is None else np.asarray(weights, dtype=float)
    return weight[None], np.asarray(right, dtype=float), numbers


def _one(values: Floats) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])
