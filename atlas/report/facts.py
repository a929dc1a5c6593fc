"""What a report says, computed from a run's traces: no figure of the page comes from anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.chances.foreseen import Stated
from atlas.errors import DataError
from atlas.memory.backend import there
from atlas.memory.history import unaided
from atlas.memory.map import MemoryMap
from atlas.policies.probe import LANES
from atlas.records import Episode, Record, Usage, total
from atlas.report.colours import hues
from atlas.report.learned import MemoryLog, map_of, memory_log
from atlas.report.served import Service, served_arm, service
from atlas.report.supervision import Supervision, supervision
from atlas.stats import Interval, bootstrap
from atlas.stats.resampling import cluster_bootstrap
from atlas.traces.account import (
    COLLECT,
    ArmRow,
    BreakEven,
    Lost,
    Pair,
    arm_rows,
    break_even,
    chosen,
    comparisons,
    cut_off,
    demo_users,
    lost_steps,
)
from atlas.traces.events import Supervised
from atlas.traces.newest import Shown
from atlas.traces.place import is_server
from atlas.traces.pruned import Pruned
from atlas.traces.reader import Run, StoredEpisode
from atlas.traces.roles import CASCADES, ROLES, TEACHER, Role, Roles, leading, roles_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ArmFacts(Record):
    """An arm with the intervals the pictures need. ``name`` is without the group's."""

    group: str
    name: str
    role: Role
    hue: int
    """Its colour and shape, in all pictures and tables of the run."""
    row: ArmRow
    dollars: Interval | None
    """Per episode; None where a model has no price."""
    teacher_share: Interval


class Point(Record):
    """A policy with a number of demonstrations."""

    demos: int
    arm: ArmFacts


class Curve(Record):
    """How a policy does as its demonstrations grow."""

    name: str
    hue: int
    points: tuple[Point, ...]


class Growth(Record):
    """An arm whose memory grows while it serves, episodes in order of start.

    ``teacher_share`` and ``success`` are means over ``window`` episodes, the first value at episode number ``window``.
    """

    arm: str
    window: int
    teacher_share: tuple[float, ...]
    success: tuple[float, ...]
    each: tuple[float, ...]
    """The teacher's share of each episode alone."""


class Group(Record):
    """Arms of one student."""

    name: str
    arms: tuple[ArmFacts, ...]
    curves: tuple[Curve, ...]
    growth: tuple[Growth, ...]
    supervised: tuple[Supervision, ...]
    teacher: ArmFacts | None

    about: str | None
    """The arm that it is about, as named in the trace."""

    def of(self, kind: str) -> ArmFacts | None:
        """The first arm of that kind, where the run has one."""
        return next((arm for arm in self.arms if arm.role.kind == kind), None)

    @property
    def cascade(self) -> ArmFacts | None:
        """The cascade that it is about, however it is named."""
        found = next((arm for arm in self.arms if arm.row.arm == self.about), None)
        return found if found is not None and found.role.kind in CASCADES else None

    def control(self, arm: ArmFacts, kind: str) -> ArmFacts | None:
        """The control of ``arm`` that is of that kind."""
        controls = (other for other in self.arms if other.role.control_of == arm.row.arm)
        return next((other for other in controls if other.role.kind == kind), None)


class Facts(Record):
    """All of it."""

    run: str
    title: str
    notes: tuple[str, ...]
    about: dict[str, Any]
    created: float
    version: str
    episodes: int
    groups: tuple[Group, ...]
    collect: ArmRow | None
    demonstrations: int
    """Successful episodes of the collecting arm; 0 where this is of a part of the run."""
    compared: tuple[str, ...]
    """The arms that the reader wants compared; none where what is worth a look is."""
    pairs: tuple[Pair, ...]
    break_even: tuple[BreakEven, ...]
    cut_off: int
    cut_off_usage: Usage
    lost: Lost
    """Steps that the trace does not have any more."""
    shown: Shown | None
    """Which episodes of the run this is of; None where it is of all."""
    pruned: Pruned | None
    """What was taken out of the run, of which nothing else here tells; None where nothing was."""
    hues: dict[str, int]
    """The colour of every arm in the trace."""
    changes: tuple[Supervised, ...] = ()
    """Of supervision, in the order they happened."""
    service: Service | None = None
    """How it went over time, where the run is one agent's that serves: that is told then, and nothing is compared."""

    learned: MemoryMap | None = None
    """What its memory has learned, where that is there."""

    @property
    def arms(self) -> list[ArmFacts]:
        """The arms of all groups, those of learning curves not included."""
        return [arm for group in self.groups for arm in group.arms]


