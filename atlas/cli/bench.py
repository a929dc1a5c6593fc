"""``atlas bench``: arms over a benchmark's tasks, live, resumable, compared pair by pair."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from atlas.benchmarks.alfworld.options import AlfworldOptions
from atlas.benchmarks.options import BenchOptions
from atlas.cli.bench_options import BenchCommand, read
from atlas.cli.progress import Pace, to_go
from atlas.cli.stopping import goes_on, typed_command
from atlas.errors import AtlasError, ConfigError, StoreError
from atlas.own import load_own, made

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.text import Text

    from atlas.benchmarks.arm import Cast
    from atlas.benchmarks.bench import Bench
    from atlas.benchmarks.suite import Suite
    from atlas.protocols import Model
    from atlas.records import Episode
    from atlas.report.facts import Facts
    from atlas.traces.account import ArmRow
    from atlas.traces.place import Place
    from atlas.traces.rewards import RewardRow

Seen = Callable[[str, "Sequence[Episode]"], None]


class Benchmarks(click.Group):
    """Benchmarks besides those of this module have one each, which has all of its options and is loaded when called;
    one of your own is named by its module or file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        named = ELSEWHERE.get(name, name)
        if ":" not in named:
            return super().get_command(ctx, name)
        found = load_own(named)
        return found if isinstance(found, click.Command) else _of_suite(named)


ELSEWHERE = {"excytin": "atlas.cli.bench_excytin:command"}
"""Name -> a suite, or a command where a suite has options of its own."""


@click.group(
    cls=Benchmarks,
    help="Run a benchmark: arms, intervals, a comparison paired by task.",
    epilog="A benchmark of your own is FILE.py:NAME or MODULE:NAME, and has the options of all: see "
    "atlas/benchmarks/suite.py for what it has to offer.",
)
def command() -> None:
    pass


def alfworld(**given: Any) -> None:
    """Household games: official splits, or generated homes that need no download."""
    from atlas.benchmarks.alfworld.suite import Alfworld

    options = read(AlfworldOptions, given)
    run(partial(Alfworld, options.data), options)


command.add_command(BenchCommand("alfworld", alfworld, AlfworldOptions, alfworld.__doc__))


def _of_suite(name: str) -> click.Command:
    """The command that plays a suite, a user's own say."""
    from atlas.benchmarks.suite import NEEDS, Suite

    makes = cast(Callable[[], Suite], partial(made, name, NEEDS, "suite"))
    suite = makes()

    def play(**given: Any) -> None:
        run(makes, read(BenchOptions, given), suite)

    return BenchCommand(name, play, BenchOptions, f"{suite.name}, a benchmark of your own.")


def run(makes: Callable[[], Suite], options: BenchOptions, suite: Suite | None = None) -> None:
    """Play what ``options`` ask for on the suite that ``makes`` gives, or ``suite`` where it has given it already, and
    show what came of it."""
    bench = bench_of(suite or makes(), options)
    bench.makes = partial(made_again, makes, options)
    if played(bench, as_json=options.as_json):
        summary(bench.place, as_json=options.as_json)
    elif options.as_json:
        click.echo(json.dumps({"run": bench.place.path, "arms": [], "pairs": [], "break_even": []}))
    say_unplayed(bench)


def played(bench: Bench, *, as_json: bool) -> bool:
    """Play all of it, showing how it goes; whether any episode has a result."""
    from atlas.runner import settled

    with live(as_json=as_json, planned=lambda: bench.planned) as seen:
        bench.seen = seen
        with goes_on(lambda: () if bench.options.out else ("-o", bench.place.path)):
            try:
                return bool(settled(asyncio.run(bench.run())))
            except AtlasError:
                if not bench.options.out:
                    _leave_nothing(bench.place.path)
                raise


def _leave_nothing(folder: str) -> None:
    """Take away an empty folder that was made for a run: what was refused before anything was played is no run."""
    with suppress(OSError):
        os.rmdir(folder)


def say_unplayed(bench: Bench) -> None:
    """What is left of a run whose budget was spent, and how to go on."""
    if bench.unplayed:
        click.echo(
            f"The run's budget is spent, {bench.unplayed} episodes are left: with a larger one the same command, "
            f"with -o {bench.place.path}, goes on.",
            err=True,
        )


def made_again(makes: Callable[[], Suite], options: BenchOptions, models: Mapping[str, Model]) -> tuple[Suite, Cast]:
    """What a worker plays with: see :data:`atlas.benchmarks.fanned.Makes`."""
    return makes(), cast_of(options, models)


def cast_of(options: BenchOptions, models: Mapping[str, Model] | None = None) -> Cast:
    """Who plays, as ``options`` say, but for the ``models`` that are there, by role. What is missing for that, a key or
    a package, is told here."""
    from atlas.benchmarks.arm import Cast
    from atlas.cli.judging import distiller_named, judge_of
    from atlas.cli.trust_judge import load_critic
    from atlas.models import load
    from atlas.trust.given import trust_for

    there = models or {}
    teacher = there.get("teacher") or load(options.teacher, price=options.teacher_price)
    return Cast(
        student=there.get("student") or load(options.student, price=options.student_price),
        teacher=teacher,
        trust=trust_for(options.student),
        critic=load_critic(options.step_judge) if options.step_judge else None,
        judge=judge_of(options, teacher),
        distiller=distiller_named(options.distiller),
    )


def bench_of(suite: Suite, options: BenchOptions, players: Cast | None = None) -> Bench:
    """The experiment that ``options`` ask for, on ``suite``. There is no run yet where something is refused."""
    from atlas.benchmarks.bench import Bench

    players = players or cast_of(options)
    options.rules.check()
    about = {"command": typed_command(), **_permitted(options.permitted, players)}
    folder = options.out or new_folder(f"{suite.name}-{options.split}")
    return Bench(suite=suite, cast=players, options=options, folder=folder, about=about)


