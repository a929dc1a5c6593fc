"""Tables for memories of up to millions of texts: what was seen is known by a hash, and of a great many vectors a byte
per number is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.errors import MissingExtra
from atlas.memory.arrayfile import Arrays
from atlas.memory.index import Column
from atlas.memory.vectors import Buffer, Floats, Ints, Vectors, VectorView

ROUND_ABOVE = 150_000
"""Vectors of one key above which a byte per number is kept instead of four. More would be most of what making an index
of a million windows ever holds: two keys of 300,000 took it above 2 GB."""
_MERGED = 65_536
_BATCH = 8_192


@contextmanager
def alone() -> Iterator[Any]:
    """faiss, in this thread and no other: its threads wait for one another in a busy loop, which on a machine with
    other things to do takes a hundred times as long as a search. What was set for this thread is set again after."""
    try:
        faiss = import_module("faiss")
    except ImportError as error:
        raise MissingExtra("the faiss index", "faiss") from error
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)


class RoundedVectors:
    """Vectors of one key. Codes are made of the rounded ones at every size, so that they do not depend on when."""

    def __init__(self, dim: int) -> None:
        self._full: Buffer | None = Buffer(np.float32, dim)
        self._bytes, self._scales = Buffer(np.int8, dim), Buffer(np.float32)
        self._append(np.zeros((1, dim), np.float32))

    def append(self, texts: Sequence[str], vectors: Floats) -> None:
        self._append(vectors)

    def _append(self, vectors: Floats) -> None:
        if self._full is None:
            self._round(vectors)
            return
        self._full.extend(vectors)
        if self._full.size > ROUND_ABOVE:
            full, self._full = self._full.view(), None
            for start in range(0, len(full), _BATCH):
                self._round(full[start : start + _BATCH])

    def _round(self, vectors: Floats) -> None:
        for start in range(0, len(vectors), _BATCH):
            rounded, scales = _rounded(vectors[start : start + _BATCH])
            self._bytes.extend(rounded)
            self._scales.extend(scales)

    def arrays(self) -> Arrays:
        """All of it, for :meth:`restore`."""
        if self._full is not None:
            return {"full": self._full.view()}
        return {"bytes": self._bytes.view(), "scales": self._scales.view()}

    def restore(self, arrays: Arrays) -> int:
        """Be what :meth:`arrays` gave; how many rows."""
        if "full" in arrays:
            assert self._full is not None
            self._full.take_over(arrays["full"])
            return self._full.size
        self._full = None
        self._bytes.take_over(arrays["bytes"])
        self._scales.take_over(arrays["scales"])
        if self._bytes.size != self._scales.size:
            raise ValueError("there is not one scale for each vector")
        return self._bytes.size

    def take(self, rows: NDArray[Any]) -> Floats:
        """``(len(rows), dim)``, rounded."""
        if self._full is None:
            return _floats(self._bytes.view()[rows], self._scales.view()[rows])
        return _floats(*_rounded(self._full.view()[rows]))

    def view(self) -> VectorView:
        if self._full is None:
            return _Bytes(self._bytes.view(), self._scales.view())
        return _Floats(self._full.view())


class _Floats:
    approximate = True
    error = 0.0

    def __init__(self, full: Floats) -> None:
        self._full = full

    def scores(self, query: Floats) -> Floats:
        return self.exact(query, np.arange(len(self._full)))

    def exact(self, query: Floats, rows: Ints) -> Floats:
        """By faiss's own kernel, which copies no row."""
        products = np.empty(len(rows), np.float32)
        asked, named = np.ascontiguousarray(query, np.float32), np.ascontiguousarray(rows, np.int64)
        with alone() as faiss:
            pointers = (faiss.swig_ptr(array) for array in (products, asked, self._full, named))
            faiss.fvec_inner_products_by_idx(*pointers, self._full.shape[1], 1, len(rows))
        return products


