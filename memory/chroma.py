"""Chroma as the vector table: the nearest texts of each key by HNSW, in a folder beside the memory or on a server.

As in the method's predecessor (arXiv 2505.00234), each key contributes its nearest candidates, and a text that is not
among them gets the score of the last one. What Chroma holds is derived from the memory: it is filled where it is
behind, made anew where it is of another embedder, and never what a score is read from at last. Chroma's embedded store
is not safe under two processes, so that one process holds it at a time; a server takes any number.
"""

from __future__ import annotations

import fcntl
import logging
import math
import re
from collections.abc import Callable, Iterable
from functools import partial
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from atlas.errors import MissingExtra, StoreError
from atlas.memory.texts import text_hash
from atlas.memory.vectors import Floats, IndexGone, Ints, VectorView
from atlas.protocols import Embedder

if TYPE_CHECKING:
    from atlas.memory.database import Database

T = TypeVar("T")

CANDIDATES = 512
"""Distinct texts that one key contributes to a query."""
_BATCH = 2_000
log = logging.getLogger("atlas.memory")


def installed() -> bool:
    return util.find_spec("chromadb") is not None


class ChromaTables:
    """What Chroma holds of one memory: one collection per embedder and key.

    They lie in a folder beside the memory's file, or on a server; for a memory that is in no file, and no server, they
    are made anew when it is opened.
    """

    def __init__(self, database: Database, server: tuple[str, int] | None = None) -> None:
        """Raises StoreError where the server does not answer, or another process has the folder."""
        try:
            import chromadb
            from chromadb.config import Settings
        except ImportError as error:
            raise MissingExtra("the Chroma index", "chroma") from error
        settings = Settings(anonymized_telemetry=False)
        self._lock = None
        self._memory = database.id if server else ""
        memory = database.backend.file
        if server is not None:
            host, port = server
            self._place = f"the Chroma server chroma://{host}:{port}"
            try:
                self._client: Any = self._asked(lambda: chromadb.HttpClient(host.strip("[]"), port, settings=settings))
            except IndexGone as error:
                raise StoreError(
                    f"{error}: start it with 'chroma run --port {port}', or choose another --index"
                ) from error
            return
        self._place = f"the Chroma folder of {database.path}"
        if memory is None:
            self._client = chromadb.EphemeralClient(settings)
            self._memory = database.id
            return
        folder = Path(f"{memory}.chroma")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "lock").open("w")
        except OSError as error:
            raise IndexGone(f"{self._place} cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StoreError(
                f"the Chroma index {folder} is in use by another process, and Chroma allows one: choose the index "
                "exact there, or a server (chroma://HOST:PORT), which takes any number"
            ) from error
        try:
            self._client = self._asked(lambda: chromadb.PersistentClient(str(folder), settings))
        except IndexGone:
            self.close()
            raise

    def table(self, embedder: Embedder, key: str) -> ChromaVectors:
        name = re.sub(r"[^a-zA-Z0-9_-]+", "-", f"{self._memory}.{embedder.name}.{key}")
        # Two names may look alike once cleaned, and Chroma takes at most 512 characters.
        name = f"{name[-80:].strip('-_')}-{text_hash(self._memory + embedder.name + key)[:8]}"

        def get() -> Any:
            return self._client.get_or_create_collection(
                name,
                configuration={"hnsw": {"space": "ip", "ef_search": CANDIDATES, "ef_construction": 200}},
                metadata={"embedder": embedder.name, "dim": embedder.dim, "key": key},
                embedding_function=None,
            )

        collection = self._asked(get)
        if not self._fits(collection, embedder):
            log.warning(
                "the collection %s of %s is of another embedder or size: it is made anew from the memory",
                name,
                self._place,
            )
            self._asked(lambda: self._client.delete_collection(name))
            collection = self._asked(get)
        return ChromaVectors(collection, self._asked)

    def _fits(self, collection: Any, embedder: Embedder) -> bool:
        about = collection.metadata or {}
        if about.get("embedder", embedder.name) != embedder.name or about.get("dim", embedder.dim) != embedder.dim:
            return False
        held = self._asked(lambda: collection.peek(1))["embeddings"]
        return held is None or not len(held) or len(held[0]) == embedder.dim

    def close(self) -> None:
        if self._lock:
            self._lock.close()

    def _asked(self, do: Callable[[], T]) -> T:
        """What ``do`` gives. Raises IndexGone where Chroma fails, however it does."""
        import httpx
        from chromadb.errors import ChromaError

        try:
            return do()
        except (ChromaError, httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise IndexGone(f"{self._place} does not answer ({said[:120]})") from error


class ChromaVectors:
    """The distinct texts of one key. Texts are upserted by hash, so that a cut load is taken up where it ended."""

    def __init__(self, collection: Any, asked: Callable[[Callable[[], Any]], Any]) -> None:
        self._collection, self._asked = collection, asked
        self._rows: dict[str, int] = {}

    def append(self, texts: list[str], vectors: Floats) -> None:
        for start in range(0, len(texts), _BATCH):
            hashes = [text_hash(text) for text in texts[start : start + _BATCH]]
            self._asked(partial(self._fill, hashes, vectors[start : start + _BATCH]))
            # Row 0 stands for a missing text.
            first = len(self._rows) + 1
            self._rows.update(zip(hashes, range(first, first + len(hashes)), strict=True))

    def _fill(self, hashes: list[str], vectors: Floats) -> None:
        known = set(self._collection.get(ids=hashes, include=[])["ids"])
        new = [i for i, h in enumerate(hashes) if h not in known]
        if new:
            self._collection.upsert(ids=[hashes[i] for i in new], embeddings=vectors[new])

    def nearest(self, query: Floats) -> list[str]:
        """The hashes of the texts that are most like ``query``, best first."""
        wanted = min(CANDIDATES, len(self._rows))
        if not wanted:
            return []
        found = self._asked(lambda: self._collection.query(query_embeddings=[query], n_results=wanted, include=[]))
        return list(found["ids"][0])

    def lacks(self, texts: Iterable[str]) -> list[str]:
        """Those of ``texts`` that were not appended, each once."""
        return [text for text in dict.fromkeys(texts) if text_hash(text) not in self._rows]

    def view(self) -> VectorView:
        return _View(self._collection, self._asked, self._rows, len(self._rows) + 1)


class _View:
    approximate = False
    error = math.inf

    def __init__(
        self, collection: Any, asked: Callable[[Callable[[], Any]], Any], rows: dict[str, int], size: int
    ) -> None:
        self._collection, self._asked, self._rows, self._size = collection, asked, rows, size

    def scores(self, query: Floats) -> Floats:
        wanted = min(CANDIDATES, self._size - 1)
        if wanted == 0:
            return np.zeros(self._size, np.float32)
        found = self._asked(
            lambda: self._collection.query(query_embeddings=[query], n_results=wanted, include=["distances"])
        )
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
