"""``atlas trust judge``: how well a trained judge of steps foretells how episodes end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.errors import DataError

if TYPE_CHECKING:
    from atlas.stats import Interval
    from atlas.traces.reader import StoredEpisode
    from atlas.train.critic import StepCritic
    from atlas.trained.trajectory import Trajectory
    from atlas.trust.critic import CriticRow

READING = (
    "AUROC: the chance that a success is given more than a failure; guessing has 0.5. Steps alone: the same of a judge "
    "that only counts steps, fewer being better. Same step: only steps of one number are compared, where counting does "
    "not help. Base rate's: the loss of always saying the share that succeeded. Intervals: bootstrap over tasks."
)


@click.command("judge")
@click.argument("run")
@click.option(
    "--judge",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of a judge that 'atlas train judge' wrote.",
)
@click.option("--arm", help="Only this arm.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def judge(run: str, folder: Path, arm: str | None, as_json: bool) -> None:
    """Show how well a judge of steps foretells the outcome of the episodes of a RUN: at each third of them, and among
    those that came to the same step.

    Episodes of tasks that it was trained on are left out.
    """
    from atlas.regrade import finished
    from atlas.traces.reader import find_run
    from atlas.trust.critic import Foretold, critic_rows

    loaded = load_critic(folder)
    opened = find_run(run)
    judged, trained_on, unscored = [], 0, 0
    for episode in finished(opened, arm):
        success = episode.result.success if episode.result else None
        if loaded.knows(episode.task.id):
            trained_on += 1
        elif success is None or (trajectory := acted(episode)) is None:
            unscored += 1
        else:
            chances = tuple(loaded.chances(trajectory))
            judged.append(Foretold(arm=episode.arm, task=episode.task.id, success=success, chances=chances))
    if not judged:
        raise DataError(
            f"{opened.name} has no episode{f' of the arm {arm!r}' if arm else ''} to measure {folder} on: "
            f"{trained_on} are of tasks that it was trained on, {unscored} have no score or no action; play other tasks"
        )
    rows = critic_rows(judged)
    recorded = loaded.knows("") is not None
    if as_json:
        told = {
            "run": opened.name,
            "judge": str(folder),
            "episodes": len(judged),
            "trained_on": trained_on if recorded else None,
            "unscored": unscored,
            "rows": [row.model_dump(mode="json") for row in rows],
        }
        click.echo(json.dumps(told, indent=2))
    else:
        _print(rows, trained_on if recorded else None, unscored)


def load_critic(folder: Path) -> StepCritic:
    """The judge in ``folder``. Raises DataError where there is none, MissingExtra without torch."""
    from atlas.trained.student import need_torch

    need_torch()
    from atlas.train.critic import StepCritic

    return StepCritic(folder)


def acted(episode: StoredEpisode) -> Trajectory | None:
    """What was seen and done in the last attempt, up to its last action; None where nothing was done."""
    from atlas.trained.trajectory import Moment, Trajectory

    last = max((step.attempt for step in episode.steps), default=0)
    moments = [Moment(observation=s.observation, action=s.decision.action) for s in episode.steps if s.attempt == last]
    while moments and not moments[-1].action:
        moments.pop()
    task = episode.task
    return Trajectory(task=task.id, goal=task.goal, moments=tuple(moments)) if moments else None


def _print(rows: Sequence[CriticRow], trained_on: int | None, unscored: int) -> None:
    from rich import box
    from rich.table import Table

    from atlas.tables import console, plain

    out = console()
    title = "Judge of steps, by third of the episode and at the same step [95 %]"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, title_style="bold")
    table.add_column("arm", overflow="fold")
    table.add_column("part", no_wrap=True)
    for name in ("succeeded", "AUROC", "AUROC of\nsteps alone", "log loss", "base\nrate's"):
        table.add_column(name, justify="right", no_wrap=True)
    before = None
    for row in rows:
        table.add_row(
            plain(row.arm if row.arm != before else ""),
            row.part,
            f"{row.succeeded:,} of {row.episodes:,}",
            _shown(row.auroc),
            _shown(row.clock),
            _shown(row.loss),
            f"{row.base:.2f}",
        )
        before = row.arm
    out.print(table)
    if trained_on is None:
        out.print(plain("Its folder does not say on which tasks it was trained: see that these are others.", "yellow"))
    elif trained_on:
        out.print(plain(f"Left out: {trained_on:,} episodes of tasks that it was trained on.", "yellow"))
    if unscored:
        out.print(plain(f"Left out: {unscored:,} episodes without a score or an action.", "yellow"))
    out.print(plain(READING, "dim"))


def _shown(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
