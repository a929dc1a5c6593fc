"""What a run says, from its traces alone: a row per arm, pairs of arms game by game, and the break-even account."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from statistics import fmean

from atlas.errors import ConfigError
from atlas.records import INTERRUPTED, Episode, Record, Spend, Stop, Usage, by_actor, total
from atlas.stats import Interval, bootstrap, mcnemar, paired, wilson
from atlas.traces.reader import StoredEpisode
from atlas.traces.roles import TEACHER, Roles, leading

COLLECT = "collect"
"""The arm under which demonstrations are collected: its cost is the method's investment, it is no result."""


class ArmRow(Record):
    """One arm of a run."""

    arm: str
    episodes: int
    scored: int
    """Episodes with a score; the others ended without one, and count in no rate."""
    success: Interval
    """Over tasks: the runs of a task under several seeds count as one, at their mean."""
    teacher_share: float
    """Share of steps on which the teacher acted."""
    asked_share: float
    """Teacher's calls per step: for a step, whoever acted then, and for reviews."""
    steps: float
    """Mean per episode."""
    usage: Usage
    spend: tuple[Spend, ...]
    dollars_per_episode: float | None
    """None where a model has no price."""
    errors: int
    stops: dict[str, int]


class Pair(Record):
    """Two arms on the same tasks: differences are ``first`` minus ``second``, means over the seeds of each task."""

    first: str
    second: str
    tasks: int
    success: Interval
    dollars: Interval | None
    only_first: int
    """Tasks on which ``first`` did better."""
    only_second: int
    p: float
    """Exact McNemar; with several seeds the sign test over tasks."""


class BreakEven(Record):
    """After how many episodes the cost of collecting demonstrations is earned back (2512.02543, section on cost)."""

    arm: str
    demo_dollars: float
    saving: float
    """Dollars per episode against the teacher alone."""
    episodes: float | None
    """None where nothing is saved."""


def arm_rows(episodes: Iterable[Episode]) -> list[ArmRow]:
    """A row per arm, in order of first appearance. Interrupted episodes count in none: see :func:`cut_off`."""
    groups: dict[str, list[Episode]] = {}
    for episode in episodes:
        if episode.stop in INTERRUPTED:
            continue
        groups.setdefault(episode.arm, []).append(episode)
    return [_row(arm, group) for arm, group in groups.items()]


def _row(arm: str, group: Sequence[Episode]) -> ArmRow:
    scored = [e for e in group if e.success is not None]
    spend = by_actor(s for e in group for s in e.spend)
    usage = total(spend)
    steps = sum(e.steps for e in group)
    stops: dict[str, int] = {}
    for e in group:
        stops[e.stop.value] = stops.get(e.stop.value, 0) + 1
    return ArmRow(
        arm=arm,
        episodes=len(group),
        scored=len(scored),
        success=_rate(scored),
        teacher_share=sum(e.teacher_steps for e in group) / steps if steps else 0.0,
        asked_share=sum(asked(e) for e in group) / steps if steps else 0.0,
        steps=steps / len(group),
        usage=usage,
        spend=spend,
        dollars_per_episode=None if usage.dollars is None else usage.dollars / len(group),
        errors=stops.get(Stop.ERROR.value, 0),
        stops=stops,
    )


def asked(episode: Episode) -> int:
    """How often the teacher was asked in an episode: for a step, and for a review of an attempt."""
    return max(episode.asked_steps, episode.teacher_steps) + len(episode.reviews)


def _rate(scored: Iterable[Episode]) -> Interval:
    outcomes: dict[str, list[bool]] = {}
    for e in scored:
        outcomes.setdefault(e.task.id, []).append(bool(e.success))
    return wilson(sum(map(fmean, outcomes.values())), len(outcomes))


def pair(episodes: Sequence[Episode], first: str, second: str) -> Pair:
    """Compare two arms on the (task, seed) pairs that both have scored."""
    a, b = _scored(episodes, first), _scored(episodes, second)
    wins: dict[str, list[float]] = {}
    gaps: dict[str, list[float]] = {}
    priced = True
    for key in (key for key in a if key in b):
        wins.setdefault(key[0], []).append(float(bool(a[key].success)) - float(bool(b[key].success)))
        costs = total(a[key].spend).dollars, total(b[key].spend).dollars
        if costs[0] is None or costs[1] is None:
            priced = False
        else:
            gaps.setdefault(key[0], []).append(costs[0] - costs[1])
    means = [fmean(values) for values in wins.values()]
    only_first, only_second = sum(m > 0 for m in means), sum(m < 0 for m in means)
    return Pair(
        first=first,
        second=second,
        tasks=len(means),
        success=paired(means),
        dollars=bootstrap([fmean(values) for values in gaps.values()]) if priced else None,
        only_first=only_first,
        only_second=only_second,
        p=mcnemar(only_first, only_second),
    )


def _scored(episodes: Sequence[Episode], arm: str) -> dict[tuple[str, int], Episode]:
    return {(e.task.id, e.seed): e for e in episodes if e.arm == arm and e.success is not None}


