"""What a memory costs: adding to it and finding in it, on this build and on earlier ones (see ``measured.py``)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

from atlas.benchmarks.perf.retrieval import Remembering, queries
from atlas.benchmarks.perf.retrieval_data import DATA
from atlas.benchmarks.perf.table import Table
from atlas.memory import Demonstration, DemonstrationStore, HashEmbedder, from_steps
from atlas.records import DemoStep, Task

T = TypeVar("T")

K = 6
PASSES = 7
"""The queries are asked so often, and the least of the medians counts: the machine has other things to do."""


def memory(added: int = 200, windows: int = 10_000, asked: int = 200) -> dict[str, float]:
    """CPU milliseconds, the median: to add a demonstration of twelve steps to a file, and to search."""
    found = {}
    for what, apart in ("adding what is new", True), ("adding the same for another task", False):
        with tempfile.TemporaryDirectory() as folder, DemonstrationStore(Path(folder) / "m.db", "hash") as store:
            made = [demonstration(number, apart) for number in range(added + 20)]
            found[what] = _each(store.add, made, 20)
    for name, generate in DATA.items():
        embedder = Remembering(HashEmbedder(384))
        demos = generate(windows)
        with DemonstrationStore(":memory:", embedder) as store:
            store.add_many(demos)
            store.warm()
            views = queries(demos, asked)
            for view in views:
                store.search(view, K)  # the query is embedded beforehand
            found[f"search among {windows:,} {name} windows"] = min(
                _each(lambda view: store.search(view, K), views, 10) for _ in range(PASSES)
            )
    return found


def measure() -> Table:
    """The same of this build alone."""
    rows = tuple((what, round(figure, 3)) for what, figure in memory().items())
    return Table(name="memory", title="The memory", columns=("what", "CPU ms"), rows=rows)


def _each(do: Callable[[T], object], given: Sequence[T], warming: int) -> float:
    """The median of what it takes with each of ``given``, less the first few."""
    seconds = []
    for one in given:
        began = time.process_time()
        do(one)
        seconds.append(time.process_time() - began)
    return 1e3 * median(seconds[warming:])


def demonstration(number: int, apart: bool, steps: int = 12) -> Demonstration:
    """One of a task of its own; what it says is said by no other where ``apart``."""
    place = number if apart else 0
    made = (
        DemoStep(
            observation=f"You arrive at cabinet {place}. You see a mug {step} and a plate {step + 1}.",
            action=f"open drawer {step}",
            thought=f"The apple may be in drawer {step} of room {place}.",
        )
        for step in range(steps)
    )
    task = Task(id=f"task-{number}", goal=f"put a hot apple {place} in diningtable")
    return from_steps(task, made, plan="find, heat, put")
