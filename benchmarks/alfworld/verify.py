"""Proof that our engine equals the stock one, and how much faster it is.

Both engines play the same commands side by side: the walkthroughs of valid_seen and valid_unseen, and random walks.
After every command the observation, the sorted admissible commands, the score and done must be the same. Run it with
``python -m atlas.benchmarks.alfworld.verify``.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import click

from atlas.benchmarks.alfworld.data import GameRef, games
from atlas.benchmarks.alfworld.engine import Engine
from atlas.benchmarks.alfworld.reference import StockEngine
from atlas.benchmarks.program import Program
from atlas.errors import ConfigError
from atlas.records import Record

if TYPE_CHECKING:
    from rich.table import Table

SPLITS = ("valid_seen", "valid_unseen")
INADMISSIBLE = (
    "",
    "LOOK",
    "go to the moon 1",
    "take apple 99 from fridge 1",
    "put apple 1 in/on fridge 1",
    "{o.name}",
    "#",
)
AFTERWARDS = ("look", "inventory", " help\n", *INADMISSIBLE[:3])
"""Played after a walkthrough has won, because the stock engine goes on."""


class Job(Record):
    """One game to compare: its walkthrough, or `steps` random commands drawn with `seed`."""

    ref: GameRef
    kind: Literal["walkthrough", "walk"]
    steps: int = 0
    seed: int = 0


class Comparison(Record):
    """What came of a job. Times are CPU seconds, of ours and of the stock engine."""

    kind: Literal["walkthrough", "walk"]
    states: int
    wins: int
    differences: tuple[str, ...]
    opening: tuple[float, float]
    stepping: tuple[float, float]


class Playing(Protocol):
    """What is compared of an engine."""

    observation: str
    admissible: tuple[str, ...]
    score: float
    done: bool


def compare(job: Job, stock: StockEngine) -> Comparison:
    """Play one game in both engines."""
    start = time.process_time()
    game = job.ref.open()
    ours = Engine(game)
    middle = time.process_time()
    stock.open(job.ref.path)
    opening = (middle - start, time.process_time() - middle)
    differences = list(_differences(job.ref.id, "(opening)", ours, stock))
    states, times = 1, [0.0, 0.0]
    rng = random.Random(f"{job.seed}/{job.ref.id}")
    commands: Iterable[str] = (*game.walkthrough, *AFTERWARDS)
    if job.kind == "walk":
        commands = (random_command(stock.admissible, rng) for _ in range(job.steps))
    won = ours.done
    for command in commands:
        start = time.process_time()
        ours.step(command)
        middle = time.process_time()
        stock.step(command)
        end = time.process_time()
        times = [times[0] + middle - start, times[1] + end - middle]
        states += 1
        won |= ours.done and stock.done
        differences += _differences(job.ref.id, command, ours, stock)
    return Comparison(
        kind=job.kind,
        states=states,
        wins=int(won),
        differences=tuple(differences),
        opening=opening,
        stepping=(times[0], times[1]),
    )


def random_command(admissible: Sequence[str], rng: random.Random) -> str:
    """Mostly what works. Most of the list begins with "go to", so the verb is drawn first, then the command."""
    if rng.random() < 0.1:
        return rng.choice(INADMISSIBLE)
    kinds = sorted({command.split()[0] for command in admissible})
    kind = rng.choice(kinds)
    return rng.choice([command for command in admissible if command.split()[0] == kind])


def _differences(game: str, command: str, ours: Playing, stock: Playing) -> Iterator[str]:
    for name in ("observation", "admissible", "score", "done"):
        left, right = getattr(ours, name), getattr(stock, name)
        if left != right:
            yield f"{game}, after {command!r}: {name} is {left!r}, stock has {right!r}"


_stock: StockEngine | None = None


def _work(job: Job) -> Comparison:
    """`compare` in a worker process, which keeps one stock engine: its planner library is loaded once."""
    global _stock
    if _stock is None:
        _stock = StockEngine()
    return compare(job, _stock)


def plan(walkthroughs: int | None, walks: int, steps: int, seed: int, data: Path | None) -> list[Job]:
    """The jobs: `walkthroughs` games spread over both valid splits (all, if ``None``), then `walks` random walks."""
    refs = [ref for split in SPLITS for ref in games(split, data)]
    jobs = [Job(ref=ref, kind="walkthrough") for ref in _spread(refs, walkthroughs)]
    rng = random.Random(seed)
    return jobs + [Job(ref=ref, kind="walk", steps=steps, seed=seed) for ref in rng.sample(refs, min(walks, len(refs)))]


def _spread(refs: list[GameRef], count: int | None) -> list[GameRef]:
    if count is None or count >= len(refs):
        return refs
    return [refs[place * len(refs) // count] for place in range(count)]


def run(jobs: list[Job], workers: int) -> list[Comparison]:
    """Compare all games, in `workers` processes of their own: the stock engine changes the one it runs in."""
    from rich.console import Console
    from rich.progress import track

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        results = pool.map(_work, jobs)
        return list(track(results, "Comparing", total=len(jobs), console=Console(stderr=True)))


class Summary(Record):
    """The figures of a proof. Times are CPU milliseconds."""

    games: int
    wins: int
    states: int
    differences: int
    open_ours_ms: float
    open_stock_ms: float
    step_ours_ms: float
    step_stock_ms: float

    @property
    def open_ratio(self) -> float:
        """How many times faster ours opens a game."""
        return self.open_stock_ms / self.open_ours_ms

    @property
    def step_ratio(self) -> float:
        """How many times faster ours takes a step."""
        return self.step_stock_ms / self.step_ours_ms


def summarise(results: Sequence[Comparison]) -> Summary:
    """Sums, and means per game and per step."""
    steps = max(1, sum(result.states - 1 for result in results))
    opens = max(1, len(results))
    return Summary(
        games=len(results),
        wins=sum(result.wins for result in results),
        states=sum(result.states for result in results),
        differences=sum(len(result.differences) for result in results),
        open_ours_ms=1e3 * sum(result.opening[0] for result in results) / opens,
        open_stock_ms=1e3 * sum(result.opening[1] for result in results) / opens,
        step_ours_ms=1e3 * sum(result.stepping[0] for result in results) / steps,
        step_stock_ms=1e3 * sum(result.stepping[1] for result in results) / steps,
    )


def tables(results: Sequence[Comparison]) -> tuple[Table, Table]:
    """Equality and speed, for a terminal."""
    from rich.table import Table

    equality = Table("", "games", "won", "states compared", "differences", title="Equal to the stock engine?")
    for title, kind in (("walkthroughs", "walkthrough"), ("random walks", "walk"), ("all", None)):
        part = [result for result in results if kind in (None, result.kind)]
        if part:
            row = summarise(part)
            equality.add_row(title, str(row.games), str(row.wins), str(row.states), str(row.differences))
    total = summarise(results)
    speed = Table("CPU ms per", "ours", "stock", "times faster", title="Side by side in this run")
    for title, ours, stock, ratio in (
        ("game opened", total.open_ours_ms, total.open_stock_ms, total.open_ratio),
        ("step", total.step_ours_ms, total.step_stock_ms, total.step_ratio),
    ):
        speed.add_row(title, f"{ours:.3f}", f"{stock:.1f}", f"{ratio:.0f}")
    return equality, speed


@click.command(cls=Program)
@click.option("--walkthroughs", default="all", show_default=True, help="How many shipped walkthroughs, or all 274.")
@click.option("--walks", default=100, show_default=True, type=click.IntRange(0), help="How many random walks.")
@click.option("--steps", default=50, show_default=True, type=click.IntRange(0), help="Commands in a walk.")
@click.option("--seed", default=0, show_default=True, help="Seed of the walks.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the official games.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def command(
    walkthroughs: str, walks: int, steps: int, seed: int, workers: int, data: Path | None, as_json: bool
) -> None:
    """Compare our ALFWorld engine with the stock one; exit code 1 if they differ anywhere."""
    if walkthroughs != "all" and not walkthroughs.isdecimal():
        raise ConfigError(f"--walkthroughs is {walkthroughs!r}: give a number, or all")
    jobs = plan(None if walkthroughs == "all" else int(walkthroughs), walks, steps, seed, data)
    StockEngine()  # Says at once if the extra is missing.
    results = run(jobs, workers)
    total = summarise(results)
    examples = [difference for result in results for difference in result.differences][:10]
    if as_json:
        ratios = {"open_ratio": total.open_ratio, "step_ratio": total.step_ratio, "examples": examples}
        click.echo(json.dumps(total.model_dump() | ratios))
    else:
        from rich.console import Console

        console = Console()
        console.print(*tables(results), *examples, sep="\n", markup=False)
    if total.differences:
        sys.exit(1)


if __name__ == "__main__":
    command()
