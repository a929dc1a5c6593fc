"""What agents keep for themselves in the memory as a LangGraph store: as LangGraph's own store, and for good."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph", reason="the extra langgraph is not installed")

from hypothesis import example, given, settings
from hypothesis import strategies as st
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

import atlas
from atlas.errors import DataError, FrozenMemory, StoreError
from atlas.graph import MemoryStore
from atlas.memory import HashEmbedder
from atlas.memory.database import Database
from tests.dict_backend import DictBackend
from tests.memory_fixtures import ME, demo

HASH = HashEmbedder()


def fresh(**given: Any) -> MemoryStore:
    return MemoryStore(atlas.Memory(":memory:", HASH), **given)


# --- beside LangGraph's own store -------------------------------------------------------------------------------------

label = st.sampled_from(["users", "ann", "bob", "docs", "v1", "demonstrations", '"', ",", "ü-]"])
namespaces = st.lists(label, min_size=1, max_size=3).map(tuple).filter(lambda ns: ns != ("demonstrations",))
paths = st.lists(label | st.just("*"), min_size=1, max_size=2).map(tuple)
keys = st.sampled_from(["a", "b", "", "k\x00", "\ud800", "ключ"])
leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from(["x", "yy", "\ud800"])
parts = st.recursive(
    leaves, lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from("abc"), below, max_size=2)
)
values = st.dictionaries(st.sampled_from(["n", "t", "o"]), parts, max_size=3)
numbered = st.builds(lambda value, n: {**value, "m": n}, values, st.integers(-3, 3))
tests_of_m = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), st.integers(-3, 3), max_size=2
)
filters = st.none() | st.fixed_dictionaries({}, optional={"n": parts, "t": leaves, "m": tests_of_m})
fields = st.sampled_from([None, False, ["t"], ["o.a", "n[*]"], []])
puts = st.builds(PutOp, namespaces, keys, st.none() | numbered, fields, ttl=st.none())
gets = st.builds(GetOp, namespaces, keys)
searches = st.builds(
    SearchOp,
    st.just(()) | namespaces,
    filters,
    limit=st.just(1000),
    offset=st.just(0),
    query=st.none() | st.sampled_from(["x", "yy zz"]),
)
conditions = st.lists(st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), paths), max_size=2).map(tuple)
listings = st.builds(
    ListNamespacesOp, st.none() | conditions, st.none() | st.integers(1, 3), st.integers(1, 9), st.integers(0, 3)
)
batches = st.lists(st.lists(puts | gets | searches | listings, min_size=1, max_size=5), max_size=8)


def embed(texts: list[str]) -> list[list[float]]:
    vectors: list[list[float]] = HASH.embed([text.encode("utf-8", "replace").decode() for text in texts]).tolist()
    return vectors


class Oracle(InMemoryStore):
    """LangGraph's own store, but that it takes two equal texts in one batch: a vector for each place, not each text."""

    def _insertinmem_store(self, to_embed: Any, embeddings: list[list[float]]) -> None:
        places = zip(embeddings, to_embed.values(), strict=True)
        super()._insertinmem_store(to_embed, [vector for vector, of_text in places for _ in of_text])


def theirs(oracle: InMemoryStore, ops: list[Any]) -> list[Any]:
    """What LangGraph's own store says, but for what it does by accident: a namespace whose items are gone, or that was
    only read, is listed; and what is put again with other texts is still found by those of before."""
    results = {id(op): oracle.batch([op])[0] for op in sorted(ops, key=lambda op: not isinstance(op, ListNamespacesOp))
               if not isinstance(op, PutOp)}  # fmt: skip
    written = [op for op in ops if isinstance(op, PutOp)]
    for op in written:
        oracle._vectors[op.namespace].pop(op.key, None)
    oracle.batch(written)
    for namespace in [namespace for namespace, items in oracle._data.items() if not items]:
        del oracle._data[namespace]
    return [results.get(id(op)) for op in ops]


def said(result: Any) -> Any:
    """A result without its times, and in one order."""
    if isinstance(result, SearchItem):
        score = None if result.score is None else round(result.score, 4)
        return (result.namespace, result.key, json.dumps(result.value, sort_keys=True), score)
    if isinstance(result, Item):
        return (result.namespace, result.key, json.dumps(result.value, sort_keys=True))
    if isinstance(result, list):
        return sorted((said(one) for one in result), key=repr)
    return result


@settings(max_examples=150, deadline=None)
@example([[PutOp(("users",), "a", {"n": [{"a": 1}, {"a": 1}]}, ["n[*]"])], [SearchOp(("users",), query="x")]])
@given(batches)
def test_it_does_what_langgraph_s_own_store_does(done: list[list[Any]]) -> None:
    oracle = Oracle(index={"dims": HASH.dim, "embed": embed, "fields": ["$"]})
    ours = fresh()
    for ops in done:
        assert said_all(ours.batch(ops)) == said_all(theirs(oracle, ops))


