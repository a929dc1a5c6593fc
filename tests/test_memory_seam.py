"""The seam under a memory: all SQL behind it, and what a memory does is the same over any database that fits it."""

from __future__ import annotations

import ast
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atlas
from atlas.cli import main
from atlas.errors import ConfigError, FrozenMemory, StoreError
from atlas.memory import HashEmbedder, Memory, versions
from atlas.memory.backend import BACKENDS, STATUSES, Note
from atlas.memory.database import Database, Write
from atlas.memory.history import Outcome
from atlas.memory.pamphlet import Entry
from atlas.memory.uplift import Trial
from tests import postgres_server
from tests.dict_backend import DictBackend
from tests.memory_fixtures import ME, demo, view
from tests.test_layers import PACKAGE, imported, module, sources, tree

# --- all SQL is behind it ---------------------------------------------------------------------------------------------

HOMES = {
    f"atlas.memory.{home}"
    for home in (
        "sqlite sqlite_check connection schema postgres postgres_connection postgres_driver postgres_schema".split()
    )
}
LOOKED_AT = ("memory", "graph", "wrap", "policies", "cli", "benchmarks")
SQL = re.compile(
    r"\b(SELECT\s.*\bFROM|INSERT (OR \w+ )?INTO|DELETE FROM|UPDATE \w+ SET|CREATE TABLE|DROP TABLE|PRAGMA)\b", re.DOTALL
)


APART = ("excytin", "reliability/works.py", "reliability/processes.py", "perf/pgvector.py")
"""What queries the logs of incidents in SQL, which is the task and no memory, what cuts a server's connections, and
what measures an extension of a server that no memory uses."""


def above_the_seam() -> list[Path]:
    tops = tuple(f"atlas.{part}." for part in LOOKED_AT)
    found = [p for p in sources() if f"{module(p)}.".startswith(tops)]
    found = [p for p in found if not any(name in p.relative_to(PACKAGE).as_posix() for name in APART)]
    return [path for path in found if module(path) not in HOMES]


def test_no_sql_above_the_seam() -> None:
    assert len(above_the_seam()) > 100
    said = {
        (module(path), node.value[:60])
        for path in above_the_seam()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    }
    assert not said
    assert not {module(path) for path in above_the_seam() if "sqlite3" in set(imported(path))}


def test_the_search_for_sql_finds_it() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources() if module(path) in HOMES)
    verbs = {found[0].split()[0] for line in text.splitlines() for found in SQL.finditer(line)}
    assert verbs == {"SELECT", "CREATE", "INSERT", "UPDATE", "DELETE", "DROP", "PRAGMA"}


# --- which database ---------------------------------------------------------------------------------------------------


def test_an_unknown_database_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError) as told:
        atlas.Memory("oracle://host/memory", "hash")
    with pytest.raises(SystemExit):
        main(["memory", "ls", "oracle://host/memory"])
    assert str(told.value) in " ".join(capsys.readouterr().err.split())
    assert str(told.value) == (
        "'oracle://host/memory' names no database that a memory can be in: give a path, or one of "
        "postgres://, postgresql://, sqlite://"
    )


def test_a_path_and_the_url_of_sqlite_are_the_same_file(tmp_path: Path) -> None:
    with Memory(f"sqlite://{tmp_path / 'm.sqlite'}", "hash") as memory:
        memory.add(demo(1))
    with Memory(tmp_path / "m.sqlite", "hash") as memory:
        assert memory.demonstrations.all() == [demo(1)]


def test_a_database_that_is_open_may_be_given() -> None:
    database = Database(DictBackend(uuid.uuid4().hex))
    with Memory(database, "hash") as memory:
        memory.add(demo(1))
    assert memory.path.startswith("dict://") and database.count("demonstration") == 1


# --- the same over each -----------------------------------------------------------------------------------------------

HOT = Entry(cue="an apple is to be heated", action="use the microwave in the kitchen", effect="it is hot")
COOL = Entry(cue="an apple is to be cooled", action="open the fridge first", effect="it is cool")


