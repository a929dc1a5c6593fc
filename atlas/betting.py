"""Testing by betting: what a gambler would have won against a claimed mean is evidence against the claim.

A claim says that bounded outcomes have a mean of at most ``null``. A gambler who stakes a fraction of his wealth on
each outcome cannot expect to win while the claim holds, however he chose the fraction before it was seen; by Ville's
inequality his wealth then ever reaches 1/alpha with probability at most alpha. So a test may be looked at after every
outcome, and outcomes need no common distribution: it is enough that each one's mean, given those before it, keeps to
the claim.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86 (2024), arXiv 2010.09686.
The wealth here is the mean over gamblers of constant fractions, a discrete form of the universal portfolio of Orabona
and Jun, arXiv 2110.14099: nobody has to guess the right fraction, which depends on the effect that is sought.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

FRACTIONS = (0.06, 0.12, 0.25, 0.45, 0.75, 0.98)
"""What each gambler stakes of the most that can be staked without ruin."""

_HALVINGS = 16
"""Of the range of claims: its ends are found to about 3e-5 of it, on the safe side."""


def log_wealth(outcomes: ArrayLike, null: float, room: ArrayLike) -> Floats:
    """The log of the wealth after each outcome against "the mean is at most ``null``"; shape of ``outcomes``.

    ``outcomes`` is ``(..., T)`` in order of arrival. ``room`` broadcasts to it: the most by which an outcome can stay
    below ``null``, known before it is seen. A ratio of more than 1 would let wealth turn negative, so ``room`` has to
    be a true bound.
    """
    x, width = np.asarray(outcomes, dtype=float), np.asarray(room, dtype=float)
    if x.shape[-1] == 0:
        return np.zeros_like(x)
    gain = (x - null) / width
    total: Floats | None = None
    for fraction in FRACTIONS:
        wealth = np.cumsum(np.log1p(fraction * gain), axis=-1)
        total = wealth if total is None else np.logaddexp(total, wealth)
    assert total is not None
    mean: Floats = total - np.log(len(FRACTIONS))
    return mean


def lower_end(outcomes: ArrayLike, room: ArrayLike, alpha: float, bottom: float, top: float) -> float:
    """The largest mean in ``[bottom, top]`` that the outcomes refute from below, or ``bottom``.

    With probability 1 - ``alpha`` it is, after every outcome at once, no more than the largest of the outcomes' means.
    ``room`` has to be a bound for every claim up to ``top``; then wealth falls as the claim rises, and halving finds
    it.
    """
    x = np.asarray(outcomes, dtype=float)
    if x.size == 0:
        return bottom
    enough = -np.log(alpha)

    def refuted(null: float) -> bool:
        return bool(log_wealth(x, null, room)[-1] >= enough)

    if not refuted(bottom):
        return bottom
    low, high = bottom, top
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def e_value(outcomes: ArrayLike, null: float, room: ArrayLike) -> float:
    """The wealth after the last outcome: an e-value of "the mean is at most ``null``"."""
    wealth = log_wealth(outcomes, null, room)
    # Beyond e^500 no decision changes, and the number still fits a float.
    return float(np.exp(min(float(wealth[-1]), 500.0))) if wealth.size else 1.0


def p_value(outcomes: ArrayLike, null: float, room: ArrayLike) -> float:
    """A valid p-value of "the mean is at most ``null``": one over the highest wealth ever reached (Ville 1939)."""
    wealth = log_wealth(outcomes, null, room)
    return float(np.exp(-max(0.0, float(wealth.max())))) if wealth.size else 1.0
