"""Every change of a memory is a version that can be read, compared and gone back to."""

from __future__ import annotations

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
from tests.memory_fixtures import ME, demo, search, view
from tests.test_memory_demonstration import STEPS, episode


def entry(name: str, status: Status | None = None, record: str | None = None) -> Write:
    return Write("entry", name, status, record)


def state(database: Database) -> dict[tuple[Kind, str], tuple[str, str]]:
    """What is in the memory, but for what is removed."""
    items = [*database.rows("entry"), *database.rows("demonstration")]
    return {(i.kind, i.id): (i.status, i.record) for i in items if i.status not in versions.GONE}


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


def test_parts_count_what_is_shown() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    store.add_many(demo(i) for i in range(6))
    store.database.write([Write("demonstration", demo(i).id, "removed") for i in (0, 2)], author=ME, reason="")
    for count, expected in ((0, set()), (1, {1}), (3, {1, 3, 4}), (9, {1, 3, 4, 5})):
        part = store.limit(count)
        asked = view("other", demo(1).goal, "a room")
        assert {w.task_id for w in part.search(asked, 9)} == {f"task-{i}" for i in expected}
        assert part.all() == [demo(i) for i in sorted(expected)]


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
        assert database.set_frozen(True, author="person:ann", reason="for the paper")
        assert not database.set_frozen(True, author=ME, reason="twice")
        database.backend.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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
            database.backend.set_learned("r/e", 1)
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
        store.database.backend.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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
        store.database.backend.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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
