"""A memory at rest that was cut, edited or has rotted: one sentence that names the file, exit code 2, nothing lost."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.errors import AtlasError
from atlas.memory import Memory
from atlas.memory.database import Write
from atlas.memory.history import Outcome
from atlas.memory.pamphlet import Entry
from atlas.memory.uplift import Trial
from tests.memory_fixtures import ME, demo, view

TABLES = {
    "items": "id kind status record version",
    "versions": "time author reason action",
    "changes": "version kind id before after replaced",
    "meta": "name value",
    "vectors": "embedder text_hash vector",
    "outcomes": "episode record",
    "trials": "entry episode task seed family shown p reward dollars started",
    "langgraph_keys": "kind key id",
    "learned": "source version",
}
VALUES = {
    "bytes": "x'ff00fe'",
    "text": "'no such'",
    "no UTF-8": "CAST(x'ff00fe' AS TEXT)",
}
ENTRY = Entry(cue="you need a mug", action="look in cabinet 1", effect="it is there")
VIEW = view("x", "put a hot apple in diningtable", "You see a mug 1.")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A memory in which every table has rows."""
    path = tmp_path_factory.mktemp("memory") / "m.db"
    with Memory(path, "hash") as memory:
        for i in range(12):
            memory.add(demo(i))
        memory.entries.add_many([ENTRY], author=ME, reason="learned")
        memory.database.write([Write("demonstration", demo(1).id, "quarantined")], author=ME, reason="bad")
        with memory.database.transaction():
            told = Outcome(episode="e", task_id="t", goal="put apple", success=True, unaided=1.0, dollars=0.1, time=1.0)
            memory.outcomes.add(told)
            for shown in (False, True):
                trial = Trial(
                    entry=ENTRY.id, episode=f"e{shown}", task="t", seed=0, shown=shown, p=0.5,
                    reward=1.0, dollars=0.1, started=1.0,
                )  # fmt: skip
                memory.trials.add([trial])
            memory.database.backend.set_learned("run/e", 1)
            memory.database.backend.set_key("entry", "k", ENTRY.id)
        memory.search(VIEW, 3)
        memory.entries.search(VIEW, 300)
        memory.outcomes.near("put apple", 3)
    return path.read_bytes()


def uses(path: Path) -> Iterator[Callable[[], object]]:
    """What people and agents do with a memory."""
    for command in (
        ["ls", str(path), "--all"],
        ["ls", str(path), "--all", "--json"],
        ["log", str(path)],
        ["show", str(path), ENTRY.id],
        ["show", str(path), demo(1).id],
        ["show", str(path), "v3"],
        ["diff", str(path), "v2"],
        ["judge", str(path)],
        ["export", str(path), f"{path}.yaml"],
    ):
        yield lambda command=command: main(["memory", *command])  # type: ignore[misc]

    def opened(use: Callable[[Memory], object]) -> Callable[[], object]:
        def run() -> object:
            with Memory(path, "hash") as memory:
                return use(memory)

        return run

    yield opened(lambda memory: memory.search(VIEW, 3))
    yield opened(lambda memory: memory.entries.search(VIEW, 300))
    yield opened(lambda memory: memory.outcomes.near("put apple", 3))
    yield opened(lambda memory: memory.trials.all())
    yield opened(lambda memory: memory.log())
    yield opened(lambda memory: memory.frozen)
    yield opened(lambda memory: memory.freeze(author=ME, reason="as it is"))
    yield opened(lambda memory: memory.unfreeze(author=ME, reason="as it was"))
    yield opened(lambda memory: memory.add(demo(500)))
    yield opened(lambda memory: memory.rollback(2, author=ME, reason="as it was"))


def check(path: Path) -> int:
    """Use the memory in every way; how often that was refused, in one sentence each."""
    refused = 0
    for use in uses(path):
        try:
            use()
        except SystemExit as stopped:
            assert stopped.code in (1, 2)
            refused += 1
        except AtlasError as error:
            assert "\n" not in str(error)
            refused += 1
    return refused


def edited(path: Path, whole: bytes, statement: str) -> None:
    path.write_bytes(whole)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(statement)
        raw.commit()


