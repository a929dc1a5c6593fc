"""Codes of a great many places, which a first pass reads: half a byte per two or more numbers (product quantisation),
the keys of a place side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.memory.arrayfile import Arrays
from atlas.memory.index import Column, Query
from atlas.memory.rounded import RoundedVectors, alone, within
from atlas.memory.vectors import Buffer, Floats, Ints

TRAINED_AT = (1_024, 4_096, 16_384, 65_536, 262_144)
"""Numbers of places at which the codes of a group are learned anew, from those that it then has."""
_SAMPLE = 8_192
FINE_BELOW = 300_000
"""Places up to which a code has a half byte per two numbers; per six above, where reading them is most of a search."""
_BATCH = 8_192


Vectors = Callable[[NDArray[np.int32]], Floats]
"""The ``(n, dim * keys)`` vectors of places."""


class _Gate:
    """Many may search at once, or one may add."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._searching = 0

    @contextmanager
    def searching(self) -> Iterator[None]:
        with self._free:
            self._searching += 1
        try:
            yield
        finally:
            with self._free:
                self._searching -= 1
                self._free.notify_all()

    @contextmanager
    def adding(self) -> Iterator[None]:
        with self._free:
            self._free.wait_for(lambda: not self._searching)
            yield


class Near(NamedTuple):
    """What the first pass found on one level."""

    places: Ints
    scores: Floats
    """Estimates."""
    rest: float
    """About the most that a place scores which is not among them."""


