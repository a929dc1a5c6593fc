"""One index of faiss in several pieces, which a search reads at the same time: faiss itself shares out queries among
threads, and a search here is one query."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from atlas.memory.rounded import alone
from atlas.memory.vectors import Floats, Ints

_Found = TypeVar("_Found")
PIECE = 524_288
"""Codes in a piece, a multiple of the blocks that faiss lays them in."""


class Pieces:
    """Codes in the order in which they were added; the first piece is what its index was."""

    def __init__(self, first: Any) -> None:
        """``first``: an index without codes, learned; the others are made like it."""
        self._pieces = [first]

    def __len__(self) -> int:
        return sum(piece.ntotal for piece in self._pieces)

    def add(self, vectors: Floats) -> None:
        """``(n, width)``, of any number."""
        while len(vectors):
            room = PIECE - self._pieces[-1].ntotal
            if not room:
                self._pieces.append(self._like())
                continue
            with alone():
                self._pieces[-1].add(vectors[:room])
            vectors = vectors[room:]

    def search(self, asked: Floats, n: int) -> tuple[Floats, Ints]:
        """The scores and places of the ``n`` likeliest for the one query ``(1, width)``, best first."""

        def one(number: int) -> tuple[Floats, Ints]:
            piece = self._pieces[number]
            with alone():
                scores, found = piece.search(asked, min(n, piece.ntotal))
            named = found[0] >= 0
            return scores[0][named], found[0][named] + number * PIECE

        parts = at_once([partial(one, number) for number in range(len(self._pieces))])
        if len(parts) == 1:
            return parts[0]
        scores, found = (np.concatenate(column) for column in zip(*parts, strict=True))
        best = np.argsort(-scores, kind="stable")[:n]
        return scores[best], found[best]

    def arrays(self) -> tuple[Floats, NDArray[np.uint8]]:
        """What was learned, and all codes; pieces that are full end where a block does, so that theirs join up."""
        with alone() as faiss:
            centroids: Floats = faiss.vector_to_array(self._pieces[0].pq.centroids)
            return centroids, np.concatenate([faiss.AlignedTable_to_array(piece.codes) for piece in self._pieces])

    def restore(self, centroids: Floats, table: NDArray[np.uint8], count: int) -> None:
        """Be, from an index that has learned nothing, what :meth:`arrays` gave of ``count`` codes. Raises ValueError
        where they are not."""
        with alone() as faiss:
            codes = self._pieces[0]
            sizes = [-(-places // codes.bbs) * codes.bbs * codes.M2 // 2 for places in _pieces(count)]
            learned = codes.pq.M * codes.pq.ksub * codes.pq.dsub
            if centroids.dtype != np.float32 or table.dtype != np.uint8 or table.ndim != 1:
                raise ValueError("its codes are not numbers of the right kind")
            if (centroids.size, table.size) != (learned, sum(sizes)):
                raise ValueError("its codes are not those of its places")
            faiss.copy_array_to_vector(centroids, codes.pq.centroids)
            codes.is_trained = True
            self._pieces += [self._like() for _ in sizes[1:]]
            start = 0
            for piece, places, size in zip(self._pieces, _pieces(count), sizes, strict=True):
                piece.codes.resize(size)
                faiss.copy_array_to_AlignedTable(table[start : start + size], piece.codes)
                piece.ntotal, piece.ntotal2 = places, -(-places // codes.bbs) * codes.bbs
                start += size

    def _like(self) -> Any:
        """An index without codes that has learned what the first one has."""
        with alone() as faiss:
            first = self._pieces[0]
            other = faiss.IndexPQFastScan(first.d, first.pq.M, first.pq.nbits, first.metric_type)
            faiss.copy_array_to_vector(faiss.vector_to_array(first.pq.centroids), other.pq.centroids)
            other.is_trained = True
        return other


def _pieces(count: int) -> list[int]:
    """How many codes each piece of so many has."""
    return [min(PIECE, count - start) for start in range(0, max(count, 1), PIECE)]


def at_once(calls: Sequence[Callable[[], _Found]]) -> list[_Found]:
    """What each of ``calls`` gives, in order, made on as many cores as this process may use.

    Threads are of this call alone: a process that forks has none that its child would wait for.
    """
    todo, found, failed = deque(enumerate(calls)), {}, []

    def work() -> None:
        while True:
            try:
                number, call = todo.popleft()
            except IndexError:
                return
            try:
                found[number] = call()
            except BaseException as error:  # raised again, in the thread that asked
                failed.append(error)

    helpers = [threading.Thread(target=work, daemon=True) for _ in range(min(len(calls), _cores()) - 1)]
    with suppress(RuntimeError):  # no more threads are to be had, as when the interpreter ends: it is done without
        for helper in helpers:
            helper.start()
    work()
    for helper in helpers:
        if helper.ident is not None:
            helper.join()
    if failed:
        raise failed[0]
    return [found[number] for number in range(len(calls))]


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not of this system
        return os.cpu_count() or 1
