"""Search among many windows by faiss: filters stay exact, scores are those of the brute force, threads and growth are
safe."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.benchmarks.perf.retrieval import Remembering, queries
from atlas.benchmarks.perf.retrieval_data import DATA
from atlas.memory import Demonstration, DemonstrationStore, HashEmbedder, coarse, codes, held, indexes, rounded
from atlas.memory.database import Status, Write
from atlas.records import View
from tests.memory_fixtures import demo, reference_search, view
from tests.test_memory_retrieval import demos, views, weightings

pytest.importorskip("faiss")

EMBEDDER = HashEmbedder()
SMALL = Remembering(HashEmbedder(64))


@pytest.fixture
def small_codes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Codes are learned early and few candidates are named, so that small memories take the ways of great ones."""
    monkeypatch.setattr(codes, "TRAINED_AT", (64, 256, 1_024))
    monkeypatch.setattr(coarse, "CANDIDATES", 128)
    yield


@settings(max_examples=100, deadline=None)
@given(st.lists(demos, max_size=8), views, weightings, st.integers(1, 4), st.integers(0, 9), st.sets(st.integers(0, 7)))
def test_parts_hidden_ones_and_own_tasks_are_as_in_the_reference(
    added: list[Demonstration], asked: View, weights: dict[str, float], k: int, first: int, gone: set[int]
) -> None:
    with DemonstrationStore(":memory:", EMBEDDER, "faiss", keys=tuple(weights), weights=weights) as store:
        store.add_many(added)
        ids = [one.id for one in store.all()]
        for place in sorted(gone):
            if place < len(ids):
                store.database.write([_status(ids[place], "quarantined")], author="person:me", reason="not to be found")
        left = store.all()
        parts = [
            (store, left),
            (store.limit(first), left[:first]),
            (store.subset(ids[::2]), [one for one in left if one.id in ids[::2]]),
        ]
        for part, there in parts:
            expected = reference_search(there, asked, len(added), weights, EMBEDDER)
            found = [(w.demo_id, w.start + w.best, w.score) for w in part.search(asked, k)]
            by_name = {row[:2]: row[2] for row in expected}
            assert {row[0] for row in found} <= {one.id for one in there}
            assert [row[2] for row in found] == pytest.approx([by_name[row[:2]] for row in found], abs=5e-6)
            same = DemonstrationStore(":memory:", EMBEDDER, "exact", keys=tuple(weights), weights=weights)
            same.add_many(there)
            assert [row[2] for row in found] == pytest.approx([w.score for w in same.search(asked, k)], abs=5e-6)


def _status(demo_id: str, status: Status) -> Write:
    return Write("demonstration", demo_id, status)


@pytest.mark.parametrize("data", list(DATA))
@pytest.mark.parametrize("fine_below", [300_000, 2_000])
@pytest.mark.usefixtures("small_codes")
def test_what_codes_find_is_what_all_vectors_find(data: str, fine_below: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "FINE_BELOW", fine_below)
    monkeypatch.setattr(coarse, "COARSE_CANDIDATES", 1_024)
    made = DATA[data](4_000)
    asked = queries(made, 40)
    with (
        DemonstrationStore(":memory:", SMALL, "faiss") as store,
        DemonstrationStore(":memory:", SMALL, "exact") as exact,
    ):
        store.add_many(made)
        exact.add_many(made)
        for find in ("search", "similar"):
            hits = []
            for one in asked:
                best = [w.score for w in getattr(exact, find)(one, 6)]
                found = getattr(store, find)(one, 6)
                assert all(one.task.id != w.task_id for w in found)
                hits.append(np.mean([w.score >= best[-1] - 1e-5 for w in found]))
            assert np.mean(hits) >= 0.9


@pytest.mark.usefixtures("small_codes")
def test_rounded_vectors_give_exact_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded, "ROUND_ABOVE", 300)
    monkeypatch.setattr(held, "MOST_STEPS", 500)
    monkeypatch.setattr(rounded, "_MERGED", 50)
    made = DATA["distinct"](1_500)
    with (
        DemonstrationStore(":memory:", SMALL, "faiss") as store,
        DemonstrationStore(":memory:", SMALL, "exact") as exact,
    ):
        for start in range(0, len(made), 20):
            store.add_many(made[start : start + 20])
            store.warm()
        exact.add_many(made)
        for one in queries(made, 20):
            known = {(w.demo_id, w.start, w.best): w.score for w in exact.search(one, 200)}
            found = store.search(one, 6)
            assert [w.score for w in found] == pytest.approx(
                [known.get((w.demo_id, w.start, w.best), w.score) for w in found], abs=2e-6
            )
            assert found[0].score == pytest.approx(max(known.values()), abs=2e-6)


@pytest.mark.usefixtures("small_codes")
def test_how_a_memory_grew_changes_nothing() -> None:
    made = DATA["household"](2_000)
    with (
        DemonstrationStore(":memory:", SMALL, "faiss") as grown,
        DemonstrationStore(":memory:", SMALL, "faiss") as whole,
    ):
        for start in range(0, len(made), 7):
            grown.add_many(made[start : start + 7])
            grown.warm()
        whole.add_many(made)
        for one in queries(made, 30):
            assert grown.search(one, 6) == whole.search(one, 6)


@pytest.mark.usefixtures("small_codes")
def test_many_search_while_one_adds() -> None:
    made = DATA["household"](2_000)
    asked = queries(made, 10)
    failed: list[BaseException] = []
    with DemonstrationStore(":memory:", SMALL, "faiss") as store:
        store.add_many(made[:50])
        store.warm()

        def search() -> None:
            try:
                for one in asked * 4:
                    assert len(store.search(one, 6)) == 6
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        for one in made[50:]:
            store.add(one)
        for thread in threads:
            thread.join()
        assert not failed
        assert len(store.search(asked[0], 6)) == 6


def test_auto_takes_faiss_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "FAISS_ABOVE", 60)
    asked = view("other", demo(8).goal, demo(8).steps[2].observation, thought=demo(8).steps[1].thought)
    with DemonstrationStore(":memory:", "hash") as store, DemonstrationStore(":memory:", "hash", "exact") as exact:
        for i in range(20):
            store.add(demo(i))
            exact.add(demo(i))
            found, expected = store.search(asked, 4), exact.search(asked, 4)
            assert [w.demo_id for w in found] == [w.demo_id for w in expected]
            assert type(store._index).__name__ == ("CoarseIndex" if i >= 10 else "Index")
