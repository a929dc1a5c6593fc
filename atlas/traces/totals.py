"""What the episodes of a part of a trace used, in totals: whoever wants to know what a run has used reads these, and of
its episodes only those that no part tells of alone.

Dollars are added without rounding: the sum of sums is that of all numbers, whatever parts they come from.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from math import fsum, isfinite

import msgspec

from atlas.money import Spend, Usage
from atlas.traces.index import Index, concerns, parsed
from atlas.traces.outcomes import BEGAN, ENDED, begun, result_of, start_of, used

_COUNTS = (
    "calls",
    "prompt_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "unmetered",
    "failed",
)
_LARGEST = 2**63


class Sum(msgspec.Struct, array_like=True):
    """What one actor used of one model. Numbers with a point are kept as others whose sum is exactly theirs."""

    actor: str
    model: str
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * len(_COUNTS))
    dollars: list[float] = msgspec.field(default_factory=list)
    saved: list[float] = msgspec.field(default_factory=list)
    most: list[float] = msgspec.field(default_factory=list)
    """What budgets count: see :attr:`atlas.records.Usage.at_most`."""
    unknown: int = 0
    """Usages whose dollars are not known, and are in none of these."""
    unpriced: int = 0
    """Those of which is not known what they cost at the most either."""
    odd: int = 0
    """Those that have a number below 0 which would lower a budget's sum."""

    def add(self, usage: Usage, sign: int = 1) -> None:
        """Add a usage, or take one out again that was added."""
        for place, name in enumerate(_COUNTS):
            self.counts[place] += sign * getattr(usage, name)
        most = usage.at_most
        _add(self.saved, sign * usage.saved)
        if usage.dollars is None:
            self.unknown += sign
        else:
            _add(self.dollars, sign * usage.dollars)
        if most is None:
            self.unpriced += sign
        else:
            _add(self.most, sign * most)
        if usage.prompt_tokens < 0 or usage.completion_tokens < 0 or (most is not None and most < 0):
            self.odd += sign

    def also(self, other: Sum) -> None:
        """Add what another sum holds."""
        self.counts = [mine + more for mine, more in zip(self.counts, other.counts, strict=True)]
        for mine, others in ((self.dollars, other.dollars), (self.saved, other.saved), (self.most, other.most)):
            for number in others:
                _add(mine, number)
        self.unknown += other.unknown
        self.unpriced += other.unpriced
        self.odd += other.odd

    @property
    def kept(self) -> bool:
        """Whether a file can hold it."""
        numbers = (*self.dollars, *self.saved, *self.most)
        return all(map(isfinite, numbers)) and all(-_LARGEST < count < _LARGEST for count in self.counts)

    @property
    def usage(self) -> Usage:
        dollars = None if self.unknown else fsum(self.dollars)
        most = None if self.unpriced else fsum(self.most)
        counts = dict(zip(_COUNTS, self.counts, strict=True))
        return Usage(**counts, dollars=dollars, saved=fsum(self.saved), most=None if most == dollars else most)


class Sums:
    """Sums by actor and model, in order of first appearance."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Sum] = {}

    def add(self, spends: Iterable[Spend], sign: int = 1) -> None:
        for spend in spends:
            self._row(spend.actor, spend.model).add(spend.usage, sign)

    def also(self, sums: Iterable[Sum]) -> None:
        for one in sums:
            self._row(one.actor, one.model).also(one)

    def rows(self) -> list[Sum]:
        """Those that hold anything."""
        return [row for row in self._rows.values() if row != Sum(row.actor, row.model)]

    @property
    def total(self) -> Usage:
        """The sum of all."""
        found = Sum("", "")
        for row in self._rows.values():
            found.also(row)
        return found.usage

    def spends(self) -> tuple[Spend, ...]:
        return tuple(Spend(actor=row.actor, model=row.model, usage=row.usage) for row in self.rows())

    def _row(self, actor: str, model: str) -> Sum:
        found = self._rows.get((actor, model))
        if found is None:
            found = self._rows[actor, model] = Sum(actor, model)
        return found


class Totals(msgspec.Struct, array_like=True):
    """What a part tells of what its episodes used."""

    spent: list[Sum]
    """By those that began in it and ended, by the last line of each that tells of its end; their :class:`Names`."""
    begun: list[str]
    """Those that began in it and did not end."""
    ends: dict[str, list[Sum]]
    """What those used that ended in it and began elsewhere."""
    tangled: list[str]
    """Those that began twice, or when they had ended."""


class Names(msgspec.Struct, array_like=True):
    """The episodes that began and ended in a part."""

    names: list[str]
    places: bytes
    """Where the last end of each is, as an array of 64-bit numbers, counted from where the part begins."""

    def by_name(self) -> dict[str, int]:
        """Where each one's is."""
        places = array("q")
        places.frombytes(self.places)
        return dict(zip(self.names, places, strict=True))