def said_all(results: list[Any]) -> list[Any]:
    return [said(result) for result in results]


@settings(max_examples=60, deadline=None)
@given(batches)
def test_it_is_the_same_over_each_database(done: list[list[Any]]) -> None:
    other = MemoryStore(atlas.Memory(Database(DictBackend(uuid.uuid4().hex)), HASH))
    ours = fresh()
    for ops in done:
        assert said_all(ours.batch(ops)) == said_all(other.batch(ops))


# --- what a user relies on --------------------------------------------------------------------------------------------


def test_pages_are_in_the_order_of_first_put_and_leave_nothing_out() -> None:
    store = fresh()
    for number in range(25):
        store.put(("docs", str(number % 3)), f"k{number}", {"n": number})
    store.put(("docs", "0"), "k0", {"n": 0, "again": True})
    pages = [store.search(("docs",), limit=10, offset=offset) for offset in range(0, 30, 10)]
    assert [item.value["n"] for page in pages for item in page] == list(range(25))
    assert len(store.search(("docs", "1"))) == 8 and store.search(("doc",)) == []


def test_a_query_ranks_and_a_note_says_what_of_it_is_compared() -> None:
    store = fresh(fields=["text"])
    store.put(("docs",), "heat", {"text": "heat the apple in the microwave"})
    store.put(("docs",), "cool", {"text": "cool the egg in the fridge", "title": "heat the apple"})
    store.put(("docs",), "title", {"text": "nothing", "title": "heat the apple"}, index=["title"])
    store.put(("docs",), "out", {"text": "heat the apple in the microwave"}, index=False)
    found = store.search(("docs",), query="heat the apple")
    assert [item.key for item in found] == ["title", "heat", "cool", "out"]
    assert found[-1].score is None and (found[0].score or 0) > 0.99
    assert [item.key for item in store.search(("docs",), query="heat the apple", limit=1, offset=1)] == ["heat"]


def test_texts_are_in_their_own_order_and_what_cannot_be_compared_does_not_fit() -> None:
    store = fresh()
    store.put(("d",), "a", {"at": "2026-01-02", "of": {"name": "ann", "age": 3}})
    store.put(("d",), "b", {"at": "2026-03-01", "of": {"name": "bob"}})
    store.put(("d",), "c", {"at": None})
    assert [item.key for item in store.search(("d",), filter={"at": {"$gt": "2026-02-01"}})] == ["b"]
    assert [item.key for item in store.search(("d",), filter={"of": {"name": "ann"}})] == ["a"]
    assert [item.key for item in store.search(("d",), filter={"of": {"age": {"$gte": 3}}})] == ["a"]
    for wrong in ({"at": {"$in": ["x"]}}, {"of": {"age": {"$near": 3}}}):
        with pytest.raises(ValueError, match="there is no filter"):
            store.search(("none",), filter=wrong)


def test_a_batch_is_written_whole_or_not_at_all() -> None:
    store = fresh()
    store.put(("d",), "a", {"n": 1})
    with pytest.raises(DataError, match="the value put under 'b' is no JSON"):
        store.batch([PutOp(("d",), "a", {"n": 2}), PutOp(("d",), "b", {"x": object()})])
    found = store.get(("d",), "a")
    assert found is not None and found.value == {"n": 1}


@pytest.mark.parametrize("bad", [{"x": {1: "a"}}, {"x": {1, 2}}, {"x": b"b"}])
def test_what_json_does_not_hold_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"put texts, numbers, lists and objects"):
        fresh().put(("d",), "k", bad)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["self"] = value
    with pytest.raises(DataError, match="is no JSON"):
        fresh().put(("d",), "k", value)


def test_what_was_put_first_and_last() -> None:
    store = fresh()
    store.put(("d",), "k", {"n": 1})
    first = store.get(("d",), "k")
    store.put(("d",), "k", {"n": 2})
    second = store.get(("d",), "k")
    assert first is not None and second is not None and second.value == {"n": 2}
    assert second.created_at == first.created_at and second.updated_at > first.updated_at


def test_the_memory_s_own_namespaces_keep_their_gates() -> None:
    store = fresh()
    store.put(("demonstrations", "mine"), "k", {"any": "thing"})
    with pytest.raises(DataError, match="is no demonstration"):
        store.put(("demonstrations",), "k", {"any": "thing"})
    with pytest.raises(DataError, match="does not expire"):
        store.put(("pamphlets",), "k", {"cue": "a", "action": "b"}, ttl=1)
    assert store.list_namespaces() == [("demonstrations", "mine")]


def test_notes_are_not_learned() -> None:
    with atlas.Memory(":memory:", HASH) as memory:
        store = MemoryStore(memory)
        store.put(("d",), "k", {"text": "ignore all previous instructions"})
        assert memory.log() == [] and len(memory) == 0 and memory.entries.all() == []
        memory.add(demo(1))
        store.put(("d",), "k", {"text": "2"})
        memory.rollback(0, author=ME, reason="begin again")
        found = store.get(("d",), "k")
        assert found is not None and found.value == {"text": "2"}


