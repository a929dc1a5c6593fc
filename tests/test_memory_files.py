"""Files of memories: those of before there were versions, and damaged ones."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from atlas.errors import StoreError
from atlas.memory import DemonstrationStore, versions
from atlas.memory.backend import Note
from atlas.memory.connection import cached
from atlas.memory.database import Database
from atlas.memory.schema import SCHEMA_VERSION
from atlas.memory.sqlite import SqliteBackend
from atlas.record import content_hash
from tests.memory_fixtures import demo, search, spawn
from tests.waiting import until

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
        database.backend.put_note(Note(("d",), "k", "{}"))
    with closing(sqlite3.connect(tmp_path / "m.db")) as raw:
        tables = raw.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    assert (SCHEMA_VERSION, content_hash([list(table) for table in tables])) == (4, "3d0bcf6ee95a4359")


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


# --- a memory of every schema that there was --------------------------------------------------------------------------

UPGRADES = """
import sys
from atlas.memory.backend import Note
from atlas.memory.database import Database
database = Database(sys.argv[1])
with database.transaction():
    database.backend.put_note(Note(("d",), "k", "{}"))
"""


def of_schema(path: Path, schema: int, count: int) -> None:
    """A memory as the builds of that schema wrote it."""
    if schema == 1:
        old_file(path, count)
        return
    with DemonstrationStore(path, embedder="hash") as store:
        store.add_many([demo(i) for i in range(count)])
        if schema == 4:
            with store.database.transaction():
                store.database.backend.put_note(Note(("d",), "first", "{}"))
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"PRAGMA user_version = {schema}")


def schema_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as raw:
        return int(raw.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.parametrize("schema", range(1, SCHEMA_VERSION + 1))
def test_a_memory_of_every_schema_opens_and_is_upgraded_once_a_copy_was_kept(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "m.db"
    of_schema(path, schema, 5)
    with DemonstrationStore(path, embedder="hash") as store:
        assert {one.id for one in store.all()} == {demo(i).id for i in range(5)}
    assert spawn(UPGRADES, path).wait() == 0
    assert schema_of(path) == SCHEMA_VERSION
    kept = sorted(copy.name for copy in tmp_path.glob("m.db.schema-*"))
    assert (f"m.db.schema-{schema}" in kept) == (schema < SCHEMA_VERSION)
    with DemonstrationStore(path, embedder="hash") as store:
        assert {one.id for one in store.all()} == {demo(i).id for i in range(5)}
        assert store.database.backend.note(("d",), "k") is not None
    for name in kept:
        assert schema_of(tmp_path / name) < SCHEMA_VERSION, "the copy is as it was, for the build that wrote it"


def test_an_upgrade_that_is_killed_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.db", tmp_path / "m.db"
    old_file(whole, 400)
    for moment in (0.0, 0.03, 0.1):
        for file in tmp_path.glob("m.db*"):
            file.unlink()
        shutil.copy(whole, path)
        process = spawn(f"import sys\nprint(1, flush=True)\n{UPGRADES}", path)
        assert until(lambda: list(tmp_path.glob("m.db.schema-1*")))
        time.sleep(moment)
        process.kill()
        process.wait()
        with DemonstrationStore(path, embedder="hash") as store:
            assert len(store) == 400
        copy = tmp_path / "m.db.schema-1"
        with closing(sqlite3.connect(copy)) as raw:
            assert raw.execute("SELECT count(*) FROM demonstrations").fetchone() == (400,), "and it was kept first"


def test_what_leads_to_the_rows_of_a_great_file_is_kept_in_memory(tmp_path: Path) -> None:
    assert [cached(size) for size in (0, 10**6, 10**9, 10**13)] == [2_000, 2_000, 10_000, 100_000]
    with closing(SqliteBackend(str(tmp_path / "m.sqlite"))) as backend:
        assert backend.execute("PRAGMA cache_size") == [(-2_000,)]
