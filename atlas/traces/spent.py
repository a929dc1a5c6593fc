"""What a run has used, read off the totals of its parts, and which episodes these do not tell of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from atlas.errors import StoreError
from atlas.money import Spend
from atlas.traces.place import Log, Part
from atlas.traces.totals import Names, Sum, Sums, Totals, told_of


class Spent(NamedTuple):
    sums: Sums
    """What the episodes used that the totals tell of."""
    others: Collection[str] | None
    """Those that are to be read: without an end, or told of twice. None where all are."""
    parts: list[Part]
    """Where these have lines."""


def spent_in(parts: Sequence[Part], trace: Log) -> Spent:
    """What is told by the totals of ``parts``, which are all of the ``trace``."""
    kept = [part.totals() for part in parts]
    found = [one for one in kept if one is not None]
    if len(found) < len(kept):
        return Spent(Sums(), None, list(parts))
    sums = Sums()
    for totals, _ in found:
        sums.also(totals.spent)
    others: set[str] = set()
    again: dict[int, list[str]] = {}
    """Episodes that are among the totals of a part, and are to be counted otherwise."""
    told = _told(found)
    for name, (story, whole) in told.items():
        # The last end of an episode counts.
        ends = [rows for _, rows in story if rows is not None]
        if ends and not whole and len(ends) == len(story) - 1 and story[0][1] is None:
            sums.also(ends[-1])  # it began in one part and ended in another
            continue
        for number in whole:
            again.setdefault(number, []).append(name)
        if len(whole) == 1 and story and len(ends) == len(story) and whole[0] < story[0][0]:
            sums.also(ends[-1])  # it was over, and its end was told anew
        else:
            others.add(name)
    for number, names in again.items():
        for spends in _once(names, parts[number], found[number][1], trace):
            sums.add(spends, -1)
    there = [
        part
        for number, part in enumerate(parts)
        if not others.isdisjoint(part.head.parted)
        or not others.isdisjoint(found[number][0].tangled)
        or any(number in told[name].whole for name in others)
    ]
    return Spent(sums, others, there)


class _Story(NamedTuple):
    """What the parts tell of an episode, in order."""

    parted: list[tuple[int, list[Sum] | None]]
    """Those in which it began, or ended: then what it had used."""
    whole: list[int]
    """Those in which it did both."""


def _told(found: Sequence[tuple[Totals, Names]]) -> dict[str, _Story]:
    """Of the episodes that no part tells of alone."""
    told: dict[str, _Story] = {}
    for number, (totals, _) in enumerate(found):
        for name in totals.begun:
            told.setdefault(name, _Story([], [])).parted.append((number, None))
        for name, rows in totals.ends.items():
            told.setdefault(name, _Story([], [])).parted.append((number, rows))
        for name in totals.tangled:
            told.setdefault(name, _Story([], [])).parted.extend([(number, None)] * 2)
    known: set[str] = set()
    for _, names in found:
        for name in known.intersection(names.names):
            told.setdefault(name, _Story([], []))
        known.update(names.names)
    for number, (_, names) in enumerate(found):
        for name in told.keys() & set(names.names):
            told[name].whole.append(number)
    return told


def _once(names: Sequence[str], part: Part, of: Names, trace: Log) -> Iterator[tuple[Spend, ...]]:
    """What episodes had used by the ends that are among the totals."""
    where = of.by_name()
    places = sorted(part.before[1] + where[name] for name in names)
    told = [told_of(line) for line in trace.at(places)]
    if sorted(one[0] for one in told if one is not None and one[1] is not None) != sorted(names):
        raise StoreError(f"{trace.path} was changed meanwhile: do it again")
    return (one[1] for one in told if one is not None and one[1] is not None)
