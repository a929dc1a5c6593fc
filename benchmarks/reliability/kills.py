"""kill -9 at random moments of runs and of each command that writes, and what the same command makes of it then.

What a command leaves, when it was killed and called again until it had done its work, is compared with what it leaves
undisturbed: results, steps and dollars of a run, all that a memory holds, every file.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

from atlas.benchmarks.perf.table import Aim, Cell, Table
from atlas.benchmarks.reliability import children, kills_ray, kills_serve
from atlas.benchmarks.reliability.children import Failed
from atlas.benchmarks.reliability.plan import SERVER, Plan, scratch, server
from atlas.benchmarks.reliability.trials import Trials
from atlas.benchmarks.reliability.works import WORKS, Work, Wrong, copied

USUAL = 20
_AGAIN = 0.5
"""The chance that what goes on after a kill is killed as well."""
_LATE = 1.1
"""Kills are drawn from so many times what the command takes, as it takes longer now and then."""


Row = Callable[[Plan], tuple[Cell, ...]]


def measure(plan: Plan) -> Table:
    """``plan.n`` kills of each."""
    rows: list[tuple[Cell, ...]] = []
    notes = []
    wanted = {name: row for name, row in _rows().items() if plan.wanted(name)}
    for place, (name, (needed, row)) in enumerate(wanted.items()):
        if needed:
            notes.append(f"{name}: not measured, it needs {needed}")
        elif plan.late:
            notes.append(f"{name}: not measured, the time was over")
        else:
            rows.append(row(plan.part(len(wanted) - place)))
    wrong = sum(int(row[4] or 0) for row in rows)
    return Table(
        name="kills",
        title="kill -9 at random moments",
        columns=("what", "undisturbed s", "kills", "finished", "not as undisturbed", "paid, in no account", "first"),
        rows=tuple(rows),
        aims=(Aim(what="outcomes that are not the undisturbed one's", limit=0, measured=float(wrong)),),
        note=". ".join(
            [
                "Killed and called again until it has done its work; 'finished': how often it had",
                "Compared are results, steps and dollars of each episode, everything a memory holds, every file",
                "Of a server: what it had answered and acknowledged, at each kill and at the end, and what its "
                "provider billed beside what the run knows: what was under way may be billed and in no account",
                *notes,
            ]
        ),
    )


def _rows() -> dict[str, tuple[str, Row]]:
    """By name: what it needs and does not have, and what measures it."""
    found: dict[str, tuple[str, Row]] = {work.name: (missing(work), partial(_row, work)) for work in WORKS}
    for name, remote in kills_serve.PLACES.items():
        found[name] = (SERVER if remote and server() is None else "", partial(kills_serve.row, name, remote))
    ray = "" if importlib.util.find_spec("ray") else "the package ray"
    return {**found, **{name: (ray, partial(kills_ray.row, name)) for name in kills_ray.ROWS}}


def missing(work: Work) -> str:
    """What is needed to measure it and is not there; empty where nothing is."""
    for module in work.needs:
        if importlib.util.find_spec(module) is None:
            return f"the package {module}"
    return SERVER if "psycopg" in work.needs and server() is None else ""


def _row(work: Work, plan: Plan) -> tuple[Cell, ...]:
    trials = Trials(work.name, plan, plan.size(USUAL))
    with scratch() as root, own_settings():
        template = root / "template"
        template.mkdir()
        (template / "place").touch()
        children.load(work.loads)
        work.prepare(template)
        with work.place() as place:
            folder = copied(template, root / "first", place)
            children.warmed(work.work(folder), folder, root / "first.said", work.codes)
        with work.place() as place:
            folder = copied(template, root / "plain", place)
            seconds = children.run(work.work(folder), folder, root / "plain.said", work.codes)
            right = work.outcome(folder)
        for trial in trials:
            at = root / f"at-{trial.number}"
            with work.place() as place:
                folder, said = copied(template, at, place), at.with_suffix(".said")
                try:
                    for went in _kills(work, folder, said, seconds, trial.chance, trials.left):
                        trial.kills += went
                    children.run(work.work(folder), folder, said, work.codes)
                    left = work.outcome(folder)
                    if left != right:
                        trial.wrong = differing(right, left)
                except (Failed, Wrong) as error:
                    trial.wrong = str(error)
            if not trial.wrong:
                shutil.rmtree(at)
    return trials.row(seconds)


def _kills(work: Work, folder: Path, said: Path, seconds: float, chance: Random, most: int) -> Iterator[bool]:
    """Kill it once, and what goes on after it now and then; whether it was still at work."""
    for _ in range(most):
        went = children.killed(work.work(folder), folder, said, chance.uniform(0, _LATE * seconds), work.codes)
        yield went
        work.between(folder)
        if chance.random() > _AGAIN:
            return


def differing(right: object, left: object) -> str:
    """The first part of two outcomes that is not the same."""
    if isinstance(right, list) and isinstance(left, list):
        if len(right) != len(left):
            return f"{len(left)} parts in place of {len(right)}"
        for one, other in zip(right, left, strict=True):
            if one != other:
                return differing(one, other)
    if isinstance(right, dict) and isinstance(left, dict):
        names = [name for name in {**right, **left} if right.get(name) != left.get(name)]
        return f"another {', '.join(names[:3])}"
    return f"{left} in place of {right}"


@contextmanager
def own_settings() -> Iterator[None]:
    """Names of models and keys are those of nobody else while this is measured."""
    before = dict(os.environ)
    os.environ["ATLAS_CONFIG"] = "config"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
