"""The history of a memory: what each version did, how two differ, and going back to one.

Nothing is ever taken out of the history. A rollback is one more version, which can be rolled back like any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from atlas.jsontext import read_json
from atlas.memory.database import Change, Database, Item, State, Version

GONE = ("removed", "absent")
COUNTED = {"seen", "repeats"}
"""The fields of a demonstration that say how often it was seen."""


class Logged(NamedTuple):
    """A version with how many items it treated in which way."""

    version: Version
    counts: dict[str, int]
    """By what was done, as :func:`done` words it."""


def log(database: Database) -> list[Logged]:
    """Every version, oldest first."""
    with database.reading():
        counts: dict[int, dict[str, int]] = {}
        for number, before, after, edited, count in database.backend.counts():
            words = counts.setdefault(number, {})
            word = _word(before, after, edited)
            words[word] = words.get(word, 0) + count
        return [Logged(version, counts.get(version.number, {})) for version in database.versions()]


def done(change: Change) -> str:
    """What a change did, in a word or two: ``added``, ``added on trial``, ``edited``, ``seen again``,
    ``quarantined``..."""
    if change.before.status == change.after.status not in GONE and fields(change).keys() <= COUNTED:
        return "seen again"
    return _word(change.before.status, change.after.status, change.before.record != change.after.record)


def diff(database: Database, first: int, second: int) -> list[Change]:
    """How the memory at version ``second`` differs from that at ``first``, in insertion order.

    What was removed and what was never there are both just not there.
    """
    with database.reading():
        one, two = database.since(first), database.since(second)
        changes = []
        for key in one if first <= second else two:
            now = database.get(*key)
            present = State(now.status, now.record) if now else State("absent", "")
            before, after = one.get(key, present), two.get(key, present)
            there = before.status not in GONE, after.status not in GONE
            if there != (False, False) and before != after:
                changes.append(Change(*key, before, after))
        return changes


def rollback(database: Database, to: int, *, author: str, reason: str) -> list[Change]:
    """As :meth:`Database.rollback`."""
    return database.rollback(to, author=author, reason=reason)


def fields(change: Change) -> dict[str, tuple[object, object]]:
    """The fields of the record that a change altered: ``(before, after)`` by name, None where there was none."""
    before, after = ({} if s.status in GONE else _fields(s.record) for s in (change.before, change.after))
    names = dict.fromkeys([*before, *after])
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


def _fields(record: str) -> dict[str, object]:
    try:
        found = read_json(record)
    except ValueError:
        found = None
    # A damaged record is shown as it is.
    return found if isinstance(found, dict) else {"record": record}


def _word(before: str, after: str, edited: bool) -> str:
    if after in GONE:
        return "forgotten" if before in GONE else "removed"
    if before in GONE:
        return {"admitted": "added", "trial": "added on trial"}.get(after, f"added as {after}")
    if before != after:
        return {"trial": "put on trial"}.get(after, after) + (" and edited" if edited else "")
    return "edited"


def reason_for(item: Item, history: Sequence[tuple[Version, Change]]) -> str:
    """Why an item has its status: the reason of the last version, but for rollbacks, that gave it this status."""
    gave = [v.reason for v, change in history if v.action == "write" and change.after.status == item.status]
    if not history:
        return "no version tells why: the file is damaged"
    reason = gave[-1] if gave else history[-1][0].reason
    # Several may have been quarantined at once.
    found = re.search(
        rf"{re.escape(item.id)} quarantined: (.+?)(?=; [0-9a-f]{{12,16}} quarantined: |$)", reason, re.DOTALL
    )
    return found[1] if found else reason