def comparisons(episodes: Sequence[Episode], roles: Roles) -> list[Pair]:
    """The pairs worth a look, group by group: every arm against the one the run is about, the cascade where there is
    one; what demonstrations alone do for the student; and each other control, also along a learning curve, beside what
    it controls.
    """
    names = [arm for arm in dict.fromkeys(e.arm for e in episodes) if arm != COLLECT]
    groups: dict[str, list[str]] = {}
    for arm in names:
        if not roles[arm].base and not roles[arm].grows:
            groups.setdefault(roles[arm].group, []).append(arm)
    wanted: list[tuple[str, str]] = []
    for arms in groups.values():
        about = leading(arms, roles)
        # Where all are controls there is nothing that they control: which of them to compare is the reader's to say.
        if about is not None and not roles[about].control_of:
            wanted += [(about, arm) for arm in arms if arm != about]
        icd = next((arm for arm in arms if roles[arm].kind == "icd"), None)
        if icd is not None and icd != about and roles[icd].bare in arms:
            wanted.append((icd, roles[icd].bare))
    wanted += [(roles[arm].control_of, arm) for arm in names if roles[arm].control_of in names]
    found = [pair(episodes, first, second) for first, second in dict.fromkeys(wanted)]
    return [p for p in found if p.tasks]


def chosen(episodes: Sequence[Episode], arms: Sequence[str], part: str = "") -> list[Pair]:
    """The first of ``arms`` with each of the others, as a reader wants it. ``part`` says which episodes these are,
    where they are not all of the run. Raises ConfigError for fewer than two, an arm that has no scored episode, and two
    that have scored no task in common."""
    wanted = list(dict.fromkeys(arms))
    known = list(dict.fromkeys(e.arm for e in episodes if e.arm != COLLECT and e.success is not None))
    missing = next((arm for arm in wanted if arm not in known), None)
    if missing is not None and part:
        mend = f"compare {', '.join(known)}, or look at more of them" if len(known) > 1 else "look at more of them"
        raise ConfigError(f"no arm {missing!r} was scored in {part}: {mend}")
    if missing is not None:
        raise ConfigError(f"no arm {missing!r} was scored in the run: compare {', '.join(known) or 'later'}")
    if len(wanted) < 2:
        raise ConfigError(f"two arms or more are compared: write --compare {wanted[0]},OTHER, of {', '.join(known)}")
    found = [pair(episodes, wanted[0], other) for other in wanted[1:]]
    for apart in (p for p in found if not p.tasks):
        more = f" in {part}: look at more of them, or" if part else ":"
        raise ConfigError(f"{apart.first} and {apart.second} have scored no task in common{more} compare others")
    return found


def demo_users(episodes: Iterable[StoredEpisode], roles: Roles) -> set[str]:
    """The arms whose student was shown the collected demonstrations.

    Not the points of a learning curve, which had only some of them, nor those that collect their own.
    """
    names = {e.arm for e in episodes if e.retrieved}
    return {arm for arm in names if not roles[arm].base and not roles[arm].grows}


def break_even(rows: Sequence[ArmRow], roles: Roles, *, using: Collection[str] | None = None) -> list[BreakEven]:
    """When collecting demonstrations has paid off against the teacher alone, for each priced arm, or each of those in
    ``using``."""
    by_name = {row.arm: row for row in rows}
    teacher = next((row.arm for row in rows if roles[row.arm].kind == TEACHER and not roles[row.arm].base), "")
    base, collect = by_name.get(teacher), by_name.get(COLLECT)
    if base is None or base.dollars_per_episode is None or collect is None or collect.usage.dollars is None:
        return []
    found = []
    for row in rows:
        wanted = row.arm not in (teacher, COLLECT) if using is None else row.arm in using
        if not wanted or row.dollars_per_episode is None:
            continue
        saving = base.dollars_per_episode - row.dollars_per_episode
        found.append(
            BreakEven(
                arm=row.arm,
                demo_dollars=collect.usage.dollars,
                saving=saving,
                episodes=collect.usage.dollars / saving if saving > 0 else None,
            )
        )
    return found


def cut_off(episodes: Iterable[StoredEpisode]) -> tuple[list[StoredEpisode], Usage]:
    """Attempts that were killed, interrupted, or played again after an error, and what they cost: paid, though no arm
    shows it."""
    lost = [e for e in episodes if e.result is None or e.result.stop in INTERRUPTED or e.retried]
    return lost, total(s for e in lost for s in e.spend)


class Lost(Record):
    """Steps that were taken, and that the trace does not have any more, or not whole."""

    steps: int = 0
    episodes: tuple[str, ...] = ()
    """Ids of the episodes that lost them."""

    def said(self, shown: int = 5) -> str:
        """What a reader of the run has to know of it; nothing where none is lost."""
        if not self.steps:
            return ""
        names = ", ".join(self.episodes[:shown]) + (", ..." if len(self.episodes) > shown else "")
        return (
            f"{self.steps} step{'s' * (self.steps != 1)} of {len(self.episodes)} episode"
            f"{'s' * (len(self.episodes) != 1)} ({names}) {'are' if self.steps != 1 else 'is'} not in the trace, whose "
            "lines are lost or damaged: what these episodes came to and cost is counted, and nothing is learned from "
            "them, exported or judged"
        )


def lost_steps(episodes: Iterable[StoredEpisode]) -> Lost:
    """What ``episodes`` have lost."""
    short = [episode for episode in episodes if episode.lost]
    return Lost(steps=sum(episode.lost for episode in short), episodes=tuple(episode.id for episode in short))
