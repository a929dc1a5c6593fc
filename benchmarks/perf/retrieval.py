"""Retrieval latency and recall against exact search, and against plain numpy, by size of the memory.

    python -m atlas.benchmarks.perf.retrieval [--sizes 1000,10000,100000] [--json]
    python -m atlas.benchmarks.perf.retrieval --sizes 100000,1000000 --files FOLDER [--way "faiss, opened again"]

A query is a whole ``store.search``: version check, scoring of all keys, ranking, windows. Embedding the query's
texts is left out. ``household`` repeats its texts as games do; ``distinct`` never repeats one, which is the worst case
for every short cut; ``--files`` searches memories in files, each way in a process of its own; ``--memory FILE`` takes
a real memory, and queries made of its own steps.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import util
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from atlas.benchmarks.perf.retrieval_data import DATA
from atlas.benchmarks.perf.table import machine
from atlas.benchmarks.program import Listed, Program
from atlas.errors import ConfigError
from atlas.memory import Demonstration, DemonstrationStore, HashEmbedder, coarse, load_embedder, saved
from atlas.memory.backend import existing, told
from atlas.memory.index import demo_texts, query_texts
from atlas.memory.vectors import Floats
from atlas.protocols import Embedder
from atlas.records import Task, Turn, View

K = 6
_PART = 500
KEYS = ("goal", "plan", "thought", "observation")
Row = dict[str, object]
Scores = list[float]


class Remembering:
    """An embedder that keeps every vector, so that the ways compared share the work of embedding."""

    def __init__(self, inner: Embedder) -> None:
        self.name, self.dim, self._inner = inner.name, inner.dim, inner
        self._known: dict[str, Floats] = {}

    def embed(self, texts: Sequence[str]) -> Floats:
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(missing, self._inner.embed(missing), strict=True))
        return np.stack([self._known[text] for text in texts])

    def forget(self) -> None:
        self._known.clear()


def queries(demos: Sequence[Demonstration], count: int, seed: int = 0) -> list[View]:
    """Views in the middle of tasks like those of ``demos``: goal, plan and step come from three of them."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        goal, plan, other = (demos[j] for j in rng.integers(len(demos), size=3))
        at = int(rng.integers(len(other.steps)))
        task = Task(id=goal.task_id, goal=goal.goal)
        turns = (Turn(action="look", observation=other.steps[at].observation, thought=other.steps[at - 1].thought),)
        made.append(View(task=task, opening=other.steps[0].observation, plan=plan.plan, turns=turns if i % 8 else ()))
    return made


def plain_numpy(
    demos: Sequence[Demonstration], embedder: Embedder, asking: Embedder | None = None
) -> Callable[[View], Scores]:
    """What one writes first: a row for every place of every key, all of them multiplied at every query.

    ``embedder`` is asked for the rows, ``asking``, where it is another, for the vectors of a query.
    """
    about = [(len(demo.steps), demo.task_id) for demo in demos]
    lengths, tasks = np.array([length for length, _ in about]), np.array([task for _, task in about])
    starts = np.cumsum(lengths) - lengths
    sizes = {key: len(lengths) if key in KEYS[:2] else int(lengths.sum()) for key in KEYS}
    tables = {key: np.empty((size, embedder.dim), np.float32) for key, size in sizes.items()}
    present = {key: np.empty(size, np.float32) for key, size in sizes.items()}
    at = dict.fromkeys(KEYS, 0)
    for first in range(0, len(demos), _PART):
        part = demos[first : first + _PART]
        for key in KEYS:
            texts = [text for demo in part for text in demo_texts(demo, key)]
            rows = slice(at[key], at[key] + len(texts))
            tables[key][rows] = embedder.embed(texts)
            present[key][rows] = [bool(text) for text in texts]
            at[key] = rows.stop

    def mean(query: dict[str, Floats], keys: tuple[str, ...]) -> Floats:
        shared = [key for key in keys if key in query]
        above = sum(present[key] * (tables[key] @ query[key]) for key in shared)
        return np.asarray(above / np.maximum(sum(present[key] for key in shared), 1))

    def search(view: View) -> Scores:
        texts = query_texts(view, KEYS)
        query = dict(zip(texts, (asking or embedder).embed(list(texts.values())), strict=True))
        totals = mean(query, KEYS[:2]) + np.maximum.reduceat(mean(query, KEYS[2:]), starts)
        totals[tasks == view.task.id] = -np.inf
        best = np.sort(totals)[::-1] if len(totals) <= K else np.sort(totals[np.argpartition(totals, -K)[-K:]])[::-1]
        return [score for score in best.tolist() if score > -math.inf]

    return search


class Times(NamedTuple):
    """Milliseconds of each query; the CPU's, over all threads, are what another process cannot lengthen much."""

    wall: list[float]
    cpu: list[float]


def timed(search: Callable[[View], Scores], asked: list[View]) -> tuple[Times, list[Scores]]:
    """Times and scores of each query, after a warm-up."""
    for view in asked[:10]:
        search(view)
    times, found = Times([], []), []
    for view in asked:
        wall, cpu = time.perf_counter(), time.process_time()
        found.append(search(view))
        times.wall.append((time.perf_counter() - wall) * 1e3)
        times.cpu.append((time.process_time() - cpu) * 1e3)
    return times, found


def recall(found: list[Scores], exact: list[Scores]) -> float:
    """Share of results that score no less than the last exact one: equal scores are equally good."""
    hits = [
        sum(s >= best[-1] - 1e-5 for s in scores) / len(best) if best else 1.0
        for scores, best in zip(found, exact, strict=True)
    ]
    return float(np.mean(hits))


