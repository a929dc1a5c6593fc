"""A threshold that meets a stated target, with a stated probability of being wrong: learn then test, as for the trust
of a cascade (:mod:`atlas.trust.calibrate`), on tasks that the selector was not learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from atlas.chances.measure import play
from atlas.chances.selector import FEWEST, Case, Selector, learn
from atlas.errors import ConfigError
from atlas.record import content_hash
from atlas.trust.calibrate import EXCHANGEABLE, Target, check, fixed_sequence, success_p
from atlas.trust.record import Certificate, Tested


def certified(
    cases: Sequence[Case],
    tiers: Sequence[str],
    *,
    within: float,
    delta: float,
    grid: Sequence[float],
    marks: Mapping[str, str] = {},
    run: str = "",
    settings: Mapping[str, Any] = {},
) -> Selector:
    """Learned from one half of the tasks, and certified on the other: the lowest threshold of ``grid`` down to which
    success is less than ``within`` below the last tier's. Where none passes all tiers are asked, uncertified.

    Raises ConfigError for a target that is none, and for too few tasks.
    """
    check(Target(within=within), delta)
    # Halves that have nothing to do with how it went.
    order = sorted(cases, key=lambda case: content_hash(case.task))
    half = len(order) // 2
    if half < FEWEST:
        raise ConfigError(
            f"a certificate needs {2 * FEWEST} tasks or more, half to learn from and half to test on, and there are "
            f"{len(cases)}"
        )
    selector = learn(order[:half], tiers, marks=marks, learned_from=run)
    held = order[half:]
    tested = []
    for threshold in sorted(grid, reverse=True):
        routes = [play(selector.replace(threshold=threshold), case) for case in held]
        ours = [case.tried[route.taken].won for case, route in zip(held, routes, strict=True)]
        last = [case.tried[-1].won for case in held]
        costs = [
            None if any(t.dollars is None for t in case.tried[: route.asked])
            else sum(t.dollars or 0.0 for t in case.tried[: route.asked])
            for case, route in zip(held, routes, strict=True)
        ]  # fmt: skip
        known = [cost for cost in costs if cost is not None]
        tested.append(
            Tested(
                signals=("chance",),
                threshold=threshold,
                tasks=len(held),
                unscored=0,
                success=fmean(ours),
                teacher_success=fmean(last),
                dollars=fmean(known) if len(known) == len(costs) else None,
                teacher_share=fmean(route.asked == len(tiers) for route in routes),
                p=success_p([a - b for a, b in zip(ours, last, strict=True)], within),
                passed=False,
            )
        )
    passed = fixed_sequence([row.p for row in tested], delta)
    tested = [row.model_copy(update={"passed": place < passed}) for place, row in enumerate(tested)]
    prices = [case.tried[-1].dollars for case in held]
    certificate = Certificate(
        method="learn then test, fixed-sequence testing, p-values by betting on differences to the last tier, paired "
        "by task, on tasks that were not learned from",
        target=f"success less than {100 * within:g} points below that of {tiers[-1]}",
        delta=delta,
        n=len(held),
        teacher_dollars=fmean(p or 0.0 for p in prices) if all(p is not None for p in prices) else None,
        assumes=EXCHANGEABLE,
        run=run,
        settings=dict(settings),
        certified=passed > 0,
        tested=tuple(tested),
    )
    return selector.replace(threshold=tested[passed - 1].threshold if passed else None, certificate=certificate)