def gather(
    run: Run,
    stored: Sequence[StoredEpisode] | None = None,
    *,
    compare: Sequence[str] = (),
    memory: str | Path | None = None,
) -> Facts:
    """Read ``run``, or of it what a :class:`~atlas.traces.newest.Newest` reads. ``stored`` are its episodes, where they
    are read already.

    Args:
        compare: the arms to compare, the first with each of the others; what is worth a look where there is none.
        memory: the memory whose versions are told of, where the run is an agent's; the one that the run names, if it is
            there, where None.

    Raises :class:`~atlas.errors.DataError` where no episode has ended yet, ConfigError for arms that cannot be
    compared, and StoreError for a memory that is not there.
    """
    stored = run.episodes() if stored is None else stored
    episodes = [e.result for e in stored if e.result is not None and not e.retried]
    rows = arm_rows(episodes)
    gone = run.pruned()
    part = run.shown is not None and run.shown.some
    if not rows and run.shown is not None and run.shown.episodes:
        raise DataError(f"none of these episodes of the run {run.path} has finished yet: show more of them")
    if not rows and gone:
        raise DataError(f"all episodes of the run {run.path} were taken out: 'atlas traces show' tells their totals")
    if not rows:
        raise DataError(f"the run {run.path} has no finished episode yet: report it when one has ended")
    # What all demonstrations cost, and how many there are, a part of the run does not know.
    demonstrations = 0 if part else sum(e.arm == COLLECT and bool(e.success) for e in episodes)
    roles = roles_of(run, (e.arm for e in stored))
    about = run.about
    notes = about.pop("notes", ())
    about.pop(ROLES, None)
    lost, lost_usage = cut_off(stored)
    among = run.shown.said() if run.shown is not None and run.shown.some else ""
    alone = None if compare else served_arm(run, [row.arm for row in rows])
    return Facts(
        run=run.name,
        title=str(about.pop("title", "") or run.name),
        notes=tuple(map(str, notes if isinstance(notes, list | tuple) else [notes])),
        about=about,
        created=float(run.manifest["created"]),
        version=str(run.manifest.get("atlas", "unknown")),
        episodes=sum(row.episodes for row in rows),
        groups=tuple(_groups(rows, episodes, demonstrations, roles, _stated(stored))),
        collect=next((row for row in rows if row.arm == COLLECT), None),
        demonstrations=demonstrations,
        compared=tuple(compare),
        pairs=tuple(chosen(episodes, compare, among) if compare else comparisons(episodes, roles)),
        break_even=() if part else tuple(break_even(rows, roles, using=demo_users(stored, roles))),
        cut_off=len(lost),
        cut_off_usage=lost_usage,
        lost=lost_steps(stored),
        shown=run.shown,
        pruned=gone,
        hues=hues(roles),
        changes=tuple(event for event in run.events() if isinstance(event, Supervised)),
        service=service(run, alone, stored, _memory(about, memory, min(e.started for e in episodes)))
        if alone
        else None,
        learned=_learned(run, about, memory),
    )


def _learned(run: Run, about: Mapping[str, Any], given: str | Path | None) -> MemoryMap | None:
    """The map of the memory that is ``given``, or else of the one that the run names or has in its folder."""
    named = about.get("memory")
    own = run.place.memory("memory")
    places = [given] if given is not None else [named if isinstance(named, str) else None, own]
    for place in places:
        if place is not None and (place is given or Path(place).is_file() or (is_server(place) and there(str(place)))):
            return map_of(place)
    return None


def _memory(about: Mapping[str, Any], given: str | Path | None, since: float) -> MemoryLog | None:
    """The log, since a Unix time, of the memory that is ``given``, or else of the one that the run names, where that is
    there."""
    if given is not None:
        return memory_log(given, since)
    named = about.get("memory")
    return memory_log(named, since) if isinstance(named, str) and Path(named).is_file() else None


def _stated(stored: Sequence[StoredEpisode]) -> dict[str, list[Stated]]:
    """By arm: the chances that a probe stated before the first step, and how the student then did by itself."""
    found: dict[str, list[Stated]] = {}
    for episode in stored:
        if episode.result is None or episode.retried or episode.result.lane not in LANES or not episode.steps:
            continue
        lane = episode.steps[0].decision.lane
        alone = unaided(episode.result, episode.steps)
        if lane is not None and lane.chance is not None and alone is not None:
            found.setdefault(episode.arm, []).append(Stated(episode.task.id, "", lane.chance, alone))
    return found


