"""How an agent that serves has done, episode by episode: for who runs it, and not for who compares arms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from atlas.records import INTERRUPTED, Episode, Record, Stop, total
from atlas.report.learned import MemoryLog
from atlas.stats import Interval, bootstrap, wilson
from atlas.stats.intervals import difference
from atlas.stats.resampling import cluster_bootstrap
from atlas.traces.account import COLLECT
from atlas.traces.check import Checked, check
from atlas.traces.events import Event, Learned, Supervised
from atlas.traces.reader import Run, StoredEpisode
from atlas.views import TEACHER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOWS, SMALLEST = 12, 5
"""At most so many windows, each of at least so many episodes where there are as many."""


class Served(Record):
    """One episode, in the order of their starts."""

    id: str
    number: int
    """From 1."""
    time: float
    """Unix time of its start."""
    success: bool | None
    dollars: float | None
    """At the most, where some calls did not tell what they used; None where a price is not known."""
    steps: int
    teacher_steps: int
    lane: str
    learned: bool
    """Whether it became a demonstration."""


class Stretch(Record):
    """Some episodes in a row."""

    name: str
    """Of a calendar unit: the day, the hour. Empty for a window of episodes."""
    first: int
    last: int
    """Numbers of its first and last episode."""
    begin: float
    end: float
    """Unix times of their starts."""
    scored: int
    success: Interval
    dollars: Interval | None
    """Per episode; None where a price is not known."""
    alone: Interval | None
    """What the teacher alone would have cost, per episode: see :attr:`Service.call`."""
    teacher_share: float
    demonstrations: int
    """Learned in it."""

    @property
    def episodes(self) -> int:
        return self.last - self.first + 1


class Failed(Record):
    """Episodes that failed in one way."""

    reason: str
    episodes: tuple[str, ...]
    """Their ids, the newest first."""


class Service(Record):
    """What is told of an agent's run."""

    arm: str
    episodes: tuple[Served, ...]
    windows: tuple[Stretch, ...]
    calendar: tuple[Stretch, ...]
    """By day, hour or minute, whichever makes several of them; none where all fell into one."""
    older: Interval
    newer: Interval
    """Success in the older and in the newer half of the scored episodes."""
    trend: Interval
    """Newer minus older, with Newcombe's interval."""
    dollars: Interval | None
    call: Interval | None
    """Dollars of a call of the teacher, over all of them in this run; ``n`` counts the episodes with one. The teacher
    alone is taken to need one such call for each step that was played."""
    alone: Interval | None
    """Per episode, so estimated."""
    measured: Interval | None
    """What the episodes cost whose every step was the teacher's; None where there is none."""
    taught: bool
    """Whether the student acted at all, and the teacher was asked."""
    failures: tuple[Failed, ...]
    events: tuple[Event, ...]
    memory: MemoryLog | None
    checked: Checked

    @property
    def demonstrations(self) -> int:
        return sum(episode.learned for episode in self.episodes)

    @property
    def changes(self) -> list[Supervised]:
        return [event for event in self.events if isinstance(event, Supervised)]


def served_arm(run: Run, arms: Sequence[str]) -> str | None:
    """The arm of a run that is one agent's; None where there are several to compare, or it was no agent."""
    found = [arm for arm in dict.fromkeys(arms) if arm != COLLECT]
    return found[0] if run.settings.get("kind") == "wrapped" and len(found) == 1 else None


def ended_of(arm: str, stored: Sequence[StoredEpisode]) -> list[Episode]:
    """The results of ``arm``, in the order of their start; those that were interrupted are none."""
    results = [e.result for e in stored if e.result is not None and e.arm == arm and not e.retried]
    return sorted((e for e in results if e.stop not in INTERRUPTED), key=lambda e: e.started)


