"""How often what is found is of the right family: real goals of ALFWorld, by embedder and index.

    python -m atlas.benchmarks.perf.families [--embedders hash,minilm,FOLDER] [--indexes exact,faiss,chroma] [--json]

The memory holds train games, each as a demonstration of its goal alone; the queries are the goals of valid_unseen.
Nothing is asked of a model, and no game is played. A chance hit is what the commonest family would give.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import click
import numpy as np

from atlas.benchmarks.alfworld.data import games
from atlas.benchmarks.perf.retrieval import Row
from atlas.benchmarks.perf.table import machine
from atlas.benchmarks.program import Listed, Program
from atlas.memory import DemonstrationStore, from_steps, load_embedder
from atlas.records import DemoStep, Task, View
from atlas.stats import wilson

K = 6


def goals(split: str, n: int | None = None) -> list[Task]:
    """Tasks of official games; ``n`` of them are drawn at random, always the same."""
    found = games(split)
    if n is not None:
        random.Random(0).shuffle(found)
    made = []
    for ref in found[:n]:
        made.append(Task(id=ref.id, goal=ref.open().goal, family=ref.task_type))
    return made


def measure(
    kept: Sequence[Task], asked: Sequence[Task], embedders: Sequence[str], indexes: Sequence[str]
) -> Iterator[Row]:
    step = (DemoStep(observation="", action="look", thought=""),)
    commonest = Counter(task.family for task in kept).most_common(1)[0][0]
    chance = np.mean([task.family == commonest for task in asked])
    for name in embedders:
        embedder = load_embedder(name)
        embedder.embed(["so that weights are loaded"])
        for index in indexes:
            with DemonstrationStore(":memory:", embedder, index) as store:
                store.add_many((from_steps(task, step) for task in kept), apart=True)
                start = time.process_time()
                store.warm()
                embedded = time.process_time() - start
                firsts, shares, cpu = [], [], []
                for task in asked:
                    view = View(task=task, opening="")
                    start = time.process_time()
                    found = store.similar(view, K)
                    cpu.append(time.process_time() - start)
                    families = [store.get(window.demo_id).family for window in found]
                    firsts.append(families[0] == task.family)
                    shares.append(np.mean([family == task.family for family in families]))
            hits = wilson(sum(firsts), len(firsts))
            yield {
                "embedder": embedder.name,
                "index": index,
                "numbers": embedder.dim,
                "demos": len(kept),
                "queries": len(asked),
                "first_right": round(hits.mean, 3),
                "low": round(hits.low, 3),
                "high": round(hits.high, 3),
                "six_right": round(float(np.mean(shares)), 3),
                "chance": round(float(chance), 3),
                "query_cpu_ms": round(1e3 * float(np.median(cpu)), 2),
                "filling_cpu_s": round(embedded, 2),
            }


@click.command(cls=Program)
@click.option(
    "--embedders", type=Listed(), default="hash,minilm", show_default=True, help="Names or folders, comma-separated."
)
@click.option(
    "--indexes", type=Listed(), default="exact", show_default=True, help="exact, auto, faiss, chroma, comma-separated."
)
@click.option("--demos", default=500, show_default=True, type=click.IntRange(1), help="Train games in the memory.")
@click.option("--json", "as_json", is_flag=True)
def main(embedders: tuple[str, ...], indexes: tuple[str, ...], demos: int, as_json: bool) -> None:
    """How often the demonstration that is found is of the task's own family."""
    kept, asked = goals("train", demos), goals("valid_unseen")
    rows = list(measure(kept, asked, embedders, indexes))
    if as_json:
        click.echo(json.dumps({"machine": machine(), "rows": rows}, indent=1))
        return
    from rich.table import Table

    from atlas.tables import console

    grid = Table(title="The right family, by embedder and index", title_justify="left", caption=machine())
    for heading in rows[0]:
        grid.add_column(heading.replace("_", " "), justify="left" if heading in ("embedder", "index") else "right")
    for row in rows:
        grid.add_row(*map(str, row.values()))
    console().print(grid)


if __name__ == "__main__":
    main()
