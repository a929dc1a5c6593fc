"""``atlas bench``: arms over a benchmark's tasks, live, resumable, compared pair by pair."""

from __future__ import annotations

import asyncio
import importlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from atlas.benchmarks.arms import Cast
    from atlas.benchmarks.bench import Bench
    from atlas.policies import LaneRules
    from atlas.records import Episode

DEFAULT_ARMS = "student,icd,cascade,teacher,random-route"
Seen = Callable[[str, "Sequence[Episode]"], None]


class Benchmarks(click.Group):
    """Benchmarks besides those of this module have one each, which shares its options and is loaded when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in ELSEWHERE:
            return super().get_command(ctx, name)
        found: click.Command = getattr(importlib.import_module(ELSEWHERE[name]), name)
        return found


ELSEWHERE = {"excytin": "atlas.cli.bench_excytin"}


@click.group(cls=Benchmarks, help="Run a benchmark: arms, intervals, a comparison paired by task.")
def command() -> None:
    pass


@command.command("alfworld")
@click.option(
    "--split",
    default="homes",
    show_default=True,
    help="valid_unseen, valid_seen or train; homes or homes-blocks (generated).",
)
@click.option(
    "--arms",
    default=DEFAULT_ARMS,
    show_default=True,
    help="Comma-separated; NAME@N uses the first N demos, cascade:T trusts the student from score T on.",
)
@click.option("--student", default="nearest", show_default=True, help="A model: see 'atlas models ls'.")
@click.option("--teacher", default="scripted:alfworld", show_default=True, help="A model.")
@click.option("--student-price", help="Dollars per million tokens: PROMPT/COMPLETION[/CACHED].")
@click.option("--teacher-price", help="The same for the teacher.")
@click.option(
    "--demos",
    default=200,
    type=click.IntRange(min=0),
    show_default=True,
    help="Train tasks the teacher demonstrates first.",
)
@click.option("--memory", type=click.Path(path_type=Path), help="Use this memory (and add to it) instead of a new one.")
@click.option("--n", type=click.IntRange(min=1), help="Only N tasks of the split, taken evenly from all of it.")
@click.option("--k", type=click.IntRange(min=1), help="Demonstrations shown per step. [default: 40 nearest, 6 others]")
@click.option(
    "--window", type=click.IntRange(min=0), help="Steps shown around a match. [default: all nearest, 5 others]"
)
@click.option(
    "--samples", default=3, type=click.IntRange(min=1), show_default=True, help="Student samples per step in a cascade."
)
@click.option(
    "--temperature",
    default=0.1,
    type=click.FloatRange(min=0),
    show_default=True,
    help="Of the student's samples in a cascade and in pamphlets-sampled.",
)
@click.option(
    "--audit",
    default=0.0,
    type=click.FloatRange(0, 1),
    show_default=True,
    help="Share of the student's steps in a cascade that the teacher is asked about too: see 'atlas trust audit'.",
)
@click.option(
    "--step-judge",
    type=click.Path(path_type=Path),
    help="Folder that 'atlas train judge' wrote: arms such as cascade:judge:0.5 defer to the teacher by it.",
)
@click.option("--force-lane", help="In the arm lanes: auto, paired or coach, whatever the probe says.")
@click.option("--forbid-lane", multiple=True, help="In the arm lanes: never this one; may be given twice.")
@click.option("--lane-dollars", multiple=True, help="LANE=DOLLARS: the most that all episodes of a lane may cost.")
@click.option(
    "--guidance-tokens",
    default=300,
    type=click.IntRange(min=1),
    show_default=True,
    help="What entries of pamphlets may take of a prompt.",
)
@click.option(
    "--trials",
    default=0.0,
    type=click.FloatRange(0, 1),
    show_default=True,
    help="Share of episodes in which a coin decides for each entry whether it is shown: its evidence.",
)
@click.option("--plan/--no-plan", default=False, help="The student writes a plan before it acts.")
@click.option(
    "--share", type=click.FloatRange(0, 1), help="Teacher's share under random-route. [default: the cascade's]"
)
@click.option(
    "--seeds", default="0", show_default=True, help="Comma-separated; every arm plays every task once per seed."
)
@click.option("--tasks-seed", default=0, show_default=True, help="Which homes, which train games.")
@click.option("--max-steps", type=click.IntRange(min=1), help="Actions per episode. [default: 50]")
@click.option("--embedder", default="minilm", show_default=True, help="minilm, hash, or sentence-transformers/NAME.")
@click.option("--concurrency", default=8, type=click.IntRange(min=1), show_default=True, help="Episodes in flight.")
@click.option("--budget-dollars", type=click.FloatRange(min=0), help="Of the whole run; resume with more to go on.")
@click.option("--budget-tokens", type=click.IntRange(min=0), help="Of the whole run.")
@click.option("--episode-dollars", type=click.FloatRange(min=0), help="Of each episode.")
@click.option("--episode-tokens", type=click.IntRange(min=0), help="Of each episode.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the official games. [default: ALFWORLD_DATA]")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Run folder; an existing one is resumed.")
@click.option(
    "--retry-errors/--keep-errors",
    default=True,
    show_default=True,
    help="Whether a resumed run plays again what ended with an error.",
)
@click.option(
    "--permitted",
    default="",
    metavar="MODEL,...",
    help="Models whose terms allow training on their words (openai/* too): kept in the run, for exports and training; "
    "a resumed run may add some.",
)
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output, progress on standard error.")
def alfworld(**options: Any) -> None:
    """Household games: official splits, or generated homes that need no download."""
    from atlas.benchmarks.alfworld.suite import Alfworld

    bench = bench_of(Alfworld(options["data"]), options)
    if played(bench, as_json=options["as_json"]):
        summary(bench.folder, as_json=options["as_json"])
    elif options["as_json"]:
        click.echo(json.dumps({"run": str(bench.folder), "arms": [], "pairs": [], "break_even": []}))
    say_unplayed(bench)


def played(bench: Bench, *, as_json: bool) -> bool:
    """Play the whole plan, showing how it goes; whether any episode has a result."""
    from atlas.runner import settled

    with live(as_json=as_json) as seen:
        bench.seen = seen
        return bool(settled(asyncio.run(bench.run())))


def say_unplayed(bench: Bench) -> None:
    """What is left of a run whose budget was spent, and how to go on."""
    if bench.unplayed:
        click.echo(
            f"The run's budget is spent, {bench.unplayed} episodes are left: with a larger one the same command, "
            f"with -o {bench.folder}, goes on.",
            err=True,
        )


def bench_of(suite: Any, options: dict[str, Any]) -> Bench:
    """The experiment that the options of a command ask for, on ``suite``."""
    from atlas.benchmarks.arms import Cast
    from atlas.benchmarks.bench import Bench, Plan
    from atlas.benchmarks.seeds import numbers
    from atlas.budget import Budget
    from atlas.cli.trust_judge import load_judge
    from atlas.models import load
    from atlas.trust.given import trust_for

    arms = arms_of(options)
    copies = options["student"] == "nearest"
    cast = Cast(
        student=load(options["student"], price=options["student_price"]),
        teacher=load(options["teacher"], price=options["teacher_price"]),
        k=options["k"] or (40 if copies else 6),
        samples=options["samples"],
        temperature=options["temperature"],
        plan=options["plan"],
        guidance_tokens=options["guidance_tokens"],
        trials=options["trials"],
        audit=options["audit"],
        rules=_lane_rules(options),
        trust=trust_for(options["student"]),
        judge=load_judge(options["step_judge"]) if options["step_judge"] else None,
    )
    plan = Plan(
        split=options["split"],
        arms=arms,
        n=options["n"],
        demos=options["demos"],
        seeds=numbers(options["seeds"]),
        tasks_seed=options["tasks_seed"],
        share=options["share"],
        embedder=options["embedder"],
        # The nearest-demonstration student reads whole trajectories; a prompt has room for windows.
        window=options["window"] if options["window"] is not None else (1_000 if copies else 5),
        memory=str(options["memory"].resolve()) if options["memory"] else None,
        max_steps=options["max_steps"],
    )
    about = {"command": shlex.join(["atlas", *sys.argv[1:]]), **_permitted(options["permitted"], cast)}
    folder = options["out"] or new_folder(f"{suite.name}-{plan.split}")
    return Bench(
        suite=suite,
        cast=cast,
        plan=plan,
        folder=folder,
        concurrency=options["concurrency"],
        budget=Budget(dollars=options["episode_dollars"], tokens=options["episode_tokens"]),
        run_budget=Budget(dollars=options["budget_dollars"], tokens=options["budget_tokens"]),
        about=about,
        retry_errors=options["retry_errors"],
    )


def _permitted(text: str, cast: Cast) -> dict[str, list[str]]:
    """The run's ``permitted`` fact, where one is stated. Raises ConfigError for a name that nobody who plays has."""
    stated = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    players = (cast.student.name, cast.teacher.name)
    for name in stated:
        if not any(fnmatchcase(player, name) for player in players):
            raise ConfigError(
                f"--permitted {name} is neither the student ({players[0]}) nor the teacher ({players[1]}): name models "
                "of this run, or a pattern such as 'openai/*'"
            )
    return {"permitted": stated} if stated else {}