def measure(name: str, demos: list[Demonstration], embedder: Embedder, count: int, chroma: bool) -> Iterator[Row]:
    """One row per way of searching the same demonstrations with the same queries."""
    asked = queries(demos, count)
    for view in asked:
        embedder.embed(list(query_texts(view, KEYS).values()))
    shape = {"data": name, "windows": sum(len(demo.steps) for demo in demos), "trajectories": len(demos)}
    shape["texts"] = sum(len({t for demo in demos for t in demo_texts(demo, key)}) for key in KEYS)
    baseline, reference = timed(plain_numpy(demos, embedder), asked)
    base = median(baseline.wall)

    def row(how: str, times: Times, found: list[Scores], made: float) -> Row:
        return figures(shape, how, times, found, made, reference, base)

    yield row("plain numpy", baseline, reference, 0.0)
    for index in ("exact", *(("faiss",) if coarse.installed() else ()), "auto", *(("chroma",) if chroma else ())):
        with DemonstrationStore(":memory:", embedder=embedder, index=index) as store:
            store.add_many(demos)
            start = time.perf_counter()
            store.warm()
            load = time.perf_counter() - start
            times, found = timed(partial(_scores, store), asked)
            yield row(index, times, found, load)


def figures(
    shape: Mapping[str, object],
    how: str,
    times: Times,
    found: list[Scores],
    made: float,
    reference: list[Scores] | None,
    base: float | None,
) -> Row:
    """A row: ``reference`` is what plain numpy finds, ``base`` the milliseconds that it takes; None where it was not
    asked, and what is compared with it is None then."""
    p50, p99 = np.percentile(times.wall, [50, 99])
    return {
        **shape,
        "search": how,
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        "cpu_ms": round(median(times.cpu), 3),
        "times_faster": None if base is None else round(base / float(p50), 1),
        "recall": None if reference is None else round(recall(found, reference), 4),
        "made_s": round(made, 2),
    }


def median(values: list[float]) -> float:
    return float(np.median(values))


def _scores(store: DemonstrationStore, view: View) -> Scores:
    return [window.score for window in store.search(view, K)]


def show(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"Retrieval of the {K} best windows, its query embedded beforehand"
    table = Table(title=title, caption=machine())
    for heading in rows[0]:
        table.add_column(heading.replace("_", " "), justify="left" if heading in ("data", "search") else "right")
    for row in rows:
        if row["search"] == "plain numpy":
            table.add_section()
        table.add_row(*map(_cell, row.values()))
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float) else str(value)


@click.command(cls=Program)
@click.option(
    "--sizes",
    type=Listed(click.IntRange(1)),
    default="1000,10000,100000",
    show_default=True,
    help="Step windows, comma-separated.",
)
@click.option("--queries", "count", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--memory", help="FILE or URL: measure on a real memory instead.")
@click.option(
    "--embedder", default="hash", show_default=True, help="hash (384-d here), minilm, sentence-transformers/..."
)
@click.option(
    "--files",
    type=click.Path(file_okay=False, path_type=Path),
    help="Make the memories in this folder, and search them from processes of their own, whose memory is counted.",
)
@click.option("--way", "only", multiple=True, help="With --files: only this way of searching. Repeatable.")
@click.option("--data", type=click.Choice(list(DATA)), help="Only these.")
@click.option("--chroma/--no-chroma", default=True, show_default=True, help="Chroma too, where it is installed.")
@click.option("--json", "as_json", is_flag=True)
def main(
    sizes: tuple[int, ...],
    count: int,
    memory: str | None,
    embedder: str,
    files: Path | None,
    only: tuple[str, ...],
    data: str | None,
    chroma: bool,
    as_json: bool,
) -> None:
    """Retrieval latency and recall by size of the memory."""
    model = Remembering(HashEmbedder(384) if embedder == "hash" else load_embedder(embedder))
    rows: list[Row] = []
    if only and (files is None or memory):
        raise click.UsageError("--way chooses among the ways of --files FOLDER: give that alone, or leave --way out")
    chroma = chroma and util.find_spec("chromadb") is not None
    if only:
        from atlas.benchmarks.perf.retrieval_apart import ways

        for way in only:
            if way not in ways(chroma):
                raise click.UsageError(f"there is no way {way!r} of searching here: name some of {ways(chroma)}")
    if memory:
        with DemonstrationStore(existing(memory), embedder=model) as store:
            if not (demos := store.all()):
                raise ConfigError(f"the memory {told(memory)} holds no demonstrations: name one that does")
            rows.extend(measure("memory", demos, model, count, chroma))
    else:
        for size in sizes:
            for name, generate in DATA.items():
                if data not in (None, name):
                    continue
                if files is not None:
                    from atlas.benchmarks.perf import retrieval_apart as apart

                    every = apart.ways(chroma and name == "household", size)
                    some = [way for way in every if not only or way in only]
                    rows.extend(apart.measure(name, size, files, count, some) if some else ())
                    continue
                # Chroma inserts some hundreds of texts a second, and the distinct ones are two per window.
                rows.extend(measure(name, generate(size), model, count, chroma and name == "household"))
                model.forget()
    if not rows:
        raise click.UsageError(
            "nothing was measured: --way names none of the ways of searching --data, or an index to be opened again, "
            f"which is kept above {saved.SAVED_ABOVE:,} windows: give others, or greater --sizes"
        )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        show(rows)


if __name__ == "__main__":
    main()
