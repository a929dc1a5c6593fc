"""From logged episodes to a threshold that meets a stated target, with a stated probability of being wrong.

Learn then test (Angelopoulos, Bates, Candes, Jordan and Lei, arXiv 2110.01052): every threshold of a grid was played on
the calibration tasks; "this threshold misses the target" is a hypothesis with a valid p-value; hypotheses are tested in
an order fixed beforehand, each at level delta, until the first that is not rejected (fixed-sequence testing). All
thresholds before it meet the target with probability 1 - delta at once, so any of them may be chosen. Success need not
fall as the threshold falls: that would only cost power. Conformal risk control would need it, task by task, and whole
episodes do not give it: another action at one step leads to another episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import erfc, sqrt
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from atlas.betting import p_value
from atlas.errors import ConfigError, DataError
from atlas.records import INTERRUPTED, Episode, content_hash, total
from atlas.traces.roles import CASCADES, TEACHER, Roles
from atlas.trust.record import Certificate, Tested, Trust

FEWEST = 30
"""Tasks below which an asymptotic p-value is not given."""

EXCHANGEABLE = (
    "the tasks to come are drawn like the calibration tasks (exchangeable with them), and student, teacher, memory and "
    "settings stay as they were"
)


class Target(NamedTuple):
    """What the user asks for: one of the two."""

    within: float | None = None
    """Success at most this far below the teacher's, as a share: 0.02 is two points."""
    dollars: float | None = None
    """At most so many dollars per episode, on average."""


def fixed_sequence(p_values: Sequence[float], delta: float) -> int:
    """How many hypotheses, from the first on, are rejected: the chance that one of them is true is at most
    ``delta``."""
    return next((i for i, p in enumerate(p_values) if p > delta), len(p_values))


def success_p(differences: Sequence[float], within: float) -> float:
    """A valid p-value of "success is ``within`` or more below the teacher's", at every number of tasks.

    ``differences`` are the tasks' success minus the teacher's, in [-1, 1], in an order that does not depend on them.
    """
    return p_value(differences, -within, 1.0 - within)


def dollars_p(dollars: Sequence[float], most: float) -> float:
    """An asymptotic p-value (normal, one-sided) of "an episode costs ``most`` or more on average"; 1 for few tasks."""
    if len(dollars) < FEWEST:
        return 1.0
    spread = float(np.std(dollars, ddof=1)) / sqrt(len(dollars))
    below = most - fmean(dollars)
    if spread == 0.0:
        return 0.0 if below > 0 else 1.0
    return 0.5 * erfc(below / spread / sqrt(2))


def calibrate(
    episodes: Sequence[Episode],
    target: Target,
    *,
    roles: Roles,
    delta: float = 0.1,
    run: str = "",
    settings: Mapping[str, Any] = {},
) -> Trust:
    """The cheapest certified threshold for a target of success, the most successful one for a target of dollars.

    ``episodes`` hold the teacher alone and cascades whose trust is stated (``cascade:T`` or ``cascade-nodemos:T``) on
    the same tasks; ``roles`` say which of their arms these are. Where none passes, the trust that comes back is not
    certified: the teacher always acts for a target of success, and for one of dollars it is the cheapest that was
    played. Several sets of signals share ``delta`` equally.
    """
    check(target, delta)
    # Points of a learning curve (``cascade:0.8@50``) have another memory than the run.
    known = [arm for arm in dict.fromkeys(e.arm for e in episodes) if not roles[arm].base]
    teacher = _by_task(episodes, next((arm for arm in known if roles[arm].kind == TEACHER), ""))
    names = [arm for arm in known if roles[arm].kind == CASCADES[0] and roles[arm].trust]
    if len({roles[arm].family for arm in names}) > 1:
        raise ConfigError(
            f"the run {run} has cascades with demonstrations and without, and a trust is for one of them: play each "
            "beside the teacher in a run of its own"
        )
    arms = {arm: _named(arm, roles[arm].trust) for arm in names}
    if not teacher or not arms:
        raise ConfigError(
            f"the run {run} has no arms 'teacher' and 'cascade:T' to compare: play them on the same tasks with "
            "'atlas bench ... --arms teacher,cascade:1,cascade:0.8,cascade:0.6 --samples 5'"
        )
    used = [total(e.spend) for e in episodes if e.arm in arms and target.dollars is not None]
    if any(usage.at_most is None for usage in used):
        raise ConfigError(f"the run {run} has a model without a price, so no dollars can be promised: state its price")
    if any(usage.dollars is None for usage in used):
        raise ConfigError(
            f"the run {run} has replies that did not tell their tokens, so no dollars can be promised: give --within "
            "in place of --at-most-dollars"
        )
    families: dict[tuple[str, ...], list[str]] = {}
    for arm, trust in arms.items():
        families.setdefault(trust.signals, []).append(arm)
    level = delta / len(families)
    tested: list[Tested] = []
    for family in families.values():
        # Fixed before looking: from where the target is surest to be met, to where it is least sure.
        family.sort(key=lambda arm: arms[arm].threshold or 0.0, reverse=target.dollars is None)
        rows = [_test(arms[arm], _by_task(episodes, arm), teacher, target) for arm in family]
        passed = fixed_sequence([row.p for row in rows], level)
        tested += [row.model_copy(update={"passed": i < passed}) for i, row in enumerate(rows)]
    chosen = _choose(tested, target)
    certificate = Certificate(
        method=_method(target, len(families)),
        target=_said(target),
        delta=delta,
        n=max(row.tasks for row in tested),
        teacher_dollars=_mean_dollars(list(teacher.values())),
        assumes=EXCHANGEABLE,
        run=run,
        settings=dict(settings),
        certified=chosen.passed,
        tested=tuple(tested),
    )
    threshold = chosen.threshold if chosen.passed or target.dollars is not None else None
    return Trust(signals=chosen.signals, threshold=threshold, certificate=certificate)


