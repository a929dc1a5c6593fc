"""A memory from one incident, frozen, on others: what entries, demonstrations and both are worth there, with controls.

``python -m atlas.benchmarks.transfer -o runs/transfer --data FOLDER`` seeds a memory on an incident's train questions
and plays its test questions, freezes that memory, and plays the test questions of other incidents with copies of it.
It calls ``atlas`` for each, so each can be repeated by hand; what is there already is not played again.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import click

from atlas.benchmarks.arms import played
from atlas.benchmarks.program import Listed, Program
from atlas.benchmarks.recipes import Job, work
from atlas.errors import ConfigError
from atlas.folders import check_writable
from atlas.memory.backend import existing
from atlas.records import Record
from atlas.stats import Interval, bounded_mean
from atlas.traces.reader import Run

ARMS = (
    "student",
    "pamphlets",
    "pamphlets-shuffled",
    "pamphlets-whole",
    "icd",
    "both",
    "both-shuffled",
    "both-whole",
)
"""No memory, entries, demonstrations, both; and controls: cues with the advice of others, all of it in every prompt."""
TOKENS = 700
"""What entries may take of a prompt: a procedure of four queries takes 150."""
RESAMPLES = 10_000

Played = Mapping[str, Mapping[str, float]]
"""Success of each question, orders at their mean, by arm."""


@dataclass
class Transfer:
    """All runs of it."""

    out: Path
    source: int
    targets: Sequence[int]
    orders: Sequence[int]
    """Orders in which the train questions are demonstrated: a memory for each."""
    arms: Sequence[str] = ARMS
    data: Path | None = None
    memory: Path | None = None
    """One that is there already, in place of those that are seeded."""
    demos: int | None = None
    n: int | None = None
    tokens: int = TOKENS
    jobs: dict[str, Job] = field(default_factory=dict)

    def make(self) -> dict[str, Job]:
        """The jobs by name, in an order in which each comes after what it needs."""
        if self.source in self.targets:
            raise ConfigError(f"a memory from incident {self.source} is no transfer there: leave it out of --to")
        self.jobs = {}
        for order in self.orders:
            self._order(order)
        return self.jobs

    def check(self) -> None:
        """Whether what is given is there, told before any run. Raises an error of ours for the first that is not."""
        check_writable(self.out)
        for arm in self.arms:
            played(arm)
        if self.memory is not None:
            existing(str(self.memory))
        self._check_data()

    def _check_data(self) -> None:
        """Of the incidents that are to be played yet."""
        from atlas.benchmarks.excytin.suite import Excytin

        needed = {} if self.memory is not None else {self.source: ("train", "test")}
        for incident, splits in {**needed, **dict.fromkeys(self.targets, ("test",))}.items():
            if not all((self.run(order, incident) / "done").exists() for order in self.orders):
                Excytin(self.data, incident).check(splits)

    def run(self, order: int, incident: int) -> Path:
        return self.out / "runs" / f"{incident}-order{order}"

    def _order(self, order: int) -> None:
        learned = self.memory or self.run(order, self.source) / "memory.sqlite"
        needs: tuple[str, ...] = ()
        if self.memory is None:
            seeded = f"{self.source}-order{order}"
            more = ["--preset", "seed-then-evaluate", "--arms", ",".join([*self.arms, "teacher"])]
            more += ["--demos", str(self.demos)] if self.demos is not None else []
            self._bench(order, self.source, more, (), None)
            needs = (seeded,)
        for incident in self.targets:
            copy = self.out / "memories" / f"{incident}-order{order}.sqlite"
            frozen = self.out / "frozen" / f"{incident}-order{order}"
            freeze = f"freeze-{incident}-order{order}"
            # A copy for each, as a run notes in its memory what it did.
            self.jobs[freeze] = Job(freeze, ("memory", "freeze", str(copy)), frozen / "done", needs, (learned, copy))
            more = ["--preset", "frozen-transfer", "--memory", str(copy), "--arms", ",".join(self.arms)]
            self._bench(order, incident, more, (freeze,), None)

    def _bench(
        self, order: int, incident: int, more: Sequence[str], needs: tuple[str, ...], copies: tuple[Path, Path] | None
    ) -> None:
        run = self.run(order, incident)
        argv = ["bench", "excytin", "--incident", str(incident), *more, "--tasks-seed", str(order)]
        argv += ["--guidance-tokens", str(self.tokens), "-o", str(run)]
        argv += ["--data", str(self.data)] if self.data is not None else []
        argv += ["--n", str(self.n)] if self.n is not None else []
        self.jobs[run.name] = Job(run.name, tuple(argv), run / "done", needs, copies)

    def played(self, incident: int) -> dict[str, dict[str, float]]:
        """What was played of an incident, as :data:`Played`."""
        found: dict[str, dict[str, list[float]]] = {}
        for order in self.orders:
            folder = self.run(order, incident)
            if not (folder / "done").exists():
                continue
            for episode in Run(folder).results():
                if episode.arm in (*self.arms, "teacher") and episode.success is not None:
                    found.setdefault(episode.arm, {}).setdefault(episode.task.id, []).append(float(episode.success))
        return {arm: {task: fmean(runs) for task, runs in tasks.items()} for arm, tasks in found.items()}


class ArmRow(Record):
    """An arm on all incidents."""

    arm: str
    by_incident: dict[str, float]
    """Share of questions solved."""
    mean: Interval
    """Of the incidents' shares, each incident counting once; questions drawn within incidents."""
    gain: Interval | None = None
    """Minus no memory, paired by question; None for that arm itself."""
    questions: int


