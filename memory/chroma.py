"""Chroma as the vector table: vectors on disk, the nearest texts of each key by HNSW.

As in the method's predecessor (arXiv 2505.00234), each key contributes its nearest candidates, and a text that is not
among them gets the score of the last one. The folder beside the memory is derived from it and may be deleted. Chroma's
embedded store is not safe under two processes, so that one process holds it at a time.
"""

from __future__ import annotations

import fcntl
import re
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import MissingExtra, StoreError
from atlas.memory.texts import text_hash
from atlas.memory.vectors import Floats, Ints, VectorView

CANDIDATES = 512
"""Distinct texts that one key contributes to a query."""
_BATCH = 2_000


def installed() -> bool:
    return util.find_spec("chromadb") is not None


class ChromaFolder:
    """The Chroma database of one memory: one collection per embedder and key.

    It lies beside the memory's file, or nowhere for a memory that is in none: then it is made anew when opened.
    """

    def __init__(self, memory: Path | None) -> None:
        try:
            import chromadb
            from chromadb.config import Settings
        except ImportError as error:
            raise MissingExtra("the Chroma index", "chroma") from error
        settings = Settings(anonymized_telemetry=False)
        self._lock = None
        if memory is None:
            self._client: Any = chromadb.EphemeralClient(settings)
            return
        folder = Path(f"{memory}.chroma")
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StoreError(
                f"the Chroma index {folder} is in use by another process, and Chroma allows one: "
                "use index='exact' there"
            ) from error
        self._client = chromadb.PersistentClient(str(folder), settings)

    def table(self, embedder: str, key: str) -> ChromaVectors:
        name = re.sub(r"[^a-zA-Z0-9_-]+", "-", f"{embedder}.{key}")
        collection = self._client.get_or_create_collection(
            # Two names may look alike once cleaned, and Chroma takes at most 512 characters.
            f"{name[-80:].strip('-_')}-{text_hash(embedder + key)[:8]}",
            configuration={"hnsw": {"space": "ip", "ef_search": CANDIDATES, "ef_construction": 200}},
            embedding_function=None,
        )
        return ChromaVectors(collection)

    def close(self) -> None:
        if self._lock:
            self._lock.close()


class ChromaVectors:
    """The distinct texts of one key. Texts are upserted by hash, so that a cut load is taken up where it ended."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self._rows: dict[str, int] = {}

    def append(self, texts: list[str], vectors: Floats) -> None:
        for start in range(0, len(texts), _BATCH):
            hashes = [text_hash(text) for text in texts[start : start + _BATCH]]
            known = set(self._collection.get(ids=hashes, include=[])["ids"])
            new = [i for i, h in enumerate(hashes) if h not in known]
            if new:
                self._collection.upsert(ids=[hashes[i] for i in new], embeddings=vectors[start : start + _BATCH][new])
            # Row 0 stands for a missing text.
            first = len(self._rows) + 1
            self._rows.update(zip(hashes, range(first, first + len(hashes)), strict=True))

    def view(self) -> VectorView:
        return _View(self._collection, self._rows, len(self._rows) + 1)


class _View:
    approximate = False

    def __init__(self, collection: Any, rows: dict[str, int], size: int) -> None:
        self._collection, self._rows, self._size = collection, rows, size

    def scores(self, query: Floats) -> Floats:
        wanted = min(CANDIDATES, self._size - 1)
        if wanted == 0:
            return np.zeros(self._size, np.float32)
        found = self._collection.query(query_embeddings=[query], n_results=wanted, include=["distances"])
        products = 1 - np.array(found["distances"][0], np.float32)
        scores = np.full(self._size, products.min(initial=1.0), np.float32)
        for text, product in zip(found["ids"][0], products, strict=True):
            row = self._rows.get(text, self._size)
            if row < self._size:
                scores[row] = product
        return scores

    def exact(self, query: Floats, rows: Ints) -> Floats:
        """Chroma keeps the vectors; its own scores are what there is."""
        return self.scores(query)[rows]
