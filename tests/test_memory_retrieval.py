"""Retrieval gives what the method says, at every size."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.memory import Demonstration, DemonstrationStore, HashEmbedder, from_steps
from atlas.memory.irrelevant import Irrelevant
from atlas.memory.vectors import NumpyVectors, fit_basis
from atlas.records import DemoStep, Task, View
from tests.memory_fixtures import demo, reference_search, view

EMBEDDER = HashEmbedder()


def test_the_best_step_is_found_and_shown_with_its_neighbours() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    long = demo(7, steps=20)
    store.add(long)
    seen = long.steps[9]
    (window,) = store.search(view("other", long.goal, seen.observation, thought=long.steps[8].thought), 3)
    assert (window.start, window.best, window.demo_id) == (4, 5, long.id)
    assert window.steps == long.steps[4:15]
    assert window.score == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("width", [0, 1, 5, 50])
@pytest.mark.parametrize("at", [0, 3, 7])
def test_windows_end_where_the_trajectory_does(width: int, at: int) -> None:
    store = DemonstrationStore(":memory:", embedder="hash", window=width, keys=("observation",))
    store.add(demo(1, steps=8))
    (window,) = store.search(view("other", "goal", demo(1, steps=8).steps[at].observation), 1)
    assert window.start + window.best == at
    assert window.start == max(0, at - width)
    assert window.start + len(window.steps) == min(8, at + width + 1)


def test_a_task_never_sees_its_own_trajectory() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    store.add_many([demo(1), demo(1, steps=3), demo(2)])
    asked = view("task-1", demo(1).goal, demo(1).steps[0].observation)
    assert [window.task_id for window in store.search(asked, 9)] == ["task-2"]
    assert [window.task_id for window in store.similar(asked, 9)] == ["task-2"]


def test_what_was_done_forty_times_is_shown_once() -> None:
    store = DemonstrationStore(":memory:", embedder="hash", window=1)
    same = [demo(1).model_copy(update={"task_id": f"ticket-{i}"}) for i in range(40)]
    store.add_many([*same, demo(2, goal="something else")])
    asked = view("other", demo(1).goal, demo(1).steps[2].observation)
    for found in (store.search(asked, 6), store.similar(asked, 6)):
        assert [window.goal for window in found] == [demo(1).goal, "something else"]
    assert len(store.search(view("ticket-3", demo(1).goal, "x"), 1)) == 1


def test_similar_shows_whole_trajectories_by_goal() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    store.add_many([demo(1, goal="clean a plate"), demo(2, goal="cool a potato")])
    first, second = store.similar(view("other", "cool a tomato", "a room"), 2)
    assert (first.task_id, second.task_id) == ("task-2", "task-1")
    assert first.steps == demo(2, goal="cool a potato").steps


@pytest.mark.parametrize("width", [0, 2, 1_000])
def test_the_control_for_retrieval_shows_as_many_steps_as_its_store(width: int) -> None:
    store = DemonstrationStore(":memory:", embedder="hash", window=width)
    store.add_many([demo(i, steps=8) for i in range(1, 30)])
    asked = view("task-1", "goal", "observation")
    for source in (store, store.limit(20)):
        control = Irrelevant(source)
        drawn = control.search(asked, 9)
        assert drawn == control.search(asked, 9) and len({window.task_id for window in drawn} - {"task-1"}) == 9
        for window in drawn:
            at = window.start + window.best
            assert window.start == max(0, at - width) and window.start + len(window.steps) == min(8, at + width + 1)
        assert all(len(window.steps) == 8 for window in control.similar(asked, 9))


def test_an_empty_memory_finds_nothing() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    asked = view("t", "goal", "observation")
    assert store.search(asked, 3) == store.similar(asked, 3) == []
    store.add(demo(1))
    assert store.search(asked, 0) == store.limit(0).search(asked, 3) == store.subset([]).search(asked, 3) == []


def test_parts_of_a_store_keep_to_their_part() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    store.add_many(demo(i) for i in range(10))
    asked = view("other", demo(8).goal, demo(8).steps[0].observation)
    assert store.search(asked, 1)[0].task_id == "task-8"
    assert {window.task_id for window in store.limit(3).search(asked, 9)} == {"task-0", "task-1", "task-2"}
    assert {window.task_id for window in store.limit(3).similar(asked, 9)} == {"task-0", "task-1", "task-2"}
    chosen = store.subset([demo(4).id, demo(9).id, "unknown"])
    assert {window.task_id for window in chosen.search(asked, 9)} == {"task-4", "task-9"}
    assert (len(store.limit(3)), len(chosen)) == (3, 2)
    assert len({str(part.config()) for part in (store, store.limit(3), store.limit(4), chosen)}) == 4


# --- against the plain reference --------------------------------------------------------------------------------------

words = st.sampled_from(["", "apple", "hot apple", "mug in drawer", "open drawer 1", "fridge", "cabinet 2 is closed"])
steps = st.builds(DemoStep, observation=words, action=words, thought=words)
demos = st.builds(
    lambda i, goal, plan, made: from_steps(Task(id=f"t{i}", goal=goal), made, plan=plan),
    st.integers(0, 5),
    words,
    words,
    st.lists(steps, min_size=1, max_size=5),
)
views = st.builds(
    lambda i, goal, plan, seen, thought: view(f"t{i}", goal, seen, thought, plan),
    st.integers(0, 5),
    words,
    words,
    words,
    st.none() | words,
)
weightings = st.dictionaries(
    st.sampled_from(["goal", "plan", "thought", "observation", "action"]), st.sampled_from([0.5, 1.0, 3.0]), min_size=1
)


@settings(max_examples=150, deadline=None)
@given(st.lists(demos, max_size=8), views, weightings, st.integers(1, 4))
def test_scores_equal_the_reference(added: list[Demonstration], asked: View, weights: dict[str, float], k: int) -> None:
    store = DemonstrationStore(":memory:", embedder=EMBEDDER, keys=tuple(weights), weights=weights)
    store.add_many(added)
    expected = reference_search(store.all(), asked, len(added), weights, EMBEDDER)
    found = [(window.demo_id, window.start + window.best, window.score) for window in store.search(asked, k)]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in expected[:k]], abs=5e-6)
    # Single and double precision may order equal scores differently, so each is looked up by its name.
    by_name = {row[:2]: row[2] for row in expected}
    assert [row[2] for row in found] == pytest.approx([by_name[row[:2]] for row in found], abs=5e-6)


# --- the fast path ----------------------------------------------------------------------------------------------------


def test_projection_is_bounded_by_what_it_leaves_out() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3_000, 128)).astype(np.float32) * (0.97 ** np.arange(128, dtype=np.float32))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    table = NumpyVectors(128, project_above=500)
    before = table.view()
    assert fit_basis(np.eye(128, dtype=np.float32)[:, :48]) is None, "nothing narrower than the vectors"
    for start in range(0, 3_000, 700):
        table.append([], rows[start : start + 700])
    now = table.view()
    assert now.approximate and not before.approximate
    assert len(before.scores(rows[0])) == 1
    assert len(now.scores(rows[0])) == 3_001
    assert np.std(now.scores(rows[0])[1:] - rows @ rows[0]) < 0.05
    assert now.exact(rows[0], np.array([1, 5])) == pytest.approx(rows[[0, 4]] @ rows[0], abs=1e-6)


def test_the_fast_path_finds_what_the_exact_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """All-distinct texts, the hardest case for an estimate, with the estimate forced on at a small size."""
    rng = np.random.default_rng(1)
    vocabulary = [f"{a}{b}" for a in ("cab", "drawer", "shelf", "mug", "plate", "apple") for b in range(60)]

    def sentence() -> str:
        return " ".join(rng.choice(vocabulary, 8))

    added = [
        from_steps(
            Task(id=f"t{i}", goal=sentence()),
            [DemoStep(observation=sentence(), action="look", thought=sentence()) for _ in range(6)],
        )
        for i in range(600)
    ]
    exact = DemonstrationStore(":memory:", embedder=EMBEDDER, index="exact")
    monkeypatch.setattr("atlas.memory.indexes.NumpyVectors", functools.partial(NumpyVectors, project_above=500))
    monkeypatch.setattr("atlas.memory.index.RESCORED_TRAJECTORIES", 200)
    fast = DemonstrationStore(":memory:", embedder=EMBEDDER)
    for store in (exact, fast):
        store.add_many(added)
        texts = {"goal": "a", "observation": "b"}
        assert store._refresh()._approximate(store._query(texts)) == (store is fast)
    hits = 0
    for i in range(40):
        chosen = added[i * 7].steps
        asked = view("other", sentence(), chosen[2].observation + " " + sentence(), thought=chosen[1].thought)
        found = {window.demo_id for window in fast.search(asked, 6)}
        hits += len(found & {window.demo_id for window in exact.search(asked, 6)})
    assert hits / 240 >= 0.98


@pytest.mark.skipif(importlib.util.find_spec("chromadb") is None, reason="chromadb is not installed")
def test_chroma_finds_the_same_and_may_be_reopened(tmp_path: object) -> None:
    path = f"{tmp_path}/m.db"
    asked = view("other", demo(8).goal, demo(8).steps[2].observation, thought=demo(8).steps[1].thought)
    with DemonstrationStore(path, embedder="hash") as store:
        store.add_many(demo(i) for i in range(30))
        expected = store.search(asked, 4)
    for _ in range(2):
        with DemonstrationStore(path, embedder="hash", index="chroma") as store:
            store.add(demo(1))
            found = store.search(asked, 4)
            assert [(w.demo_id, w.start, w.best) for w in found] == [(w.demo_id, w.start, w.best) for w in expected]
            assert [w.score for w in found] == pytest.approx([w.score for w in expected], abs=1e-4)


def test_importing_the_memory_is_light() -> None:
    heavy = "('onnxruntime', 'chromadb', 'torch', 'litellm')"
    code = f"import sys, atlas.memory; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.local
def test_minilm_knows_what_is_alike() -> None:
    from atlas.memory import MiniLM

    model = MiniLM(threads=1)
    texts = ["heat the apple in the microwave", "warm up some fruit", "The stock market fell today.", "x" * 5_000, ""]
    vectors = model.embed(texts)
    assert vectors.shape == (5, 384) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    alone = MiniLM(threads=1).embed(texts[:1])
    assert alone[0] @ vectors[0] > 0.999


@pytest.mark.local
def test_of_a_text_of_megabytes_minilm_reads_no_more_than_it_needs() -> None:
    from atlas.memory import MiniLM

    model = MiniLM(threads=1)
    text = "the order was paid on Friday, says the log; " * 100_000
    (beginning,) = model.embed([text[:5_000]])
    began = time.process_time()
    (whole,) = model.embed([text])
    assert whole == pytest.approx(beginning, abs=1e-6)
    assert time.process_time() - began < 1.5, "all of it takes 5 s"