class _Bytes:
    approximate = True
    error = 0.004
    """Of a score, the sum of two means of products: six standard deviations of it where all numbers are alike."""

    def __init__(self, rows: NDArray[np.int8], scales: Floats) -> None:
        self._rows, self._scales = rows, scales

    def scores(self, query: Floats) -> Floats:
        return self.exact(query, np.arange(len(self._rows)))

    def exact(self, query: Floats, rows: Ints) -> Floats:
        """As exact as bytes are: to about 0.0005."""
        products: Floats = np.einsum("ij,j->i", self._rows[rows].astype(np.float32), query) * self._scales[rows]
        return products


def within(numbers: NDArray[Any], end: int) -> bool:
    return not len(numbers) or (int(numbers.min()) >= 0 and int(numbers.max()) < end)


def _rounded(vectors: Floats) -> tuple[NDArray[np.int8], Floats]:
    scales = np.maximum(np.abs(vectors).max(axis=1), 1e-12) / np.float32(127)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales.astype(np.float32)


def _floats(rounded: NDArray[np.int8], scales: Floats) -> Floats:
    return rounded.astype(np.float32) * scales[:, None]


class HashedColumn(Column):
    """A key whose texts are known by eight bytes of a hash: a dictionary of millions of texts takes a gigabyte."""

    def __init__(self, vectors: Vectors) -> None:
        super().__init__(vectors)
        self._hashes, self._numbers = np.empty(0, np.uint64), np.empty(0, np.int32)
        self._recent: dict[int, int] = {}
        self._count = 1

    def unknown(self, texts: list[str]) -> list[str]:
        some = [text for text in dict.fromkeys(texts) if text]
        return [text for text, row in zip(some, self._rows(some).tolist(), strict=True) if row < 0]

    def append(self, texts: list[str], unknown: list[str], vectors: Floats) -> None:
        if unknown:
            self.vectors.append(unknown, vectors)
            self._recent.update(zip(map(_hash, unknown), range(self._count, self._count + len(unknown)), strict=True))
            self._count += len(unknown)
            if len(self._recent) > max(_MERGED, len(self._hashes) // 8):
                self._merge()
        self.place(self._rows(texts))

    def arrays(self) -> Arrays:
        """All of it but the vectors, for :meth:`restore`."""
        self._merge()
        return {"places": self.places.view(), "hashes": self._hashes, "numbers": self._numbers}

    def restore(self, arrays: Arrays, rows: int) -> int:
        """Be what :meth:`arrays` gave, of a table with so many ``rows``; how many places."""
        places, hashes, numbers = (arrays[name] for name in ("places", "hashes", "numbers"))
        if len(hashes) >= rows or len(numbers) != len(hashes) or hashes.dtype != np.uint64:
            raise ValueError("its hashes are not those of its vectors")
        for named in (places, numbers):
            if named.dtype != np.int32 or named.ndim != 1 or not within(named, rows):
                raise ValueError("it names vectors that are not there")
        self.places.take_over(places)
        self.present.take_over((places > 0).astype(np.float32))
        self._hashes, self._numbers, self._recent, self._count = hashes, numbers, {}, rows
        return len(places)

    def _rows(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Of each text; 0 for an empty one, -1 for one that is not known."""
        hashes = [_hash(text) if text else 0 for text in texts]
        wanted = np.array(hashes, np.uint64)
        rows = np.fromiter((self._recent.get(h, -1) for h in hashes), np.int32, len(hashes))
        if len(self._hashes) and len(wanted):
            at = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
            rows = np.where(self._hashes[at] == wanted, self._numbers[at], rows)
        rows[np.fromiter((not text for text in texts), bool, len(hashes))] = 0
        return rows

    def _merge(self) -> None:
        hashes = np.concatenate([self._hashes, np.fromiter(self._recent, np.uint64, len(self._recent))])
        numbers = np.concatenate([self._numbers, np.fromiter(self._recent.values(), np.int32, len(self._recent))])
        order = np.argsort(hashes)
        self._hashes, self._numbers, self._recent = hashes[order], numbers[order], {}


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
