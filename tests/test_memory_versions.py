"""Every change of a memory is a version that can be read, compared and gone back to, whoever writes meanwhile."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atlas
from atlas.errors import FrozenMemory, StoreError
from atlas.memory import DemonstrationStore, versions
from atlas.memory.database import STATUSES, Database, Kind, State, Status, Write
from atlas.memory.history import History, Outcome
from atlas.memory.pamphlets import PamphletStore
from atlas.testing import ScriptedModel
from tests.memory_fixtures import demo, view
from tests.test_memory_demonstration import STEPS, episode

HERE = Path(__file__).parent.parent
ME = "person:me"


def entry(name: str, status: Status | None = None, record: str | None = None) -> Write:
    return Write("entry", name, status, record)


def state(database: Database) -> dict[tuple[Kind, str], tuple[str, str]]:
    """What is in the memory, but for what is removed."""
    items = [*database.rows("entry"), *database.rows("demonstration")]
    return {(i.kind, i.id): (i.status, i.record) for i in items if i.status not in versions.GONE}


def search(store: DemonstrationStore, k: int = 9) -> list[str]:
    return [w.task_id for w in store.search(view("other", demo(1).goal, demo(1).steps[0].observation), k)]


# --- what a version is ------------------------------------------------------------------------------------------------


def test_a_write_is_a_version_with_author_and_reason() -> None:
    database = Database(":memory:")
    before = time.time()
    writes = [entry("a", record='{"n":1}'), entry("b", "trial", '{"n":2}')]
    assert database.write(writes, author="trace:run/e1", reason="distilled") == [True, True]
    assert database.write([entry("a", record='{"n":3}'), entry("b")], author=ME, reason="mended") == [True, False]
    assert database.write([entry("b", "quarantined")], author="rule:uplift", reason="it harms") == [True]
    assert database.write([entry("b", "quarantined")], author="rule:uplift", reason="again") == [False]
    logged = versions.log(database)
    assert [(v.number, v.author, v.reason, v.action) for v, _ in logged] == [
        (1, "trace:run/e1", "distilled", "write"),
        (2, ME, "mended", "write"),
        (3, "rule:uplift", "it harms", "write"),
    ]
    assert [counts for _, counts in logged] == [{"added": 1, "added on trial": 1}, {"edited": 1}, {"quarantined": 1}]
    assert all(before <= v.time <= time.time() for v, _ in logged)
    _, (edited,) = database.version(2)
    assert (edited.before, edited.after) == (State("admitted", '{"n":1}'), State("admitted", '{"n":3}'))
    assert versions.fields(edited) == {"n": (1, 3)}
    assert [v.number for v, _ in database.history("entry", "b")] == [1, 3]
    assert [versions.done(change) for _, change in database.history("entry", "b")] == ["added on trial", "quarantined"]


def test_each_demonstration_says_where_it_is_from() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    traced = demo(1).model_copy(update={"source": demo(1).source.model_copy(update={"run": "r", "episode": "e"})})
    store.add(traced)
    store.add_many([demo(2), demo(3)])
    store.add(demo(4), author=ME, reason="by hand", status="trial")
    assert [(v.author, v.reason) for v in store.database.versions()] == [
        ("trace:r/e", "succeeded at: put a hot apple in diningtable"),
        ("rule:given", "2 demonstrations given"),
        (ME, "by hand"),
    ]
    assert store.database.rows("demonstration")[-1].status == "trial"


def test_nothing_of_a_failed_write_is_kept() -> None:
    database = Database(":memory:")
    with pytest.raises(StoreError, match="there is no entry b"):
        database.write([entry("a", record="{}"), entry("b", "admitted")], author=ME, reason="")
    with pytest.raises(StoreError, match=r"no author of a change: write trace:RUN/EPISODE"):
        database.write([entry("a", record="{}")], author="me", reason="")
    with database.transaction():
        database.write([entry("a", record="{}")], author=ME, reason="")
        with pytest.raises(StoreError, match="there is no entry b"):
            database.write([entry("c", record="{}"), entry("b", "admitted")], author=ME, reason="")
    assert [item.id for item in database.rows("entry")] == ["a"]
    assert database.head() == 1


# --- going back -------------------------------------------------------------------------------------------------------


def test_a_rollback_brings_back_and_can_be_rolled_back() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    store.add_many([demo(1), demo(2)])
    store.database.write([Write("demonstration", demo(1).id, "quarantined")], author=ME, reason="")
    store.add(demo(3))
    assert search(store) == ["task-2", "task-3"]
    changes = versions.rollback(store.database, 1, author=ME, reason="the last ones were bad")
    assert [versions.done(change) for change in changes] == ["admitted", "removed"]
    assert (search(store), store.all(), len(store)) == (["task-1", "task-2"], [demo(1), demo(2)], 2)
    assert demo(3).id not in store
    assert versions.rollback(store.database, 1, author=ME, reason="again") == []
    versions.rollback(store.database, 3, author=ME, reason="they were not")
    assert search(store) == ["task-2", "task-3"]
    assert [v.action for v in store.database.versions()[-2:]] == ["rollback to 1", "rollback to 3"]
    versions.rollback(store.database, 0, author=ME, reason="empty")
    assert search(store) == [] and len(store) == 0


def test_what_was_rolled_back_may_be_learned_again_and_what_a_person_removed_may_not() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    store.add(demo(1))
    store.add(demo(2))
    versions.rollback(store.database, 1, author=ME, reason="")
    assert store.add(demo(2)) and search(store) == ["task-1", "task-2"]
    store.database.write([Write("demonstration", demo(2).id, "removed")], author=ME, reason="wrong")
    assert not store.add(demo(2)) and search(store) == ["task-1"]
    assert store.get(demo(2).id) == demo(2)


def test_a_version_that_is_not_there() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    store.add(demo(1))
    for number in (2, -1):
        with pytest.raises(StoreError, match=rf"no version {number} in :memory:: it has versions 0 \(empty\) to 1"):
            versions.rollback(store.database, number, author=ME, reason="")
    with pytest.raises(StoreError, match="no version 9"):
        store.database.version(9)
    with pytest.raises(StoreError, match="no version 7"):
        versions.diff(store.database, 0, 7)


names = st.sampled_from("abcd")
writes = st.builds(entry, names, st.none() | st.sampled_from(STATUSES), st.integers(0, 3).map(lambda n: f'{{"n":{n}}}'))
steps = st.lists(st.lists(writes, min_size=1, max_size=3) | st.integers(0, 12), max_size=12)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_every_state_comes_back_exactly(done: list[list[Write] | int]) -> None:
    """Writes and rollbacks in any order, cycles among them: each version is what it was when it was made."""
    database = Database(":memory:")
    states = [state(database)]
    for what in done:
        if isinstance(what, int):
            to = what % len(states)
            versions.rollback(database, to, author=ME, reason="")
            assert state(database) == states[to]
        else:
            database.write(what, author=ME, reason="")
        if database.head() == len(states):
            states.append(state(database))
    assert database.head() == len(states) - 1
    for number, then in enumerate(states):
        for other in (0, len(states) - 1):
            changed = {(c.kind, c.id): (c.before, c.after) for c in versions.diff(database, other, number)}
            keys = {key for key in states[other].keys() | then.keys() if states[other].get(key) != then.get(key)}
            assert set(changed) == keys
            for key, sides in changed.items():
                for side, at in zip(sides, (states[other], then), strict=True):
                    assert tuple(side) == at[key] if key in at else side.status in versions.GONE
        if number:
            _, changes = database.version(number)
            assert {(c.kind, c.id) for c in changes if tuple(c.after) != states[number - 1].get((c.kind, c.id))} >= {
                key for key in then if then[key] != states[number - 1].get(key)
            }
    for number in (*range(len(states)), *reversed(range(len(states)))):
        versions.rollback(database, number, author=ME, reason="")
        assert state(database) == states[number]


# --- frozen -----------------------------------------------------------------------------------------------------------


def test_a_frozen_memory_is_used_and_never_written(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with DemonstrationStore(path, embedder="hash") as store:
        store.add_many([demo(1), demo(2)])
        store.add(demo(3))
        database = store.database
        database.define("facts", "CREATE TABLE facts (x)")
        assert database.set_frozen(True, author="person:ann", reason="for the paper")
        assert not database.set_frozen(True, author=ME, reason="twice")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    with DemonstrationStore(path, embedder="hash") as store:
        database = store.database
        mend = rf"frozen by person:ann \(for the paper\): 'atlas memory freeze {path} --off'"
        with pytest.raises(StoreError, match=mend):
            store.add(demo(4))
        with pytest.raises(StoreError, match=mend):
            store.add(demo(1))
        with pytest.raises(StoreError, match=mend):
            database.write([Write("demonstration", demo(1).id, "removed")], author=ME, reason="")
        with pytest.raises(StoreError, match=mend):
            versions.rollback(database, 1, author=ME, reason="")
        with pytest.raises(StoreError, match=mend), database.transaction():
            database.execute("INSERT INTO facts VALUES (1)")
        assert search(store) == ["task-1", "task-2", "task-3"]
    assert path.read_bytes() == before
    with DemonstrationStore(path, embedder="hash") as store:
        assert store.database.set_frozen(False, author=ME, reason="the paper is out")
        assert store.add(demo(4)) and len(search(store)) == 4
        actions = [(v.action, v.author) for v in store.database.versions()]
        assert actions[2:4] == [("freeze", "person:ann"), ("unfreeze", ME)]


def test_who_opens_a_frozen_memory_for_more_writes_nothing_and_catches_up_when_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    outcome = Outcome(episode="e", task_id="t", goal="g", success=True, unaided=1.0, dollars=None)
    with DemonstrationStore(path, embedder="hash") as store:
        store.add(demo(1))
        store.database.set_frozen(True, author=ME, reason="as it is")
        store.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    with DemonstrationStore(path, embedder="hash") as store:
        history = History(store.database, store.embedder)
        pamphlets = PamphletStore(store.database, store.embedder)
        assert (len(history), len(pamphlets), pamphlets.has_learned("r/e")) == (0, 0, False)
        assert pamphlets.search(view("t", "g", "o"), 100) == [] and history.near("g", 3) == []
        assert search(store) == ["task-1"]
        with pytest.raises(FrozenMemory):
            history.add(outcome)
        with pytest.raises(FrozenMemory):
            pamphlets.learn("r/e", [])
        store.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.read_bytes() == before
        with DemonstrationStore(path, embedder="hash") as other:
            other.database.set_frozen(False, author=ME, reason="go on")
        with pytest.raises(ZeroDivisionError), store.database.transaction():
            raise ZeroDivisionError
        assert history.add(outcome) and len(history) == 1
        with DemonstrationStore(path, embedder="hash") as other:
            assert len(History(other.database, other.embedder)) == 1


def test_an_agent_uses_a_frozen_memory_and_does_not_complain() -> None:
    with DemonstrationStore(":memory:", embedder="hash") as store:
        agent = atlas.Agent(ScriptedModel(lambda ask: "Action: look"), memory=store)
        assert agent.learn_from(episode(True), STEPS)
        store.database.set_frozen(True, author=ME, reason="enough")
        assert not agent.learn_from(episode(True).model_copy(update={"plan": "another"}), STEPS)
        assert len(store) == 1


# --- many processes ---------------------------------------------------------------------------------------------------

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


def spawn(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        text=True,
    )


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
    outputs = [process.communicate(timeout=120)[0] for process in processes]
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
            assert store.database.execute("PRAGMA integrity_check") == [("ok",)]


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


def test_parts_count_what_is_shown() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    store.add_many(demo(i) for i in range(6))
    store.database.write([Write("demonstration", demo(i).id, "removed") for i in (0, 2)], author=ME, reason="")
    for count, expected in ((0, set()), (1, {1}), (3, {1, 3, 4}), (9, {1, 3, 4, 5})):
        part = store.limit(count)
        asked = view("other", demo(1).goal, "a room")
        assert {w.task_id for w in part.search(asked, 9)} == {f"task-{i}" for i in expected}
        assert part.all() == [demo(i) for i in sorted(expected)]


# --- files ------------------------------------------------------------------------------------------------------------

OLD = """
CREATE TABLE demonstrations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, steps INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE vectors (embedder TEXT NOT NULL, text_hash TEXT NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (embedder, text_hash)) WITHOUT ROWID;
PRAGMA application_id = 1096043603;
PRAGMA user_version = 1;
"""


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