def _groups(
    rows: Sequence[ArmRow],
    episodes: Sequence[Episode],
    demonstrations: int,
    roles: Roles,
    stated: Mapping[str, Sequence[Stated]],
) -> list[Group]:
    settled: dict[str, list[Episode]] = {row.arm: [] for row in rows}
    for episode in sorted(episodes, key=lambda e: e.started):
        if episode.arm in settled:
            settled[episode.arm].append(episode)
    colours = hues(roles)
    by_group: dict[str, list[ArmFacts]] = {}
    for row in rows:
        if row.arm != COLLECT:
            arm = _arm(row, settled[row.arm], roles[row.arm], colours[row.arm])
            by_group.setdefault(arm.group, []).append(arm)
    groups: list[Group] = []
    for name, arms in by_group.items():
        plain = tuple(arm for arm in arms if not arm.role.base)
        teacher = next((arm for arm in plain if arm.role.kind == TEACHER), groups[0].teacher if groups else None)
        lanes = [(arm, supervision(arm.row.arm, settled[arm.row.arm], stated.get(arm.row.arm, ()))) for arm in plain]
        growth = [
            _growth(arm.row.arm, settled[arm.row.arm]) for arm, found in lanes if arm.role.grows and found is None
        ]
        groups.append(
            Group(
                name=name,
                arms=plain,
                curves=tuple(_curves(arms, settled, demonstrations)),
                growth=tuple(growth),
                supervised=tuple(found for _, found in lanes if found is not None),
                teacher=teacher,
                about=leading([arm.row.arm for arm in plain if not arm.role.grows], roles),
            )
        )
    return groups


def _arm(row: ArmRow, episodes: Sequence[Episode], role: Role, hue: int) -> ArmFacts:
    costs = [total(e.spend).dollars for e in episodes]
    known = [c for c in costs if c is not None]
    return ArmFacts(
        group=role.group,
        name=role.name,
        role=role,
        hue=hue,
        row=row,
        dollars=bootstrap(known) if len(known) == len(costs) else None,
        teacher_share=_share([(e.teacher_steps, e.steps) for e in episodes], chosen=role.kind in CASCADES),
    )


def _share(steps: Sequence[tuple[int, int]], *, chosen: bool, resamples: int = 2_000) -> Interval:
    """The teacher's share of all steps, with the percentile bootstrap over episodes. That it is 0, or all, says little
    of others where it was ``chosen`` step by step, and everything where the arm is made so."""
    import numpy as np

    counts = np.asarray(steps, dtype=float).reshape(-1, 2)
    if not len(counts) or not counts[:, 1].sum():
        return Interval(mean=0.0, low=0.0, high=1.0, n=0)

    def share(teacher: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = teacher.sum(axis=1) / np.maximum(steps.sum(axis=1), 1.0)
        return found

    # Two columns and not pairs: numpy adds up numbers that lie side by side in a third of the time.
    return cluster_bootstrap(
        share, *np.ascontiguousarray(counts.T), within=(0.0, 1.0) if chosen else None, resamples=resamples
    )


def _curves(arms: Sequence[ArmFacts], settled: dict[str, list[Episode]], demonstrations: int) -> list[Curve]:
    found: dict[str, list[Point]] = {}
    for arm in arms:
        if arm.role.base:
            found.setdefault(arm.role.base, []).append(Point(demos=arm.role.demos, arm=arm))
    by_name = {arm.row.arm: arm for arm in arms}
    curves = []
    for name, points in found.items():
        points.sort(key=lambda point: point.demos)
        # The curve's ends are arms of their own: without demonstrations, and with all that were collected. They belong
        # to it where they played the same tasks.
        one = points[0].arm
        tasks = _tasks(settled, one)
        bare, full = by_name.get(one.role.bare), by_name.get(name)
        if bare and points[0].demos > 0 and _tasks(settled, bare) == tasks:
            points.insert(0, Point(demos=0, arm=bare))
        if full and points[-1].demos < demonstrations and _tasks(settled, full) == tasks:
            points.append(Point(demos=demonstrations, arm=full))
        curves.append(Curve(name=one.role.short(name), hue=one.hue, points=tuple(points)))
    return curves


def _tasks(settled: dict[str, list[Episode]], arm: ArmFacts) -> set[tuple[str, int]]:
    return {(e.task.id, e.seed) for e in settled[arm.row.arm]}


def _growth(arm: str, episodes: Sequence[Episode]) -> Growth:
    window = max(1, min(20, len(episodes) // 4))
    recent = [episodes[i : i + window] for i in range(len(episodes) + 1 - window)]
    return Growth(
        arm=arm,
        window=window,
        teacher_share=tuple(_ratio(sum(e.teacher_steps for e in w), sum(e.steps for e in w)) for w in recent),
        success=tuple(_ratio(sum(bool(e.success) for e in w), len(w)) for w in recent),
        each=tuple(_ratio(e.teacher_steps, e.steps) for e in episodes),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