@pytest.fixture(params=["sqlite", "dict", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setitem(BACKENDS, "dict", "tests.dict_backend:DictBackend")
    if request.param == "postgresql":
        url = postgres_server.fresh()
        yield url
        postgres_server.drop(url)
    else:
        yield str(tmp_path / "m.sqlite") if request.param == "sqlite" else f"dict://{uuid.uuid4().hex}"


@pytest.fixture
def memory(where: str) -> Iterator[Memory]:
    with Memory(where, "hash") as opened:
        yield opened


@pytest.fixture
def other(where: str) -> Iterator[Memory]:
    """As another process would have it."""
    with Memory(where, "hash") as opened:
        yield opened


def tasks(memory: Memory) -> list[str]:
    return sorted(w.task_id for w in memory.search(view("other", demo(1).goal, demo(1).steps[0].observation), 9))


def row(number: int) -> Outcome:
    return Outcome(
        episode=f"e{number}", task_id=f"t{number}", goal="open the box", success=True, unaided=1.0, dollars=0.5
    )


def trial(number: int, shown: bool) -> Trial:
    return Trial(
        entry=HOT.id, episode=f"e{number}", task=f"t{number}", seed=0, shown=shown, p=0.5, reward=float(shown),
        dollars=None, started=float(number),
    )  # fmt: skip


def test_what_one_adds_the_other_finds(memory: Memory, other: Memory) -> None:
    assert tasks(other) == [] and memory.add(demo(1)) and not other.add(demo(1))
    assert tasks(other) == ["task-1"] and memory.database.id == other.database.id != ""
    other.entries.add_many([HOT, COOL], author=ME, reason="known")
    assert {entry.id for entry in memory.entries.all()} == {HOT.id, COOL.id}
    found = memory.entries.search(view("t", "heat an apple", "an apple is to be heated"), 200)
    assert found[0].id == HOT.id
    assert other.outcomes.add(row(1)) and not memory.outcomes.add(row(1)) and other.outcomes.add(row(2))
    assert [near.outcome.episode for near in memory.outcomes.near("open the box", 5)] == ["e2", "e1"]
    assert len(memory.outcomes) == 2


def test_an_outcome_that_is_corrected_stays_in_its_place_and_the_other_finds_it(memory: Memory, other: Memory) -> None:
    for number in (1, 2):
        memory.outcomes.add(row(number))
    assert [near.outcome.success for near in other.outcomes.near("open the box", 5)] == [True, True]
    failed = row(1).replace(success=False, unaided=0.0)
    assert not memory.outcomes.add(failed), "it is no further one"
    for one in (memory, other):
        assert one.outcomes.all() == [failed, row(2)] and len(one.outcomes) == 2
    memory.outcomes.add(row(2).replace(success=None, unaided=None))
    memory.outcomes.add(row(2).replace(dollars=9.0))
    assert other.outcomes.all() == [failed, row(2)], "what says nothing of its success corrects nothing"
    with pytest.raises(ZeroDivisionError), memory.database.transaction():
        memory.outcomes.add(row(1))
        assert memory.outcomes.all()[0].success is True
        raise ZeroDivisionError
    assert memory.outcomes.all() == other.outcomes.all() == [failed, row(2)]


def test_versions_are_told_compared_and_gone_back_to(memory: Memory, other: Memory) -> None:
    memory.add(demo(1))
    memory.add(demo(2))
    memory.database.write([Write("demonstration", demo(1).id, "removed")], author=ME, reason="wrong")
    assert [counts for _, counts in memory.log()] == [{"added": 1}, {"added": 1}, {"removed": 1}]
    assert [versions.done(change) for change in memory.diff(1)] == ["removed", "added"]
    assert [v.number for v, _ in memory.database.history("demonstration", demo(1).id)] == [1, 3]
    assert memory.database.find(demo(2).id[:6])[0].id == demo(2).id
    assert tasks(other) == ["task-2"] and not other.add(demo(1))
    assert [versions.done(change) for change in memory.rollback(1, author=ME, reason="as it was")] == [
        "added",
        "removed",
    ]
    assert tasks(other) == ["task-1"] and other.add(demo(2)) and tasks(memory) == ["task-1", "task-2"]
    with pytest.raises(StoreError, match="no version 9"):
        memory.rollback(9, author=ME, reason="")


def test_a_frozen_memory_is_used_and_not_written(memory: Memory, other: Memory) -> None:
    memory.add(demo(1))
    assert memory.freeze(author="person:ann", reason="for the paper") and not other.freeze(author=ME, reason="twice")
    assert other.frozen is not None and other.frozen.reason == "for the paper"
    with pytest.raises(FrozenMemory, match=r"frozen by person:ann \(for the paper\)"):
        other.add(demo(2))
    for write in (
        lambda: other.outcomes.add(row(1)),
        lambda: other.trials.add([trial(1, True)]),
        lambda: other.entries.learn("r/e", [HOT]),
    ):
        with pytest.raises(FrozenMemory):
            write()
    assert tasks(other) == ["task-1"] and len(other.outcomes) == 0 and other.trials.all() == {}
    assert other.unfreeze(author=ME, reason="go on") and memory.frozen is None and memory.add(demo(2))


def test_an_episode_teaches_once_until_that_is_rolled_back(memory: Memory, other: Memory) -> None:
    assert memory.entries.learn("r/e1", [HOT]) and other.entries.learn("r/e1", [HOT]) is None
    assert other.entries.learn("r/e2", [COOL]) and memory.entries.has_learned("r/e2")
    memory.rollback(1, author=ME, reason="e2 was wrong")
    assert memory.entries.has_learned("r/e1") and not other.entries.has_learned("r/e2")
    assert other.entries.learn("r/e2", [COOL]) and len(memory.entries) == 2


def test_trials_become_a_status(memory: Memory, other: Memory) -> None:
    memory.entries.add_many([HOT], author=ME, reason="known")
    memory.trials.add(trial(number, number % 2 == 0) for number in range(40))
    memory.trials.add([trial(0, True)])
    assert other.trials.all()[HOT.id].trials == 40
    assert {said.status for said in other.trials.settle(other.rule).values()} == {"admitted"}
    assert memory.database.rows("entry")[0].status == "admitted"


def test_all_or_nothing(memory: Memory, other: Memory) -> None:
    with pytest.raises(ZeroDivisionError), memory.database.transaction():
        memory.add(demo(1))
        memory.outcomes.add(row(1))
        assert tasks(memory) == ["task-1"] and len(memory.outcomes.all()) == 1
        with pytest.raises(StoreError), memory.database.transaction():
            memory.database.write([Write("entry", "none")], author=ME, reason="")
        raise ZeroDivisionError
    assert (other.database.head(), len(other.demonstrations), len(other.outcomes)) == (0, 0, 0)
    assert tasks(memory) == [] and memory.outcomes.all() == [], "nor does it remember what never was"
    assert memory.outcomes.add(row(1)) and memory.add(demo(1)) and tasks(other) == tasks(memory) == ["task-1"]


class Counting(HashEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        return super().embed(texts)


def test_texts_are_embedded_once_for_all(where: str) -> None:
    one, two = Counting(), Counting()
    with Memory(where, one) as memory, Memory(where, two) as other:
        memory.add(demo(1))
        memory.demonstrations.warm()
        other.demonstrations.warm()
    assert one.texts and not two.texts


def test_a_langgraph_store_is_the_same_over_each(memory: Memory, other: Memory) -> None:
    pytest.importorskip("langgraph", reason="the extra langgraph is not installed")
    from atlas.graph import MemoryStore

    store, theirs = MemoryStore(memory), MemoryStore(other)
    store.put(("pamphlets",), "heat", {"cue": HOT.cue, "action": HOT.action})
    found = theirs.get(("pamphlets",), "heat")
    assert found is not None and found.value["cue"] == HOT.cue
    assert found.created_at == found.updated_at
    (listed,) = theirs.search(("pamphlets",), query=HOT.cue)
    assert listed.key == "heat"
    theirs.delete(("pamphlets",), "heat")
    assert store.get(("pamphlets",), "heat") is None


def test_notes_are_kept_in_their_order_within_their_namespaces_and_for_their_time(
    memory: Memory, other: Memory
) -> None:
    ours, theirs = memory.database.backend, other.database.backend

    def note(*namespace: str, key: str = "k", value: str = "1", expires: float | None = None) -> Note:
        return Note(namespace, key, value, None, None, expires, 1.0, 2.0)

    made = [note("users", "ann"), note("users", "an"), note("users"), note("us", 'er"s'), note("users", "ann", 'a"\0ü')]
    with memory.database.transaction():
        for one in made:
            ours.put_note(one)
        ours.put_note(note("users", "ann", key="late", expires=50.0))
        ours.put_note(note("users", "ann", value="2"))
    assert theirs.notes(("users", "ann")) == [made[0]._replace(value="2"), made[4], theirs.notes()[-1]]
    assert [one.namespace for one in theirs.notes()] == [*(one.namespace for one in made), ("users", "ann")]
    assert theirs.note(("us", 'er"s'), "k") == made[3] and theirs.note(("us",), "k") is None
    assert sorted(theirs.namespaces(60.0)) == sorted({one.namespace for one in made})
    with other.database.transaction():
        theirs.drop_expired(50.0)
        theirs.drop_note(("users",), "k")
    assert [one.namespace for one in ours.notes()] == [one.namespace for one in made if one.namespace != ("users",)]


def test_the_commands_take_it_too(memory: Memory, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    memory.add(demo(1))
    main(["memory", "log", where])
    assert "1 added" in capsys.readouterr().out
    main(["memory", "quarantine", where, demo(1).id[:6], "--reason", "wrong floor", "--by", "ann"])
    assert tasks(memory) == [] and memory.log()[-1].version.author == "person:ann"


# --- the same in every detail -----------------------------------------------------------------------------------------

names = st.sampled_from("abcd")
writes = st.builds(
    lambda name, status, n: Write("entry", name, status, f'{{"n":{n}}}'),
    names,
    st.none() | st.sampled_from(STATUSES),
    st.integers(0, 3),
)
steps = st.lists(st.lists(writes, min_size=1, max_size=3) | st.integers(0, 12), max_size=10)


def told(database: Database, done: list[list[Write] | int]) -> list[object]:
    """All that a database says after each of some writes and rollbacks."""
    said: list[object] = []
    for what in done:
        if isinstance(what, int):
            versions.rollback(database, what % (database.head() + 1), author=ME, reason="")
        else:
            database.write(what, author=ME, reason="")
        said.append((database.head(), database.rows("entry"), database.count("entry")))
    head = database.head()
    said += [[(logged.version.action, logged.counts) for logged in versions.log(database)]]
    said += [database.version(number)[1] for number in range(1, head + 1)]
    said += [database.since(number) for number in range(head + 1)]
    said += [database.rows("entry", number) for number in range(head + 1)]
    said += [[(v.number, c) for v, c in database.history("entry", name)] for name in "abcd"]
    return said


@settings(max_examples=100, deadline=None)
@given(steps)
def test_both_say_the_same_of_every_history(done: list[list[Write] | int]) -> None:
    assert told(Database(":memory:"), done) == told(Database(DictBackend(uuid.uuid4().hex)), done)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_a_server_says_the_same_of_every_history(done: list[list[Write] | int]) -> None:
    url = postgres_server.fresh()
    try:
        with closing(Database(url)) as there:
            assert told(there, done) == told(Database(":memory:"), done)
    finally:
        postgres_server.drop(url)
