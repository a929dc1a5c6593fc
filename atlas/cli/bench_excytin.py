"""``atlas bench excytin``: arms over questions about incidents, and the tables of the paper."""

from __future__ import annotations

import sys
from copy import copy
from typing import TYPE_CHECKING, Any

import click

from atlas.cli.bench import DEFAULT_ARMS, alfworld, arms_of, bench_of, played, say_unplayed, summary
from atlas.errors import ConfigError

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.results import Metered, Row
    from atlas.benchmarks.excytin.suite import Excytin
    from atlas.evaluators.verdict import Judge

SEED, TRANSFER = "seed-then-evaluate", "frozen-transfer"
_OTHERWISE: dict[str, dict[str, Any]] = {
    "split": {"default": "test", "help": "test or train questions."},
    "arms": {
        "default": None,
        "show_default": False,
        "help": "Comma-separated; NAME@N uses the first N demos, cascade:T trusts the student from score T on. "
        f"[default: {DEFAULT_ARMS}]",
    },
    "teacher": {"default": "scripted:excytin"},
    "demos": {
        "default": None,
        "show_default": False,
        "help": "Train tasks the teacher demonstrates first. [default: 200; with a preset, all train questions]",
    },
    "tasks_seed": {"help": "Which incidents are generated, which train questions come first."},
    "max_steps": {"help": "Actions per episode. [default: 25]"},
    "data": {
        "help": "Folder with questions/ and db/. [default: ATLAS_DATA for --incident below 10,000; else generated]"
    },
}
"""What the options shared with ``atlas bench alfworld`` are here."""
_ALL = 1_000_000


def _shared() -> list[click.Parameter]:
    params = []
    for param in alfworld.params:
        own = copy(param)
        vars(own).update(_OTHERWISE.get(param.name or "", {}))
        params.append(own)
    return params


@click.command("excytin", params=_shared())
@click.option(
    "--incident", type=click.IntRange(min=1), help="Only this incident, such as 5, or 10050, a generated one."
)
@click.option("--from-incident", type=click.IntRange(min=1), help="Demonstrate on this incident's train questions.")
@click.option(
    "--preset",
    type=click.Choice((SEED, TRANSFER)),
    help="The paper's protocol: demonstrations on an incident's train questions, then its test questions; or a memory "
    "from one incident, frozen, on another.",
)
@click.option("--judge", "judged_by", help="A model that judges answers, in place of rules: see 'atlas models ls'.")
@click.option("--judge-price", help="Dollars per million tokens: PROMPT/COMPLETION[/CACHED].")
@click.option(
    "--layer",
    type=click.Choice(("alert", "log", "alert_only")),
    default="alert",
    show_default=True,
    help="Tables the agent sees, as the benchmark names them.",
)
@click.option("--mysql", help="URL of a MySQL or MariaDB database with the incident's tables, in place of the files.")
@click.option(
    "--rows", type=click.IntRange(min=0), default=5_000, show_default=True, help="Noise in a generated incident."
)
def excytin(**options: Any) -> None:
    """Questions about security incidents, answered by SQL: the benchmark's, or generated ones without a download."""
    _apply_preset(options)
    arms_of(options)  # before incidents are generated
    judge = _judge(options["judged_by"], options["judge_price"])
    suite = _suite(options, judge)
    # Written and checked before there is a run: an incident that does not exist leaves no folder behind.
    order = [ref.id for ref in suite.tasks(options["split"], options["n"], options["tasks_seed"])]
    if options["demos"] is None:
        options["demos"] = len(suite.demo_tasks(options["split"], _ALL, options["tasks_seed"]))
    elif options["demos"]:
        suite.demo_tasks(options["split"], options["demos"], options["tasks_seed"])
    bench = bench_of(suite, options)
    if label := suite.label():
        # A note of the run: reports and 'atlas traces show' tell it too.
        bench.about["notes"] = [f"Rows: {label}."]
        click.echo(f"Rows: {label}.", err=True)
    if not played(bench, as_json=options["as_json"]):
        say_unplayed(bench)
        return
    from atlas.benchmarks.excytin.results import rows
    from atlas.traces import Run

    found = rows(Run(bench.folder).results(), order)
    used = judge.used.model_dump(mode="json") if judge is not None else None
    more = {"excytin": {"rows": suite.label(), "arms": [r.model_dump(mode="json") for r in found], "judging": used}}
    summary(bench.folder, as_json=options["as_json"], more=more)
    if not options["as_json"]:
        _show(found, suite.label(), judge)
    say_unplayed(bench)


