"""Threads and processes over one memory: nobody waits for ever, nothing that was added is missed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atlas.errors import StoreError
from atlas.memory import DemonstrationStore, HashEmbedder, Memory
from atlas.memory.database import Database
from atlas.memory.history import History, Outcome
from atlas.memory.pamphlet import Entry, Origin
from atlas.memory.pamphlets import PamphletStore
from tests.memory_fixtures import demo, view

ME = "person:me"
KINDS = ("demonstrations", "pamphlets", "history")


class Hooked:
    """Calls ``hook`` once, before it embeds anything."""

    def __init__(self) -> None:
        self._inner = HashEmbedder()
        self.name, self.dim = self._inner.name, self._inner.dim
        self.hook: Callable[[], object] | None = None

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        hook, self.hook = self.hook, None
        if hook is not None:
            hook()
        return self._inner.embed(texts)


class Kept:
    """One of the stores over a file, seen alike: number ``n`` is added, and the numbers that are found."""

    def __init__(self, kind: str, database: Database) -> None:
        self.embedder = Hooked()
        self.kind = kind
        self.database = database
        makes: dict[str, Callable[..., Any]] = {
            "demonstrations": DemonstrationStore,
            "pamphlets": PamphletStore,
            "history": History,
        }
        self.store = makes[kind](database, self.embedder)

    def add(self, n: int) -> None:
        if self.kind == "demonstrations":
            self.store.add(demo(n), author=ME, reason="r")
        elif self.kind == "pamphlets":
            origin = (Origin(task=f"task-{n}", run="r", episode=f"e-{n}"),)
            words = "apple bread cider dates eggs figs".split()
            entry = Entry(cue=f"the way is long {words[n]}", action=f"eat {words[n]} now", origins=origin)
            self.store.add_many([entry], author=ME, reason="r")
        else:
            self.store.add(
                Outcome(
                    episode=f"e-{n}",
                    task_id=f"task-{n}",
                    goal="the way is long",
                    success=True,
                    unaided=1.0,
                    dollars=0.0,
                )
            )

    def found(self) -> list[str]:
        """The tasks of what a search finds."""
        asked = view("another", "the way is long", "the way is long apple bread cider dates eggs figs")
        if self.kind == "demonstrations":
            return sorted(window.task_id for window in self.store.search(asked, 99))
        if self.kind == "pamphlets":
            ids = [guidance.id for guidance in self.store.search(asked, 10_000)]
            return sorted(origin.task for key in ids for origin in self.store.get(key).origins)
        return sorted(near.outcome.task_id for near in self.store.near("the way is long", 99))


def finish(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(120)
    assert not [thread.name for thread in threads if thread.is_alive()], "they wait for each other"


def thread(name: str, work: Callable[[], object]) -> threading.Thread:
    return threading.Thread(target=work, name=name, daemon=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_that_embeds_and_a_transaction_that_searches_do_not_wait_for_each_other(kind: str) -> None:
    kept = Kept(kind, Database(":memory:"))
    kept.add(0)
    embedding, inside = threading.Event(), threading.Event()
    found: list[list[str]] = []

    def hook() -> None:
        embedding.set()
        inside.wait(60)

    def transaction() -> None:
        embedding.wait(60)
        with kept.database.transaction():
            inside.set()
            kept.add(1)
            found.append(kept.found())

    kept.embedder.hook = hook
    one, other = thread("search", lambda: found.append(kept.found())), thread("transaction", transaction)
    one.start()
    other.start()
    finish(one, other)
    assert ["task-0", "task-1"] in found
    assert kept.found() == ["task-0", "task-1"]


def test_a_langgraph_store_is_put_into_while_another_thread_searches() -> None:
    pytest.importorskip("langgraph", reason="the extra langgraph is not installed")
    from atlas.graph import MemoryStore

    kept = Kept("pamphlets", Database(":memory:"))
    memory = Memory(kept.database, kept.embedder)
    kept.store = memory.entries
    kept.add(0)
    store = MemoryStore(memory)
    embedding, put = threading.Event(), threading.Event()

    def hook() -> None:
        embedding.set()
        put.wait(0.5)

    def puts() -> None:
        embedding.wait(60)
        store.put(("pamphlets",), "mine", {"cue": "the way is long bread", "action": "eat bread now"})
        put.set()

    kept.embedder.hook = hook
    one, other = thread("search", kept.found), thread("put", puts)
    one.start()
    other.start()
    finish(one, other)
    assert store.get(("pamphlets",), "mine") is not None


@pytest.mark.parametrize("kind", KINDS)
def test_many_threads_that_add_and_search_all_come_to_an_end(kind: str) -> None:
    kept = Kept(kind, Database(":memory:"))

    def work(n: int) -> None:
        for _ in range(10):
            kept.found()
            with kept.database.transaction():
                kept.add(n)
                kept.found()

    threads = [thread(str(n), partial(work, n)) for n in range(6)]
    for one in threads:
        one.start()
    finish(*threads)
    assert kept.found() == [f"task-{n}" for n in range(6)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_process_adds_while_this_one_reads_is_found_at_the_next_look(kind: str, tmp_path: Path) -> None:
    here = Kept(kind, Database(str(tmp_path / "memory.db")))
    there = Kept(kind, Database(str(tmp_path / "memory.db")))
    here.add(0)
    here.embedder.hook = lambda: there.add(1)
    here.found()
    assert here.found() == ["task-0", "task-1"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_rolled_back_is_forgotten_and_hides_nothing_that_came_after(kind: str, tmp_path: Path) -> None:
    here = Kept(kind, Database(str(tmp_path / "memory.db")))
    there = Kept(kind, Database(str(tmp_path / "memory.db")))
    here.add(0)
    with pytest.raises(ZeroDivisionError), here.database.transaction():
        here.add(1)
        assert here.found() == ["task-0", "task-1"]
        raise ZeroDivisionError
    there.add(2)
    assert here.found() == ["task-0", "task-2"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_that_goes_on_after_the_memory_was_closed_says_so(kind: str) -> None:
    kept = Kept(kind, Database(":memory:"))
    kept.add(0)
    kept.embedder.hook = kept.database.close
    with pytest.raises(StoreError, match=r"the memory :memory: was closed"):
        kept.found()
