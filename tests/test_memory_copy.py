"""A memory copied from one database into another: the same to the last row, also where the copy was cut off."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.errors import ConfigError, FrozenMemory, StoreError
from atlas.memory import Memory
from atlas.memory.backend import TABLES, Movable, Note
from atlas.memory.copying import begun_with, copy, digest
from atlas.memory.database import Database, Write
from atlas.memory.history import Outcome
from atlas.memory.pamphlet import Entry
from atlas.memory.schema import FURTHER, SCHEMA
from atlas.memory.uplift import Trial
from tests import postgres_server
from tests.dict_backend import DictBackend
from tests.memory_fixtures import ME, demo, search, spawn

New = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[New]:
    """Places of memories that are not there yet, in one kind of database."""
    if request.param == "postgresql":
        postgres_server.server()
    made: list[str] = []

    def place() -> str:
        made.append(f"{tmp_path}/{len(made)}.sqlite" if request.param == "sqlite" else postgres_server.fresh())
        return made[-1]

    yield place
    for url in made:
        if request.param == "postgresql":
            postgres_server.drop(url)


def entry(number: int) -> Entry:
    return Entry(cue=f"an apple {number} is to be heated", action=f"use microwave {number}", effect="it is hot")


def filled(path: str, count: int = 12) -> Memory:
    """A memory with something in every table."""
    memory = Memory(path, "hash")
    memory.demonstrations.add_many([demo(number) for number in range(count)])
    memory.database.write([Write("demonstration", demo(1).id, "removed")], author=ME, reason="wrong\0 ü")
    search(memory.demonstrations)
    memory.entries.learn("run/e1", [entry(1), entry(2)])
    memory.trials.add(
        Trial(
            entry=entry(1).id, episode=f"e{n}", task="t", seed=n, shown=n % 2 == 0, p=0.5, reward=n / 7 if n else None,
            dollars=None, started=float(n),
        )
        for n in range(5)
    )  # fmt: skip
    for n in range(3):
        memory.outcomes.add(
            Outcome(episode=f"e{n}", task_id="t", goal="heat it", success=True, unaided=None, dollars=0.1)
        )
    backend = memory.database.backend
    with memory.database.transaction():
        backend.set_key("entry", "heat", entry(1).id)
        for n in range(4):
            backend.put_note(Note(("users", "ann"), f"k{n}", f"{n}", None, 60.0, 2e9, 1.0, 2.0))
        backend.drop_note(("users", "ann"), "k1")
    assert all(backend.size(table) for table in TABLES)
    return memory


def same(one: str, other: str) -> bool:
    with closing(Database(one)) as first, closing(Database(other)) as second:
        return digest(first.backend) == digest(second.backend) and first.id == second.id


def test_a_copy_is_the_same_there_and_back(new: New, tmp_path: Path) -> None:
    origin, there, back = f"{tmp_path}/origin.sqlite", new(), f"{tmp_path}/back.sqlite"
    counted: list[tuple[int, int]] = []
    with filled(origin) as memory, closing(Database(there)) as target:
        memory.freeze(author=ME, reason="for the paper")
        made = copy(memory.database, target, lambda done, of: counted.append((done, of)))
        assert made.written == sum(made.rows.values()) - 2, "the id and the freeze are put at the end"
        assert made.rows == {table: memory.database.backend.size(table) for table in TABLES}
        assert counted[-1] == (sum(made.rows.values()),) * 2 and made.version == memory.database.head()
        assert made.sha256 == digest(memory.database.backend) and made.memory == memory.database.id
        with Memory(target, "hash") as copied:
            assert copied.frozen is not None and copied.frozen.reason == "for the paper"
            assert search(copied.demonstrations) == search(memory.demonstrations)
            assert copied.log() == memory.log() and copied.trials.all() == memory.trials.all()
            copied.unfreeze(author=ME, reason="go on")
            assert copied.add(demo(99)) and not copied.add(demo(2))
        with closing(Database(back)) as again:
            copy(target, again)
    assert same(there, back) and not same(origin, back)


def test_every_table_of_a_file_is_copied() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SCHEMA + ";".join(FURTHER.values()))
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        tables = {name for (name,) in names.fetchall()}
        assert tables == set(TABLES)
        for name in tables:
            columns = {row[1] for row in database.execute(f"PRAGMA table_info({name})")}
            assert columns == set(TABLES[name].columns)


def test_a_target_that_is_something_else_is_refused(new: New, tmp_path: Path) -> None:
    origin, other, place = f"{tmp_path}/origin.sqlite", f"{tmp_path}/other.sqlite", new()
    with filled(origin) as memory, Memory(place, "hash") as taken, filled(other) as second:
        taken.add(demo(1))
        with pytest.raises(StoreError, match="is not empty, and no half copy of"):
            copy(memory.database, taken.database)
        assert [logged.counts for logged in taken.log()] == [{"added": 1}]
        half = new()
        with closing(Database(half)) as target:
            with pytest.raises(Cut):
                copy(memory.database, target, cut_at(20))
            with pytest.raises(StoreError, match="is not empty, and no half copy of"):
                copy(second.database, target)
            with pytest.raises(StoreError, match="is a half copy itself"):
                copy(target, taken.database)


class Cut(Exception):
    pass


def cut_at(rows: int) -> Callable[[int, int], None]:
    def seen(done: int, of: int) -> None:
        if done >= rows:
            raise Cut

    return seen


def test_a_half_copy_is_frozen_and_finished_with_what_was_written_to_the_source_since(
    new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas.memory.copying._PART", 3)
    origin, there = f"{tmp_path}/origin.sqlite", new()
    with filled(origin) as memory, closing(Database(there)) as target:
        for rows in (2, 9, 30, 45):
            with pytest.raises(Cut):
                copy(memory.database, target, cut_at(rows))
            with pytest.raises(FrozenMemory, match=r"a copy of .* is under way: the same 'atlas memory copy' fini"):
                target.write([Write("entry", "x", None, "{}")], author=ME, reason="too early")
            memory.add(demo(100 + rows))
            memory.database.write([Write("demonstration", demo(rows % 7 + 2).id, "removed")], author=ME, reason="")
            with memory.database.transaction():
                memory.database.backend.drop_note(("users", "ann"), f"k{rows % 4}")
                memory.database.backend.put_note(Note(("users", "bob"), f"k{rows}", "1", created=1.0, updated=1.0))
        made = copy(memory.database, target)
        assert 0 < made.written < sum(made.rows.values()) and target.frozen() is None
        assert copy(memory.database, target).written == 0, "the same already"
        assert same(origin, there)
        memory.add(demo(500))
        with pytest.raises(StoreError, match="is not empty"):
            copy(memory.database, target)


def test_a_target_that_does_not_hold_what_was_read_is_no_copy(
    new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, there = f"{tmp_path}/origin.sqlite", new()
    with filled(origin) as memory, closing(Database(there)) as target:
        replace = target.backend.replace
        monkeypatch.setattr(target.backend, "replace", lambda t, a, u, rows: replace(t, a, u, rows[:-1]))
        with pytest.raises(StoreError, match=r"does not hold what was read from .*: 'atlas memory copy' again"):
            copy(memory.database, target)
        assert target.frozen() is not None and target.id != memory.database.id
        monkeypatch.undo()
        copy(memory.database, target)
    assert same(origin, there)


COPY = """
import sys
from atlas.memory import copying
from atlas.cli import main
copying._PART = 3
print("ready", flush=True)
main(["memory", "copy", sys.argv[1], sys.argv[2], "--json"])
"""


@pytest.mark.parametrize("kind", ["to a server", "from a server"])
def test_a_copy_that_is_killed_at_any_moment_is_finished(kind: str, tmp_path: Path) -> None:
    url, file = postgres_server.fresh(), f"{tmp_path}/m.sqlite"
    source, target = (file, url) if kind == "to a server" else (url, file)
    rng, kills = random.Random(7), 0
    try:
        filled(source, 40).close()
        for longest in (0.0, 0.05, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6):
            process = spawn(COPY, source, target)
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, longest))
            os.kill(process.pid, signal.SIGKILL)
            rest = process.stdout.read()
            kills += process.wait() == -signal.SIGKILL
            if rest.strip():
                break
        assert kills > 1
        process = spawn(COPY, source, target)
        assert process.wait() == 0 and process.stdout is not None
        told = json.loads(process.stdout.read().splitlines()[-1])
        assert sum(told["rows"].values()) > 200 and same(source, target)
        with closing(Database(target)) as copied:
            assert digest(copied.backend) == told["sha256"] and copied.frozen() is None
    finally:
        postgres_server.drop(url)


def test_the_command_says_what_it_did(new: New, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    origin, there = f"{tmp_path}/origin.sqlite", new()
    filled(origin).close()
    main(["memory", "copy", origin, there])
    said = " ".join(capsys.readouterr().out.split())
    assert "of them written now" in said and "demonstration" not in said and "items 14" in said and "sha256" in said
    main(["memory", "copy", origin, there])
    assert "all there already" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["memory", "copy", f"{tmp_path}/nothing.sqlite", there])
    assert "there is no memory at" in " ".join(capsys.readouterr().err.split())


def test_a_database_that_cannot_be_copied_says_so(tmp_path: Path) -> None:
    with closing(Database(DictBackend(str(tmp_path)))) as plain, closing(Database(":memory:")) as other:
        for one, two in ((plain, other), (other, plain)):
            with pytest.raises(ConfigError, match="cannot be copied"):
                copy(one, two)


def test_a_memory_begins_with_another_and_is_its_own_from_then_on(new: New) -> None:
    first, second = new(), new()
    filled(first).close()
    with closing(Database(first)) as source, closing(Database(second)) as own:
        source.set_frozen(True, author=ME, reason="as it was measured")
        copied = {table: own_rows(source, table) for table in TABLES if table != "meta"}
        assert begun_with(source, own)
        assert {table: own_rows(own, table) for table in TABLES if table != "meta"} == copied
        assert own.id and own.id != source.id and own.frozen() is None and source.frozen() is not None
    with Memory(second, "hash") as grown:
        grown.add(demo(99))
    with closing(Database(first)) as source, closing(Database(second)) as own:
        assert not begun_with(source, own), "what it learned since stays"
        assert own.count("demonstration") == source.count("demonstration") + 1


@pytest.mark.parametrize("cut", ["in the copy", "behind it"])
def test_a_beginning_that_was_cut_off_is_finished(cut: str, new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = new(), new()
    filled(first).close()
    with closing(Database(first)) as source, closing(Database(second)) as own:
        if cut == "behind it":
            copy(source, own)
        else:
            with pytest.raises(KeyboardInterrupt):
                copy(source, own, interrupting)
        assert begun_with(source, own)
        assert own.id != source.id and own.frozen() is None
        rows = [own_rows(one, table) for one in (source, own) for table in TABLES if table != "meta"]
        assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]


def interrupting(done: int, of: int) -> None:
    raise KeyboardInterrupt


def own_rows(database: Database, table: str) -> list[object]:
    backend = database.backend
    assert isinstance(backend, Movable)
    return list(backend.dump(table, None, 10_000))