class _Played(NamedTuple):
    """One arm on one task: means over its seeds."""

    success: float | None
    dollars: float | None
    steps: int
    teacher_steps: int


def _by_task(episodes: Sequence[Episode], arm: str) -> dict[str, _Played]:
    groups: dict[str, list[Episode]] = {}
    for e in episodes:
        if e.arm == arm and e.stop not in INTERRUPTED:
            groups.setdefault(e.task.id, []).append(e)
    # An order that has nothing to do with how it went.
    return {task: _played(groups[task]) for task in sorted(groups, key=content_hash)}


def _played(group: Sequence[Episode]) -> _Played:
    scored = [float(e.success) for e in group if e.success is not None]
    dollars = [total(e.spend).dollars for e in group]
    known = [d for d in dollars if d is not None]
    return _Played(
        success=fmean(scored) if scored else None,
        dollars=fmean(known) if known and len(known) == len(dollars) else None,
        steps=sum(e.steps for e in group),
        teacher_steps=sum(e.teacher_steps for e in group),
    )


def _test(trust: Trust, arm: Mapping[str, _Played], teacher: Mapping[str, _Played], target: Target) -> Tested:
    both = [(arm[task], teacher[task]) for task in arm if task in teacher]
    scored = [(a.success, b.success) for a, b in both if a.success is not None and b.success is not None]
    priced = [a.dollars for a in arm.values() if a.dollars is not None]
    steps = sum(a.steps for a in arm.values())
    if target.within is not None:
        p = success_p([a - b for a, b in scored], target.within)
    else:
        p = dollars_p(priced, target.dollars or 0.0)
    return Tested(
        signals=trust.signals,
        threshold=trust.threshold or 0.0,
        tasks=len(scored),
        unscored=len(both) - len(scored),
        success=fmean(a for a, _ in scored) if scored else 0.0,
        teacher_success=fmean(b for _, b in scored) if scored else 0.0,
        dollars=_mean_dollars(list(arm.values())),
        teacher_share=sum(a.teacher_steps for a in arm.values()) / steps if steps else 0.0,
        p=p,
        passed=False,
    )


def _mean_dollars(played: Sequence[_Played]) -> float | None:
    known = [p.dollars for p in played if p.dollars is not None]
    return fmean(known) if known and len(known) == len(played) else None


def _choose(tested: Sequence[Tested], target: Target) -> Tested:
    """Among those that passed; the safest of all where none did."""
    passed = [row for row in tested if row.passed]
    if target.within is not None:
        priced = all(row.dollars is not None for row in tested)
        if passed:
            return min(passed, key=lambda row: (row.dollars or 0.0) if priced else row.teacher_share)
        return max(tested, key=lambda row: row.threshold)
    if passed:
        return max(passed, key=lambda row: row.success)
    return min(tested, key=lambda row: row.dollars or 0.0)


def _named(arm: str, trust: str) -> Trust:
    try:
        return Trust.named(trust)
    except ValueError as error:
        raise DataError(f"the arm {arm!r} of the run is no cascade with a threshold: {error}") from error


def check(target: Target, delta: float) -> None:
    if (target.within is None) == (target.dollars is None):
        raise ConfigError("state one target: success within some points of the teacher's, or at most some dollars")
    if target.within is not None and not 0.0 < target.within < 1.0:
        raise ConfigError(
            f"the distance to the teacher is a share between 0 and 1 (0.02 is 2 points), not {target.within}"
        )
    if target.dollars is not None and target.dollars <= 0:
        raise ConfigError(f"the dollars per episode are more than 0, not {target.dollars}")
    if not 0.0 < delta < 1.0:
        raise ConfigError(f"delta is a probability between 0 and 1, not {delta}")


def _method(target: Target, families: int) -> str:
    test = (
        "p-values by betting on differences to the teacher, paired by task"
        if target.within is not None
        else "normal p-values of the mean dollars of an episode (asymptotic)"
    )
    shared = f", delta shared by {families} sets of signals" if families > 1 else ""
    return f"learn then test, fixed-sequence testing, {test}{shared}"


def _said(target: Target) -> str:
    if target.within is not None:
        return f"success less than {100 * target.within:g} points below the teacher's"
    return f"less than ${target.dollars:g} per episode on average"
