"""A memory on a PostgreSQL server, for many processes on many machines: a schema of a database each.

All its SQL is here, in the connection and in the schema. What is searched is the memory's own index in each process, as
for a file; nothing has to be installed on the server.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Sequence

from atlas.errors import StoreError
from atlas.memory import rows
from atlas.memory.backend import TABLES, Changed, Count, Item, Kind, Note, Row, Status, Version
from atlas.memory.postgres_connection import PostgresConnection
from atlas.memory.postgres_driver import line
from atlas.memory.postgres_schema import MADE, OLDEST, SCHEMA_VERSION
from atlas.memory.postgres_url import read
from atlas.memory.schema import new_id
from atlas.memory.uplift import Trial

_ITEM = "SELECT seq, kind, id, status, record, version FROM {s}.items"
_VERSION = "SELECT number, time, author, reason, action FROM {s}.versions"
_NOTE = "SELECT namespace, key, value, fields, ttl, expires, created, updated FROM {s}.notes"
_APPLICATION = "atlas memory"
_PART = 10_000
"""Vectors that are asked for at once."""


class PostgresBackend(PostgresConnection):
    """One schema; many may have it open at once, in this process and in others."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @classmethod
    def exists(cls, place: str) -> bool:
        """Whether there is a memory, without making one."""
        found = PostgresConnection(place)
        try:
            return bool(found.rows(_THERE, [f"{found.schema}.memory"])[0][0])
        finally:
            found.close()

    @classmethod
    def told(cls, place: str) -> str:
        """As it is told and kept: without a password."""
        return read(place).path

    # --- items --------------------------------------------------------------------------------------------------------

    def item(self, kind: Kind, item_id: str) -> Item | None:
        found = self.rows(f"{_ITEM} WHERE kind = %s AND id = %s", (kind, item_id))
        return rows.items(found, self.path)[0] if found else None

    def items(self, kind: Kind, after: int = 0) -> list[Item]:
        # A version changes an item once, and the newest is written with it.
        return rows.items(self.rows(f"{_ITEM} WHERE kind = %s AND version > %s ORDER BY seq", (kind, after)), self.path)

    def beginning(self, text: str) -> list[Item]:
        return rows.items(self.rows(f"{_ITEM} WHERE starts_with(id, %s) ORDER BY seq", (text,)), self.path)

    def count(self, kind: Kind, statuses: Collection[Status]) -> int:
        query = "SELECT count(*) FROM {s}.items WHERE kind = %s AND status = ANY(%s)"
        return int(self.rows(query, (kind, list(statuses)))[0][0])

    def put(self, item: Item, before: Status, replaced: str | None) -> None:
        self.write(
            """
            WITH kept AS (
                INSERT INTO {s}.items (seq, kind, id, status, record, version)
                VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM {s}.items), %s, %s, %s, %s, %s)
                ON CONFLICT (kind, id) DO UPDATE
                SET status = excluded.status, record = excluded.record, version = excluded.version
            )
            INSERT INTO {s}.changes AS c (version, kind, id, before, after, replaced) VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (version, kind, id) DO UPDATE
            SET after = excluded.after, replaced = coalesce(c.replaced, excluded.replaced)""",
            (*item[1:], item.version, item.kind, item.id, before, item.status, replaced),
        )

    # --- versions -----------------------------------------------------------------------------------------------------

    def new_version(self, author: str, reason: str, action: str) -> int:
        query = """
            INSERT INTO {s}.versions (number, time, author, reason, action)
            VALUES ((SELECT coalesce(max(number), 0) + 1 FROM {s}.versions), %s, %s, %s, %s) RETURNING number"""
        return int(self.written(query, (time.time(), author, reason, action))[0][0])

    def head(self) -> int:
        return int(self.rows("SELECT coalesce(max(number), 0) FROM {s}.versions")[0][0])

    def version(self, number: int) -> Version | None:
        found = self.rows(f"{_VERSION} WHERE number = %s", (number,))
        return rows.versions(found, self.path)[0] if found else None

    def versions(self, after: int = 0, action: str = "") -> list[Version]:
        query = f"{_VERSION} WHERE number > %s AND starts_with(action, %s) ORDER BY number"
        return rows.versions(self.rows(query, (after, action)), self.path)

    def changes(self, after: int = 0, upto: int | None = None, item: tuple[Kind, str] | None = None) -> list[Changed]:
        query, given = (
            "SELECT version, kind, id, before, after, replaced FROM {s}.changes WHERE version > %s",
            [after],
        )
        if upto is not None:
            query, given = f"{query} AND version <= %s", [*given, upto]
        if item is not None:
            query += " AND kind = %s AND id = %s"
        found = self.rows(f"{query} ORDER BY version, kind, id", (*given, *(item or ())))
        return rows.changes(found, self.path)

    def counts(self) -> list[Count]:
        query = """
            SELECT version, before, after, replaced IS NOT NULL, count(*) FROM {s}.changes
            GROUP BY 1, 2, 3, 4 ORDER BY 1, 5 DESC, 2, 3, 4"""
        return list(rows.counts(self.rows(query), self.path))

    def times(self, kind: Kind) -> dict[str, tuple[float, float]]:
        query = """
            SELECT c.id, min(v.time), max(v.time) FROM {s}.changes c JOIN {s}.versions v ON v.number = c.version
            WHERE c.kind = %s GROUP BY c.id"""
        return {item_id: (first, last) for item_id, first, last in self.rows(query, (kind,))}

    # --- facts about the whole, and embeddings ------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        with self._lock:
            if name in self.known:
                return self.known[name]
            found = self.rows("SELECT value FROM {s}.meta WHERE name = %s", (name,))
            value = str(found[0][0]) if found else None
            if self.inside:
                self.known[name] = value
            return value

    def set_fact(self, name: str, value: str | None) -> None:
        self.known.pop(name, None)
        if value is None:
            self.write("DELETE FROM {s}.meta WHERE name = %s", (name,))
        else:
            self.write(
                "INSERT INTO {s}.meta (name, value) VALUES (%s, %s) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

    def vectors(self, embedder: str, hashes: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        query = "SELECT text_hash, vector FROM {s}.vectors WHERE embedder = %s AND text_hash = ANY(%s)"
        for start in range(0, len(hashes), _PART):
            found.update(self.rows(query, (embedder, list(hashes[start : start + _PART])), binary=True))
        return found

    def put_vectors(self, embedder: str, rows: Iterable[tuple[str, bytes]]) -> None:
        # One of another length, or of no numbers, is damaged, and was asked for again.
        self.write_many(
            "INSERT INTO {s}.vectors AS v (embedder, text_hash, vector) VALUES (%s, %s, %b) "
            "ON CONFLICT (embedder, text_hash) DO UPDATE SET vector = excluded.vector "
            "WHERE v.vector <> excluded.vector",
            [(embedder, text_hash, vector) for text_hash, vector in rows],
        )

    # --- what episodes said -------------------------------------------------------------------------------------------

    def outcomes(self, after: int = 0) -> list[tuple[int, str]]:
        found = self.rows("SELECT seq, record FROM {s}.outcomes WHERE seq > %s ORDER BY seq", (after,))
        return [(rows.number(seq, "outcomes", self.path), record) for seq, record in found]

    def outcome_count(self) -> int:
        return int(self.rows("SELECT count(*) FROM {s}.outcomes")[0][0])

    def add_outcome(self, episode: str, record: str) -> bool:
        query = """
            INSERT INTO {s}.outcomes (seq, episode, record)
            VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM {s}.outcomes), %s, %s)
            ON CONFLICT (episode) DO NOTHING RETURNING seq"""
        return bool(self.written(query, (episode, record)))

    def outcome(self, episode: str) -> str | None:
        found = self.rows("SELECT record FROM {s}.outcomes WHERE episode = %s", (episode,))
        return found[0][0] if found else None

    def set_outcome(self, episode: str, record: str) -> None:
        self.written("UPDATE {s}.outcomes SET record = %s WHERE episode = %s", (record, episode))

    def trials(self, entry: str) -> list[Trial]:
        query = f"SELECT {', '.join(Trial.model_fields)} FROM {{s}}.trials WHERE entry = %s ORDER BY started, episode"
        made = (dict(zip(Trial.model_fields, row, strict=True)) for row in self.rows(query, (entry,)))
        return [rows.fitting(Trial, row, f"a trial of the entry {entry}", self.path) for row in made]

    def tried(self) -> list[str]:
        return [entry for (entry,) in self.rows("SELECT DISTINCT entry FROM {s}.trials ORDER BY entry")]

    def put_trials(self, trials: Iterable[Trial]) -> None:
        names = list(Trial.model_fields)
        anew = ", ".join(f"{name} = excluded.{name}" for name in names[2:])
        self.write_many(
            f"INSERT INTO {{s}}.trials ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) "
            f"ON CONFLICT (entry, episode) DO UPDATE SET {anew}",
            [[getattr(trial, name) for name in names] for trial in trials],
        )

    # --- marks --------------------------------------------------------------------------------------------------------

    def learned(self, source: str) -> int | None:
        found = self.rows("SELECT version FROM {s}.learned WHERE source = %s", (source,))
        return rows.number(found[0][0], "learned", self.path) if found else None

    def set_learned(self, source: str, version: int) -> None:
        self.write(
            "INSERT INTO {s}.learned (source, version) VALUES (%s, %s) "
            "ON CONFLICT (source) DO UPDATE SET version = excluded.version",
            (source, version),
        )

    def keys(self, kind: Kind) -> dict[str, str]:
        return dict(self.rows("SELECT key, id FROM {s}.langgraph_keys WHERE kind = %s", (kind,)))

    def keyed(self, kind: Kind, key: str) -> str | None:
        found = self.rows("SELECT id FROM {s}.langgraph_keys WHERE kind = %s AND key = %s", (kind, key))
        return str(found[0][0]) if found else None

    def set_key(self, kind: Kind, key: str, item_id: str) -> None:
        self.write(
            "INSERT INTO {s}.langgraph_keys (kind, key, id) VALUES (%s, %s, %s) "
            "ON CONFLICT (kind, key) DO UPDATE SET id = excluded.id",
            (kind, key, item_id),
        )

    # --- what agents keep for themselves ------------------------------------------------------------------------------
    # As JSON, as in a file.

    def note(self, namespace: tuple[str, ...], key: str) -> Note | None:
        found = self.rows(f"{_NOTE} WHERE namespace = %s AND key = %s", (json.dumps(namespace), json.dumps(key)))
        return rows.notes(found, self.path)[0] if found else None

    def notes(self, within: tuple[str, ...] = ()) -> list[Note]:
        if not within:
            return rows.notes(self.rows(f"{_NOTE} ORDER BY seq"), self.path)
        text = json.dumps(within)
        given = (text, f"{text[:-1]},", f"{text[:-1]}-")  # "-" follows upon ","
        query = f"{_NOTE} WHERE namespace = %s OR namespace >= %s AND namespace < %s ORDER BY seq"
        return rows.notes(self.rows(query, given), self.path)

    def namespaces(self, now: float) -> list[tuple[str, ...]]:
        query = """
            SELECT namespace FROM {s}.notes WHERE expires IS NULL OR expires > %s GROUP BY 1 ORDER BY min(seq)"""
        return [rows.namespace(text, self.path) for (text,) in self.rows(query, (now,))]

    def put_note(self, note: Note) -> None:
        names = ("value", "fields", "ttl", "expires", "created", "updated")
        anew = ", ".join(f"{name} = excluded.{name}" for name in names)
        self.write(
            f"INSERT INTO {{s}}.notes (seq, namespace, key, {', '.join(names)}) "
            "VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM {s}.notes), %s, %s, %s, %s, %s, %s, %s, %s) "
            f"ON CONFLICT (namespace, key) DO UPDATE SET {anew}",
            (json.dumps(note.namespace), json.dumps(note.key), *note[2:]),
        )

    def drop_note(self, namespace: tuple[str, ...], key: str) -> None:
        where = (json.dumps(namespace), json.dumps(key))
        self.write("DELETE FROM {s}.notes WHERE namespace = %s AND key = %s", where)

    def drop_expired(self, now: float) -> None:
        self.write("DELETE FROM {s}.notes WHERE expires <= %s", (now,))

    # --- as it is, for another database -------------------------------------------------------------------------------

    def size(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {{s}}.{table}")[0][0])

    def dump(self, table: str, after: Row | None, most: int) -> list[Row]:
        where, given = _between(table, after, None)
        keys = ", ".join(TABLES[table].key)
        query = f"SELECT {', '.join(TABLES[table].columns)} FROM {{s}}.{table}{where} ORDER BY {keys} LIMIT %s"
        return self.rows(query, (*given, most), binary=True)

    def replace(self, table: str, after: Row | None, upto: Row | None, rows: Sequence[Row]) -> None:
        self.known = {}
        where, given = _between(table, after, upto)
        self.write(f"DELETE FROM {{s}}.{table}{where}", given)
        columns = TABLES[table].columns
        marks = ", ".join(["%s"] * len(columns))
        self.write_many(f"INSERT INTO {{s}}.{table} ({', '.join(columns)}) VALUES ({marks})", rows)

    # --- the schema ---------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        server = self._db.info.server_version
        if server < OLDEST * 10_000:
            raise StoreError(
                f"{self.path} is on PostgreSQL {server // 10_000}, and a memory needs {OLDEST} or newer: upgrade the "
                "server"
            )
        encoding, closed, there = self.rows(_SERVER, [f"{self.schema}.memory"])[0]
        if encoding != "UTF8":
            raise StoreError(
                f"the database of {self.path} keeps texts as {encoding}, which loses some: make one with 'createdb -E "
                "UTF8'"
            )
        if not there:
            if closed:
                raise StoreError(f"there is no memory at {self.path}, and its server lets none be made: name another")
            self._create()
        self._check()
        self.read_only = closed or not self.rows(_MAY_WRITE, [f"{self.schema}.{t}" for t in ("memory", "items")])[0][0]

    def _create(self) -> None:
        """Make the tables, unless another process is first; all or none."""
        name = self.where.schema
        first = f"BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('atlas {name}', 0)); "
        with self._lock, self.begun(f"{first}SELECT 0, pg_current_xact_id()::text"):
            if self.rows(_THERE, [f"{self.schema}.memory"])[0][0]:
                return
            if self.rows(_TAKEN, [name, f"{self.schema}.run_store"])[0][0]:
                raise StoreError(
                    f"the schema {name} of {self.path} holds another program's tables: name another with ?schema=NAME"
                )
            there = self.rows("SELECT count(*) FROM pg_namespace WHERE nspname = %s", [name])[0][0]
            self._wrote = True
            self.plain(
                f"{'' if there else 'CREATE SCHEMA {s};'}{MADE};"
                f"INSERT INTO {{s}}.memory VALUES ('{_APPLICATION}', {SCHEMA_VERSION}, 1);"
                f"INSERT INTO {{s}}.meta VALUES ('id', '{new_id()}')"
            )

    def _check(self) -> None:
        try:
            found = self.rows("SELECT application, schema_version, writes FROM {s}.memory")
        except StoreError as error:
            if error.__cause__ is None:
                raise
            raise StoreError(
                f"the schema {self.where.schema} of {self.path} holds no atlas memory, or none that its user may read "
                f"({line(error.__cause__, self.where)}): name another with ?schema=NAME, or grant the rights"
            ) from error
        if len(found) != 1 or found[0][0] != _APPLICATION:
            raise StoreError(self.damaged("its table memory is another program's, or is not as it was"))
        if found[0][1] > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was written by a newer atlas (schema {found[0][1]}, this one reads {SCHEMA_VERSION}): "
                "upgrade atlas-cascade, or use another schema"
            )
        self.unmarked = found[0][1] < 2


def _between(table: str, after: Row | None, upto: Row | None) -> tuple[str, Row]:
    """The condition for keys of a table, and what is given to it."""
    keys = TABLES[table].key
    names, marks = ", ".join(keys), ", ".join(["%s"] * len(keys))
    bounds = [f"({names}) {sign} ({marks})" for sign, key in ((">", after), ("<=", upto)) if key is not None]
    return f" WHERE {' AND '.join(bounds)}" if bounds else "", (*(after or ()), *(upto or ()))


_THERE = "SELECT to_regclass(%s) IS NOT NULL"
_SERVER = """
    SELECT current_setting('server_encoding'),
        pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on', to_regclass(%s) IS NOT NULL"""
_TAKEN = r"""
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT (c.relname ~ '^runs?(_|$)' AND to_regclass(%s) IS NOT NULL)"""
"""Runs may be there."""
_MAY_WRITE = "SELECT has_table_privilege(%s::text, 'UPDATE') AND has_table_privilege(%s::text, 'INSERT')"
