"""Versions of a memory stay whole, whoever writes meanwhile and whoever is killed."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from atlas.memory import DemonstrationStore, versions
from atlas.memory.database import Database
from tests.memory_fixtures import ME, demo, search, spawn, view

WRITER = """
import sys
from atlas.memory import DemonstrationStore
from tests.memory_fixtures import demo
store = DemonstrationStore(sys.argv[1], embedder="hash")
first = int(sys.argv[2])
for i in range(first, first + int(sys.argv[3]), 2):
    print("trying", demo(i).id, demo(i + 1).id, flush=True)
    assert store.add_many([demo(i), demo(i + 1)]) == 2
    print("added", demo(i).id, demo(i + 1).id, flush=True)
"""
ROLLER = """
import random, sys
from atlas.memory import versions
from atlas.memory.database import Database
database = Database(sys.argv[1])
for i in range(int(sys.argv[2])):
    to = random.randrange(database.head() + 1)
    versions.rollback(database, to, author="person:roller", reason=f"number {i}")
    print("rolled", flush=True)
"""


def replayed(database: Database) -> dict[str, str]:
    """The status of each item, by following all versions; fails where one is not whole."""
    now: dict[str, str] = {}
    states: list[dict[str, str]] = [{}]
    for version in database.versions():
        _, changes = database.version(version.number)
        for change in changes:
            assert change.before.status == now.get(change.id, "absent")
            now[change.id] = change.after.status
        if version.action.startswith("rollback"):
            there = {name: status for name, status in now.items() if status != "absent"}
            assert there == {n: s for n, s in states[int(version.action.split()[-1])].items() if s != "absent"}
        elif version.action == "write":
            assert [change.after.status for change in changes] == ["admitted", "admitted"], "half a write"
        states.append(dict(now))
    return now


def test_two_processes_write_while_a_third_rolls_back(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    Database(str(path)).close()
    processes = [spawn(WRITER, path, 0, 40), spawn(WRITER, path, 1000, 40), spawn(ROLLER, path, 25)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    added = {
        name
        for out in outputs[:2]
        for line in out.splitlines()
        if line.startswith("added")
        for name in line.split()[1:]
    }
    assert len(added) == 80
    with DemonstrationStore(path, embedder="hash") as store:
        now = replayed(store.database)
        assert set(now) == added, "an acknowledged demonstration is not in the history"
        assert all(store.get(name) if now[name] != "absent" else True for name in added)
        assert {one.id for one in store.all()} == {name for name, status in now.items() if status == "admitted"}
        # What a rollback took away is still there to be brought back.
        for version in [v for v in store.database.versions() if v.action == "write"]:
            _, changes = store.database.version(version.number)
            versions.rollback(store.database, version.number, author=ME, reason="")
            assert all(change.id in store and store.get(change.id).id == change.id for change in changes)


def test_killed_processes_leave_whole_versions(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    Database(str(path)).close()
    acknowledged: set[str] = set()
    tried: set[str] = set()
    for turn in range(3):
        processes = [
            spawn(WRITER, path, turn * 100_000, 90_000),
            spawn(WRITER, path, 1_000_000 + turn * 100_000, 90_000),
            spawn(ROLLER, path, 100_000),
        ]
        for process in processes:
            assert process.stdout and process.stdout.readline()
        time.sleep(random.uniform(0.1, 0.4))
        for process in processes:
            process.send_signal(signal.SIGKILL)
        for process in processes:
            assert process.stdout
            for line in process.stdout:
                words = line.split()
                if line.endswith("\n") and words[0] in ("trying", "added"):
                    (acknowledged if words[0] == "added" else tried).update(words[1:])
            process.wait()
        with DemonstrationStore(path, embedder="hash") as store:
            now = replayed(store.database)
            assert acknowledged <= set(now)
            assert {one.id for one in store.all()} == {name for name, status in now.items() if status == "admitted"}
            assert store.database.backend.execute("PRAGMA integrity_check") == [("ok",)]


def test_a_rollback_elsewhere_is_seen_at_the_next_search_and_nothing_is_embedded_again(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with DemonstrationStore(path, embedder="hash") as store:
        store.add(demo(1))
        store.add(demo(2))
        assert search(store) == ["task-1", "task-2"]
        embedded: list[str] = []
        compute = store._embedder._compute  # type: ignore[attr-defined]
        store._embedder._compute = lambda texts: (embedded.extend(texts), compute(texts))[1]  # type: ignore[attr-defined]
        store._embedder._cache.clear()  # type: ignore[attr-defined]
        code = "import sys; from atlas.memory import versions; from atlas.memory.database import Database; "
        code += "versions.rollback(Database(sys.argv[1]), int(sys.argv[2]), author='person:x', reason='y')"
        assert spawn(code, path, 1).wait() == 0
        assert search(store) == ["task-1"]
        assert [w.task_id for w in store.similar(view("other", "put", "x"), 9)] == ["task-1"]
        assert spawn(code, path, 2).wait() == 0
        assert search(store) == ["task-1", "task-2"]
        assert demo(2).steps[3].observation not in embedded