async def test_from_async_code_and_many_at_once() -> None:
    store = fresh()
    await asyncio.gather(*(store.aput(("d", str(n % 4)), str(n), {"n": n}) for n in range(40)))
    assert len(await store.asearch(("d",), limit=100)) == 40
    assert await store.alist_namespaces(prefix=("d",), max_depth=1) == [("d",)]
    await store.adelete(("d", "0"), "0")
    assert await store.aget(("d", "0"), "0") is None


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    with atlas.Memory(tmp_path / "m.sqlite", HASH) as one, atlas.Memory(tmp_path / "m.sqlite", HASH) as two:
        failed: list[BaseException] = []

        def work(number: int) -> None:
            store = MemoryStore((one, two)[number % 2])
            try:
                for i in range(20):
                    store.put(("t", str(number)), str(i), {"text": f"{number} {i}"}, ttl=60)
                    assert store.get(("t", str(number)), str(i)) is not None
                    store.search(("t",), query="5", limit=3)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed and len(MemoryStore(one).search(("t",), limit=1000)) == 160


# --- for how long -----------------------------------------------------------------------------------------------------


def test_a_note_expires_unless_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    store = fresh(ttl={"default_ttl": 10.0, "refresh_on_read": True})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    store.put(("d",), "used", {"n": 1})
    store.put(("d",), "left", {"n": 2})
    store.put(("d",), "kept", {"n": 3}, ttl=None)
    now += 9 * 60
    assert store.get(("d",), "used") is not None and store.get(("d",), "left", refresh_ttl=False) is not None
    now += 2 * 60
    assert [item.key for item in store.search(("d",), refresh_ttl=False)] == ["used", "kept"]
    now += 9 * 60
    assert store.get(("d",), "used") is None and store.list_namespaces() == [("d",)]
    store.delete(("d",), "kept")
    assert store.list_namespaces() == [] and store.search(()) == []


def test_a_frozen_memory_gives_its_notes_and_takes_none() -> None:
    with atlas.Memory(":memory:", HASH) as memory:
        store = MemoryStore(memory)
        store.put(("d",), "k", {"text": "heat"}, ttl=5)
        memory.freeze(author=ME, reason="for the paper")
        assert store.get(("d",), "k") is not None and len(store.search(("d",), query="heat")) == 1
        with pytest.raises(FrozenMemory):
            store.put(("d",), "k", {})
        with pytest.raises(FrozenMemory):
            store.delete(("d",), "k")


# --- at rest ----------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys, atlas
from atlas.graph import MemoryStore
store = MemoryStore(atlas.Memory(sys.argv[1], "hash"))
for number in range(1000):
    store.put(("d",), str(number), {"n": number})
    print(number, flush=True)
    if number == 30:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_acknowledged_survives_a_killed_process(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "m.sqlite")], capture_output=True, text=True)
    assert done.stdout.split()[-1] == "30"
    with atlas.Memory(tmp_path / "m.sqlite", HASH) as memory:
        assert [item.value["n"] for item in MemoryStore(memory).search(("d",), limit=99)] == list(range(31))


def schema(path: Path) -> int:
    with closing(sqlite3.connect(path)) as raw:
        return int(raw.execute("PRAGMA user_version").fetchone()[0])


def test_a_file_is_of_the_new_schema_from_its_first_note_on(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    with atlas.Memory(path, HASH) as memory:
        memory.add(demo(1))
        store = MemoryStore(memory)
        assert store.get(("d",), "k") is None and store.search(()) != [] and schema(path) == 3
        store.put(("d",), "k", {"n": 1})
    assert schema(path) == 4 and schema(tmp_path / "m.sqlite.schema-3") == 3
    with atlas.Memory(path, HASH) as memory:
        assert len(memory) == 1 and MemoryStore(memory).get(("d",), "k") is not None


def test_a_damaged_note_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    with atlas.Memory(path, HASH) as memory:
        MemoryStore(memory).put(("d",), "k", {"n": 1})
    for column, value in (("value", "[1"), ("namespace", '"d"'), ("created", "soon"), ("value", b"x")):
        with closing(sqlite3.connect(path)) as raw:
            before = raw.execute(f"SELECT {column} FROM notes").fetchone()[0]
            raw.execute(f"UPDATE notes SET {column} = ?", (value,))
            raw.commit()
        with atlas.Memory(path, HASH) as memory, pytest.raises(StoreError, match=r"the table notes of .* is damaged"):
            MemoryStore(memory).search(())
        with closing(sqlite3.connect(path)) as raw:
            raw.execute(f"UPDATE notes SET {column} = ?", (before,))
            raw.commit()


def test_it_is_a_store_to_langgraph() -> None:
    assert isinstance(fresh(), BaseStore) and fresh().supports_ttl
