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


def bootstrap(values: Sequence[float], *, resamples: int = 10_000, seed: int = 0) -> Interval:
    """The mean of ``values``, one for each cluster.

    All values equal gives an interval of width 0, which is honest about the sample only: look at ``n``. Differences of
    success are :func:`paired`.
    """
    import numpy as np

    if not len(values):
        return Interval(mean=float("nan"), low=float("nan"), high=float("nan"), n=0)

    def mean(drawn: Floats) -> Floats:
        found: Floats = drawn.mean(axis=1)
        return found

    return cluster_bootstrap(mean, np.asarray(values, dtype=float), resamples=resamples, seed=seed)


def paired(differences: Sequence[float], *, resamples: int = 10_000, seed: int = 0) -> Interval:
    """The mean of paired differences in [-1, 1], one for each task: of success, say.

    Resampled over tasks (:func:`bootstrap`). Where all tasks say the same (all are tied, or all are won by one of the
    two) resampling finds no width and would promise too much. There the bound of Clopper and Pearson (1934) for n of n
    holds: at 97.5 % the share of all tasks that are so is at least ``0.025 ** (1 / n)``, and the rest may be anything.
    All won then excludes 0 just where the exact McNemar test does (p <= 0.05).
    """
    found = bootstrap(differences, resamples=resamples, seed=seed)
    if not differences or min(differences) != max(differences):
        return found
    known = 0.025 ** (1 / len(differences))
    middle, rest = known * differences[0], 1 - known
    return found.replace(low=max(-1.0, middle - rest), high=min(1.0, middle + rest))


def cluster_bootstrap(
    statistic: Callable[..., Floats], *columns: Floats, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """``statistic`` of the clusters as they are, between the middle 95 % of it over resamples; ``n`` counts clusters.

    Args:
        statistic: takes each column at R resamples, shape (R, clusters, ...), and gives one number for each, shape
            (R,). It is also called with R = 1, for the clusters as they are.
        columns: one or more, each of shape (clusters, ...): what is known of each cluster, such as its mean or sums.
    """
    value = float(statistic(*(column[None] for column in columns))[0])
    return percentiles(value, drawn(statistic, *columns, resamples=resamples, seed=seed), len(columns[0]))


def drawn(statistic: Callable[..., Floats], *columns: Floats, resamples: int, seed: int) -> Floats:
    """``statistic`` of each resample, shape (resamples, ...): see :func:`cluster_bootstrap`. The same seed draws the
    same clusters for every statistic."""
    import numpy as np

    clusters = len(columns[0])
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
    value: float, spread: Floats, n: int, *, clusters: int, within: tuple[float, float] = (0.0, 1.0)
) -> Interval:
    """:func:`percentiles` of a number that lies in ``within``. Resamples that do not tell it (nan) are left out.

    It is all of ``within`` where there are fewer than two ``clusters``: resampling one gives it again, and says nothing
    of others.
    """
    import numpy as np

    told = spread[~np.isnan(spread)]
    if clusters < 2 or not len(told):
        return Interval(mean=value, low=within[0], high=within[1], n=n)
    return percentiles(value, told, n)


def bounded_rate(value: float, spread: Floats, n: int, *, clusters: int) -> Interval:
    """:func:`bounded` of a share of cases. At exactly 0 or 1, where resampling would promise a width of 0, it is
    Wilson's interval, with clusters counted."""
    if min(value, 1.0 - value) < 1e-12:
        return wilson(round(value) * clusters, clusters).model_copy(update={"n": n})
    return bounded(value, spread, n, clusters=clusters)
