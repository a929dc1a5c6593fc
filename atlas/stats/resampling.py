"""The percentile bootstrap over clusters (Efron 1979; Davison and Hinkley 1997, section 3.8).

Steps of a task, runs of a question under several seeds, cases that ask the same thing: they are not independent, so
whole clusters are drawn, as many as there are, with replacement. A statistic that takes rows is given the rows of the
clusters that were drawn (:func:`cluster_bootstrap`); one that takes weights is given how often each was
(:func:`cluster_counts`), which needs no copy of what lies within. The two have the same distribution, and other random
numbers: a figure in a document stays what it was only with the one that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from atlas.stats.intervals import Interval, wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CELLS = 4_000_000
"""Numbers held at once: about 32 MB. The draws do not depend on it."""
_DRAWS, _FEWEST = 50_000_000, 1_000
"""Clusters drawn in all, beyond which there are fewer resamples, and how many at the least: the
interval of more than 5,000 clusters is narrow, some hundredths of its width say nothing, and a report of a long run
waits for them."""


def bootstrap(values: Sequence[float], *, resamples: int = 10_000, seed: int = 0) -> Interval:
    """The mean of ``values``, one for each cluster, of numbers that may be of any size: dollars, say.

    All values equal gives an interval of width 0, and nothing can be said of others: whoever shows it shows the figure
    alone. Where the numbers have bounds it is :func:`bounded_mean`.
    """
    import numpy as np

    if not len(values):
        return Interval(mean=float("nan"), low=float("nan"), high=float("nan"), n=0)

    def mean(drawn: Floats) -> Floats:
        found: Floats = drawn.mean(axis=1)
        return found

    return cluster_bootstrap(mean, np.asarray(values, dtype=float), resamples=resamples, seed=seed)


def bounded_mean(
    values: Sequence[float], *, within: tuple[float, float] = (0.0, 1.0), resamples: int = 10_000, seed: int = 0
) -> Interval:
    """:func:`bootstrap` of values that lie in ``within``: scores, say. Where all are equal it is :func:`alike`."""
    found = bootstrap(values, resamples=resamples, seed=seed)
    return found if not len(values) or min(values) != max(values) else alike(found, len(values), within)


def paired(differences: Sequence[float], *, resamples: int = 10_000, seed: int = 0) -> Interval:
    """The mean of paired differences in [-1, 1], one for each task: of success, say.

    Resampled over tasks. Where all tasks say the same (all are tied, or all are won by one of the two) it is
    :func:`alike`: all won then excludes 0 just where the exact McNemar test does (p <= 0.05).
    """
    return bounded_mean(differences, within=(-1.0, 1.0), resamples=resamples, seed=seed)


def others(clusters: int) -> float:
    """The most, at 97.5 %, of the clusters that were not looked at which may say something else, where all that were
    say the same: one minus the bound of Clopper and Pearson (Biometrika 26, 1934) for n of n, ``0.025 ** (1 / n)``."""
    return float(1 - 0.025 ** (1 / clusters))


def alike(found: Interval, clusters: int, within: tuple[float, float]) -> Interval:
    """A mean of clusters that all say the same, of what lies in ``within``. Resampling finds no width there and would
    promise too much; here :func:`others` may be anything in ``within``."""
    rest = others(clusters)
    known = (1 - rest) * found.mean
    return found.replace(low=max(within[0], known + rest * within[0]), high=min(within[1], known + rest * within[1]))


def cluster_bootstrap(
    statistic: Callable[..., Floats],
    *columns: Floats,
    within: tuple[float, float] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """``statistic`` of the clusters as they are, between the middle 95 % of it over resamples; ``n`` counts clusters.

    Args:
        within: where it lies, if that is known: it is then :func:`alike` where every resample says the same.
        statistic: takes each column at R resamples, shape (R, clusters, ...), and gives one number for each, shape
            (R,). It is also called with R = 1, for the clusters as they are.
        columns: one or more, each of shape (clusters, ...): what is known of each cluster, such as its mean or sums.
    """
    value = float(statistic(*(column[None] for column in columns))[0])
    spread = drawn(statistic, *columns, resamples=resamples, seed=seed)
    found = percentiles(value, spread, len(columns[0]))
    return alike(found, len(columns[0]), within) if within is not None and _same(spread) else found


def drawn(statistic: Callable[..., Floats], *columns: Floats, resamples: int, seed: int) -> Floats:
    """``statistic`` of each resample, shape (resamples, ...): see :func:`cluster_bootstrap`. The same seed draws the
    same clusters for every statistic. Of many clusters there are fewer resamples than asked for."""
    import numpy as np

    clusters = len(columns[0])
    resamples = min(resamples, max(_FEWEST, _DRAWS // max(1, clusters)))
    chunk = max(1, _CELLS // max(clusters, *(column.size for column in columns)))
    rng = np.random.default_rng(seed)
    found = []
    for begin in range(0, resamples, chunk):
        rows = rng.integers(0, clusters, size=(min(chunk, resamples - begin), clusters))
        found.append(statistic(*(column[rows] for column in columns)))
    return np.concatenate(found)


def cluster_counts(clusters: int, *, resamples: int, seed: int) -> Floats:
    """How often each cluster is drawn in each resample, shape (resamples, clusters); a row adds up to ``clusters``."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples).astype(float)


def percentiles(value: float, spread: Floats, n: int) -> Interval:
    """``value`` between the middle 95 % of ``spread``."""
    import numpy as np

    low, high = np.percentile(spread, [2.5, 97.5])
    return Interval(mean=value, low=float(low), high=float(high), n=n)


def bounded(
    value: float,
    spread: Floats,
    n: int,
    *,
    clusters: int,
    within: tuple[float, float] = (0.0, 1.0),
    worst: Callable[[float], tuple[float, float]] | None = None,
) -> Interval:
    """:func:`percentiles` of a number that lies in ``within``. Resamples that do not tell it (nan) are left out.

    It is all of ``within`` where there are fewer than two ``clusters``: resampling one gives it again, and says nothing
    of others. Where every resample says the same it lies between what ``worst`` gives for the share of :func:`others`,
    the least and the most that it is where so many may be anything; it is a mean, :func:`alike`, where not given.
    """
    import numpy as np

    told = spread[~np.isnan(spread)]
    if clusters < 2 or not len(told):
        return Interval(mean=value, low=within[0], high=within[1], n=n)
    found = percentiles(value, told, n)
    if not _same(told):
        return found
    if worst is None:
        return alike(found, clusters, within)
    low, high = worst(others(clusters))
    return found.replace(low=max(within[0], min(low, value)), high=min(within[1], max(high, value)))


def _same(spread: Floats) -> bool:
    """Whether every resample says the same, but for some ulps of the floats."""
    return float(spread.max() - spread.min()) < 1e-12


def bounded_rate(value: float, spread: Floats, n: int, *, clusters: int) -> Interval:
    """:func:`bounded` of a share of cases. At exactly 0 or 1, where resampling would promise a width of 0, it is
    Wilson's interval, with clusters counted."""
    if min(value, 1.0 - value) < 1e-12:
        return wilson(round(value) * clusters, clusters).model_copy(update={"n": n})
    return bounded(value, spread, n, clusters=clusters)
