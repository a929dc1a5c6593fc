"""Codes in several pieces that are searched at the same time: nothing differs from one piece."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atlas.memory import pieces

faiss = pytest.importorskip("faiss")

WIDTH = 48
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(1_000, WIDTH)).astype(np.float32)
ASKED = RNG.normal(size=(1, WIDTH)).astype(np.float32)


def empty() -> Any:
    return faiss.IndexPQFastScan(WIDTH, WIDTH // 6, 4, faiss.METRIC_INNER_PRODUCT)


def made(count: int, each: int = 1_000) -> pieces.Pieces:
    index = empty()
    index.train(VECTORS)
    found = pieces.Pieces(index)
    for start in range(0, count, each):
        found.add(VECTORS[start : min(start + each, count)])
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 96)


def as_one(count: int, n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    index = empty()
    index.train(VECTORS)
    index.add(VECTORS[:count])
    scores, found = index.search(ASKED, n)
    return scores[0], found[0]


@pytest.mark.parametrize("count", [1, 95, 96, 97, 192, 1_000])
@pytest.mark.parametrize("each", [7, 1_000])
@pytest.mark.parametrize("cores", [1, 2, 16])
def test_a_search_finds_what_one_piece_holds(
    small: None, count: int, each: int, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_cores", lambda: cores)
    n = min(40, count)
    scores, found = made(count, each).search(ASKED, n)
    expected, places = as_one(count, n)
    # Estimates tie, and which of equal ones are named last is no matter.
    assert scores.tolist() == expected.tolist()
    sure = expected > expected[-1]
    assert set(found[sure].tolist()) == set(places[sure].tolist())
    assert len(set(found.tolist())) == n


def test_more_than_there_are_gives_all(small: None) -> None:
    found = made(200).search(ASKED, 500)[1]
    assert sorted(found.tolist()) == list(range(200))


@pytest.mark.parametrize("count", [50, 96, 100, 1_000])
def test_what_is_kept_is_what_one_piece_would_keep_and_comes_back(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(count).arrays()
    monkeypatch.setattr(pieces, "PIECE", 96)
    parted = made(count)
    for ours, theirs in zip(parted.arrays(), whole, strict=True):
        assert np.array_equal(ours, theirs)
    again = pieces.Pieces(empty())
    again.restore(*whole, count)
    assert len(again) == count
    for ours, theirs in zip(again.search(ASKED, 30), parted.search(ASKED, 30), strict=True):
        assert ours.tolist() == theirs.tolist()
    again.add(VECTORS[:150])
    parted.add(VECTORS[:150])
    for ours, theirs in zip(again.search(ASKED, 30), parted.search(ASKED, 30), strict=True):
        assert ours.tolist() == theirs.tolist()


def test_codes_of_another_number_of_places_are_refused(small: None) -> None:
    centroids, table = made(200).arrays()
    for wrong in ((centroids, table, 300), (centroids[:-1], table, 200), (centroids, table.astype(np.int8), 200)):
        with pytest.raises(ValueError):
            pieces.Pieces(empty()).restore(*wrong)


def test_no_thread_to_be_had_is_no_hindrance(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = made(500).search(ASKED, 20)

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pieces, "_cores", lambda: 4)
    monkeypatch.setattr(threading.Thread, "start", refused)
    for ours, theirs in zip(made(500).search(ASKED, 20), expected, strict=True):
        assert ours.tolist() == theirs.tolist()


def test_what_fails_in_a_thread_fails_where_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_cores", lambda: 4)

    def do(number: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number * number

    with pytest.raises(ValueError, match="the third"):
        pieces.at_once([partial(do, number) for number in range(6)])
    assert pieces.at_once([partial(do, number) for number in (0, 1, 3, 4)]) == [0, 1, 9, 16]
    assert pieces.at_once([]) == []