def arms_of(options: dict[str, Any]) -> tuple[str, ...]:
    """The arms to be played, each once. Raises ConfigError where there is none, and for an option of the present
    command that none of them reads."""
    from atlas.cli.bench_options import check_judge, check_read

    arms = tuple(dict.fromkeys(a.strip() for a in options["arms"].split(",") if a.strip()))
    if not arms:
        raise ConfigError("--arms names no arm")
    check_read(arms)
    check_judge(arms, options["step_judge"])
    return arms


def new_folder(name: str) -> Path:
    """Make a run's folder below ./runs that was not there yet, also where another run begins in the same second."""
    stamped = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    others = (stamped.with_name(f"{stamped.name}-{number}") for number in count(2))
    try:
        stamped.parent.mkdir(exist_ok=True)
        # Made, not looked for: of two processes that want the same name one gets it.
        return next(folder for folder in chain([stamped], others) if _made(folder))
    except OSError as error:
        raise StoreError(
            f"no run folder can be made below {stamped.parent.resolve()} ({error.strerror}): choose one with -o"
        ) from error


def _made(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _lane_rules(options: dict[str, Any]) -> LaneRules:
    from atlas.policies import LaneRules

    budgets = {}
    for text in options["lane_dollars"]:
        lane, _, limit = text.partition("=")
        try:
            budgets[lane] = float(limit)
        except ValueError:
            raise ConfigError(f"--lane-dollars takes LANE=DOLLARS, such as coach=0.50, not {text!r}") from None
    rules = LaneRules(force=options["force_lane"], forbid=options["forbid_lane"], dollars=budgets)
    rules.check()
    return rules


@contextmanager
def live(*, as_json: bool) -> Iterator[Seen]:
    """A table that follows the run on a terminal; a line now and then where there is none."""
    from atlas.tables import console

    out = console(stderr=as_json)
    if out.is_terminal:
        with _live_table(out) as seen:
            yield seen
    else:
        yield _lines(out)


@contextmanager
def _live_table(out: Any) -> Iterator[Seen]:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from atlas.benchmarks.bench import spent
    from atlas.tables import arms_table, money
    from atlas.traces.account import arm_rows

    shown = 0.0
    with Live(console=out, auto_refresh=False, transient=True) as live:

        def seen(doing: str, episodes: Sequence[Episode]) -> None:
            nonlocal shown
            if time.monotonic() - shown < 0.25:
                return
            shown = time.monotonic()
            usage = spent(episodes)
            status = f"{doing}   so far: {len(episodes):,} episodes, {money(usage.dollars)}, {usage.tokens:,} tokens"
            live.update(Group(arms_table(arm_rows(episodes)), Text(status, style="dim")), refresh=True)

        yield seen


def _lines(out: Any) -> Seen:
    from atlas.benchmarks.bench import spent
    from atlas.tables import money

    last, shown = "", 0.0

    def seen(doing: str, episodes: Sequence[Episode]) -> None:
        nonlocal last, shown
        part = doing.partition(":")[0]
        if part == last and time.monotonic() - shown < 10:
            return
        last, shown = part, time.monotonic()
        usage = spent(episodes)
        out.print(
            f"{doing}: {len(episodes):,} episodes so far, {money(usage.dollars)}, {usage.tokens:,} tokens", markup=False
        )

    return seen


def summary(folder: Path, *, as_json: bool, more: dict[str, Any] | None = None) -> None:
    """The end of a run: a row per arm, arms compared task by task, and what pays off when.

    ``more`` is added to the JSON: what one benchmark shows of a run besides.
    """
    from atlas.report import gather
    from atlas.traces import Run

    facts = gather(Run(folder))
    rows = [*([facts.collect] if facts.collect else []), *(arm.row for arm in facts.arms)]
    rows += [point.arm.row for group in facts.groups for curve in group.curves for point in curve.points]
    unique = list({row.arm: row for row in rows}.values())
    if as_json:
        content = {
            "run": str(folder),
            "arms": [row.model_dump(mode="json") for row in unique],
            "pairs": [row.model_dump(mode="json") for row in facts.pairs],
            "break_even": [row.model_dump(mode="json") for row in facts.break_even],
            **(more or {}),
        }
        click.echo(json.dumps(content, indent=2))
        return
    from atlas.tables import arms_table, break_even_table, console, pairs_table

    out = console()
    out.print(arms_table(unique))
    if facts.pairs:
        out.print(pairs_table(facts.pairs, title="Paired by task"))
    if facts.break_even:
        out.print(break_even_table(facts.break_even, title="When demonstrations pay off"))
    out.print(f"Run: {folder}   (atlas traces show {folder}; atlas report {folder} -o report.html)", markup=False)
