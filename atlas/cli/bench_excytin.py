"""``atlas bench excytin``: arms over questions about incidents, and the tables of the paper."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from atlas.benchmarks.excytin.options import SEED, TRANSFER, ExcytinOptions
from atlas.cli.bench import bench_of, cast_of, made_again, played, say_unplayed, summary
from atlas.cli.bench_options import BenchCommand, read, typed
from atlas.errors import ConfigError

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.results import Metered, ResultRow
    from atlas.benchmarks.excytin.suite import Excytin
    from atlas.evaluators.verdict import Judge

_ALL = 1_000_000


def excytin(**given: Any) -> None:
    """Questions about security incidents, answered by SQL: the benchmark's, or generated ones without a download."""
    # Refused before incidents are generated.
    options = _with_preset(read(ExcytinOptions, given))
    judge, players = _judge(options), cast_of(options)
    suite = _suite(options, judge)
    # Written and checked before there is a run: an incident that does not exist leaves no folder behind.
    order = [ref.id for ref in suite.tasks(options.split, options.n, options.tasks_seed)]
    if options.demos:
        demos = len(suite.demo_tasks(options.split, options.demos, options.tasks_seed))
        options = replace(options, demos=demos) if options.demos == _ALL else options
    bench = bench_of(suite, options, players)
    bench.makes = partial(made_again, partial(_suite_again, options), options)
    if label := suite.label():
        # A note of the run: reports and 'atlas traces show' tell it too.
        bench.about["notes"] = [f"Rows: {label}."]
        click.echo(f"Rows: {label}.", err=True)
    if not played(bench, as_json=options.as_json):
        say_unplayed(bench)
        return
    from atlas.benchmarks.excytin.results import rows
    from atlas.records import total
    from atlas.traces import Run

    found = rows(Run(bench.place).results(), order)
    if judge is not None and options.ray is not None:
        # It was asked in the workers: what it used is in the verdicts, those of an earlier command's episodes too.
        judge.used = total(s for e in Run(bench.place).results() if e.verdict is not None for s in e.verdict.spend)
    used = judge.used.model_dump(mode="json") if judge is not None else None
    more = {"excytin": {"rows": suite.label(), "arms": [r.model_dump(mode="json") for r in found], "judging": used}}
    summary(bench.place, as_json=options.as_json, more=more)
    if not options.as_json:
        _show(found, suite.label(), judge)
    say_unplayed(bench)


command = BenchCommand("excytin", excytin, ExcytinOptions, excytin.__doc__)


def _with_preset(options: ExcytinOptions) -> ExcytinOptions:
    """The paper's protocols as values of other options; what was given on the command line stays."""
    from atlas.benchmarks.arms import all_played
    from atlas.benchmarks.excytin.incidents import FIRST, PER_SPLIT

    preset, incident, source, demos = options.preset, options.incident, options.from_incident, options.demos
    if source is not None and preset == SEED:
        raise ConfigError(f"--preset {SEED} demonstrates on the incident itself: leave out --from-incident")
    if preset is not None and incident is None:
        if options.data is not None:
            raise ConfigError(f"--preset {preset} is about one incident: name it with --incident N")
        incident = FIRST + PER_SPLIT
    if preset == TRANSFER and options.memory is None and source is None:
        # Incident 5 is where the paper's memory comes from.
        source = 5 if incident is not None and incident < FIRST else FIRST
    growing = [arm.name for arm in all_played(options.arms) if arm.arm.grows]
    if preset == TRANSFER and growing:
        raise ConfigError(f"--preset {TRANSFER} keeps the memory as it is, and the arm {growing[0]!r} adds to it")
    if preset is not None and not typed("demos"):
        demos = 0 if preset == TRANSFER and options.memory is not None else _ALL
    return replace(options, incident=incident, from_incident=source, demos=demos)


def _judge(options: ExcytinOptions) -> Metered | None:
    if options.judge is None:
        if options.judge_price is not None:
            raise ConfigError("--judge-price is the price of --judge: give that too")
        return None
    from atlas.benchmarks.excytin.model_judge import ExcytinModelJudge
    from atlas.benchmarks.excytin.results import Metered
    from atlas.models import load

    return Metered(ExcytinModelJudge(load(options.judge, price=options.judge_price)))


def _suite_again(options: ExcytinOptions) -> Excytin:
    return _suite(options, _judge(options))


def _suite(options: ExcytinOptions, judge: Judge | None) -> Excytin:
    from atlas.benchmarks.excytin.layers import as_layer
    from atlas.benchmarks.excytin.suite import Excytin

    return Excytin(
        options.data,
        options.incident,
        seeds_from=options.from_incident,
        judge=judge,
        layer=as_layer(options.layer),
        mysql=options.mysql,
        rows=options.rows,
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


def _show(found: list[ResultRow], label: str, judge: Metered | None) -> None:
    from rich import box
    from rich.table import Table

    from atlas.figures import figure
    from atlas.tables import console, money, percent_interval, plain

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
            f"{figure(row.right.mean)} %",
            *(tokens.get(phase.first, "") for phase in phases),
            money(row.dollars),
            f"{figure(teacher / whole)} %" if whole else "-",
        )
    out = console()
    out.print(table)
    if judge is not None:
        out.print(f"Judging cost {money(judge.used.dollars)} in {judge.used.calls:,} calls, besides.", markup=False)