def rows(played: Mapping[str, Played], base: str = "student") -> list[ArmRow]:
    """A row per arm that was played on every incident; ``played`` by incident."""
    arms = [arm for arm in next(iter(played.values()), {}) if all(arm in of for of in played.values())]
    found = []
    for arm in arms:
        values = [list(of[arm].values()) for of in played.values()]
        gains = [[of[arm][t] - of[base][t] for t in of[arm] if t in of.get(base, {})] for of in played.values()]
        paired = arm != base and all(gains)
        found.append(
            ArmRow(
                arm=arm,
                by_incident={name: fmean(each) for name, each in zip(played, values, strict=True)},
                mean=stratified(values),
                gain=stratified(gains, within=(-1.0, 1.0)) if paired else None,
                questions=sum(map(len, values)),
            )
        )
    return found


def stratified(
    groups: Sequence[Sequence[float]], *, within: tuple[float, float] = (0.0, 1.0), seed: int = 0
) -> Interval:
    """The mean of the groups' means, by the bootstrap within groups; what all say alike has an interval as well."""
    import numpy as np

    together = [value for group in groups for value in group]
    if min(together) == max(together):
        return bounded_mean(together, within=within)
    rng = np.random.default_rng(seed)
    drawn = np.zeros(RESAMPLES)
    for group in groups:
        values = np.asarray(group, dtype=float)
        drawn += values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn / len(groups), (0.025, 0.975))
    mean = fmean(map(fmean, groups))
    return Interval(mean=mean, low=float(low), high=float(high), n=sum(map(len, groups)))


@click.command(cls=Program, help="Learn on one incident of ExCyTIn-Bench, freeze the memory, and play others with it.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Runs and memories; goes on there.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder with questions/ and db/. [default: ATLAS_DATA]")
@click.option("--from", "source", default=5, show_default=True, type=click.IntRange(min=1), help="Learned on this one.")
@click.option(
    "--to",
    "targets",
    type=Listed(click.IntRange(1)),
    default="34,38,134,166",
    show_default=True,
    help="Incidents, comma-separated.",
)
@click.option(
    "--orders",
    type=Listed(click.INT),
    default="0",
    show_default=True,
    help="Of train questions: a memory and its runs for each.",
)
@click.option("--arms", type=Listed(), default=",".join(ARMS), show_default=True, help="Comma-separated.")
@click.option("--memory", type=click.Path(path_type=Path), help="Learned elsewhere: nothing is seeded.")
@click.option("--demos", type=click.IntRange(min=1), help="Train questions demonstrated. [default: all]")
@click.option("--n", type=click.IntRange(min=1), help="So many test questions of each. [default: all]")
@click.option(
    "--guidance-tokens",
    "tokens",
    type=click.IntRange(0),
    default=TOKENS,
    show_default=True,
    help="Entries may take of a prompt.",
)
@click.option("--jobs", default=1, type=click.IntRange(min=1), show_default=True, help="Runs at once.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
def main(jobs: int, as_json: bool, **options: object) -> None:
    transfer = Transfer(**options)  # type: ignore[arg-type]
    made = transfer.make()
    transfer.check()
    failed = work(made, jobs)
    home = {str(transfer.source): transfer.played(transfer.source)} if transfer.memory is None else {}
    away = {str(n): transfer.played(n) for n in transfer.targets}
    tables = {"own": rows(home), "others": rows(away)}
    if as_json:
        told = {name: [row.model_dump(mode="json") for row in found] for name, found in tables.items()}
        click.echo(json.dumps({**told, "failed": failed}, indent=2))
    else:
        _print(tables, failed, transfer.source)
    if failed:
        sys.exit(1)


def _print(tables: Mapping[str, Sequence[ArmRow]], failed: Mapping[str, str], source: int) -> None:
    from rich.table import Table

    from atlas.tables import console, percent, percent_interval, points_interval

    out = console()
    titles = {"own": f"incident {source}, where the memory was learned", "others": f"others, memory of {source} frozen"}
    for name, found in tables.items():
        if not found:
            continue
        table = Table("arm", *found[0].by_incident, "mean [95 %]", "- student, points", title=titles[name])
        for row in found:
            shares = map(percent, row.by_incident.values())
            gain = points_interval(row.gain) if row.gain else ""
            table.add_row(row.arm, *shares, percent_interval(row.mean), gain)
        out.print(table)
        out.print(f"{found[0].questions} questions; solved is a reward of 0.4 by the rule judge.", markup=False)
    for name, why in failed.items():
        out.print(f"{name}: {why}", markup=False)


if __name__ == "__main__":
    # Who ends this process means its children as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