def _permitted(stated: tuple[str, ...], who: Cast) -> dict[str, list[str]]:
    """The run's ``permitted`` fact, where one is stated. Raises ConfigError for a name that nobody who plays has."""
    players = (who.student.name, who.teacher.name)
    for name in stated:
        if not any(fnmatchcase(player, name) for player in players):
            raise ConfigError(
                f"--permitted {name} is neither the student ({players[0]}) nor the teacher ({players[1]}): name models "
                "of this run, or a pattern such as 'openai/*'"
            )
    return {"permitted": list(stated)} if stated else {}


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


@contextmanager
def live(*, as_json: bool, planned: Callable[[], Mapping[str, int]] = dict) -> Iterator[Seen]:
    """A table that follows the run on a terminal; a line now and then where there is none. ``planned`` says how many
    episodes each arm will have, as far as that is known."""
    from atlas.tables import console

    out = console(stderr=as_json)
    if out.is_terminal:
        with _live_table(out, planned) as seen:
            yield seen
    else:
        yield _lines(out)


SHARE = 20
"""How many times as long as the live table takes it is left as it is."""


@contextmanager
def _live_table(out: Console, planned: Callable[[], Mapping[str, int]]) -> Iterator[Seen]:
    from rich.live import Live
    from rich.text import Text

    from atlas.benchmarks.bench import spent
    from atlas.traces.account import arm_rows
    from atlas.words import dollars

    due, pace = 0.0, Pace()
    with Live(console=out, auto_refresh=False, transient=True) as live:

        def seen(doing: str, episodes: Sequence[Episode]) -> None:
            nonlocal due
            if (began := time.monotonic()) < due:
                return
            usage, of = spent(episodes), planned()
            parts = [doing, f"so far: {len(episodes):,} episodes, {dollars(usage)}, {usage.tokens:,} tokens"]
            parts += filter(None, [to_go(pace.left(episodes, of))])
            live.update(fitting(out, arm_rows(episodes), of, Text("   ".join(parts), style="dim")), refresh=True)
            # A table of tens of thousands takes half a second: what is played must not wait for it most of the time.
            due = max(began + 0.25, time.monotonic() + SHARE * (time.monotonic() - began))

        yield seen


def fitting(out: Console, rows: Sequence[ArmRow], planned: Mapping[str, int], status: Text) -> Group:
    """The table of ``rows`` and ``status``, as much of it as the terminal shows at once: the newest rows of it."""
    from rich.console import Group
    from rich.text import Text

    from atlas.tables import arms_table

    hidden = 0
    while True:
        above = [Text(f"{hidden} arms before these", style="dim")] if hidden else []
        view = Group(*above, arms_table(rows[hidden:], planned=planned), status)
        over = len(out.render_lines(view, pad=False)) - out.size.height
        if over <= 0 or hidden >= len(rows) - 1:
            return view
        # A row takes up to three lines of a narrow terminal.
        hidden = min(len(rows) - 1, hidden + over // 3 + 1)


def _lines(out: Console) -> Seen:
    from atlas.benchmarks.bench import spent
    from atlas.words import dollars

    last, shown = "", 0.0

    def seen(doing: str, episodes: Sequence[Episode]) -> None:
        nonlocal last, shown
        part = doing.partition(":")[0]
        if part == last and time.monotonic() - shown < 10:
            return
        last, shown = part, time.monotonic()
        usage = spent(episodes)
        out.print(
            f"{doing}: {len(episodes):,} episodes so far, {dollars(usage)}, {usage.tokens:,} tokens", markup=False
        )

    return seen


def figures(place: Place) -> dict[str, Any]:
    """The end of a run, as JSON holds it."""
    rows, facts, judged = _ended(place)
    return {
        "run": place.path,
        "arms": [row.model_dump(mode="json") for row in rows],
        "pairs": [row.model_dump(mode="json") for row in facts.pairs],
        "break_even": [row.model_dump(mode="json") for row in facts.break_even],
        "rewards": [row.model_dump(mode="json") for row in judged],
    }


def _ended(place: Place) -> tuple[list[ArmRow], Facts, Sequence[RewardRow]]:
    """A row per arm, all else that the run's trace says, and judged beside true rewards."""
    from atlas.report import gather
    from atlas.traces import Run
    from atlas.traces.rewards import rewards

    facts = gather(Run(place))
    rows = [*([facts.collect] if facts.collect else []), *(arm.row for arm in facts.arms)]
    rows += [point.arm.row for group in facts.groups for curve in group.curves for point in curve.points]
    return list({row.arm: row for row in rows}.values()), facts, rewards(Run(place))


def summary(place: Place, *, as_json: bool, more: dict[str, Any] | None = None) -> None:
    """The end of a run: a row per arm, arms compared task by task, and what pays off when.

    ``more`` is added to the JSON: what one benchmark shows of a run besides.
    """
    if as_json:
        click.echo(json.dumps({**figures(place), **(more or {})}, indent=2))
        return
    from atlas.tables import arms_table, break_even_table, console, pairs_table, rewards_table

    rows, facts, judged = _ended(place)
    out = console()
    out.print(arms_table(rows))
    if facts.pairs:
        out.print(pairs_table(facts.pairs, title="Paired by task"))
    if facts.break_even:
        out.print(break_even_table(facts.break_even, title="When demonstrations pay off"))
    if judged:
        out.print(rewards_table(judged, title="Judged and true reward, where there are both"))
    where = place.path
    typed = shlex.quote(where)
    out.print(
        f"Run: {where}   (atlas traces show {typed}; atlas report {typed} -o report.html)",
        markup=False,
    )
