"""What a part of a trace tells of its episodes at a glance: how many began there, when the newest of them did, and
which of them have lines elsewhere. Who wants some of a run's episodes passes over the parts that hold none of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import msgspec

from atlas.records import INTERRUPTED
from atlas.traces.format import EVENT, PRUNED
from atlas.traces.index import Index, parsed
from atlas.traces.outcomes import BEGAN, ENDED
from atlas.traces.totals import Names, Totals, totals_of


class Times(msgspec.Struct, array_like=True):
    """What the lines of a part tell of an episode's beginning."""

    number: int
    """The first of its lines that are told, counted from where the part begins."""
    began: bool = False
    ended: bool = False
    written: float | None = None
    """When its beginning was written down."""
    started: float | None = None
    """When it began, as its result tells; None where that does not know."""

    def and_of(self, other: Times) -> Times:
        """Both together; numbers are counted alike in both."""
        return Times(
            number=min(self.number, other.number),
            began=self.began or other.began,
            ended=self.ended or other.ended,
            written=_later(self.written, other.written),
            started=_later(self.started, other.started),
        )

    @property
    def whole(self) -> bool:
        return self.began and self.ended

    @property
    def when(self) -> float:
        """The moment it began: that of its result counts, as a result may be of an earlier day than its lines. One that
        nothing tells of is older than all others."""
        return self.started or self.written or 0.0


class Head(msgspec.Struct, array_like=True):
    """What is told of a part as a whole."""

    lines: int
    begun: int
    """Episodes that began in it."""
    newest: float | None
    """When the newest of those began that began and ended in it."""
    parted: dict[str, Times]
    """The others that have lines in it, steps too: their lines may stand in several parts."""
    again: list[str]
    """Episodes that were played again to a result here."""
    rare: list[tuple[int, bytes]]
    """(number, line) of what is told of the run as a whole: changes of supervision, what was pruned."""


class _Start(msgspec.Struct, gc=False):
    episode: str
    time: float | None = None


class _End(msgspec.Struct, gc=False):
    id: str
    stop: str
    started: float | None = None
    retries: str = ""


_START, _END = msgspec.json.Decoder(_Start).decode, msgspec.json.Decoder(_End).decode
_NO_RESULT = {stop.value for stop in INTERRUPTED}


def head_of(index: Index) -> Head:
    """The head of the part that ``index`` is of."""
    return _head(index, *_looked(index))


def _head(index: Index, known: dict[str, Times], again: list[str]) -> Head:
    rare = [(n, line) for n, line in _counted(index) if PRUNED.match(line) or _is(line, b"supervised")]
    whole = [times.when for times in known.values() if times.whole]
    parted = {name: times for name, times in known.items() if not times.whole}
    # No line that is told, but steps: their numbers are not known, and nothing is told of when they began.
    parted.update({name: Times(index.lines) for name in index.steps if name not in known})
    return Head(
        lines=index.lines,
        begun=sum(times.began for times in known.values()),
        newest=max(whole, default=None),
        parted=parted,
        again=again,
        rare=rare,
    )


def rare_of(head: Head, before: tuple[int, int]) -> Index:
    """An index of what is told of the run as a whole alone, in a part that is passed over."""
    numbers, lines = zip(*head.rare, strict=True) if head.rare else ((), ())
    return Index(
        lines=head.lines,
        numbers=array("q", numbers),
        places=array("q", bytes(8 * len(lines))),
        before=before,
        _told=[*lines],
    )


def times_of(index: Index) -> dict[str, Times]:
    """What a part tells of the episodes that it tells of."""
    return _looked(index)[0]


def _looked(index: Index) -> tuple[dict[str, Times], list[str]]:
    known: dict[str, Times] = {}
    again: list[str] = []
    for number, line in _counted(index):
        told = _told(number, line)
        if told is None:
            continue
        name, times, earlier = told
        known[name] = known[name].and_of(times) if name in known else times
        if earlier:
            again.append(earlier)
    return known, again


def _counted(index: Index) -> Iterator[tuple[int, bytes]]:
    """The lines that are told, with their numbers from where the part begins."""
    return ((number - index.before[0], line) for number, line in index.told())


def _told(number: int, line: bytes) -> tuple[str, Times, str] | None:
    """The episode that a line is of, what it tells of its beginning, and which one it plays again to a result."""
    try:
        if line.startswith(BEGAN):
            start = _START(line)
            return start.episode, Times(number, began=True, written=start.time), ""
        if line.startswith(ENDED):
            end = _END(line)
            earlier = end.retries if end.stop not in _NO_RESULT else ""
            return end.id, Times(number, ended=True, started=end.started or None), earlier
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass  # damaged, half a character in it, or of another writer: as slowly as it takes
    event = parsed(line)
    if event is None or not isinstance(name := event.get("episode", event.get("id")), str):
        return None
    match event.get("type"):
        case "start":
            return name, Times(number, began=True, written=_number(event.get("time"))), ""
        case "end":
            earlier = str(event.get("retries") or "") if event.get("stop") not in _NO_RESULT else ""
            return name, Times(number, ended=True, started=_number(event.get("started")) or None), earlier
        case "supervised":
            return None  # told of the arm
    return name, Times(number), ""


def _is(line: bytes, kind: bytes) -> bool:
    found = EVENT.match(line)
    return found is not None and found[1] == kind


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _later(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


class Whole:
    """A :class:`atlas.traces.place.Part` that has been read."""

    def __init__(self, index: Index) -> None:
        self.before = index.before
        self._index = index
        self._known, again = _looked(index)
        self.head = _head(index, self._known, again)

    def index(self) -> Index:
        return self._index

    def times(self) -> dict[str, Times]:
        return self._known

    def texts(self) -> dict[str, str | int]:
        return self._index.texts

    def totals(self) -> tuple[Totals, Names] | None:
        return totals_of(self._index)
