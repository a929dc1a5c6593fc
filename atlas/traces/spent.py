"""What a run has used, read off the totals of its parts, and which episodes these do not tell of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    told = _told(found)
    for name, (story, whole) in told.items():
        # The last end of an episode counts.
        ends = [rows for _, rows in story if rows is not None]
        if ends and not whole and len(ends) == len(story) - 1 and story[0][1] is None:
            sums.also(ends[-1])  # it began in one part and ended in another
            continue
        for number in whole:
            sums.add(_once(name, parts[number], found[number][1], trace), -1)
        if len(whole) == 1 and story and len(ends) == len(story) and whole[0] < story[0][0]:
            sums.also(ends[-1])  # it was over, and its end was told anew
        else:
            others.add(name)
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


def _once(name: str, part: Part, names: Names, trace: Log) -> tuple[Spend, ...]:
    """What an episode had used by an end that is among the totals."""
    line = next(iter(trace.at([part.before[1] + names.where(name)])), b"")
    told = told_of(line)
    if told is None or told[0] != name or told[1] is None:
        raise StoreError(f"{trace.path} was changed meanwhile: do it again")
    return told[1]