class _Group:
    """The places that have the same keys."""

    def __init__(self, keys: tuple[str, ...], dim: int) -> None:
        self.keys, self._dim = keys, dim
        self._width = -(-dim * len(keys) // 24) * 24
        self.places = Buffer(np.int32)
        self._trained = 0
        with alone() as faiss:
            self._codes: Any = faiss.IndexFlatIP(self._width)
        self._gate = _Gate()

    def arrays(self) -> Arrays:
        """All of it, for :meth:`restore`; of a few places, whose vectors stand for codes, which places alone."""
        held = {"places": self.places.view()}
        if not self._trained:
            return held
        with alone() as faiss:
            centroids = faiss.vector_to_array(self._codes.pq.centroids)
            table = faiss.AlignedTable_to_array(self._codes.codes)
        return {**held, "trained": np.array([self._trained], np.int64), "centroids": centroids, "codes": table}

    def restore(self, arrays: Arrays, vectors: Vectors, end: int) -> int:
        """Be what :meth:`arrays` gave, of places below ``end``; how many."""
        places = arrays["places"]
        if places.dtype != np.int32 or places.ndim != 1 or not within(places, end):
            raise ValueError("it names places that are not there")
        if "trained" not in arrays:
            self.append(places, vectors)
            return len(places)
        self.places.take_over(places)
        self._trained = int(arrays["trained"][0])
        centroids, table = arrays["centroids"], arrays["codes"]
        with alone() as faiss:
            codes = self._empty()
            blocks = -(-len(places) // codes.bbs) * codes.bbs
            codes.codes.resize(blocks * codes.M2 // 2)
            sizes = codes.pq.M * codes.pq.ksub * codes.pq.dsub, codes.codes.size()
            if centroids.dtype != np.float32 or table.dtype != np.uint8 or sizes != (centroids.size, table.size):
                raise ValueError("its codes are not those of its places")
            faiss.copy_array_to_vector(centroids, codes.pq.centroids)
            faiss.copy_array_to_AlignedTable(table, codes.codes)
            codes.ntotal, codes.ntotal2, codes.is_trained = len(places), blocks, True
        self._codes = codes
        return len(places)

    def append(self, places: NDArray[np.int32], vectors: Vectors) -> None:
        self.places.extend(places)
        due = max((count for count in TRAINED_AT if count <= self.places.size), default=0)
        # How fine a code is depends on how many there are, so that crossing that number makes them anew as well.
        due += self.places.size > FINE_BELOW
        if due > self._trained:
            known = self.places.view()
            codes = self._learned(vectors(known[:due][:: max(1, due // _SAMPLE)]))
            for start in range(0, len(known), _BATCH):
                new = self._padded(vectors(known[start : start + _BATCH]))
                with alone():
                    codes.add(new)
            with self._gate.adding():
                self._codes, self._trained = codes, due
        else:
            for start in range(0, len(places), _BATCH):
                new = self._padded(vectors(places[start : start + _BATCH]))
                with self._gate.adding(), alone():
                    self._codes.add(new)

    def _learned(self, sample: Floats) -> Any:
        with alone():
            codes = self._empty()
            codes.train(self._padded(sample))
        return codes

    def _empty(self) -> Any:
        numbers = 2 if self.places.size <= FINE_BELOW else 6
        with alone() as faiss:
            return faiss.IndexPQFastScan(self._width, self._width // numbers, 4, faiss.METRIC_INNER_PRODUCT)

    def _padded(self, vectors: Floats) -> Floats:
        if vectors.shape[1] == self._width:
            return np.ascontiguousarray(vectors)
        padded = np.zeros((len(vectors), self._width), np.float32)
        padded[:, : vectors.shape[1]] = vectors
        return padded

    def near(self, query: Query, weights: Mapping[str, float], n: int, size: int) -> tuple[Ints, Floats] | None:
        """The ``n`` likeliest places below ``size``, best first, with estimates; None where nothing can be compared."""
        shared = sum(weights[key] for key in self.keys if key in query)
        if not shared:
            return None
        zero = np.zeros(self._dim, np.float32)
        parts = [np.float32(weights[key] / shared) * query[key] if key in query else zero for key in self.keys]
        asked = self._padded(np.concatenate(parts)[None])
        with self._gate.searching(), alone():
            scores, found = self._codes.search(asked, min(n, self._codes.ntotal))
        named = found[0] >= 0
        places = self.places.view()[found[0][named]].astype(np.intp)
        there = places < size
        return places[there], scores[0][named][there]


class Level:
    """All steps, or all trajectories, of an index."""

    def __init__(
        self, columns: Mapping[str, tuple[Column, RoundedVectors]], weights: Mapping[str, float], dim: int
    ) -> None:
        self._columns, self._weights, self._dim = columns, weights, dim
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._size = 0
        self._bare = False
        """Whether some places have none of the keys."""

    def arrays(self) -> Arrays:
        """All of it, for :meth:`restore`, under the keys of each group."""
        groups = {"+".join(keys): group.arrays() for keys, group in self._groups.items()}
        return {f"{keys}.{name}": array for keys, held in groups.items() for name, array in held.items()}

    def restore(self, arrays: Arrays) -> None:
        """Be what :meth:`arrays` gave, of the columns as they are. Raises ValueError where that cannot be."""
        size = next((column.places.size for column, _ in self._columns.values()), 0)
        count = 0
        for said in dict.fromkeys(name.rpartition(".")[0] for name in arrays):
            keys = tuple(said.split("+"))
            if not set(keys) <= set(self._columns):
                raise ValueError("it has keys that are not compared")
            held = {name.rpartition(".")[2]: array for name, array in arrays.items() if name.rpartition(".")[0] == said}
            self._groups[keys] = _Group(keys, self._dim)
            count += self._groups[keys].restore(held, partial(self._vectors, keys), size)
        if count > size:
            raise ValueError("it has more codes than places")
        self._size, self._bare = size, count < size

    def extend(self) -> None:
        """Take in what the columns have more."""
        first = self._size
        present = {key: column.present.view()[first:] > 0 for key, (column, _) in self._columns.items()}
        count = len(next(iter(present.values()))) if present else 0
        signs = np.zeros(count, np.int64)
        for bit, there in enumerate(present.values()):
            signs |= there.astype(np.int64) << bit
        for sign in np.unique(signs).tolist():
            keys = tuple(key for bit, key in enumerate(self._columns) if sign >> bit & 1)
            if not keys:
                self._bare = True
                continue
            if keys not in self._groups:
                self._groups[keys] = _Group(keys, self._dim)
            members = (first + np.flatnonzero(signs == sign)).astype(np.int32)
            self._groups[keys].append(members, partial(self._vectors, keys))
        self._size += count

    def _vectors(self, keys: tuple[str, ...], places: NDArray[np.int32]) -> Floats:
        parts = (self._columns[key] for key in keys)
        return np.concatenate([table.take(column.places.view()[places]) for column, table in parts], axis=1)

    def near(self, query: Query, n: int, size: int) -> Near:
        """The ``n`` likeliest places below ``size``; where codes are coarse, and so ``n`` is great, of each group its
        share of them, or a quarter."""
        places, scores = [np.empty(0, np.intp)], [np.empty(0, np.float32)]
        rest = 0.0 if self._bare or not self._groups else -np.inf
        for group in list(self._groups.values()):
            share = group.places.size / self._size if self._size > FINE_BELOW else 1.0
            found = group.near(query, self._weights, max(n // 4, int(n * share)), size)
            if found is None:
                rest = max(rest, 0.0)
                continue
            places.append(found[0])
            scores.append(found[1])
            if len(found[1]) and group.places.size > len(found[1]):
                rest = max(rest, float(found[1][-1]))
        return Near(np.concatenate(places), np.concatenate(scores), rest)
