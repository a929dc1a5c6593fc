"""The SQLite file behind a memory: its items, every version of them, and embeddings of texts.

An item is a demonstration or a pamphlet entry. It has a status, and one write of some items is one version: with an
author, a reason, and what it takes to go back. The modules above turn records into items and read versions.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple, TypeVar

from pydantic import ValidationError

from atlas.errors import FrozenMemory, StoreError
from atlas.memory.connection import Connection
from atlas.memory.schema import APPLICATION_ID, SCHEMA_VERSION, create
from atlas.record import Record

R = TypeVar("R", bound=Record)

Kind = Literal["demonstration", "entry"]
Status = Literal["trial", "admitted", "quarantined", "removed", "absent"]
"""``removed`` stays removed when it is learned again; ``absent`` is what a rollback leaves of an item that was added
later: as if it had never been there."""

STATUSES: tuple[Status, ...] = ("trial", "admitted", "quarantined", "removed")
"""Those that a person or a rule may give."""
SEARCHED: tuple[Status, ...] = ("trial", "admitted")
"""Those of items that may reach a prompt."""

AUTHORS = "trace:RUN/EPISODE, person:NAME, rule:NAME or import:FILE"
_AUTHOR = re.compile(r"(trace|person|rule|import):.+", re.DOTALL)


class Item(NamedTuple):
    """One thing the memory holds."""

    seq: int
    """Grows with every item added, and is kept for ever."""
    kind: Kind
    id: str
    status: Status
    record: str
    """JSON."""
    version: int
    """The version that changed it last."""

    @property
    def searched(self) -> bool:
        return self.status in SEARCHED


class Write(NamedTuple):
    """What is to be written of an item. A record or status of None stays as it is; a new item is ``admitted``."""

    kind: Kind
    id: str
    status: Status | None = None
    record: str | None = None
    only_new: bool = False
    """Leave an item that is there already as it is."""


class State(NamedTuple):
    """An item at one version; ``absent`` where it was not there."""

    status: Status
    record: str


class Change(NamedTuple):
    """What a version did to an item."""

    kind: Kind
    id: str
    before: State
    after: State


class Version(NamedTuple):
    """One change of the memory. The first has number 1; the empty memory before it is version 0."""

    number: int
    time: float
    """Unix time."""
    author: str
    reason: str
    action: str
    """``write``, ``rollback to N``, ``freeze`` or ``unfreeze``."""


class Freeze(NamedTuple):
    """Why a memory may not be written."""

    author: str
    reason: str
    time: float


class Database(Connection):
    """A memory file; many may be open on it at once, in this process and in others."""

    def __init__(self, path: str) -> None:
        self._waiting: dict[str, str] = {}
        super().__init__(path)

    # --- writing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As :meth:`Connection.transaction`; raises FrozenMemory when the memory is frozen."""
        with self.turn():
            if self._waiting and self.frozen() is None:
                self._make_waiting()
            with super().transaction():
                frozen = self.frozen()
                if frozen:
                    raise FrozenMemory(
                        f"the memory {self.path} is frozen by {frozen.author} ({frozen.reason}): "
                        f"'atlas memory freeze {self.path} --off' lets it be written again"
                    )
                yield

    def write(self, writes: Sequence[Write], *, author: str, reason: str, action: str = "write") -> list[bool]:
        """Write all or nothing, as one version; True for each that changed something.

        author: ``trace:RUN/EPISODE``, ``person:NAME``, ``rule:NAME`` or ``import:FILE``.
        reason: why, in words for the log.

        Where nothing changes no version is made. Raises FrozenMemory when the memory is frozen, and StoreError for an
        item that is not there when no record is given.
        """
        _check_author(author)
        with self.transaction():
            number = 0
            done = []
            for write in writes:
                item = self._row(write.kind, write.id)
                before = item.status if item else "absent"
                changed = not (write.only_new and before != "absent")
                record = write.record if write.record is not None else item.record if item else None
                if record is None:
                    raise StoreError(f"there is no {write.kind} {write.id} in {self.path}")
                status = write.status or ("admitted" if before == "absent" else before)
                replaced = item.record if item and item.record != record else None
                changed = changed and (status != before or replaced is not None)
                if changed:
                    number = number or self._new_version(author, reason, action)
                    self._put(Item(0, write.kind, write.id, status, record, number), before, replaced)
                done.append(changed)
        return done

    def define(self, table: str, statement: str) -> None:
        """Make a further table, by a ``CREATE TABLE`` statement, where there is none of that name yet.

        A frozen memory is not written for that either: an empty table of this connection alone stands in for it.
        """
        if self.has(table) or table in self._waiting:
            return
        with super().transaction():
            if self.frozen() is None:
                self._create(table, statement)
            else:
                self.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
                self._waiting[table] = statement

    def _make_waiting(self) -> None:
        with super().transaction():
            for table, statement in self._waiting.items():
                self.execute(f"DROP TABLE temp.{table}")
                self._create(table, statement)
        self._waiting.clear()

    def _create(self, table: str, statement: str) -> None:
        if not self.has(table):
            self.execute(statement)

    # --- reading ------------------------------------------------------------------------------------------------------

    def has(self, table: str) -> bool:
        """Whether there is a further table of that name."""
        return bool(self.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)))

    def get(self, kind: Kind, item_id: str) -> Item | None:
        """The item, whatever its status; None where there is none."""
        item = self._row(kind, item_id)
        return None if item is None or item.status == "absent" else item

    def rows(self, kind: Kind, after: int = 0) -> list[Item]:
        """The items that changed after version ``after``, of whatever status (also ``absent``), in insertion order.

        Writers take turns, so what was read up to the highest version among the rows never has to be read again.
        """
        query = "SELECT seq, kind, id, status, record, version FROM items WHERE kind = ?"
        if after:
            query += " AND id IN (SELECT id FROM changes WHERE version > ? AND changes.kind = items.kind)"
        return [Item(*row) for row in self.execute(f"{query} ORDER BY seq", (kind, after) if after else (kind,))]

    def find(self, beginning: str) -> list[Item]:
        """The items, of any kind, whose id begins so."""
        query = "SELECT seq, kind, id, status, record, version FROM items WHERE substr(id, 1, ?) = ? ORDER BY seq"
        found = [Item(*row) for row in self.execute(query, (len(beginning), beginning))]
        return [item for item in found if item.status != "absent"]

    def count(self, kind: Kind, statuses: Collection[Status] = SEARCHED) -> int:
        marks = ",".join("?" * len(statuses))
        return self._one(f"SELECT count(*) FROM items WHERE kind = ? AND status IN ({marks})", (kind, *statuses))

    # --- versions -----------------------------------------------------------------------------------------------------

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        return [Version(*row) for row in self.execute("SELECT * FROM versions ORDER BY number")]

    def head(self) -> int:
        """The number of the newest version; 0 for an empty memory."""
        return self._one("SELECT coalesce(max(number), 0) FROM versions")

    def version(self, number: int) -> tuple[Version, list[Change]]:
        """A version and what it did. Raises StoreError for a number that is not there."""
        with self.reading():
            found = self.execute("SELECT * FROM versions WHERE number = ?", (number,))
            if not found:
                raise StoreError(self._no_version(number))
            query = """
                SELECT c.kind, c.id, c.before, c.after, c.replaced, i.record FROM changes c
                JOIN items i ON i.kind = c.kind AND i.id = c.id WHERE c.version = ? ORDER BY i.seq"""
            later = self._replaced(number)
            changes = []
            for kind, item_id, before, after, replaced, record in self.execute(query, (number,)):
                left = later.get((kind, item_id), record)
                was = State(before, left if replaced is None else replaced)
                changes.append(Change(kind, item_id, was, State(after, left)))
            return Version(*found[0]), changes

    def history(self, kind: Kind, item_id: str) -> list[tuple[Version, Change]]:
        """The versions that changed an item, oldest first, and what each did to it."""
        with self.reading():
            item = self._row(kind, item_id)
            query = """
                SELECT v.*, c.before, c.after, c.replaced FROM changes c JOIN versions v ON v.number = c.version
                WHERE c.kind = ? AND c.id = ? ORDER BY c.version DESC"""
            found = self.execute(query, (kind, item_id))
        past = []
        record = item.record if item else ""
        for *version, before, after, replaced in found:
            left, record = record, record if replaced is None else replaced
            past.append((Version(*version), Change(kind, item_id, State(before, record), State(after, left))))
        return past[::-1]

    def since(self, number: int) -> dict[tuple[Kind, str], State]:
        """How the items that changed after version ``number`` were at that version."""
        with self.reading():
            if not 0 <= number <= self.head():
                raise StoreError(self._no_version(number))
            # With min(), SQLite takes the other columns from the row that holds the least.
            query = """
                SELECT c.kind, c.id, c.before, i.record FROM
                (SELECT kind, id, min(version), before FROM changes WHERE version > ? GROUP BY kind, id) c
                JOIN items i ON i.kind = c.kind AND i.id = c.id ORDER BY i.seq"""
            records = self._replaced(number)
            return {
                (kind, item_id): State(status, records.get((kind, item_id), record))
                for kind, item_id, status, record in self.execute(query, (number,))
            }

    def _replaced(self, number: int) -> dict[tuple[Kind, str], str]:
        """The records as they were at version ``number``, of items whose record was replaced after it."""
        # Going back is what is stored, so the record that a version left is the one that the next replaced.
        query = """
            SELECT kind, id, min(version), replaced FROM changes WHERE version > ? AND replaced IS NOT NULL
            GROUP BY kind, id"""
        return {(kind, item_id): record for kind, item_id, _, record in self.execute(query, (number,))}

    # --- facts about the whole ----------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Tells this memory from others, wherever its file is moved or copied."""
        return str(self.execute("SELECT value FROM meta WHERE name = 'id'")[0][0])

    def frozen(self) -> Freeze | None:
        found = self.execute("SELECT value FROM meta WHERE name = 'frozen'")
        return Freeze(**json.loads(found[0][0])) if found else None

    def set_frozen(self, on: bool, *, author: str, reason: str) -> bool:
        """Freeze the memory, or let it be written again; False where it was so already."""
        _check_author(author)
        with super().transaction():
            if on == (self.frozen() is not None):
                return False
            self._new_version(author, reason, "freeze" if on else "unfreeze")
            if on:
                value = json.dumps(Freeze(author, reason, time.time())._asdict())
                self.execute("INSERT INTO meta VALUES ('frozen', ?)", (value,))
            else:
                self.execute("DELETE FROM meta WHERE name = 'frozen'")
            return True

    # --- embeddings ---------------------------------------------------------------------------------------------------

    def vectors(self, embedder: str, hashes: Sequence[str]) -> dict[str, bytes]:
        """The stored embeddings among ``hashes``, as float32 bytes."""
        found: dict[str, bytes] = {}
        for i in range(0, len(hashes), 500):
            part = hashes[i : i + 500]
            marks = ",".join("?" * len(part))
            query = f"SELECT text_hash, vector FROM vectors WHERE embedder = ? AND text_hash IN ({marks})"
            found.update(self.execute(query, (embedder, *part)))
        return found

    def put_vectors(self, embedder: str, rows: Iterable[tuple[str, bytes]]) -> None:
        """Keep embeddings for the next process; a frozen memory keeps none."""
        if self.frozen():
            return
        with super().transaction():
            if self.frozen() is None:  # it may have been frozen while this waited for its turn
                self.executemany(
                    "INSERT OR IGNORE INTO vectors (embedder, text_hash, vector) VALUES (?, ?, ?)",
                    [(embedder, text_hash, vector) for text_hash, vector in rows],
                )

    # --- parts --------------------------------------------------------------------------------------------------------

    def _row(self, kind: Kind, item_id: str) -> Item | None:
        query = "SELECT seq, kind, id, status, record, version FROM items WHERE kind = ? AND id = ?"
        found = self.execute(query, (kind, item_id))
        return Item(*found[0]) if found else None

    def _put(self, item: Item, before: Status, replaced: str | None) -> None:
        self.execute(
            "INSERT INTO items (kind, id, status, record, version) VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, id) "
            "DO UPDATE SET status = excluded.status, record = excluded.record, version = excluded.version",
            item[1:],
        )
        self.execute(
            "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET after = excluded.after, "
            "replaced = coalesce(replaced, excluded.replaced)",
            (item.version, item.kind, item.id, before, item.status, replaced),
        )

    def _new_version(self, author: str, reason: str, action: str) -> int:
        row = (time.time(), _storable(author), _storable(reason), action)
        query = "INSERT INTO versions (time, author, reason, action) VALUES (?, ?, ?, ?) RETURNING number"
        return int(self.execute(query, row)[0][0])

    def _no_version(self, number: int) -> str:
        return f"there is no version {number} in {self.path}: it has versions 0 (empty) to {self.head()}"

    def _prepare(self) -> None:
        # In this order: who sees the tables that another process has just made sees the mark it made with them.
        tables = self._one("SELECT count(*) FROM sqlite_master")
        application = self._one("PRAGMA application_id")
        if application != APPLICATION_ID and tables:
            raise sqlite3.DatabaseError("another program's database")
        self._check_schema()
        super()._prepare()
        if self._one("PRAGMA user_version") < SCHEMA_VERSION or not tables:
            with super().transaction():
                # Another process may have been first.
                if self._one("PRAGMA user_version") < SCHEMA_VERSION:
                    create(self.execute)
        self._check_schema()
        self._one("SELECT count(*) FROM items")

    def _check_schema(self) -> None:
        version = self._one("PRAGMA user_version")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was written by a newer atlas (schema {version}, this one reads {SCHEMA_VERSION}): "
                "upgrade atlas-cascade, or use another file"
            )


def parsed(item: Item, model: type[R], path: str) -> R:
    """The record of an item. Raises StoreError where the file at ``path`` holds something else in its place."""
    try:
        return model.model_validate_json(item.record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"the {item.kind} {item.id} in {path} cannot be read ({where}: {first['msg']}): restore a copy of the file"
        ) from error


def _check_author(author: str) -> None:
    if not _AUTHOR.fullmatch(author):
        raise StoreError(f"{author!r} is no author of a change: write {AUTHORS}")


def _storable(text: str) -> str:
    """Names of files may hold bytes that are no text."""
    return text.encode("utf-8", "replace").decode()
