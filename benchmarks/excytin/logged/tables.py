"""``python -m atlas.benchmarks.excytin.logged.tables RUN``: what logged runs say, with no model called.

Mean rewards by model and incident beside the published ones, and what cascades of the models would have scored and
cost. RUN is what ``atlas traces import excytin`` made, or any run whose tasks are questions of the benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from atlas.benchmarks.excytin import data as data_files
from atlas.benchmarks.excytin.agreement import held_out
from atlas.benchmarks.excytin.logged.cascade import CascadeRow, cascade_rows, runs_of
from atlas.benchmarks.excytin.logged.means import MeanRow, mean_rows
from atlas.benchmarks.excytin.logged.published import QUESTIONS
from atlas.benchmarks.excytin.recorded import question_hash
from atlas.benchmarks.program import Program
from atlas.errors import ConfigError
from atlas.figures import figure
from atlas.stats import Interval
from atlas.traces.reader import find_run

CHEAP = ("gpt-4.1-nano", "gpt-4.1-mini")
STRONG = "gpt-4.1"


def _print(means: Sequence[MeanRow], cascades: Sequence[CascadeRow], notes: Sequence[str]) -> None:
    from atlas.tables import console, money, plain

    out = console()
    for note in notes:
        out.print(plain(note, "dim"))
    table = listing(
        "Mean reward by model and incident",
        ("model", "incident", "published / compared"),
        ("questions", "reward [95 %]", "reward 1", ">= 0.4", "steps", "$/question (priced)"),
    )
    for m in means:
        every = m.incident is None
        published = "-" if m.published is None else f"{m.published:.3f}"
        table.add_row(
            plain(m.model, "bold" if every else ""),
            "all of the run" if every else str(m.incident),
            plain(f"{published}  {m.compared}"),
            f"{m.questions}" if m.of is None else f"{m.questions}/{m.of}",
            _figure(m.reward),
            f"{figure(m.right.mean, 1)} %",
            f"{figure(m.credited.mean, 1)} %",
            f"{m.steps:.1f}",
            "unpriced" if m.dollars is None else f"{money(m.dollars)} ({m.priced})",
        )
    out.print(table)
    if cascades:
        _print_cascades(out, cascades)


def _print_cascades(out: Any, rows: Sequence[CascadeRow]) -> None:
    from atlas.tables import money, percent

    table = listing(
        "Cascades from the logged runs: score (random routing: its expectation at the same share)",
        ("rule", "cheap -> strong"),
        ("questions", "to strong", "cheap", "strong", "cascade", "random", "cascade - random [95 %]"),
    )
    for r in rows:
        table.add_row(
            r.rule,
            f"{' + '.join(r.cheap)} -> {r.strong}",
            str(r.questions),
            percent(r.share.mean),
            f"{r.cheap_score.mean:.3f}",
            f"{r.strong_score.mean:.3f}",
            _figure(r.score),
            f"{r.random_score.mean:.3f}",
            _figure(r.gain, sign=True),
        )
    out.print(table)
    priced = [r for r in rows if r.dollars and r.strong_dollars and r.random_dollars and r.gain_at_cost]
    if not priced:
        out.print("dollars: no question has logged tokens for all models of a cascade")
        return
    table = listing(
        "Cascades: dollars a question, all models asked included",
        ("rule", "cheap -> strong"),
        ("questions", "strong alone", "cascade", "random, same share", "cascade - random, same $ [95 %]"),
    )
    for r in priced:
        if r.dollars and r.strong_dollars and r.random_dollars and r.gain_at_cost:
            table.add_row(
                r.rule,
                f"{' + '.join(r.cheap)} -> {r.strong}",
                str(r.questions),
                money(r.strong_dollars.mean),
                money(r.dollars.mean),
                money(r.random_dollars.mean),
                _figure(r.gain_at_cost, sign=True),
            )
    out.print(table)


def listing(title: str, left: Sequence[str], right: Sequence[str]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, title_style="bold")
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def _figure(interval: Interval, *, sign: bool = False) -> str:
    form = "+.3f" if sign else ".3f"
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _held_out(folder: Path | None) -> set[str]:
    """The ids of the questions that the rule judge was not tuned on."""
    place = data_files.folder(folder)
    return {
        q.id
        for split in data_files.SPLITS
        for number in QUESTIONS
        if any((place / "questions" / split).glob(f"incident_{number}_*.json"))
        for q in data_files.questions(number, split, place)
        if held_out(question_hash(q.model_dump()))
    }


@click.command(name="tables", cls=Program)
@click.argument("run", type=str)
@click.option(
    "--cheap", multiple=True, default=CHEAP, show_default=True, help="A cheap model; the last one's word counts."
)
@click.option("--strong", default=STRONG, show_default=True, help="The model that is asked where they give cause.")
@click.option("--held-out", "only_held_out", is_flag=True, help="Cascades: only questions that no rule was tuned on.")
@click.option("--data", type=click.Path(path_type=Path), help="With --held-out: folder with questions/.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def command(
    run: str, cheap: tuple[str, ...], strong: str, only_held_out: bool, data: Path | None, as_json: bool
) -> None:
    """Show mean rewards beside the published ones, and cascades, from the logged runs in RUN.

    What rules read in answers was tuned on some of the very questions that were logged: see --held-out.
    """
    opened = find_run(run)
    episodes = opened.episodes()
    means = mean_rows([e.result for e in episodes if e.result is not None])
    if not means:
        raise ConfigError(f"the run {opened.name} has no scored question of the benchmark: import logged runs first")
    asked = [e for e in episodes if e.arm in (*cheap, strong)]
    if only_held_out:
        kept = _held_out(data)
        asked = [e for e in asked if e.task.id in kept]
    runs = runs_of(asked)
    # The trials of a cheap model are cheap runs of their own: where there are several, it may agree with itself.
    actors = [actor for model in cheap for actor in runs if actor.split("#")[0] == model]
    cascades = cascade_rows(runs, actors, strong) if strong in runs else []
    notes = [str(note) for note in opened.about.get("notes") or ()]
    if only_held_out:
        notes.append("cascades: only the questions that the rules which read answers were not tuned on")
    if not cascades:
        notes.append(f"no cascade: the run has no questions that {strong} and one of {', '.join(cheap)} were asked")
    if as_json:
        rows = {"means": [m.model_dump() for m in means], "cascades": [c.model_dump() for c in cascades]}
        click.echo(json.dumps({"notes": notes, **rows}))
    else:
        _print(means, cascades, notes)


if __name__ == "__main__":
    command()
