"""Files of memories: those of before there were versions, and damaged ones."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from atlas.errors import StoreError
from atlas.memory import DemonstrationStore, versions
from atlas.memory.database import Database
from atlas.memory.schema import SCHEMA_VERSION
from atlas.record import content_hash
from tests.memory_fixtures import demo, search, spawn

OLD = """
CREATE TABLE demonstrations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, steps INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE vectors (embedder TEXT NOT NULL, text_hash TEXT NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (embedder, text_hash)) WITHOUT ROWID;
PRAGMA application_id = 1096043603;
PRAGMA user_version = 1;
"""


def test_the_tables_are_those_of_every_file_of_this_schema(tmp_path: Path) -> None:
    """A change of them is a new SCHEMA_VERSION, and a way from this one to it."""
    with closing(Database(str(tmp_path / "m.db"))) as database, database.transaction():
        database.backend.add_outcome("e", "{}")
        database.backend.put_trials([])
        database.backend.set_learned("r/e", 1)
        database.backend.set_key("entry", "k", "i")
    with closing(sqlite3.connect(tmp_path / "m.db")) as raw:
        tables = raw.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    assert (SCHEMA_VERSION, content_hash([list(table) for table in tables])) == (3, "ff6ca26779829cc6")


def old_file(path: Path, count: int) -> None:
    raw = sqlite3.connect(path)
    raw.executescript("PRAGMA journal_mode = WAL;" + OLD)
    rows = [(demo(i).id, 6, demo(i).model_dump_json()) for i in range(count)]
    raw.executemany("INSERT INTO demonstrations (id, steps, record) VALUES (?, ?, ?)", rows)
    raw.commit()
    raw.close()


def test_a_file_without_versions_is_taken_over_whole(tmp_path: Path) -> None:
    old_file(tmp_path / "m.db", 5)
    processes = [
        spawn("import sys; from atlas.memory.database import Database; Database(sys.argv[1])", tmp_path / "m.db")
        for _ in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    with DemonstrationStore(tmp_path / "m.db", embedder="hash") as store:
        assert store.all() == [demo(i) for i in range(5)]
        ((version, counts),) = versions.log(store.database)
        assert (version.author, counts) == ("rule:upgrade", {"added": 5})
        assert store.add(demo(5)) and not store.add(demo(2))
        assert len(search(store)) == 6
    old_file(tmp_path / "empty.db", 0)
    with DemonstrationStore(tmp_path / "empty.db", embedder="hash") as store:
        assert (len(store), store.database.versions()) == (0, [])


def test_a_take_over_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    old_file(tmp_path / "m.db", 5)
    raw = sqlite3.connect(tmp_path / "m.db")
    raw.execute("CREATE TABLE items (x)")
    raw.commit()
    with pytest.raises(StoreError, match=r"m\.db cannot be opened or written"):
        DemonstrationStore(tmp_path / "m.db", embedder="hash")
    assert raw.execute("SELECT count(*) FROM demonstrations").fetchone() == (5,)
    raw.close()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    with DemonstrationStore(tmp_path / "m.db", embedder="hash") as store:
        store.add(demo(1))
    raw = sqlite3.connect(tmp_path / "m.db")
    raw.execute("UPDATE items SET record = replace(record, '\"goal\"', '\"gaol\"')")
    raw.commit()
    raw.close()
    with DemonstrationStore(tmp_path / "m.db", embedder="hash") as store:
        for read in (store.all, lambda: store.get(demo(1).id), lambda: search(store)):
            with pytest.raises(StoreError, match=rf"the demonstration {demo(1).id} in .*m\.db cannot be read \(goal: "):
                read()
