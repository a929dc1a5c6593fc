"""Texts to vectors, each distinct text embedded once per embedder and kept in the database."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence

import numpy as np

from atlas.errors import ConfigError
from atlas.memory.database import Database
from atlas.memory.vectors import Floats
from atlas.protocols import Embedder

_BATCH = 256
"""Texts embedded between two commits: what a killed process loses."""


log = logging.getLogger("atlas.memory")


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


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
        stored = {h: v for h, v in kept if type(v) is bytes and len(v) == size}
        others = {len(v) for h, v in kept if type(v) is bytes and h not in stored and v and len(v) % 4 == 0}
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
            vectors = np.ascontiguousarray(self._embedder.embed([missing[h] for h in part]), np.float32)
            if vectors.shape != (len(part), self._embedder.dim):
                raise ConfigError(
                    f"the embedder {self._embedder.name} gave vectors of shape {vectors.shape} for {len(part)} texts, "
                    f"and says that it makes {self._embedder.dim} numbers: correct it, or choose another"
                )
            rows = [(h, vector.tobytes()) for h, vector in zip(part, vectors, strict=True)]
            self._db.put_vectors(self._embedder.name, rows)
            stored.update(rows)
            if progress:
                progress(start + len(part), len(todo))
        if not texts:
            return np.empty((0, self._embedder.dim), np.float32)
        return np.frombuffer(b"".join(stored[h] for h in hashes), np.float32).reshape(len(texts), self._embedder.dim)