def test_a_whole_one_is_used_in_every_way(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.db").write_bytes(whole)
    assert check(tmp_path / "m.db") == 0


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(("table", "column"), [(table, one) for table, all_ in TABLES.items() for one in all_.split()])
def test_a_value_that_is_none(table: str, column: str, value: str, whole: bytes, tmp_path: Path) -> None:
    edited(tmp_path / "m.db", whole, f"UPDATE OR IGNORE {table} SET {column} = {VALUES[value]}")
    check(tmp_path / "m.db")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("how", ["DROP TABLE {}", "DELETE FROM {}"])
def test_a_table_that_is_gone_or_empty(table: str, how: str, whole: bytes, tmp_path: Path) -> None:
    edited(tmp_path / "m.db", whole, how.format(table))
    check(tmp_path / "m.db")


@pytest.mark.parametrize("schema", [-1, 0, 1, 99, 2**31 - 1])
def test_a_schema_that_is_none(schema: int, whole: bytes, tmp_path: Path) -> None:
    edited(tmp_path / "m.db", whole, f"PRAGMA user_version = {schema}")
    assert check(tmp_path / "m.db") > 10


@pytest.mark.parametrize("said", ["{}", "[]", "zz", "7"])
def test_a_freeze_that_cannot_be_read_holds_until_it_is_lifted(said: str, whole: bytes, tmp_path: Path) -> None:
    edited(tmp_path / "m.db", whole, f"INSERT INTO meta VALUES ('frozen', '{said}')")
    with Memory(tmp_path / "m.db", "hash") as memory:
        assert memory.frozen is not None
        with pytest.raises(AtlasError, match="cannot be read"):
            memory.add(demo(50))
        assert memory.unfreeze(author=ME, reason="looked at") and memory.add(demo(50))


@pytest.mark.parametrize("vector", ["x'00000000'", "x'00'", "'text'", "7"])
def test_embeddings_that_are_damaged_are_made_anew(vector: str, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    path.write_bytes(whole)
    with Memory(path, "hash") as memory:
        right = memory.search(VIEW, 3)
    edited(path, whole, f"UPDATE vectors SET vector = {vector}")
    with Memory(path, "hash") as memory:
        assert memory.search(VIEW, 3) == right
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM vectors WHERE length(vector) < 100").fetchone()[0] < 100


@pytest.mark.parametrize("length", [1, 15, 16, 50, 100, 4095, 4096, 5000, 8192, -1, -4096])
def test_a_file_that_was_cut(length: int, whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.db").write_bytes(whole[:length])
    assert check(tmp_path / "m.db") > 0 or length == -1  # a byte that is not used


@pytest.mark.parametrize("seed", range(12))
def test_a_page_that_has_rotted(seed: int, whole: bytes, tmp_path: Path) -> None:
    rng = random.Random(seed)
    data, page = bytearray(whole), 4096 * rng.randrange(len(whole) // 4096)
    if seed % 3 == 0:
        data[page : page + 4096] = rng.randbytes(4096)
    elif seed % 3 == 1:
        data[page : page + 4096] = bytes(4096)
    else:
        for _ in range(20):
            data[page + rng.randrange(4096)] = rng.randrange(256)
    (tmp_path / "m.db").write_bytes(bytes(data))
    check(tmp_path / "m.db")


@pytest.mark.parametrize("byte", range(0, 100, 7))
def test_a_header_that_is_wrong(byte: int, whole: bytes, tmp_path: Path) -> None:
    data = bytearray(whole)
    data[byte] ^= 0xFF
    (tmp_path / "m.db").write_bytes(bytes(data))
    check(tmp_path / "m.db")


@pytest.mark.parametrize("way", ["deleted", "moved", "replaced"])
def test_a_file_that_is_another_one_by_now_takes_nothing_more(way: str, whole: bytes, tmp_path: Path) -> None:
    """What was added to a file that was deleted was acknowledged, and lost."""
    path, other = tmp_path / "m.db", tmp_path / "other.db"
    for file in (path, other):
        file.write_bytes(whole)
    with Memory(path, "hash") as memory:
        memory.add(demo(50))
        if way == "replaced":
            other.replace(path)
        else:
            path.rename(tmp_path / "elsewhere.db") if way == "moved" else path.unlink()
        before = memory.log()
        for number in (51, 52):
            with pytest.raises(AtlasError, match="was deleted, moved or replaced while it was open"):
                memory.add(demo(number))
        assert memory.log() == before and memory.search(VIEW, 3), "it can be read"
    if way != "deleted":
        with Memory(path if way == "replaced" else tmp_path / "elsewhere.db", "hash") as memory:
            assert memory.add(demo(52))
