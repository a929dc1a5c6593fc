"""``python -m atlas.benchmarks.excytin.logged.foreseeing RUN``: whether outcomes can be foreseen, no model called.

RUN is what ``atlas traces import excytin`` made. The chance of each run was learned from the other incidents: before
its first step, and after some. Beside it stands what the probe says without foresight, by the likeness of goals alone.
What is read and how much was chosen on incidents 34, 38 and 166; the others (``--incident 5 --incident 134``) were
looked at once, when all was fixed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import click
import numpy as np

from atlas.benchmarks.excytin.logged.tables import listing
from atlas.benchmarks.program import Program
from atlas.chances.foreseen import Quality, Stated, foreseen, quality
from atlas.chances.foresight import Past
from atlas.chances.logged import past_of
from atlas.errors import ConfigError
from atlas.memory.embed import load_embedder
from atlas.protocols import Embedder
from atlas.traces.reader import find_run

NEAREST, FLOOR = 12, 0.35
"""As the probe has them."""


def by_likeness(past: Sequence[Past], embedder: Embedder) -> list[Stated]:
    """What the probe makes of the same student's outcomes on other incidents, by the likeness of goals."""
    goals = list(dict.fromkeys(one.goal for one in past))
    vectors = dict(zip(goals, embedder.embed(goals), strict=True))
    found = []
    for one in past:
        others = [p for p in past if p.student == one.student and p.group != one.group]
        likeness = np.array([vectors[p.goal] for p in others]) @ vectors[one.goal]
        near = [i for i in np.argsort(-likeness)[:NEAREST] if likeness[i] >= FLOOR]
        weights = likeness[near]
        seen = float(weights @ np.array([others[i].success for i in near]))
        found.append(Stated(one.task, one.student, seen / (float(weights.sum()) + 0.5), one.success))
    return found


def _print(rows: Sequence[tuple[str, Quality]]) -> None:
    from atlas.tables import console, plain

    out = console()
    students = list(dict.fromkeys(name for _, row in rows for name in row.by_student))
    table = listing(
        "Chances of success, stated by what was learned on other incidents",
        ("by",),
        ("runs", "questions", "succeeded", "AUROC [95 %]", *students, "ECE"),
    )
    for name, row in rows:
        table.add_row(
            plain(name),
            str(row.episodes),
            str(row.tasks),
            f"{row.base:.3f}",
            f"{row.auroc.mean:.3f} [{row.auroc.low:.3f}, {row.auroc.high:.3f}]",
            *(f"{row.by_student[s]:.3f}" if s in row.by_student else "-" for s in students),
            f"{row.ece:.3f}",
        )
    out.print(table)
    table = listing("Stated against what happened", ("by", "stated"), ("runs", "mean stated", "happened [95 %]"))
    for name, row in rows:
        for one in row.bins:
            happened = f"{one.happened.mean:.3f} [{one.happened.low:.3f}, {one.happened.high:.3f}]"
            between = f"{one.low:g} to {one.high:g}"
            table.add_row(plain(name), between, str(one.happened.n), f"{one.stated:.3f}", happened)
    out.print(table)


@click.command(name="foreseeing", cls=Program)
@click.argument("run")
@click.option(
    "--incident", "incidents", multiple=True, type=int, help="Show only these; what is learned from stays the same."
)
@click.option("--embedder", default="minilm", show_default=True, help="As --embedder of atlas bench.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def command(run: str, incidents: tuple[int, ...], embedder: str, as_json: bool) -> None:
    """Show how well the outcomes of the logged runs in RUN are foreseen on incidents that were not learned from."""
    opened = find_run(run)
    # Files name a model with its date, or without one.
    past = [replace(one, student=one.arm) for one in past_of(opened.episodes())]
    if len({one.group for one in past}) < 3:
        raise ConfigError(
            f"the run {opened.name} has scored runs of fewer than three incidents: import more logged runs"
        )
    shown = {one.task for one in past if not incidents or one.group in {f"incident_{n}" for n in incidents}}
    loaded = load_embedder(embedder)
    found = {"likeness of goals": by_likeness(past, loaded)}
    stages = foreseen(past, loaded)
    for after, stated in sorted(stages.items()):
        found[f"foresight, after {after} steps" if after else "foresight, before the first step"] = stated
        if after:
            going = {(s.task, s.student) for s in stated}
            found[f"before the first step, of those runs ({after})"] = [
                s for s in stages[0] if (s.task, s.student) in going
            ]
    rows = []
    for name, stated in found.items():
        here = [s for s in stated if s.task in shown]
        if here:
            rows.append((name, quality(here)))
    if as_json:
        click.echo(json.dumps({"rows": [{"by": name, **row.model_dump()} for name, row in rows]}))
    else:
        _print(rows)


if __name__ == "__main__":
    command()
