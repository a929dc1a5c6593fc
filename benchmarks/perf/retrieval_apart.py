"""Retrieval from a memory in a file, each way of searching it in a process of its own, so that its memory is counted.

The file is filled first, embeddings kept in it. ``made_s`` is what it takes from the file to the first search, for an
index that is opened again from both files; ``resident_mb`` is what the process holds after the searches, ``peak_mb``
the most that it held, making included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, overload

from atlas.benchmarks.perf import retrieval
from atlas.benchmarks.perf.retrieval_data import STREAMS
from atlas.jsontext import read_json
from atlas.memory import Demonstration, DemonstrationStore, HashEmbedder, coarse, saved
from atlas.memory.database import Database, Write, parsed
from atlas.memory.index import distinct, query_texts
from atlas.memory.texts import TextVectors, text_hash
from atlas.memory.vectors import Floats
from atlas.records import View

DIM = 384
NUMPY = "plain numpy"
REOPENED = "faiss, opened again"
_PART = 2_000
_FILLED = "perf:filled"
"""The fact that says that all of it was written."""


def measure(name: str, size: int, folder: Path, count: int, ways: Sequence[str]) -> Iterator[retrieval.Row]:
    """One row per way of searching a memory of ``size`` windows, which is made in ``folder`` where it is not there."""
    path = folder / f"{name}-{size}.sqlite"
    fill(name, size, path)
    with closing(Database(str(path))) as database:
        saved.forget_saved(database)
        demos = Lazy(database)
        asked = retrieval.queries(demos, count)
        shape = {"data": name, "windows": size, "trajectories": len(demos)}
    reference: list[retrieval.Scores] | None = None
    base: float | None = None
    for way in ways:
        if way == REOPENED and "faiss" not in ways:
            _apart(path, "faiss", [])  # what is to be opened again
        found = _apart(path, way, asked)
        times = retrieval.Times(found["wall"], found["cpu"])
        if way == NUMPY:
            reference, base = found["scores"], retrieval.median(times.wall)
        row = retrieval.figures(shape, way, times, found["scores"], found["made_s"], reference, base)
        yield {**row, "resident_mb": found["resident_mb"], "peak_mb": found["peak_mb"]}


def ways(chroma: bool, size: int | None = None) -> tuple[str, ...]:
    """What can be compared, in a memory of ``size`` windows: of a small one no index is kept to be opened again."""
    faiss = ("faiss", REOPENED) if size is None or size > saved.SAVED_ABOVE else ("faiss",)
    return (NUMPY, "exact", *(faiss if coarse.installed() else ()), *(("chroma",) if chroma else ()))


def fill(name: str, size: int, path: Path) -> None:
    """Write the windows and the embeddings of their texts, or what is lacking of them."""
    embedder = HashEmbedder(DIM)
    with DemonstrationStore(path, embedder) as store:
        if store.database.backend.fact(_FILLED):
            return
        stream, there = STREAMS[name](size), len(store)
        known: set[str] = set()
        while part := list(islice(stream, _PART)):
            if there >= len(part):
                there -= len(part)
                continue
            writes = [
                Write("demonstration", demo.id, "admitted", demo.model_dump_json(), only_new=True) for demo in part
            ]
            store.database.write(writes, author="rule:perf", reason="made up")
            texts = {text_hash(text): text for text in distinct(part, retrieval.KEYS)}
            new = sorted(texts.keys() - known)
            known.update(new)
            vectors = embedder.embed([texts[name] for name in new])
            store.database.put_vectors(embedder.name, [(n, v.tobytes()) for n, v in zip(new, vectors, strict=True)])
        with store.database.transaction():
            store.database.backend.set_fact(_FILLED, "yes")


class Lazy(Sequence[Demonstration]):
    """The demonstrations of a memory, read one by one."""

    def __init__(self, database: Database) -> None:
        self._db, self._marks = database, database.marks("demonstration")

    def __len__(self) -> int:
        return len(self._marks)

    @overload
    def __getitem__(self, place: int) -> Demonstration: ...

    @overload
    def __getitem__(self, place: slice) -> list[Demonstration]: ...

    def __getitem__(self, place: int | slice) -> Demonstration | list[Demonstration]:
        marks = self._marks[place] if isinstance(place, slice) else [self._marks[place]]
        found = [parsed(item, Demonstration, self._db.path) for item in self._db.whole_rows(marks)]
        return found if isinstance(place, slice) else found[0]


class _Kept:
    """An embedder whose vectors are in the memory."""

    name, dim = HashEmbedder(DIM).name, DIM

    def __init__(self, database: Database) -> None:
        self._texts = TextVectors(database, HashEmbedder(DIM))

    def embed(self, texts: Sequence[str]) -> Floats:
        return self._texts.embed(texts)


def _apart(path: Path, way: str, asked: Sequence[View]) -> dict[str, Any]:
    given = json.dumps({"path": str(path), "way": way, "asked": [view.model_dump(mode="json") for view in asked]})
    done = subprocess.run([sys.executable, "-m", __name__], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{way} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = read_json(done.stdout)
    return found


def _one(path: str, way: str, asked: list[View]) -> dict[str, Any]:
    """In a process of its own: search in one way."""
    embedder = HashEmbedder(DIM)
    for view in asked:
        embedder.embed(list(query_texts(view, retrieval.KEYS).values()))
    began = time.perf_counter()
    if way == NUMPY:
        with closing(Database(path)) as database:
            tables = _Kept(database)
            demos = Lazy(database)
            search = retrieval.plain_numpy(demos, tables, embedder)
            return _searched(search, asked, began)
    with DemonstrationStore(path, embedder, "faiss" if way == REOPENED else way) as store:
        store.warm()
        return _searched(partial(retrieval._scores, store), asked, began)


def _searched(search: Callable[[View], retrieval.Scores], asked: list[View], began: float) -> dict[str, Any]:
    made = time.perf_counter() - began
    times, scores = retrieval.timed(search, asked)
    held = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    resident, peak = (round(int(held[name].split()[0]) / 1024) for name in ("VmRSS", "VmHWM"))
    return {
        "made_s": made,
        "wall": times.wall,
        "cpu": times.cpu,
        "scores": scores,
        "resident_mb": resident,
        "peak_mb": peak,
    }


if __name__ == "__main__":
    task = read_json(sys.stdin.read())
    print(json.dumps(_one(task["path"], task["way"], [View.model_validate(view) for view in task["asked"]])))
