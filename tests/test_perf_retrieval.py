"""Retrieval from memories in files: what a row says was measured is what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from atlas.benchmarks.perf import retrieval
from atlas.benchmarks.perf import retrieval_apart as apart
from atlas.memory import DemonstrationStore, codes, saved
from atlas.records import View

pytest.importorskip("faiss")

Built = list[tuple[str, int]]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    """How many demonstrations were put into an index in each way, in this process and with small memories kept."""
    monkeypatch.setattr(codes, "TRAINED_AT", (64, 256, 1_024))
    monkeypatch.setattr(saved, "SAVED_ABOVE", 300)
    made: Built = []
    kept = DemonstrationStore._remember

    def here(path: Path, way: str, asked: Sequence[View]) -> dict[str, Any]:
        made.append((way, 0))
        return apart._one(str(path), way, list(asked))

    def remember(self: DemonstrationStore, demos: list[Any], ids: list[str]) -> None:
        made[-1] = (made[-1][0], made[-1][1] + len(demos))
        kept(self, demos, ids)

    monkeypatch.setattr(apart, "_apart", here)
    monkeypatch.setattr(DemonstrationStore, "_remember", remember)
    return made


@pytest.mark.parametrize("ways", [(apart.REOPENED,), (apart.NUMPY, apart.REOPENED)])
def test_an_index_that_is_opened_again_was_built_before_whatever_else_is_measured(
    ways: tuple[str, ...], tmp_path: Path, built: Built
) -> None:
    for _ in range(2):
        built.clear()
        rows = list(apart.measure("household", 400, tmp_path, 4, ways))
        assert [row["search"] for row in rows] == [*ways], "what was only built has no row"
        (size,) = {row["trajectories"] for row in rows}
        assert built[-2:] == [("faiss", size), (apart.REOPENED, 0)]


def test_with_the_way_that_builds_it_is_built_once(tmp_path: Path, built: Built) -> None:
    rows = list(apart.measure("household", 400, tmp_path, 4, ("faiss", apart.REOPENED)))
    assert built == [("faiss", rows[0]["trajectories"]), (apart.REOPENED, 0)]


def test_a_memory_too_small_for_an_index_in_a_file_has_none_to_open_again(tmp_path: Path, built: Built) -> None:
    assert apart.REOPENED not in apart.ways(False, 300) and apart.REOPENED in apart.ways(False, 301)
    given = ["--sizes", "200", "--files", str(tmp_path), "--way", apart.REOPENED]
    done = CliRunner().invoke(retrieval.main, given)
    assert done.exit_code == 2 and "above 300 windows" in done.output and not list(tmp_path.iterdir())
