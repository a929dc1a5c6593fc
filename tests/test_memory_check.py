"""``atlas memory check``: every damage of a file at rest is told with its mend, and the file stays as it is."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from atlas.cli import main
from atlas.memory import Memory
from atlas.memory.check import Health, check
from atlas.memory.database import Write
from tests.memory_fixtures import ME, demo
from tests.test_memory_damage import ENTRY, TABLES, VALUES, edited, whole

__all__ = ["whole"]


def looked(path: Path) -> Health:
    """What is found, in the memory as in its copy, which stays as it was."""
    before = path.read_bytes()
    found = check(str(path))
    assert path.read_bytes() == before, "nothing is written"
    for damage in found.damages:
        assert "\n" not in damage.said and ": " in damage.said, "one sentence, with the mend"
    return found


def said(path: Path) -> str:
    return "\n".join(f"{damage.kind}: {damage.said}" for damage in looked(path).damages)


@pytest.fixture
def path(whole: bytes, tmp_path: Path) -> Path:
    (tmp_path / "m.db").write_bytes(whole)
    return tmp_path / "m.db"


def test_a_whole_memory_is_whole(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["memory", "check", str(path)])
    assert "whole: 12 demonstrations, 1 entry" in capsys.readouterr().out
    main(["memory", "check", str(path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["damages"] == [] and told["counts"]["demonstration"] == 12 and told["counts"]["vectors"] > 10


def test_a_memory_that_was_used_in_every_way_is_whole(path: Path) -> None:
    """Counted again, edited, rolled back, frozen; while it is open too, with its newest versions in the log alone."""
    with Memory(path, "hash") as memory:
        head = memory.database.head()
        memory.add(demo(3).model_copy(update={"task_id": "another"}))
        memory.add(demo(99))
        memory.database.write([Write("demonstration", demo(2).id, "removed")], author=ME, reason="old")
        memory.rollback(head, author=ME, reason="as it was")
        memory.add(demo(99))
        memory.freeze(author=ME, reason="done")
        assert check(str(path)).damages == ()
    assert looked(path).damages == ()
    for suffix in ("-wal", "-shm"):
        assert not path.with_name(path.name + suffix).exists()


def test_a_memory_of_a_folder_that_cannot_be_written_is_looked_at(path: Path) -> None:
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        assert looked(path).damages == ()
    finally:
        path.parent.chmod(0o755)


@pytest.mark.parametrize("left", [0, 10, 100, 4096, 5000, 0.5, 0.9])
def test_a_file_that_was_cut_off(left: float, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content)) if 0 < left < 1 else int(left)])
    with pytest.raises(SystemExit) as stop:
        main(["memory", "check", str(path)])
    out = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 1 and "restore a copy of the file" in out and "Traceback" not in out


def test_a_page_of_nothing(path: Path) -> None:
    """Embeddings have no hash: zeros in one of them are seen by nobody. All else is."""
    content, kept = path.read_bytes(), _kept(path)
    found = 0
    for page in range(2, len(content) // 4096):
        path.write_bytes(content[: page * 4096] + bytes(4096) + content[(page + 1) * 4096 :])
        whole = not looked(path).damages
        assert not whole or _kept(path) == kept, page
        found += not whole
    assert found > 5


def _kept(path: Path) -> list[Any]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as raw:
        tables = [table for table in TABLES if table != "vectors"]
        return [raw.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


@pytest.mark.parametrize(
    ("record", "kind", "what"),
    [
        ("substr(record, 1, 40)", "row", "cannot be read"),
        ("'{}'", "row", "cannot be read"),
        ("replace(record, '\"goal\":', '\"gaol\":')", "row", "cannot be read"),
        ("CAST(x'ff00fe' AS TEXT)", "row", "the table items"),
        ("replace(record, 'put', 'pot')", "altered", "says something else than what was written under this id"),
    ],
)
def test_a_record_that_is_spoiled(record: str, kind: str, what: str, whole: bytes, tmp_path: Path) -> None:
    name = demo(4).id
    edited(tmp_path / "m.db", whole, f"UPDATE items SET record = {record} WHERE id = '{name}'")
    (damage,) = looked(tmp_path / "m.db").damages
    assert (damage.kind, damage.table) == (kind, "items") and what in damage.said and name in damage.said


def test_an_entry_that_another_program_changed(whole: bytes, tmp_path: Path) -> None:
    edited(
        tmp_path / "m.db", whole, "UPDATE items SET record = replace(record, 'cabinet', 'drawer') WHERE kind = 'entry'"
    )
    (damage,) = looked(tmp_path / "m.db").damages
    assert damage.kind == "altered" and ENTRY.id in damage.said


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM versions WHERE number = 3", "is of version 3, which is not in"),
        ("DELETE FROM versions WHERE number = 3", "version 3 is not in"),
        ("DELETE FROM items WHERE kind = 'entry'", "which is not in"),
        ("DELETE FROM items WHERE kind = 'entry'", "the LangGraph store's key k is of a entry"),
        ("DELETE FROM changes WHERE version = 3", "tells how the demonstration"),
        ("UPDATE items SET status = 'admitted'", "versions of"),
        ("UPDATE items SET version = 1", "since version 1"),
        ("UPDATE changes SET before = 'removed' WHERE version = 2", "the one before left it absent"),
        ("DELETE FROM meta WHERE name = 'id'", "has no name of its own"),
        ("INSERT INTO meta VALUES ('frozen', 'zz')", "--off' lifts it"),
        ("UPDATE vectors SET vector = x'00'", "embeddings in"),
        ("UPDATE vectors SET vector = x'0000c07f'", "embeddings in"),
        ("UPDATE outcomes SET record = '{}'", "the outcome of episode e"),
        ("UPDATE outcomes SET episode = 'other'", "the table outcomes"),
        ("UPDATE trials SET p = 7", "the table trials"),
        ("UPDATE trials SET shown = 'perhaps'", "a trial of entry"),
        ("UPDATE learned SET version = 'x'", "the table learned"),
        ("PRAGMA application_id = 7", "not marked as an atlas memory"),
        ("PRAGMA user_version = 99", "upgrade atlas-cascade"),
        ("PRAGMA user_version = 1", "open it once"),
        ("PRAGMA user_version = -1", "which never was"),
        ("DROP TABLE vectors", "has no table vectors"),
        ("ALTER TABLE versions DROP COLUMN reason", "has no reason"),
        ("ALTER TABLE versions DROP COLUMN reason", "the table versions"),
    ],
)
def test_what_is_gone_or_belongs_to_nothing(statement: str, told: str, whole: bytes, tmp_path: Path) -> None:
    edited(tmp_path / "m.db", whole, statement)
    assert told in said(tmp_path / "m.db")


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(("table", "column"), [(table, one) for table, all_ in TABLES.items() for one in all_.split()])
def test_a_value_that_is_none_is_found(table: str, column: str, value: str, whole: bytes, tmp_path: Path) -> None:
    """Text in the place of a text may be as good as another."""
    edited(tmp_path / "m.db", whole, f"UPDATE OR IGNORE {table} SET {column} = {VALUES[value]}")
    may_be = value == "text" and (table, column) in {
        ("versions", "author"), ("versions", "reason"), ("versions", "action"), ("meta", "value"), ("meta", "name"),
        ("vectors", "embedder"), ("vectors", "text_hash"), ("trials", "entry"), ("trials", "episode"),
        ("trials", "task"), ("trials", "family"), ("langgraph_keys", "key"), ("learned", "source"),
    }  # fmt: skip
    hashes = table == "vectors" and column != "vector"  # what they are called by is not looked at
    assert may_be or hashes or looked(tmp_path / "m.db").damages


def _without_indexes(path: Path) -> None:
    """The table items as somebody made it who wanted none."""
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(
            "CREATE TABLE other AS SELECT * FROM items; DROP TABLE items; ALTER TABLE other RENAME TO items;"
        )


def test_an_index_that_is_gone(path: Path) -> None:
    _without_indexes(path)
    assert "the index on kind, id of the table items is gone" in said(path)


def test_an_index_that_lacks_a_row(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Searching by it finds less than there is; SQLite makes it anew."""
    with closing(sqlite3.connect(path)) as raw:
        (root,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name LIKE 'sqlite_autoindex_items%'").fetchone()
        raw.execute("PRAGMA writable_schema = ON")
        # Its page is given to another, empty index.
        raw.execute("CREATE TABLE spare (a UNIQUE)")
        (empty,) = raw.execute(
            "SELECT rootpage FROM sqlite_master WHERE name LIKE 'sqlite_autoindex_spare%'"
        ).fetchone()
        raw.execute("UPDATE sqlite_master SET rootpage = ? WHERE name LIKE 'sqlite_autoindex_items%'", (empty,))
        raw.execute("UPDATE sqlite_master SET rootpage = ? WHERE name LIKE 'sqlite_autoindex_spare%'", (root,))
        raw.commit()
    found = looked(path)
    assert any("REINDEX" in damage.said for damage in found.damages)
    assert found.counts["demonstration"] == 12, "all rows are read all the same"


def test_what_is_no_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.txt").write_text("a letter " * 1000)
    for given, code, told in (
        (tmp_path / "x.txt", 1, "file is not a database"),
        (tmp_path / "none.db", 2, "there is no memory at"),
        (tmp_path, 2, "there is no memory at"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["memory", "check", str(given)])
        printed: Any = capsys.readouterr()
        assert stop.value.code == code and told in " ".join((printed.out + printed.err).split())
