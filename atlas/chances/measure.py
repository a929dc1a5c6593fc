"""What a selecting cascade would have scored and cost, from logged attempts alone.

Each tier's logged attempt stands for what it would have done, which is exact: it does not depend on who else was asked.
Whoever is asked is paid for. What a task is decided by was learned from other groups of tasks (:func:`folds`).

Controls, all paired by task: the best single tier, chosen with hindsight; random routing, which asks one tier only,
each as often as the cascade stops there; random picking, which takes each tier's answer as often as the selector does;
stopping where two answers agree; the best mixture of single tiers that costs the same; and the oracle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.chances.selector import Case, Selector, folds, learn
from atlas.evaluators.answer import same
from atlas.records import Record
from atlas.stats import Interval
from atlas.stats.resampling import cluster_bootstrap

Floats = NDArray[np.float64]


class Route(NamedTuple):
    """How a selector played one task."""

    asked: int
    """How many tiers, from the first on."""
    taken: int
    """Index of the tier whose answer was given."""
    chance: float
    """What it said of that answer."""


class ChainRow(Record):
    """One cascade at one threshold, on the tasks that all its tiers have attempted."""

    tiers: tuple[str, ...]
    threshold: float | None
    tasks: int
    asked: tuple[float, ...]
    """The share of tasks that each tier was asked."""
    score: Interval
    single: str
    """The tier with the highest mean."""
    single_score: Interval
    gain: Interval
    """Minus the best single tier."""
    over_routing: Interval
    """Minus random routing."""
    over_picking: Interval
    """Minus random picking."""
    agreement_score: float
    """Of the cascade of the same tiers that stops where two answers agree, and takes the last one."""
    over_agreement: Interval
    oracle: float
    priced: int
    """Tasks on which all tiers have dollars: the figures below are of them, and None without any."""
    priced_score: float | None = None
    priced_single_score: float | None = None
    dollars: Interval | None = None
    single_dollars: float | None = None
    share_of_dollars: Interval | None = None
    """Of the best single tier's."""
    over_mixture: Interval | None = None
    """Minus the best mixture of single tiers at the same dollars."""


def foretold(cases: Sequence[Case], tiers: Sequence[str], *, marks: Mapping[str, str] = {}) -> dict[str, Selector]:
    """For each task a selector that was learned from the other groups."""
    found: dict[str, Selector] = {}
    for rest, held in folds(cases):
        selector = learn(rest, tiers, marks=marks)
        found |= {case.task: selector for case in held}
    return found


def play(selector: Selector, case: Case) -> Route:
    """One task as the selector plays it."""
    attempts = [tried.attempt for tried in case.tried]
    for count in range(1, len(attempts)):
        settled = selector.settle(attempts[:count])
        if settled.stop:
            return Route(count, settled.best, settled.chance)
    settled = selector.settle(attempts)
    return Route(len(attempts), settled.best, settled.chance)


def agreed(case: Case) -> Route:
    """The same tiers, stopping where an answer is one that was given before; the last answer is taken."""
    said: list[str] = []
    for count, tried in enumerate(case.tried, 1):
        answer = tried.attempt.said
        if answer.strip() and any(same(answer, before) for before in said):
            return Route(count, count - 1, 1.0)
        said.append(answer)
    return Route(len(case.tried), len(case.tried) - 1, 0.0)


def chain_row(
    cases: Sequence[Case],
    selectors: Mapping[str, Selector],
    threshold: float | None,
    *,
    only: Collection[str] | None = None,
) -> ChainRow:
    """The figures of one threshold, over the groups ``only`` where some are named."""
    shown = [case for case in cases if only is None or case.group in only]
    tiers = selectors[shown[0].task].tiers
    routes = [play(selectors[case.task].replace(threshold=threshold), case) for case in shown]
    before = [agreed(case) for case in shown]
    scores = np.array([[tried.score for tried in case.tried] for case in shown])
    each = np.arange(len(shown))
    own = scores[each, [route.taken for route in routes]]
    agreeing = scores[each, [route.taken for route in before]]
    best = int(np.argmax(scores.mean(axis=0)))
    stops = np.eye(len(tiers))[[route.asked - 1 for route in routes]]
    takes = np.eye(len(tiers))[[route.taken for route in routes]]
    row = ChainRow(
        tiers=tiers,
        threshold=threshold,
        tasks=len(shown),
        asked=tuple(float((np.array([r.asked for r in routes]) > k).mean()) for k in range(len(tiers))),
        score=_mean(own),
        single=tiers[best],
        single_score=_mean(scores[:, best]),
        gain=_mean(own - scores[:, best]),
        over_routing=cluster_bootstrap(_over_shares, own, stops, scores),
        over_picking=cluster_bootstrap(_over_shares, own, takes, scores),
        agreement_score=float(agreeing.mean()),
        over_agreement=_mean(own - agreeing),
        oracle=float(scores.max(axis=1).mean()),
        priced=0,
    )
    return _priced(row, shown, routes, scores, own, best)


def _priced(
    row: ChainRow, cases: Sequence[Case], routes: Sequence[Route], scores: Floats, own: Floats, best: int
) -> ChainRow:
    known = [i for i, case in enumerate(cases) if all(tried.dollars is not None for tried in case.tried)]
    if not known:
        return row
    prices = np.array([[tried.dollars for tried in cases[i].tried] for i in known], dtype=float)
    paid = np.array([prices[place, : routes[i].asked].sum() for place, i in enumerate(known)])
    return row.model_copy(
        update={
            "priced": len(known),
            "priced_score": float(own[known].mean()),
            "priced_single_score": float(scores[known, best].mean()),
            "dollars": _mean(paid),
            "single_dollars": float(prices[:, best].mean()),
            "share_of_dollars": cluster_bootstrap(
                lambda a, b: a.mean(axis=1) / np.maximum(b.mean(axis=1), 1e-12), paid, prices[:, best]
            ),
            "over_mixture": cluster_bootstrap(_over_mixture, own[known], paid, scores[known], prices),
        }
    )


def _mean(values: Floats) -> Interval:
    return cluster_bootstrap(lambda drawn: drawn.mean(axis=1), values)


def _over_shares(own: Floats, shares: Floats, scores: Floats) -> Floats:
    """The mean, minus that of tiers drawn with the mean ``shares``: R resamples of n tasks, K tiers."""
    found: Floats = own.mean(axis=1) - (shares.mean(axis=1) * scores.mean(axis=1)).sum(axis=1)
    return found


def _over_mixture(own: Floats, paid: Floats, scores: Floats, prices: Floats) -> Floats:
    """The mean, minus the highest that a mixture of at most two single tiers gets for the same mean dollars."""
    score, price, budget = scores.mean(axis=1), prices.mean(axis=1), paid.mean(axis=1)
    best = np.zeros(len(budget))
    for first in range(score.shape[1]):
        alone = np.where(price[:, first] <= budget, score[:, first], 0.0)
        best = np.maximum(best, alone)
        for second in range(score.shape[1]):
            between = (price[:, first] <= budget) & (budget < price[:, second])
            gap = np.where(between, price[:, second] - price[:, first], 1.0)
            part = (budget - price[:, first]) / gap
            mixed = (1 - part) * score[:, first] + part * score[:, second]
            best = np.maximum(best, np.where(between, mixed, 0.0))
    found: Floats = own.mean(axis=1) - best
    return found
