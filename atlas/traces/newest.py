"""The newest episodes of a run alone, in time that grows with them: of closed segments those are read that hold some.

When an episode began is told by its result, and by the line of its beginning where it has none, or its result does not
know. So clocks that went back and imports of what was played long ago are no matter: what counts is the moment, and
neither when nor where its lines were written.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from atlas.errors import ConfigError
from atlas.record import Record
from atlas.records import Episode
from atlas.traces.events import Event, Supervised
from atlas.traces.heads import Times, rare_of
from atlas.traces.index import Among, Index
from atlas.traces.place import Part
from atlas.traces.reader import Run, StoredEpisode


class Shown(Record):
    """Which episodes of a run are read."""

    episodes: int
    """So many, those without an end and earlier attempts included."""
    of: int
    """So many there are."""
    last: int | None = None
    """At the most so many, the newest."""
    since: float | None = None
    """Those that began at this Unix time or later."""

    @property
    def some(self) -> bool:
        """Whether there are others."""
        return self.episodes < self.of

    def said(self) -> str:
        """In words."""
        count = f"{self.episodes:,} of {self.of:,}" if self.some else f"all {self.of:,}"
        newest = "the newest " if self.some and self.episodes == self.last else ""
        since = f", since {_moment(self.since)}" if self.since is not None else ""
        return f"{newest}{count} episodes{since}"


class Newest(Run):
    """A run of which some episodes are read, and what is told of these: whoever reads a run reads this one.

    What is told of the run as a whole is the whole run's: what was pruned, and how the supervision of each arm stands.
    """

    def __init__(self, run: Run, *, last: int | None = None, since: float | None = None) -> None:
        """At most the ``last`` ones, of those that began ``since`` a Unix time. Raises ConfigError where there are
        episodes and none is among them."""
        super().__init__(run.place)
        self._parts = self._trace.parts()
        chosen = _choose(self._parts, math.inf if last is None else last, -math.inf if since is None else since)
        if chosen.of and not chosen.ids:
            raise ConfigError(
                f"no episode of the run {self.path} began since {_moment(since)}: the newest began "
                f"{_moment(chosen.newest)}, name an earlier time"
            )
        self._ids, self._read = chosen.ids, chosen.read
        self.shown = Shown(episodes=len(chosen.ids), of=chosen.of, last=last, since=since)

    def episodes(
        self, lines: Iterable[tuple[int, int, bytes]] | None = None, *, among: Among | None = None
    ) -> list[StoredEpisode]:
        """Those that are read, in order of their start; else as of all."""
        if lines is not None:
            return super().episodes(lines, among=among)
        found = super().episodes(among=lambda id: id in self._ids and (among is None or among(id)))
        again = {name for part in self._parts for name in part.head.again}
        for episode in found:
            # The one that counts may have begun before, by another clock.
            episode.retried = episode.retried or episode.id in again
        return found

    def results(self) -> list[Episode]:
        """The results of those that are read."""
        again = {name for part in self._parts for name in part.head.again}
        return [e for e in super().results() if e.id in self._ids and e.id not in again]

    def events(self) -> list[Event]:
        """What is told of those that are read, and the last change of each arm's supervision, whenever that was."""
        found = super().events()
        last = {event.arm: event for event in found if isinstance(event, Supervised)}
        return [event for event in found if event.episode in self._ids or event is last.get(event.arm)]

    def _indexes(self) -> Iterator[Index]:
        for number, part in enumerate(self._parts):
            yield part.index() if number in self._read else rare_of(part.head, part.before)

    def _all_parts(self) -> list[Part]:
        return self._parts

    def _passed(self) -> list[Part]:
        return [part for number, part in enumerate(self._parts) if number not in self._read]


@dataclass(frozen=True)
class _Chosen:
    ids: Collection[str]
    read: Collection[int]
    """The parts that have lines of theirs."""
    of: int
    newest: float


def _choose(parts: list[Part], last: float, since: float) -> _Chosen:
    known: dict[str, Times] = {}
    newest: list[float] = []
    """The moments of the ``last`` newest so far, in a heap."""

    def take(name: str, times: Times, base: int) -> None:
        times = Times(times.number + base, times.began, times.ended, times.written, times.started)
        before = known.get(name)
        known[name] = times if before is None else before.and_of(times)

    def count(names: Iterable[str]) -> None:
        for name in names:
            times = known[name]
            if (times.began or times.ended) and times.when >= since:
                heapq.heappush(newest, times.when)
                if len(newest) > last:
                    heapq.heappop(newest)

    # All lines of those that have some in several parts are known from the heads.
    for part in parts:
        for name, times in part.head.parted.items():
            take(name, times, part.before[0])
    count(known)
    read: dict[int, Collection[str]] = {}
    numbered = ((part.head.newest, number) for number, part in enumerate(parts) if part.head.newest is not None)
    for moment, number in sorted(numbered, reverse=True):
        if moment < since or (len(newest) == last and newest[0] > moment):
            break
        found = {name: times for name, times in parts[number].times().items() if times.whole}
        new = [name for name in found if name not in known]
        for name, times in found.items():
            take(name, times, parts[number].before[0])
        count(new)
        read[number] = found.keys()
    begun = [name for name, times in known.items() if times.began or times.ended]
    among = [name for name in begun if known[name].when >= since]
    if len(among) > last:
        among = heapq.nlargest(int(last), among, key=lambda name: (known[name].when, known[name].number))
    ids = frozenset(among)
    moments = [*(known[name].when for name in begun), *(part.head.newest or 0.0 for part in parts)]
    everything = all(part.head.newest is None or number in read for number, part in enumerate(parts))
    return _Chosen(
        ids=ids,
        read={
            number
            for number, part in enumerate(parts)
            if not ids.isdisjoint(part.head.parted) or not ids.isdisjoint(read.get(number, ()))
        },
        of=len(begun) if everything else sum(part.head.begun for part in parts),
        newest=max(moments, default=0.0),
    )


def _moment(time: float | None) -> str:
    try:
        return datetime.fromtimestamp(time or 0.0, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return f"{time:g} s after 1970"  # of another program's trace: no date there is