def totals_of(index: Index) -> tuple[Totals, Names] | None:
    """Those of the part that ``index`` is of; None where a line of it is damaged, or has a number that no sum takes."""
    known: dict[str, _Story] = {}
    try:
        for (_, line), place in zip(index.told(), index.places, strict=True):
            told = told_of(line)
            if told is not None:
                known.setdefault(told[0], _Story()).take(told[1], place)
    except (KeyError, ValueError, TypeError):
        return None
    whole = {name: story for name, story in known.items() if story.is_ == "began and ended"}
    spent = Sums()
    for story in whole.values():
        spent.add(story.spends)
    made = Totals(
        spent=spent.rows(),
        begun=[name for name, story in known.items() if story.is_ == "began"],
        ends={name: _rows(story.spends) for name, story in known.items() if story.is_ == "ended"},
        tangled=[name for name, story in known.items() if story.is_ == "tangled"],
    )
    if not all(row.kept for rows in (made.spent, *made.ends.values()) for row in rows):
        return None
    return made, Names([*whole], array("q", (story.place for story in whole.values())).tobytes())


class _Story:
    """What lines tell of an episode, one after the other."""

    def __init__(self) -> None:
        self.is_ = ""
        self.spends: tuple[Spend, ...] = ()
        self.place = 0

    def take(self, spends: tuple[Spend, ...] | None, place: int) -> None:
        """A line that tells of its end, and what it had used; None of its beginning."""
        if spends is None:
            self.is_ = "tangled" if self.is_ else "began"
            return
        self.is_ = {"": "ended", "began": "began and ended"}.get(self.is_, self.is_)
        self.spends, self.place = spends, place


def told_of(line: bytes) -> tuple[str, tuple[Spend, ...] | None] | None:
    """The episode that a line tells the beginning or the end of, and for an end what it used; None for another line.
    Raises KeyError, TypeError or ValueError where a reader of episodes finds it damaged."""
    if line.startswith(ENDED) and (end := used(line)) is not None:
        return end
    if line.startswith(BEGAN) and (start := begun(line)) is not None:
        return start, None
    event = parsed(line) if concerns(line, None) else None
    if event is not None and event.get("type") == "start":
        return start_of(event).episode, None
    if event is not None and event.get("type") == "end":
        result = result_of(event)
        return result.id, result.spend
    return None


def _rows(spends: Iterable[Spend]) -> list[Sum]:
    made = Sums()
    made.add(spends)
    return made.rows()


def _add(exact: list[float], number: float) -> None:
    """Add a number to others whose sum is kept exactly (Shewchuk, "Adaptive precision floating-point arithmetic and
    fast robust geometric predicates", 1997): none of them overlaps another."""
    kept = 0
    for other in exact:
        if abs(number) < abs(other):
            number, other = other, number
        high = number + other
        if not isfinite(high):
            exact[:] = [high]
            return
        low = other - (high - number)
        if low:
            exact[kept] = low
            kept += 1
        number = high
    exact[kept:] = [number] if number else []
