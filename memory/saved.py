"""The faiss index of a memory in a file beside it, so that a great memory is opened and not compared anew.

The file is derived: it says of which memory and version it is, by what embedder and of which keys, and each part of it
has a checksum. What was written since that version is read from the memory as ever, and a file that does not fit is
told of and made anew. It holds no text, but hashes and rounded vectors of texts, so that erasing deletes it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.errors import DataError, MissingExtra
from atlas.jsontext import read_json
from atlas.memory import arrayfile
from atlas.memory.arrayfile import About, Arrays
from atlas.memory.database import Database
from atlas.memory.texts import text_hash
from atlas.protocols import Embedder

SAVED_ABOVE = 32_768
"""Step windows from which an index is kept in a file."""
_GROWN = 1.1
"""By how much it has to be greater than the one in the file before it is written again."""
_FORMAT = 2
_HELD = ("ids", "tasks", "shown")
log = logging.getLogger("atlas.memory")


class Kept(NamedTuple):
    """An index, and what a store has to know besides, at one version of the memory."""

    head: int
    """The newest version of a demonstration that is in it."""
    steps: int
    ids: list[str]
    tasks: list[frozenset[str]]
    shown: NDArray[np.bool_]
    """Which of them may be searched."""
    arrays: Arrays
    """Of the index."""


class SavedIndex:
    """Where the index of a memory by one embedder and some keys is kept."""

    def __init__(self, database: Database, embedder: Embedder, keys: Sequence[str]) -> None:
        self._db, self._embedder, self._keys = database, embedder, list(keys)
        self._steps = 0
        """Of what is in the file."""
        self._clean = True
        folder = saved_folder(database)
        mark = text_hash(json.dumps([embedder.name, list(keys)]))[:12]
        self._path = folder / f"{mark}.arrays" if folder is not None else None

    def load(self) -> Kept | None:
        """What is in the file; None where there is none that fits this memory, which is told where there is one."""
        if self._path is None or not self._path.is_file():
            return None
        try:
            found = arrayfile.read(self._path, self._fits)
            if found is None:
                self._tell("is of another state of the memory, or of another faiss")
                return None
            kept = _kept(*found)
        except (DataError, ValueError) as error:
            self._tell(f"is damaged ({error})")
            return None
        except OSError as error:
            self._tell(f"cannot be read ({error.strerror})")
            return None
        self._steps = kept.steps
        return kept

    def due(self, steps: int) -> bool:
        """Whether an index of so many steps is to be saved."""
        if self._path is None or not self._clean or steps <= max(SAVED_ABOVE, _GROWN * self._steps):
            return False
        return self._db.settled and self._db.frozen() is None and not getattr(self._db.backend, "gone", False)

    def save(self, kept: Kept) -> None:
        """Write the file. Where that cannot be done it is said once, and the memory is made anew when it is opened."""
        version = self._db.backend.version(kept.head)
        if self._path is None or version is None:
            return
        self._steps = kept.steps
        about = {**self._about(), "head": kept.head, "time": version.time, "steps": kept.steps}
        tasks = [sorted(tasks) for tasks in kept.tasks]
        held = {"ids": _said(kept.ids), "tasks": _said(tasks), "shown": kept.shown.astype(np.uint8)}
        try:
            self._path.parent.mkdir(exist_ok=True)
            arrayfile.write(self._path, about, {**kept.arrays, **held})
        except OSError as error:
            self._clean = False
            log.warning(
                "the index of %s cannot be kept in %s (%s): it is made anew whenever the memory is opened",
                self._db.path,
                self._path.parent,
                error.strerror,
            )

    def discard(self) -> None:
        """Something was erased that the index knows of: it is in no file from now on, until it is made anew."""
        self._clean = False
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def damaged(self, error: ValueError) -> None:
        """The parts of the file do not belong together."""
        self._steps = 0
        self._tell(f"is damaged ({error})")

    def _about(self) -> About:
        return {
            "format": _FORMAT,
            "memory": self._db.id,
            "embedder": self._embedder.name,
            "dim": self._embedder.dim,
            "keys": self._keys,
            "faiss": _faiss(),
        }

    def _fits(self, about: About) -> bool:
        if type(about.get("head")) is not int or any(about.get(name) != said for name, said in self._about().items()):
            return False
        version = self._db.backend.version(about["head"])
        return version is not None and version.time == about.get("time")

    def _tell(self, what: str) -> None:
        log.warning("the index of %s in %s %s: it is made anew from the memory", self._db.path, self._path, what)


def saved_folder(database: Database) -> Path | None:
    """Where the indexes of a memory are kept; None for one that is in no file."""
    file = database.backend.file
    return file.with_name(f"{file.name}.faiss") if file is not None else None


def forget_saved(database: Database) -> None:
    """Delete what is kept of a memory beside it; processes that have it open go on with what they hold."""
    folder = saved_folder(database)
    if folder is not None and folder.is_dir():
        for path in [*folder.glob("*.arrays"), *folder.glob("*.part")]:
            path.unlink(missing_ok=True)


def _faiss() -> str:
    try:
        return str(import_module("faiss").__version__)
    except ImportError as error:
        raise MissingExtra("the faiss index", "faiss") from error


def _kept(about: About, arrays: Arrays) -> Kept:
    if not set(_HELD) <= set(arrays) or type(about.get("steps")) is not int:
        raise DataError("a part of it is not there")
    ids, tasks = (read_json(arrays[name].tobytes()) for name in ("ids", "tasks"))
    shown = arrays["shown"].astype(bool)
    rest = {name: array for name, array in arrays.items() if name not in _HELD}
    if not len(ids) == len(tasks) == len(shown) == len(rest.get("starts", ())) == len(set(ids)):
        raise DataError("its parts are not of one length")
    return Kept(about["head"], about["steps"], ids, [frozenset(some) for some in tasks], shown, rest)


def _said(what: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(what).encode(), np.uint8)