def _apply_preset(options: dict[str, Any]) -> None:
    """The paper's protocols as values of other options; what was given on the command line stays."""
    from atlas.benchmarks.arms import GROWING, split_name
    from atlas.benchmarks.excytin.incidents import FIRST, PER_SPLIT

    preset = options["preset"]
    real = options["data"] is not None
    if options["from_incident"] is not None and preset == SEED:
        raise ConfigError(f"--preset {SEED} demonstrates on the incident itself: leave out --from-incident")
    if preset is not None and options["incident"] is None:
        if real:
            raise ConfigError(f"--preset {preset} is about one incident: name it with --incident N")
        options["incident"] = FIRST + PER_SPLIT
    if preset == TRANSFER and options["memory"] is None and options["from_incident"] is None:
        # Incident 5 is where the paper's memory comes from.
        options["from_incident"] = 5 if options["incident"] < FIRST else FIRST
    options["arms"] = options["arms"] or DEFAULT_ARMS
    names = [split_name(arm.strip())[0] for arm in options["arms"].split(",") if arm.strip()]
    if preset == TRANSFER and (growing := [name for name in names if name in GROWING]):
        raise ConfigError(f"--preset {TRANSFER} keeps the memory as it is, and the arm {growing[0]!r} adds to it")
    if options["demos"] is None and preset is None:
        options["demos"] = 200
    elif options["demos"] is None and preset == TRANSFER and options["memory"] is not None:
        options["demos"] = 0


def _judge(name: str | None, price: str | None) -> Metered | None:
    if name is None:
        if price is not None:
            raise ConfigError("--judge-price is the price of --judge: give that too")
        return None
    from atlas.benchmarks.excytin.model_judge import ExcytinModelJudge
    from atlas.benchmarks.excytin.results import Metered
    from atlas.models import load

    return Metered(ExcytinModelJudge(load(name, price=price)))


def _suite(options: dict[str, Any], judge: Judge | None) -> Excytin:
    from atlas.benchmarks.excytin.layers import as_layer
    from atlas.benchmarks.excytin.suite import Excytin

    return Excytin(
        options["data"],
        options["incident"],
        seeds_from=options["from_incident"],
        judge=judge,
        layer=as_layer(options["layer"]),
        mysql=options["mysql"],
        rows=options["rows"],
        told=_Lines(),
    )


class _Lines:
    """Progress on standard error, one line rewritten on a terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        done, _, of = text.partition(": ")[2].removesuffix(" rows").partition(" of ")
        if self._terminal:
            click.echo(f"\r{text}", err=True, nl=done == of)
        elif done == of:
            click.echo(text, err=True)


def _show(found: list[Row], label: str, judge: Metered | None) -> None:
    from rich import box
    from rich.table import Table

    from atlas.cli.tables import console, money, percent, percent_interval, plain

    title = "As in the paper: success at a reward of 0.4; tokens and dollars a question" + (
        f"   ({label})" if label else ""
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", style="bold", no_wrap=True)
    phases = max((row.phases for row in found), key=lambda those: len(those), default=())
    heads = [f"tokens\n{phase.first}-{phase.last}" for phase in phases]
    for name in ("n", "reward [95 %]", "success [95 %]", "right", *heads, "dollars\nof all", "teacher's\nshare"):
        table.add_column(name, justify="right", no_wrap=name.endswith("[95 %]"))
    for row in found:
        tokens = {phase.first: f"{phase.tokens:,.0f}" for phase in row.phases}
        teacher = sum(s.usage.dollars or 0.0 for s in row.spend if s.actor == "teacher")
        whole = sum(s.usage.dollars or 0.0 for s in row.spend)
        table.add_row(
            plain(row.arm),
            str(row.questions),
            f"{row.reward.mean:.3f} [{row.reward.low:.3f}, {row.reward.high:.3f}]",
            percent_interval(row.solved),
            percent(row.right.mean),
            *(tokens.get(phase.first, "") for phase in phases),
            money(row.dollars),
            percent(teacher / whole) if whole else "-",
        )
    out = console()
    out.print(table)
    if judge is not None:
        out.print(f"Judging cost {money(judge.used.dollars)} in {judge.used.calls:,} calls, besides.", markup=False)
