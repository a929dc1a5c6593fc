"""How arms do over a run: success, dollars and tokens by thirds of its tasks, in the order they were played.

``python -m atlas.benchmarks.thirds RUN... [--about atlas]`` takes several runs of the same arms together, and pairs one
arm with the others by task. A task that several runs have counts once, as their mean.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import click

from atlas.benchmarks.program import Program
from atlas.errors import ConfigError
from atlas.records import Episode, Record, total
from atlas.stats import Interval, bootstrap, wilson
from atlas.traces.account import COLLECT, Pair, pair
from atlas.traces.reader import Run

PARTS = 3

Paid = dict[tuple[str, int], float | None]
"""Dollars of each task and seed."""


class Third(Record):
    """A part of the tasks of one arm."""

    success: Interval
    dollars: float | None
    """Per task; None where a model has no price."""
    tokens: float
    """Per task."""


class ArmThirds(Record):
    """One arm."""

    arm: str
    success: Interval
    dollars: float | None
    thirds: tuple[Third, ...]
    fell: Interval | None
    """The last third's dollars minus the first's, each as a share of what ``of`` paid for the same tasks; None where
    that arm did not play them, or has no price."""


def thirds(runs: Sequence[Sequence[Episode]], arm: str, of: str) -> ArmThirds:
    """What the thirds of ``runs`` come to, taken together: the first thirds, then the second ones, then the last."""
    parts: list[list[Episode]] = [[] for _ in range(PARTS)]
    for run in runs:
        played = [e for e in run if e.arm == arm and e.success is not None]
        for place, episode in enumerate(played):
            parts[place * PARTS // len(played)].append(episode)
    if not all(parts):
        raise ConfigError(f"the arm {arm!r} has fewer than {PARTS} scored tasks: name runs that played it")
    whole = [e for part in parts for e in part]
    compared = {(e.task.id, e.seed): _dollars(e) for run in runs for e in run if e.arm == of}
    return ArmThirds(
        arm=arm,
        success=_success(whole),
        dollars=_mean([_dollars(e) for e in whole]),
        thirds=tuple(
            Third(
                success=_success(part),
                dollars=_mean([_dollars(e) for e in part]),
                tokens=fmean(total(e.spend).tokens for e in part),
            )
            for part in parts
        ),
        fell=_fell(parts[0], parts[-1], compared),
    )


def _fell(first: Sequence[Episode], last: Sequence[Episode], of: Paid) -> Interval | None:
    shares = [[_share(e, of) for e in part] for part in (first, last)]
    known = [[share for share in part if share is not None] for part in shares]
    if any(len(part) < len(all_) for part, all_ in zip(known, shares, strict=True)):
        return None
    # Both means are resampled: tasks of different thirds are not paired.
    before, after = bootstrap(known[0]), bootstrap(known[1])
    middle = after.mean - before.mean
    down = ((after.mean - after.low) ** 2 + (before.high - before.mean) ** 2) ** 0.5
    up = ((after.high - after.mean) ** 2 + (before.mean - before.low) ** 2) ** 0.5
    return Interval(mean=middle, low=middle - down, high=middle + up, n=before.n + after.n)


def _share(episode: Episode, of: Paid) -> float | None:
    ours, theirs = _dollars(episode), of.get((episode.task.id, episode.seed))
    return ours / theirs if ours is not None and theirs else None


def _dollars(episode: Episode) -> float | None:
    return total(episode.spend).dollars


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _success(episodes: Sequence[Episode]) -> Interval:
    """By task: runs of one task are not independent."""
    tasks: dict[str, list[float]] = {}
    for episode in episodes:
        tasks.setdefault(episode.task.id, []).append(float(bool(episode.success)))
    return wilson(sum(map(fmean, tasks.values())), len(tasks))


def apart(runs: Sequence[Sequence[Episode]]) -> list[list[Episode]]:
    """The ``runs`` with another seed where an arm has played a task before: the first time of one arm pairs with the
    first time of another, whichever runs they are in."""
    times: Counter[tuple[str, str, int]] = Counter()
    seeds: dict[tuple[int, int], int] = {}

    def told(episode: Episode) -> Episode:
        key = (episode.arm, episode.task.id, episode.seed)
        times[key] += 1
        return episode.replace(seed=seeds.setdefault((times[key], episode.seed), len(seeds)))

    return [[told(episode) for episode in run] for run in runs]


@click.command(cls=Program, help="Success, dollars and tokens by thirds of a run, and one arm beside the others.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--about", default="atlas", show_default=True, help="The arm that is compared with the others.")
@click.option("--of", "of", default="teacher", show_default=True, help="Whose dollars for the same tasks are 100 %.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
def main(runs: tuple[Path, ...], about: str, of: str, as_json: bool) -> None:
    played = apart([Run(folder).results() for folder in runs])
    arms = list(dict.fromkeys(e.arm for run in played for e in run if e.arm != COLLECT))
    rows = [thirds(played, arm, of) for arm in arms]
    every = [e for run in played for e in run]
    pairs = [pair(every, about, arm) for arm in arms if arm != about and about in arms]
    if as_json:
        found = {"arms": [row.model_dump() for row in rows], "pairs": [row.model_dump() for row in pairs]}
        click.echo(json.dumps(found, indent=2))
    else:
        _print(rows, pairs, of)


def _print(rows: Sequence[ArmThirds], pairs: Sequence[Pair], of: str) -> None:
    from rich.table import Table

    from atlas.tables import console, pairs_table, percent_interval

    out = console()
    table = Table("arm", "n", "success [95 %]", "$ / task", "$ by thirds", "tokens by thirds", "success by thirds", of)
    for row in rows:
        table.add_row(
            row.arm,
            str(row.success.n),
            percent_interval(row.success),
            _money(row.dollars),
            " / ".join(_money(third.dollars) for third in row.thirds),
            " / ".join(f"{third.tokens:,.0f}" for third in row.thirds),
            " / ".join(f"{100 * third.success.mean:.0f}" for third in row.thirds),
            f"{100 * row.fell.mean:+.0f} [{100 * row.fell.low:+.0f}, {100 * row.fell.high:+.0f}]" if row.fell else "-",
        )
    out.print(table)
    out.print(f"The last column: the last third minus the first, dollars in per cent of the {of}'s for the same tasks.")
    if pairs:
        out.print(pairs_table(pairs, title="Paired by task"))


def _money(dollars: float | None) -> str:
    return "-" if dollars is None else f"{dollars:.4f}"


if __name__ == "__main__":
    main()
