"""A memory file looked at row by row, without writing to it: damages are told all, and not the first alone."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import StoreError
from atlas.jsontext import read_json
from atlas.memory import rows
from atlas.memory.backend import KINDS, Changed, Item, Version
from atlas.memory.check import COPY, Damage, Health, altered, belonging, unreadable
from atlas.memory.history import Outcome
from atlas.memory.schema import APPLICATION_ID, FURTHER, READ_FROM, SCHEMA, SCHEMA_VERSION
from atlas.memory.uplift import Trial

_TABLES = ("items", "versions", "changes", "meta", "vectors")
_FAULTS = 20
"""Of SQLite's own check that are told."""
Row = tuple[Any, ...]


def check_file(path: str) -> Health:
    """Look at the memory file at ``path``, which is there."""
    alone = not _shared(Path(path))
    found = _File(path).look()
    # Somebody has begun to write meanwhile: what was read was of two times.
    return _File(path).look() if found.damages and alone and _shared(Path(path)) else found


class _File:
    def __init__(self, path: str) -> None:
        self._path = path
        self._damages: list[Damage] = []
        self._counts: dict[str, int] = {}
        self._schema: int | None = None

    def look(self) -> Health:
        try:
            with closing(_opened(Path(self._path))) as self._db:
                self._look()
        except (sqlite3.Error, OSError) as error:
            self._say("file", "", f"{self._path} cannot be read to its end ({error})", COPY)
        return Health(path=self._path, schema_version=self._schema, counts=self._counts, damages=tuple(self._damages))

    def _look(self) -> None:
        # Damaged text is told by the row that holds it.
        self._db.text_factory = lambda raw: raw if _undecoded(raw) else raw.decode()
        mark, self._schema = self._number("PRAGMA application_id"), self._number("PRAGMA user_version")
        if mark != APPLICATION_ID:
            self._say("file", "", f"{self._path} is not marked as an atlas memory, but as {mark}", COPY)
        if self._schema > SCHEMA_VERSION:
            said = f"{self._path} is of schema {self._schema}, and this atlas reads up to {SCHEMA_VERSION}"
            self._say("schema", "", said, "upgrade atlas-cascade")
            return
        if self._schema < 1:
            self._say("schema", "", f"{self._path} says that it is of schema {self._schema}, which never was", COPY)
        elif self._schema < READ_FROM:
            said = f"{self._path} is of schema {self._schema}, of which no rows are looked at"
            self._say("schema", "", said, "open it once with 'atlas memory log', which makes it one of today's")
            return
        for (fault,) in self._db.execute(f"PRAGMA integrity_check({_FAULTS})").fetchall():
            if fault != "ok":
                # What an index lacks is still in its table; all else is lost.
                index = "index" in str(fault) and "row" in str(fault)
                mend = f"'sqlite3 {self._path} REINDEX' makes it anew from its table" if index else COPY
                self._say("file", "", f"SQLite finds {self._path} damaged ({_shown(fault)})", mend)
        there = self._tables()
        items = self._rows("items", "seq, kind, id, status, record, version", rows.items, there)
        versions = self._rows("versions", "number, time, author, reason, action", rows.versions, there)
        changes = self._rows("changes", "version, kind, id, before, after, replaced", rows.changes, there)
        self._belong(items, versions, changes)
        self._meta(there)
        self._further(there)

    # --- tables -------------------------------------------------------------------------------------------------------

    def _tables(self) -> set[str]:
        """The tables that are there with all their columns; what is missing is told."""
        with closing(sqlite3.connect(":memory:")) as usual:
            usual.executescript(SCHEMA + ";".join(FURTHER.values()))
            whole = set()
            for table in (*_TABLES, *(name for name in FURTHER if name != "notes_expire")):
                has, wants = _columns(self._db, table), _columns(usual, table)
                if not has:
                    if table in _TABLES:
                        self._say("schema", table, f"{self._path} has no table {table}", COPY)
                    continue
                if missing := [column for column in wants if column not in has]:
                    self._say("schema", table, f"the table {table} of {self._path} has no {', '.join(missing)}", COPY)
                    continue
                whole.add(table)
                for columns in sorted(_indexes(usual, table) - _indexes(self._db, table)):
                    said = f"the index on {columns} of the table {table} is gone from {self._path}"
                    made = f"'sqlite3 {self._path} \"{FURTHER['notes_expire']}\"' makes it anew"
                    self._say("schema", table, said, made if (table, columns) == ("notes", "expires") else COPY)
        return whole

    def _rows(
        self, table: str, columns: str, read: Callable[[list[Row], str], list[Any]], there: set[str]
    ) -> list[Any]:
        """The rows of ``table`` that can be read, in order; the others are told."""
        if table not in there:
            return []
        found: list[Any] = []
        for row in self._all(f"SELECT {columns} FROM {table} NOT INDEXED", table):
            try:
                found += read([row], self._path)
            except StoreError as error:
                self._damages.append(Damage(kind="row", table=table, said=str(error)))
        return found

    def _all(self, query: str, table: str) -> Iterator[Row]:
        """The rows up to the first page that cannot be read."""
        try:
            yield from self._db.execute(query)
        except sqlite3.DatabaseError as error:
            self._say("file", table, f"the table {table} of {self._path} cannot be read to its end ({error})", COPY)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _belong(self, items: list[Item], versions: list[Version], changes: list[Changed]) -> None:
        self._counts = {kind: sum(i.kind == kind and i.status != "absent" for i in items) for kind in KINDS}
        self._counts["versions"] = len(versions)
        self._damages += [damage for item in items if (damage := altered(item, self._path)) is not None]
        self._damages += [damage for one in changes if (damage := unreadable(one, self._path)) is not None]
        # Where rows are missing as they cannot be read, what belonged to them is no further damage.
        lost = {damage.table for damage in self._damages if damage.kind in ("file", "schema")}
        lost |= {damage.table for damage in self._damages if "is damaged (it holds" in damage.said}
        if lost.isdisjoint(("items", "versions", "changes")):
            changes.sort(key=lambda change: change.version)
            self._damages += belonging(items, versions, changes, self._path)

    def _meta(self, there: set[str]) -> None:
        if "meta" not in there:
            return
        facts = {}
        for name, value in self._all("SELECT name, value FROM meta", "meta"):
            if type(name) is not str or type(value) is not str:
                self._damages.append(
                    Damage(kind="row", table="meta", said=str(rows.wrong("meta", self._path, (name,))))
                )
            else:
                facts[name] = value
        if not facts.get("id"):
            self._say("row", "meta", f"{self._path} has no name of its own, which tells it from others", COPY)
        if "frozen" in facts:
            try:
                known = isinstance(read_json(facts["frozen"]), dict)
            except ValueError:
                known = False
            if not known:
                said = f"who froze {self._path}, and why, cannot be read"
                self._say("row", "meta", said, f"'atlas memory freeze {self._path} --off' lifts it, or {COPY}")

    def _further(self, there: set[str]) -> None:
        if "vectors" in there:
            bad = total = 0
            for (vector,) in self._all("SELECT vector FROM vectors", "vectors"):
                total += 1
                sized = type(vector) is bytes and len(vector) > 0 and len(vector) % 4 == 0
                bad += not (sized and bool(np.isfinite(np.frombuffer(vector, np.float32)).all()))
            self._counts["vectors"] = total
            if bad:
                said = f"{bad} of {total} embeddings in {self._path} are no vectors"
                mend = f"'sqlite3 {self._path} \"DELETE FROM vectors\"', and they are made anew where they are needed"
                self._say("row", "vectors", said, mend)
        if "outcomes" in there:
            self._each("outcomes", "SELECT episode, record FROM outcomes", self._outcome)
        if "trials" in there:
            columns = list(Trial.model_fields)
            self._each("trials", f"SELECT {', '.join(columns)} FROM trials", lambda row: self._trial(columns, row))
        if "learned" in there:
            self._each("learned", "SELECT source, version FROM learned", self._mark)
        if "langgraph_keys" in there:
            known = set(self._all("SELECT kind, id FROM items NOT INDEXED", "items"))
            for kind, key, name in self._all("SELECT kind, key, id FROM langgraph_keys", "langgraph_keys"):
                if type(key) is not str:
                    said = str(rows.wrong("langgraph_keys", self._path, (kind, key)))
                    self._damages.append(Damage(kind="row", table="langgraph_keys", said=said))
                elif (kind, name) not in known:
                    said = f"the LangGraph store's key {_shown(key)} is of a {_shown(kind)} that {self._path} has not"
                    self._say("orphan", "langgraph_keys", said, f"put it again, or {COPY}")
        if "notes" in there:
            columns_of = "namespace, key, value, fields, ttl, expires, created, updated"
            self._counts["notes"] = len(self._rows("notes", columns_of, rows.notes, there))

    def _each(self, table: str, query: str, look: Callable[[Row], None]) -> None:
        count = 0
        for row in self._all(query, table):
            count += 1
            try:
                look(row)
            except StoreError as error:
                self._damages.append(Damage(kind="row", table=table, said=str(error)))
        self._counts[table] = count

    def _outcome(self, row: Row) -> None:
        episode, text = row
        found = rows.record(Outcome, text, f"the outcome of episode {_shown(episode)}", self._path)
        if found.episode != episode:
            raise rows.wrong("outcomes", self._path, (episode, found.episode))

    def _trial(self, columns: list[str], row: Row) -> None:
        named = dict(zip(columns, row, strict=True))
        found = rows.fitting(Trial, named, f"a trial of entry {_shown(named['entry'])}", self._path)
        if not (0.0 <= found.p <= 1.0 and math.isfinite(found.started)):
            raise rows.wrong("trials", self._path, row[:2])

    def _mark(self, row: Row) -> None:
        if type(row[0]) is not str or type(row[1]) is not int:
            raise rows.wrong("learned", self._path, row)

    def _number(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])

    def _say(self, kind: Any, table: str, what: str, mend: str) -> None:
        self._damages.append(Damage(kind=kind, table=table, said=f"{what}: {mend}"))


def _opened(path: Path) -> sqlite3.Connection:
    """By a connection that cannot write. Where nobody has it open the file is read as it lies there: SQLite would leave
    the files that readers share beside it, or could not make them."""
    alone = "" if _shared(path) else "&immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{alone}", uri=True)


def _shared(path: Path) -> bool:
    """Whether the log of a memory that is open, or was not closed, is there."""
    log = path.with_name(f"{path.name}-wal")
    return log.is_file() and (log.stat().st_size > 0 or path.with_name(f"{path.name}-shm").is_file())


def _columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [_shown(name) for (_, name, *_) in database.execute(f"PRAGMA table_info({table})")]


def _indexes(database: sqlite3.Connection, table: str) -> set[str]:
    """The columns of each index of a table."""
    names = [_shown(name) for (_, name, *_) in database.execute(f"PRAGMA index_list({table})").fetchall()]
    return {", ".join(_shown(c) for (_, _, c) in database.execute(f"PRAGMA index_info({name})")) for name in names}


def _undecoded(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False


def _shown(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return " ".join(text.split())[:200]
