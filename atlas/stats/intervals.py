"""Intervals in closed form: no figure is shown without one."""

from __future__ import annotations

from math import comb, sqrt

from atlas.records import Record


class Interval(Record):
    """An estimate with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


Z = 1.959963984540054


def wilson(successes: float, n: int) -> Interval:
    """Wilson's score interval for a proportion (1927); for n = 0 it says nothing: [0, 1].

    ``successes`` may be a fraction where ``n`` counts tasks and each was played several times: the mean of its runs
    then counts as one outcome. Runs of one task are not independent: counting them singly would promise too much.
    """
    if n == 0:
        return Interval(mean=0.0, low=0.0, high=1.0, n=0)
    p = successes / n
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    # At p of 0 or 1 the bound is exact in theory and off by an ulp in floats.
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= n else min(1.0, centre + half)
    return Interval(mean=p, low=low, high=high, n=n)


def difference(first: Interval, second: Interval) -> Interval:
    """``first`` minus ``second``, two proportions of different cases with Wilson's intervals: Newcombe's hybrid score
    interval (Statistics in Medicine 17, 1998, method 10). ``n`` counts the cases of both; it says nothing, [-1, 1],
    where one of them has none."""
    n = first.n + second.n
    if not first.n or not second.n:
        return Interval(mean=0.0, low=-1.0, high=1.0, n=0)
    gap = first.mean - second.mean
    down = sqrt((first.mean - first.low) ** 2 + (second.high - second.mean) ** 2)
    up = sqrt((first.high - first.mean) ** 2 + (second.mean - second.low) ** 2)
    return Interval(mean=gap, low=max(-1.0, gap - down), high=min(1.0, gap + up), n=n)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar p-value from the two discordant counts."""
    n = only_first + only_second
    if n == 0:
        return 1.0
    tail = sum(comb(n, k) for k in range(min(only_first, only_second) + 1)) / 2**n
    return min(1.0, float(2 * tail))
