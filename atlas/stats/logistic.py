"""Logistic regression with a ridge penalty, as a record that a small JSON file holds.

Of our own for two reasons: outcomes may be shares (a reward of 0.4), which the common libraries take as classes only,
and what was learned has to be read back without a library, by whoever has numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp

import numpy as np
from numpy.typing import NDArray

from atlas.record import Record

Floats = NDArray[np.float64]

_ROUNDS = 50
_ENOUGH = 1e-9
_FLAT = 1e-9
"""Spread below which a column says nothing."""


class Logistic(Record):
    """The chance of success by some numbers: sigmoid(bias + sum of weight * (number - centre) / spread)."""

    names: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def logit(self, numbers: Mapping[str, float]) -> float:
        """The log-odds; a number that is missing counts as 0."""
        parts = zip(self.names, self.centre, self.spread, self.weights, strict=True)
        return self.bias + sum(w * (numbers.get(name, 0.0) - c) / s for name, c, s, w in parts)

    def logits(self, table: Floats) -> Floats:
        """The same of rows that have a column for each name."""
        found: Floats = (table - self.centre) / np.array(self.spread) @ np.array(self.weights) + self.bias
        return found

    def chance(self, numbers: Mapping[str, float]) -> float:
        return sigmoid(self.logit(numbers))


def sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + exp(-max(-30.0, min(30.0, logit))))


def fit(
    rows: Sequence[Mapping[str, float]],
    outcomes: Sequence[float],
    names: Sequence[str],
    *,
    penalty: float,
) -> Logistic:
    """The ridge estimate: minimises the cross-entropy to ``outcomes`` (0 to 1) plus ``penalty`` / 2 times the squares
    of the weights, of standardised columns; the bias is free. Newton's method; the problem is convex.

    A column that does not vary has the weight 0.
    """
    table = np.array([[row.get(name, 0.0) for name in names] for row in rows], dtype=float).reshape(len(rows), -1)
    return fit_table(table, outcomes, names, np.full(len(names), penalty))


def fit_table(table: Floats, outcomes: Sequence[float], names: Sequence[str], penalties: Floats) -> Logistic:
    """:func:`fit` with a penalty for each column of ``table``."""
    wanted = np.asarray(outcomes, dtype=float)
    centre, spread = table.mean(axis=0), table.std(axis=0)
    flat = spread < _FLAT
    spread = np.where(flat, 1.0, spread)
    found = _newton(np.where(flat, 0.0, (table - centre) / spread), wanted, penalties)
    return Logistic(
        names=tuple(names),
        centre=tuple(map(float, centre)),
        spread=tuple(map(float, spread)),
        weights=tuple(map(float, np.where(flat, 0.0, found[:-1]))),
        bias=float(found[-1]),
    )


def _newton(table: Floats, wanted: Floats, penalties: Floats) -> Floats:
    columns = np.column_stack([table, np.ones(len(table))])
    # The bias has next to no penalty: outcomes that are all alike would drive it to infinity.
    ridge = np.append(penalties, 1e-3)
    found: Floats = np.zeros(columns.shape[1])
    for _ in range(_ROUNDS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(columns @ found, -30.0, 30.0)))
        slope = columns.T @ (chance - wanted) + ridge * found
        bend = (columns * (chance * (1.0 - chance))[:, None]).T @ columns + np.diag(ridge)
        step = np.linalg.solve(bend, slope)
        found = found - step
        if np.abs(step).max() < _ENOUGH:
            break
    return found
