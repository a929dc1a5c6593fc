"""A memory in one SQLite file: the backend where no other is named. All SQL of a memory is here and in the schema."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from atlas.errors import StoreError
from atlas.memory import rows
from atlas.memory.backend import TABLES, Changed, Count, Item, Kind, Note, Row, Status, Version
from atlas.memory.connection import Connection
from atlas.memory.schema import APPLICATION_ID, COUNTED, FURTHER, READ_FROM, SCHEMA_VERSION, create
from atlas.memory.uplift import Trial

_ITEM = "SELECT seq, kind, id, status, record, version FROM items"
_NOTE = "SELECT namespace, key, value, fields, ttl, expires, created, updated FROM notes"


class SqliteBackend(Connection):
    """A memory file; many may be open on it at once, in this process and in others.

    The tables of :data:`FURTHER` are made by what first writes to them, so that opening a memory writes nothing.
    """

    def __init__(self, path: str) -> None:
        self._there: set[str] = set()
        super().__init__(path)

    @classmethod
    def exists(cls, path: str) -> bool:
        """Whether there is a file."""
        return Path(path).is_file()

    # --- items --------------------------------------------------------------------------------------------------------

    def item(self, kind: Kind, item_id: str) -> Item | None:
        found = self.execute(f"{_ITEM} WHERE kind = ? AND id = ?", (kind, item_id))
        return rows.items(found, self.path)[0] if found else None

    def items(self, kind: Kind, after: int = 0) -> list[Item]:
        return self._changed(_ITEM, kind, after)

    def marks(self, kind: Kind, after: int = 0) -> list[Item]:
        """As :meth:`items`, without their records."""
        return self._changed(_ITEM.replace("record", "''"), kind, after)

    def _changed(self, items: str, kind: Kind, after: int) -> list[Item]:
        query = f"{items} WHERE kind = ?"
        if after:
            query += " AND id IN (SELECT id FROM changes WHERE version > ? AND changes.kind = items.kind)"
        found = self.execute(f"{query} ORDER BY seq", (kind, after) if after else (kind,))
        return rows.items(found, self.path)

    def beginning(self, text: str) -> list[Item]:
        query = f"{_ITEM} WHERE substr(id, 1, ?) = ? ORDER BY seq"
        return rows.items(self.execute(query, (len(text), text)), self.path)

    def count(self, kind: Kind, statuses: Collection[Status]) -> int:
        marks = ",".join("?" * len(statuses))
        return self._one(f"SELECT count(*) FROM items WHERE kind = ? AND status IN ({marks})", (kind, *statuses))

    def put(self, item: Item, before: Status, replaced: str | None) -> None:
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

    # --- versions -----------------------------------------------------------------------------------------------------

    def new_version(self, author: str, reason: str, action: str) -> int:
        row = (time.time(), author, reason, action)
        query = "INSERT INTO versions (time, author, reason, action) VALUES (?, ?, ?, ?) RETURNING number"
        return int(self.execute(query, row)[0][0])

    def head(self) -> int:
        return self._one("SELECT coalesce(max(number), 0) FROM versions")

    def version(self, number: int) -> Version | None:
        found = self.execute("SELECT * FROM versions WHERE number = ?", (number,))
        return rows.versions(found, self.path)[0] if found else None

    def versions(self, after: int = 0, action: str = "") -> list[Version]:
        query = "SELECT * FROM versions WHERE number > ? AND substr(action, 1, ?) = ? ORDER BY number"
        return rows.versions(self.execute(query, (after, len(action), action)), self.path)

    def changes(self, after: int = 0, upto: int | None = None, item: tuple[Kind, str] | None = None) -> list[Changed]:
        query, given = "SELECT version, kind, id, before, after, replaced FROM changes WHERE version > ?", [after]
        if upto is not None:
            query, given = f"{query} AND version <= ?", [*given, upto]
        if item is not None:
            query += " AND kind = ? AND id = ?"
        return rows.changes(self.execute(f"{query} ORDER BY version", (*given, *(item or ()))), self.path)

    def counts(self) -> list[Count]:
        query = """
            SELECT version, before, after, replaced IS NOT NULL, count(*) FROM changes
            GROUP BY 1, 2, 3, 4 ORDER BY 1, 5 DESC"""
        return list(rows.counts(self.execute(query), self.path))

    def times(self, kind: Kind) -> dict[str, tuple[float, float]]:
        query = """
            SELECT c.id, min(v.time), max(v.time) FROM changes c JOIN versions v ON v.number = c.version
            WHERE c.kind = ? GROUP BY c.id"""
        found = self.execute(query, (kind,))
        if bad := next((row for row in found if not all(isinstance(time, int | float) for time in row[1:])), None):
            raise rows.wrong("versions", self.path, bad[1:])
        return {item_id: (first, last) for item_id, first, last in found}

    # --- facts about the whole, and embeddings ------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        found = self.execute("SELECT value FROM meta WHERE name = ?", (name,))
        return str(found[0][0]) if found else None

    def set_fact(self, name: str, value: str | None) -> None:
        if value is None:
            self.execute("DELETE FROM meta WHERE name = ?", (name,))
        else:
            self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def vectors(self, embedder: str, hashes: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for i in range(0, len(hashes), 500):
            part = hashes[i : i + 500]
            marks = ",".join("?" * len(part))
            query = f"SELECT text_hash, vector FROM vectors WHERE embedder = ? AND text_hash IN ({marks})"
            found.update(self.execute(query, (embedder, *part)))
        return found

    def put_vectors(self, embedder: str, rows: Iterable[tuple[str, bytes]]) -> None:
        # One of another length, or of no numbers, is damaged, and was asked for again.
        self.executemany(
            "INSERT INTO vectors (embedder, text_hash, vector) VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
            "SET vector = excluded.vector WHERE vector != excluded.vector",
            [(embedder, text_hash, vector) for text_hash, vector in rows],
        )

    # --- what episodes said -------------------------------------------------------------------------------------------

    def outcomes(self, after: int = 0) -> list[tuple[int, str]]:
        if not self._has("outcomes"):
            return []
        found = self.execute("SELECT seq, record FROM outcomes WHERE seq > ? ORDER BY seq", (after,))
        return [(rows.number(seq, "outcomes", self.path), record) for seq, record in found]

    def outcome_count(self) -> int:
        return self._one("SELECT count(*) FROM outcomes") if self._has("outcomes") else 0

    def add_outcome(self, episode: str, record: str) -> bool:
        self._make("outcomes")
        query = "INSERT INTO outcomes (episode, record) VALUES (?, ?) ON CONFLICT (episode) DO NOTHING RETURNING seq"
        return bool(self.execute(query, (episode, record)))

    def outcome(self, episode: str) -> str | None:
        found = self.execute("SELECT record FROM outcomes WHERE episode = ?", (episode,))
        return found[0][0] if found else None

    def set_outcome(self, episode: str, record: str) -> None:
        self.execute("UPDATE outcomes SET record = ? WHERE episode = ?", (record, episode))

    def trials(self, entry: str) -> list[Trial]:
        if not self._has("trials"):
            return []
        found = self.execute("SELECT * FROM trials WHERE entry = ? ORDER BY started, episode", (entry,))
        made = (dict(zip(Trial.model_fields, row, strict=True)) for row in found)
        return [rows.fitting(Trial, row, f"a trial of the entry {entry}", self.path) for row in made]

    def tried(self) -> list[str]:
        if not self._has("trials"):
            return []
        found = self.execute("SELECT DISTINCT entry FROM trials ORDER BY entry")
        return [entry for (entry,) in rows.texts(found, "trials", self.path)]

    def put_trials(self, trials: Iterable[Trial]) -> None:
        self._make("trials")
        made = [
            (t.entry, t.episode, t.task, t.seed, t.family, t.shown, t.p, t.reward, t.dollars, t.started) for t in trials
        ]
        self.executemany("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", made)

    # --- marks --------------------------------------------------------------------------------------------------------

    def learned(self, source: str) -> int | None:
        found = self._has("learned") and self.execute("SELECT version FROM learned WHERE source = ?", (source,))
        return rows.number(found[0][0], "learned", self.path) if found else None

    def set_learned(self, source: str, version: int) -> None:
        self._make("learned")
        self.execute("INSERT OR REPLACE INTO learned VALUES (?, ?)", (source, version))

    def keys(self, kind: Kind) -> dict[str, str]:
        if not self._has("langgraph_keys"):
            return {}
        found = self.execute("SELECT key, id FROM langgraph_keys WHERE kind = ?", (kind,))
        return dict(rows.texts(found, "langgraph_keys", self.path))

    def keyed(self, kind: Kind, key: str) -> str | None:
        query = "SELECT id FROM langgraph_keys WHERE kind = ? AND key = ?"
        found = self._has("langgraph_keys") and self.execute(query, (kind, key))
        return str(found[0][0]) if found else None

    def set_key(self, kind: Kind, key: str, item_id: str) -> None:
        self._make("langgraph_keys")
        self.execute("INSERT OR REPLACE INTO langgraph_keys (kind, key, id) VALUES (?, ?, ?)", (kind, key, item_id))

    # --- what agents keep for themselves ------------------------------------------------------------------------------
    # Namespaces and keys are kept as JSON, which holds any text; and one that begins as another does is within it.

    def note(self, namespace: tuple[str, ...], key: str) -> Note | None:
        where = (json.dumps(namespace), json.dumps(key))
        found = self._has("notes") and self.execute(f"{_NOTE} WHERE namespace = ? AND key = ?", where)
        return rows.notes(found, self.path)[0] if found else None

    def notes(self, within: tuple[str, ...] = ()) -> list[Note]:
        if not self._has("notes"):
            return []
        if not within:
            return rows.notes(self.execute(f"{_NOTE} ORDER BY seq"), self.path)
        text = json.dumps(within)
        given = (text, f"{text[:-1]},", f"{text[:-1]}-")  # "-" follows upon ","
        query = f"{_NOTE} WHERE namespace = ? OR namespace >= ? AND namespace < ? ORDER BY seq"
        return rows.notes(self.execute(query, given), self.path)

    def namespaces(self, now: float) -> list[tuple[str, ...]]:
        if not self._has("notes"):
            return []
        query = "SELECT namespace FROM notes WHERE expires IS NULL OR expires > ? GROUP BY 1 ORDER BY min(seq)"
        return [rows.namespace(text, self.path) for (text,) in self.execute(query, (now,))]

    def put_note(self, note: Note) -> None:
        self._make("notes")
        self._make("notes_expire")
        self.upgrade(SCHEMA_VERSION)
        self.execute(
            "INSERT INTO notes (namespace, key, value, fields, ttl, expires, created, updated) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, "
            "fields = excluded.fields, ttl = excluded.ttl, expires = excluded.expires, created = excluded.created, "
            "updated = excluded.updated",
            (json.dumps(note.namespace), json.dumps(note.key), *note[2:]),
        )

    def drop_note(self, namespace: tuple[str, ...], key: str) -> None:
        if self._has("notes"):
            where = (json.dumps(namespace), json.dumps(key))
            self.execute("DELETE FROM notes WHERE namespace = ? AND key = ?", where)

    def drop_expired(self, now: float) -> None:
        if self._has("notes"):
            self.execute("DELETE FROM notes WHERE expires <= ?", (now,))

    # --- as it is, for another database -------------------------------------------------------------------------------

    def size(self, table: str) -> int:
        return self._one(f"SELECT count(*) FROM {table}") if self._has(table) else 0

    def dump(self, table: str, after: Row | None, most: int) -> list[Row]:
        if not self._has(table):
            return []
        where, given = _between(table, after, None)
        keys = ", ".join(TABLES[table].key)
        query = f"SELECT {', '.join(TABLES[table].columns)} FROM {table}{where} ORDER BY {keys} LIMIT ?"
        found = self.execute(query, (*given, most))
        yes = TABLES[table].columns.index("shown") if table == "trials" else None
        return found if yes is None else [(*row[:yes], bool(row[yes]), *row[yes + 1 :]) for row in found]

    def replace(self, table: str, after: Row | None, upto: Row | None, rows: Sequence[Row]) -> None:
        if rows and table in FURTHER:
            self._make(table)
        if rows and table == "notes":
            self._make("notes_expire")
            self.upgrade(SCHEMA_VERSION)
        if not self._has(table):
            return
        where, given = _between(table, after, upto)
        self.execute(f"DELETE FROM {table}{where}", given)
        columns = TABLES[table].columns
        self.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", rows)

    # --- tables -------------------------------------------------------------------------------------------------------

    def _has(self, table: str) -> bool:
        with self._lock:
            if table in self._there:
                return True
            found = bool(self.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)))
            # What was made in a transaction that is under way may yet be undone.
            if found and not self._depth:
                self._there.add(table)
            return found

    def _make(self, table: str) -> None:
        if not self._has(table):
            self.execute(FURTHER[table])

    def _prepare(self) -> None:
        # In this order: who sees the tables that another process has just made sees the mark it made with them.
        tables = self._one("SELECT count(*) FROM sqlite_master")
        application = self._one("PRAGMA application_id")
        if application != APPLICATION_ID and tables:
            raise sqlite3.DatabaseError("another program's database")
        self._check_schema()
        super()._prepare()
        if self.read_only and self._one("PRAGMA user_version") < READ_FROM:
            raise StoreError(
                f"{self.path} was written by an older atlas and cannot be written here: open it once where it can be"
            )
        if self._one("PRAGMA user_version") < READ_FROM or not tables:
            with self.transaction():
                # Another process may have been first.
                if self._one("PRAGMA user_version") < READ_FROM:
                    if tables:
                        self._keep_copy()
                    create(self.execute)
        self._check_schema()
        self._one("SELECT count(*) FROM items")

    def upgrade(self, to: int = COUNTED) -> None:
        """Mark the file as one that builds of before do not read, and keep a copy of it for them, as it was, where it
        holds anything. Needs a transaction."""
        if self._one("PRAGMA user_version") < to:
            if self.head():
                self._keep_copy()
            self.execute(f"PRAGMA user_version = {to}")

    def _keep_copy(self) -> None:
        """Beside the file, under its name and its schema. By a connection of its own, which sees what was there before
        this transaction."""
        if self.file is None:
            return
        name = f"{self.file.name}.schema-{self._one('PRAGMA user_version')}"
        copy, partial = self.file.with_name(name), self.file.with_name(f"{name}.part")
        if not copy.exists():
            try:
                with closing(sqlite3.connect(self.file)) as source, closing(sqlite3.connect(partial)) as target:
                    source.backup(target)
                os.replace(partial, copy)
            except (OSError, sqlite3.Error) as error:
                with suppress(OSError):
                    partial.unlink()
                raise StoreError(
                    f"{self.path} is of an older atlas, and no copy of it as it was can be kept as {copy.name} "
                    f"beside it ({error}): make room there"
                ) from error

    def _check_schema(self) -> None:
        version = self._one("PRAGMA user_version")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was written by a newer atlas (schema {version}, this one reads {SCHEMA_VERSION}): "
                "upgrade atlas-cascade, or use another file"
            )


def _between(table: str, after: Row | None, upto: Row | None) -> tuple[str, Row]:
    """The condition for keys of a table, and what is given to it."""
    keys = TABLES[table].key
    names, marks = ", ".join(keys), ", ".join("?" * len(keys))
    bounds = [f"({names}) {sign} ({marks})" for sign, key in ((">", after), ("<=", upto)) if key is not None]
    return f" WHERE {' AND '.join(bounds)}" if bounds else "", (*(after or ()), *(upto or ()))


def image(path: str | Path) -> bytes:
    """The file of a memory as it is now, whoever has it open: all that is committed, in one piece."""
    source = sqlite3.connect(f"file:{quote(str(Path(path).resolve()))}?mode=ro", uri=True)
    with closing(source), closing(sqlite3.connect(":memory:")) as copy:
        source.backup(copy)
        return copy.serialize()
