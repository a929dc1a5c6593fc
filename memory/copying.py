"""A memory from one database into another, row by row as it is: items, versions, evidence, vectors, marks, and its id.

It may be cut off at any moment. What is there of a half copy is compared and not written again, and until all of it is
there, and has the same hash as the source, the target is frozen and no other copy's.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from atlas.errors import ConfigError, FrozenMemory, StoreError
from atlas.memory.backend import TABLES, Movable, Row
from atlas.memory.database import Database, Freeze
from atlas.memory.schema import new_id
from atlas.record import Record

AUTHOR = "rule:copy"
_MARK = "copying"
"""The fact of a half copy: the id of the memory that it is to become."""
_OWN = ("id", "frozen", _MARK)
"""Facts that a half copy has of its own."""
_PART = 500
"""Rows of a table between two commits."""

Seen = Callable[[int, int], None]


class Copied(Record):
    """What came of a copy."""

    source: str
    target: str
    memory: str
    """The id of both."""
    version: int
    rows: dict[str, int]
    """By table, all of them."""
    written: int
    """Rows that were not there already."""
    sha256: str
    """Of every row; the same for the same memory in whatever database."""


class _Digest:
    """The hash of rows, table by table in the order of their keys."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, table: str, rows: Sequence[Row]) -> None:
        for row in rows:
            said = json.dumps([table, *row], ensure_ascii=True, default=_hex)
            self._hash.update(said.encode() + b"\n")

    def __str__(self) -> str:
        return self._hash.hexdigest()


def _hex(value: Any) -> str:
    return bytes(value).hex()


def copy(source: Database, target: Database, seen: Seen = lambda done, of: None) -> Copied:
    """Make ``target`` what ``source`` is at the first look, or finish a copy that was cut off.

    Raises StoreError where ``target`` is neither empty nor a half copy of ``source``, and where what was written is not
    what was read. A target that is the same already is left as it is.
    """
    if target.read_only:
        raise FrozenMemory(
            f"{target.path} cannot be written, so that nothing can be copied to it: name one that can be"
        )
    here, there = _movable(source), _movable(target)
    with source.reading():
        if here.fact(_MARK):
            raise StoreError(f"{source.path} is a half copy itself: finish it with 'atlas memory copy' first")
        sizes = {table: here.size(table) for table in TABLES}
        if _state(source.id, there) == "other":
            found = digest(here)
            if here.fact("id") == there.fact("id") and found == digest(there):
                return _told(source, target, sizes, 0, found)
            raise StoreError(
                f"{target.path} is not empty, and no half copy of {source.path}: name one that is not there yet"
            )
        target.whole(lambda: _mark(source, there))
        whole, written, done = _Digest(), 0, 0
        for table in TABLES:
            after: Row | None = None
            while True:
                rows = here.dump(table, after, _PART)
                whole.add(table, rows)
                upto = _key(table, rows[-1]) if len(rows) == _PART else None
                written += target.whole(partial(_part, there, table, after, upto, rows))
                done += len(rows)
                seen(done, sum(sizes.values()))
                if upto is None:
                    break
                after = upto
        target.whole(lambda: _finish(source, there, str(whole)))
        return _told(source, target, sizes, written, str(whole))


def begun_with(source: Database, target: Database) -> bool:
    """Let ``target`` begin with all that ``source`` holds, as a memory of its own: with another id, and not frozen.
    Whether it did now; one that has begun, or holds anything else, is left as it is.

    It may be cut off at any moment, and called again. Raises StoreError as :func:`copy` does.
    """
    there = _movable(target)
    if _state(source.id, there) != "other":
        copy(source, target)
    elif target.id != source.id:
        return False

    def own() -> bool:
        with there.transaction():
            # Others may have made it theirs meanwhile.
            mine = there.fact("id") == source.id
            if mine:
                there.set_fact("id", new_id())
                there.set_fact("frozen", None)
            return mine

    return target.whole(own)


def _movable(database: Database) -> Movable:
    if not isinstance(database.backend, Movable):
        raise ConfigError(
            f"{database.path} is in a database that cannot be copied: name a file or a URL of another kind"
        )
    return database.backend


def digest(backend: Movable) -> str:
    """The hash of all that a memory holds."""
    found = _Digest()
    for table in TABLES:
        after: Row | None = None
        while rows := backend.dump(table, after, _PART):
            found.add(table, rows)
            after = _key(table, rows[-1])
    return str(found)


def _told(source: Database, target: Database, sizes: dict[str, int], written: int, sha256: str) -> Copied:
    return Copied(
        source=source.path,
        target=target.path,
        memory=source.id,
        version=source.head(),
        rows={table: size for table, size in sizes.items() if size},
        written=written,
        sha256=sha256,
    )


def _state(source: str, target: Movable) -> str:
    """``new``, ``half`` (of the memory ``source``) or ``other``."""
    if mark := target.fact(_MARK):
        return "half" if mark == source else "other"
    empty = not any(target.size(table) for table in TABLES if table != "meta") and target.size("meta") == 1
    return "new" if empty and target.fact("id") != source else "other"


def _mark(source: Database, target: Movable) -> None:
    with target.transaction():
        if _state(source.id, target) == "other":
            raise StoreError(f"{target.path} was written by another process meanwhile: name one that is not there yet")
        why = f"a copy of {source.path} is under way: the same 'atlas memory copy' finishes it"
        target.set_fact(_MARK, source.id)
        target.set_fact("frozen", json.dumps(Freeze(AUTHOR, why, time.time())._asdict()))


def _part(target: Movable, table: str, after: Row | None, upto: Row | None, rows: Sequence[Row]) -> int:
    """Make a part of a table what ``rows`` say; how many of them were not there."""
    with target.transaction():
        if target.fact(_MARK) is None:
            raise StoreError(f"{target.path} is no half copy any more, as another process has finished it")
        there = target.dump(table, after, len(rows) + len(_OWN) + 1)
        there = [row for row in there if upto is None or _key(table, row) <= upto]
        if table == "meta":
            own = [row for row in there if row[0] in _OWN]
            rows = sorted([*own, *(row for row in rows if row[0] not in _OWN)])
        if list(rows) == there:
            return 0
        target.replace(table, after, upto, rows)
        return len(set(rows) - set(there))


def _finish(source: Database, target: Movable, sha256: str) -> None:
    with target.transaction():
        target.set_fact("id", source.id)
        target.set_fact("frozen", source.backend.fact("frozen"))
        target.set_fact(_MARK, None)
        if digest(target) != sha256:
            raise StoreError(
                f"{target.path} does not hold what was read from {source.path}: 'atlas memory copy' again compares and "
                "mends it"
            )


def _key(table: str, row: Row) -> Row:
    return row[: len(TABLES[table].key)]
