"""Which index a memory is searched by."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from atlas.errors import ConfigError
from atlas.memory.index import Index
from atlas.memory.vectors import IndexGone, NumpyVectors
from atlas.protocols import Embedder

if TYPE_CHECKING:
    from atlas.memory.chroma import ChromaTables
    from atlas.memory.database import Database

log = logging.getLogger("atlas.memory")

INDEXES = ("auto", "exact", "faiss", "chroma")
SERVER = "chroma://"
CHOICES = "auto, exact, faiss, chroma, or chroma://HOST:PORT"
FAISS_ABOVE = 32_768
"""Step windows above which ``auto`` uses faiss, where it is installed."""
CHROMA_ABOVE = 1_000_000
"""Step windows above which ``auto`` uses Chroma, where it is installed and faiss is not: the vectors would fill
gigabytes of memory."""

_PLACE = re.compile(r"chroma://([\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})/?")


def check_index(name: str) -> None:
    """Raises ConfigError for what is no index."""
    if isinstance(name, str) and name.startswith(SERVER):
        server(name)
    elif name not in INDEXES:
        raise ConfigError(f"there is no index {name!r}: choose {CHOICES}")


def server(name: str) -> tuple[str, int]:
    """Host and port of ``chroma://host:port``."""
    found = _PLACE.fullmatch(name)
    if found is None or not 0 < int(found[2]) < 65_536:
        raise ConfigError(f"{name!r} names no Chroma server: write chroma://HOST:PORT, such as chroma://localhost:8000")
    return found[1], int(found[2])


def chosen(kind: str, steps: int) -> str:
    """What ``kind`` comes to for so many step windows."""
    if kind != "auto":
        return kind
    from atlas.memory import chroma, coarse

    if steps > FAISS_ABOVE and coarse.installed():
        return "faiss"
    return "chroma" if steps > CHROMA_ABOVE and chroma.installed() else "auto"


def may_be_faiss(kind: str) -> bool:
    """Whether ``kind`` comes to faiss for some number of step windows."""
    from atlas.memory import coarse

    return kind == "faiss" or (kind == "auto" and coarse.installed())


def make_index(kind: str, weights: Mapping[str, float], embedder: Embedder, database: Database) -> Index:
    """An empty index of a ``kind`` that :func:`chosen` gives."""
    if kind == "faiss":
        from atlas.memory.coarse import CoarseIndex

        return CoarseIndex(weights, embedder.dim)
    if (tables := chroma_tables(kind, database)) is not None:
        return Index(weights, lambda key: tables.table(embedder, key))
    above = {"project_above": None} if kind == "exact" else {}
    return Index(weights, lambda key: NumpyVectors(embedder.dim, **above))


def chroma_tables(kind: str, database: Database) -> ChromaTables | None:
    """What Chroma holds of a memory, for all of its parts; None where another index is meant."""
    if kind != "chroma" and not kind.startswith(SERVER):
        return None
    from atlas.memory.chroma import ChromaTables

    place = server(kind) if kind.startswith(SERVER) else None
    return database.beside(kind, lambda: ChromaTables(database, place))


def tell_once(database: Database, gone: IndexGone) -> None:
    """Say that a memory is searched without the index it was to have, once for all of its parts."""
    database.beside("told", lambda: _Told(database, gone))


class _Told:
    def __init__(self, database: Database, gone: IndexGone) -> None:
        log.warning("%s: this process goes on with the memory's own index of %s; nothing is lost", gone, database.path)

    def close(self) -> None:
        pass
