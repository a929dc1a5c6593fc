"""Texts to vectors, each distinct text embedded once per embedder and kept in the database."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.errors import ConfigError
from atlas.memory.database import Database
from atlas.memory.vectors import Floats
from atlas.protocols import Embedder

_BATCH = 256
"""Texts embedded between two commits: what a killed process loses."""


log = logging.getLogger("atlas.memory")


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def embedded(embedder: Embedder, texts: Sequence[str]) -> Floats:
    """``(len(texts), dim)``. Raises ConfigError for an embedder that gives something else."""
    made: Any = embedder.embed(texts)
    wanted = (len(texts), embedder.dim)
    try:
        vectors = np.ascontiguousarray(made, np.float32)
    except (TypeError, ValueError):
        vectors = np.empty((), np.float32)
    if vectors.shape != wanted:
        told = f"vectors of shape {vectors.shape}" if vectors.shape else f"{type(made).__name__}, which are no vectors,"
        raise ConfigError(
            f"the embedder {embedder.name} gave {told} for {len(texts)} texts, and says that it makes "
            f"{embedder.dim} numbers: correct it, or choose another"
        )
    if not _finite(vectors).all():
        raise ConfigError(
            f"the embedder {embedder.name} gave numbers that are not finite (nan or inf), by which nothing is found: "
            "correct it (half precision overflows), or choose another"
        )
    return vectors


def _finite(vectors: Floats) -> NDArray[np.bool_]:
    """For each row whether all of it is finite."""
    with np.errstate(all="ignore"):
        finite: NDArray[np.bool_] = np.isfinite(vectors.sum(axis=1))
    return finite


def _sound(stored: dict[str, bytes]) -> dict[str, bytes]:
    """Those that are numbers: earlier builds kept what an embedder gave."""
    if not stored:
        return stored
    finite = _finite(np.frombuffer(b"".join(stored.values()), np.float32).reshape(len(stored), -1))
    return stored if finite.all() else {h: v for (h, v), sound in zip(stored.items(), finite, strict=True) if sound}


class TextVectors:
    """The embeddings of a memory's texts."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._db, self._embedder = database, embedder
        self._told = False

    @property
    def embedder(self) -> Embedder:
        return self._embedder

    def embed(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Floats:
        """``(len(texts), dim)``; ``progress(done, of)`` counts those that were not in the database."""
        hashes = [text_hash(text) for text in texts]
        # What is damaged is only lost: it is made anew.
        kept = self._db.vectors(self._embedder.name, hashes).items()
        size = self._embedder.dim * np.dtype(np.float32).itemsize
        stored = _sound({h: v for h, v in kept if type(v) is bytes and len(v) == size})
        others = {len(v) for h, v in kept if type(v) is bytes and len(v) != size and v and len(v) % 4 == 0}
        if others and not self._told:
            self._told = True
            log.warning(
                "the vectors of the embedder %s in %s have %s numbers, and it now makes %d: they are made anew",
                self._embedder.name,
                self._db.path,
                " or ".join(str(n // 4) for n in sorted(others)),
                self._embedder.dim,
            )
        missing = {h: text for h, text in zip(hashes, texts, strict=True) if h not in stored}
        todo = list(missing)
        for start in range(0, len(todo), _BATCH):
            part = todo[start : start + _BATCH]
            vectors = embedded(self._embedder, [missing[h] for h in part])
            rows = [(h, vector.tobytes()) for h, vector in zip(part, vectors, strict=True)]
            self._db.put_vectors(self._embedder.name, rows)
            stored.update(rows)
            if progress:
                progress(start + len(part), len(todo))
        if not texts:
            return np.empty((0, self._embedder.dim), np.float32)
        return np.frombuffer(b"".join(stored[h] for h in hashes), np.float32).reshape(len(texts), self._embedder.dim)