def service(run: Run, arm: str, stored: Sequence[StoredEpisode], memory: MemoryLog | None) -> Service:
    """What the ``stored`` episodes of ``run`` say of ``arm``, which has at least one that has ended."""
    ended = ended_of(arm, stored)
    events = [event for event in run.events() if event.arm == arm]
    learned = {event.episode for event in events if isinstance(event, Learned) and event.demonstration}
    episodes = [_served(number, episode, episode.id in learned) for number, episode in enumerate(ended, 1)]
    call = _call(ended)
    halves = _halves([e.success for e in episodes if e.success is not None])
    alone = [e for e in episodes if e.steps and e.teacher_steps == e.steps]
    student = any(e.teacher_steps < e.steps for e in episodes)
    size = max(SMALLEST, math.ceil(len(episodes) / WINDOWS))
    parts = [episodes[begin : begin + size] for begin in range(0, len(episodes), size)]
    if len(parts) > 1 and len(parts[-1]) < max(2, size // 2):
        parts[-2:] = [parts[-2] + parts[-1]]
    return Service(
        arm=arm,
        episodes=tuple(episodes),
        windows=tuple(_stretch("", part, call) for part in parts),
        calendar=tuple(_stretch(name, part, call) for name, part in _calendar(episodes)),
        older=halves[0],
        newer=halves[1],
        trend=difference(halves[1], halves[0]),
        dollars=_dollars(episodes),
        call=call,
        alone=_alone(episodes, call),
        measured=_dollars(alone) if alone else None,
        taught=student and call is not None,
        failures=_failures(ended),
        events=tuple(events),
        memory=memory,
        checked=check(run, stored),
    )


def _served(number: int, episode: Episode, learned: bool) -> Served:
    return Served(
        id=episode.id,
        number=number,
        time=episode.started,
        success=episode.success,
        dollars=total(episode.spend).at_most,
        steps=episode.steps,
        teacher_steps=episode.teacher_steps,
        lane=episode.lane,
        learned=learned,
    )


def _stretch(name: str, part: Sequence[Served], call: Interval | None) -> Stretch:
    scored = [e.success for e in part if e.success is not None]
    steps = sum(e.steps for e in part)
    return Stretch(
        name=name,
        first=part[0].number,
        last=part[-1].number,
        begin=part[0].time,
        end=part[-1].time,
        scored=len(scored),
        success=wilson(sum(scored), len(scored)),
        dollars=_dollars(part),
        alone=_alone(part, call),
        teacher_share=sum(e.teacher_steps for e in part) / steps if steps else 0.0,
        demonstrations=sum(e.learned for e in part),
    )


def _dollars(part: Sequence[Served]) -> Interval | None:
    known = [e.dollars for e in part if e.dollars is not None]
    return bootstrap(known, resamples=2_000) if part and len(known) == len(part) else None


def _alone(part: Sequence[Served], call: Interval | None) -> Interval | None:
    if call is None or not part:
        return None
    steps = sum(e.steps for e in part) / len(part)
    return Interval(mean=call.mean * steps, low=call.low * steps, high=call.high * steps, n=len(part))


def _call(episodes: Sequence[Episode]) -> Interval | None:
    """Dollars of one call of the teacher, a ratio of sums with the bootstrap over episodes; None where it was never
    asked, or has no price."""
    spent = [total(s for s in e.spend if s.actor == TEACHER) for e in episodes]
    asked = [(usage.at_most, usage.calls) for usage in spent if usage.calls]
    if not asked or any(dollars is None for dollars, _ in asked):
        return None
    import numpy as np

    def per_call(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = drawn.sum(axis=1)
        found: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
        return found

    return cluster_bootstrap(per_call, np.asarray(asked, dtype=float), resamples=2_000)


def _halves(scored: Sequence[bool]) -> tuple[Interval, Interval]:
    middle = len(scored) // 2
    return wilson(sum(scored[:middle]), middle), wilson(sum(scored[middle:]), len(scored) - middle)


_UNITS: tuple[Callable[[datetime], str], ...] = (
    lambda t: t.strftime("%Y, week %V"),
    lambda t: t.strftime("%d %b %Y"),
    lambda t: t.strftime("%d %b, %H:00"),
    lambda t: t.strftime("%d %b, %H:%M"),
)
"""Calendar units as they are called, the longest first."""


def _calendar(episodes: Sequence[Served]) -> list[tuple[str, list[Served]]]:
    """The episodes by the finest unit that makes no more than twice as many stretches as there are windows."""
    best: list[tuple[str, list[Served]]] = []
    for unit in _UNITS:
        found: dict[str, list[Served]] = {}
        for episode in episodes:
            found.setdefault(unit(datetime.fromtimestamp(episode.time, UTC)), []).append(episode)
        if len(found) > 2 * WINDOWS:
            break
        best = list(found.items())
    return best if len(best) > 1 else []


def _failures(ended: Sequence[Episode]) -> tuple[Failed, ...]:
    found: dict[str, list[str]] = {}
    for episode in reversed(ended):
        reason = reason_of(episode)
        if reason:
            found.setdefault(reason, []).append(episode.id)
    ranked = sorted(found.items(), key=lambda item: -len(item[1]))
    return tuple(Failed(reason=reason, episodes=tuple(ids)) for reason, ids in ranked)


_STOPS = {
    Stop.BUDGET: "its budget was spent",
    Stop.MAX_STEPS: "it ran out of steps",
}


def reason_of(episode: Episode) -> str:
    """Why an episode failed, in words; empty for one that did not, or that nobody scored."""
    if episode.stop is Stop.ERROR:
        failure = episode.failure
        return f"error: {failure.kind} in the {failure.where}" if failure is not None else "error"
    if episode.success is not False:
        return ""
    if episode.stop in _STOPS:
        return f"failed: {_STOPS[episode.stop]}"
    if any(review.approved is False for review in episode.reviews):
        return "failed: the teacher had rejected the answer"
    if not episode.steps:
        return "failed: no model was asked"
    if episode.teacher_steps == episode.steps:
        return "failed: the teacher took every step"
    if episode.teacher_steps:
        return "failed: the teacher took some of the steps"
    return (
        "failed: the student acted alone, sure of itself"
        if episode.asked_steps == 0
        else ("failed: the student acted, and the teacher was asked")
    )
