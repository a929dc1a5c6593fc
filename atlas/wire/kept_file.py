"""Responses that are kept beside a run, so that clients go on from them when the server has been started again.

An item that many responses share is kept once. Nothing of it is read but by the id of a response, or of an item, and
the owner of both.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from atlas.errors import StoreError

NAME = "responses.sqlite"

_TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS items (hash BLOB PRIMARY KEY, item TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS responses (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    talk TEXT NOT NULL,
    own TEXT NOT NULL,
    size INTEGER NOT NULL,
    UNIQUE (owner, id)
);
"""


class KeptFile:
    """The newest ``most`` responses, of ``largest`` bytes in all at the most. Safe from many threads; other processes
    may use the file as well."""

    def __init__(self, path: Path, most: int, largest: int) -> None:
        self.path = path
        self._most, self._largest = most, largest
        self._lock = threading.Lock()
        with self._told():
            # It holds conversations whole: for nobody else to read.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.executescript(_TABLES)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def put(self, owner: str, id: str, talk: Sequence[Mapping[str, Any]], own: Iterable[str], size: int) -> None:
        """Keep a response: the items up to it and with it, and the ids of its own."""
        rows = [_row(item) for item in talk]
        places = json.dumps([key.hex() for key, _ in rows])
        with self._lock, self._told(), self._written():
            self._db.executemany("INSERT OR IGNORE INTO items VALUES (?, ?)", rows)
            self._db.execute(
                "INSERT OR REPLACE INTO responses (owner, id, talk, own, size) VALUES (?, ?, ?, ?, ?)",
                (owner, id, places, json.dumps(list(own)), size),
            )
            self._bound()

    def talk(self, owner: str, id: str) -> tuple[Mapping[str, Any], ...] | None:
        """The items up to a response and with it; None where there is none."""
        with self._lock, self._told():
            found = self._db.execute("SELECT talk FROM responses WHERE owner = ? AND id = ?", (owner, id)).fetchone()
            if found is None:
                return None
            keys = [bytes.fromhex(key) for key in json.loads(found[0])]
            return tuple([json.loads(self._item(key)) for key in keys])

    def item(self, owner: str, id: str) -> Mapping[str, Any] | None:
        """An item of a response's output."""
        query = "SELECT talk FROM responses WHERE owner = ? AND instr(own, ?) ORDER BY seq DESC LIMIT 1"
        with self._lock, self._told():
            found = self._db.execute(query, (owner, json.dumps(id))).fetchone()
            if found is None:
                return None
            items = (json.loads(self._item(bytes.fromhex(key))) for key in reversed(json.loads(found[0])))
            return next((item for item in items if item.get("id") == id), None)

    def _item(self, key: bytes) -> str:
        found = self._db.execute("SELECT item FROM items WHERE hash = ?", (key,)).fetchone()
        if found is None:
            raise sqlite3.DatabaseError("an item is missing")
        return str(found[0])

    def _bound(self) -> None:
        count, size = self._db.execute("SELECT count(*), coalesce(sum(size), 0) FROM responses").fetchone()
        if count <= self._most and size <= self._largest:
            return
        # A tenth at once: the items that nobody shares any more are found by looking at all.
        keep, left = self._most - self._most // 10, self._largest - self._largest // 10
        last, so_far = 0, 0
        for number, (seq, one) in enumerate(self._db.execute("SELECT seq, size FROM responses ORDER BY seq DESC")):
            so_far += one
            if number and (number >= keep or so_far > left):
                last = seq
                break
        self._db.execute("DELETE FROM responses WHERE seq <= ?", (last,))
        kept = {
            bytes.fromhex(key) for (talk,) in self._db.execute("SELECT talk FROM responses") for key in json.loads(talk)
        }
        gone = [(key,) for (key,) in self._db.execute("SELECT hash FROM items") if key not in kept]
        self._db.executemany("DELETE FROM items WHERE hash = ?", gone)

    @contextmanager
    def _written(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StoreError(
                f"{self.path} cannot be used ({error}): delete it, and clients send their conversations whole once"
            ) from error


def _row(item: Mapping[str, Any]) -> tuple[bytes, str]:
    text = json.dumps(item)
    return blake2b(text.encode(), digest_size=16).digest(), text
