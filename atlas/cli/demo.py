"""``atlas demo``: the closed loop on generated homes, and a small language model in it; with no key and no download but
embedded weights."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.cli.demo_again import LANGUAGE_MODEL, SECONDS, again_in_words, learns_again
from atlas.cli.stopping import goes_on, typed_command

if TYPE_CHECKING:
    from atlas.benchmarks.bench import Bench
    from atlas.traces import Run

DEMOS = 160
CURVE = (5, 10, 20, 40, 80)
TITLE = "A student learns from its teacher, on generated homes"
OPENING = """\
A student that copies demonstrations learns from its teacher, in generated homes, within a few minutes.
No key: the teacher is a program. Nothing is billed; the dollars are what its prompts and replies would have cost at
3 / 15 dollars per million tokens."""
NOTES = [
    "Student: the nearest-demonstration student. No language model: retrieved demonstrations vote, nothing is billed.",
    "Teacher: a scripted expert that explores by the text alone. A program, charged a stated price (3 / 15 dollars per "
    "million prompt / completion tokens) for the tokens its prompts and replies would have taken.",
    "Homes: generated, test layouts never seen in training. Not ALFWorld's games: see docs/results.md for those.",
]


@click.command(help="Watch a student learn from its teacher on generated homes; writes a report.")
@click.option("-o", "--out", default="demo", type=click.Path(path_type=Path), show_default=True, help="Run folder.")
@click.option("--homes", default=40, type=click.IntRange(min=1), show_default=True, help="Unseen homes each arm plays.")
@click.option(
    "--demos",
    default=DEMOS,
    type=click.IntRange(min=1),
    show_default=True,
    help="Homes the teacher demonstrates first.",
)
@click.option(
    "--lm-seconds",
    default=SECONDS,
    type=click.IntRange(min=0),
    show_default=True,
    help=f"Time for a language model to learn too ({LANGUAGE_MODEL}, fetched once, 93 MB); 0 leaves it out.",
)
@click.option("--embedder", default="minilm", show_default=True, help="minilm, hash, or sentence-transformers/NAME.")
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
def command(out: Path, homes: int, demos: int, lm_seconds: int, embedder: str, as_json: bool) -> None:
    from atlas.cli.bench import figures, live, summary
    from atlas.report import write_report
    from atlas.traces import Run, RunWriter
    from atlas.traces.place import place_of
    from atlas.traces.roles import written

    copying = _copying(out, homes, demos, embedder)
    click.echo(OPENING, err=as_json)
    settings: dict[str, Any] = {"title": TITLE, "notes": NOTES, "nearest": copying.settings()}
    with (
        RunWriter(out, settings, {"command": typed_command(), **written(copying.roles)}) as writer,
        live(as_json=as_json, planned=partial(getattr, copying, "planned")) as copying.seen,
        goes_on(),
    ):
        asyncio.run(copying.play_into(writer))
    place = place_of(out)
    if not as_json:
        summary(place, as_json=False)
        click.echo(_in_words(Run(out), demos))
    page = write_report(Run(out), out / "report.html")
    click.echo(f"Open {page} in a browser.", err=as_json)
    again = None
    try:
        again = learns_again(out, lm_seconds, embedder, as_json=as_json) if lm_seconds else None
    finally:  # what was played before is told whatever comes of this
        if as_json:
            summary(place, as_json=True, more={"again": figures(again.place)} if again else {})
    if again:
        if not as_json:
            summary(again.place, as_json=False)
            click.echo(again_in_words(again))
        page = write_report(again, Path(again.path) / "report.html")
        click.echo(f"Open {page} in a browser.", err=as_json)


def _in_words(run: Run, demos: int) -> str:
    """What the table says, for who reads it for the first time."""
    from atlas.figures import money, percent
    from atlas.traces.account import arm_rows

    rows = {row.arm: row for row in arm_rows(run.results())}

    def won(arm: str) -> str:
        return percent(rows[arm].success.mean)

    def cost(arm: str) -> str:
        dollars = rows[arm].usage.dollars
        return money(None if dollars is None else dollars / rows[arm].episodes)

    return (
        f"\nBy itself the student wins {won('student')} of the homes; with {demos} demonstrations in view (icd) "
        f"{won('icd')}.\nWhere its samples disagree the teacher acts instead (cascade): {won('cascade')}, at "
        f"{cost('cascade')} an episode instead of the {cost('teacher')}\nof the teacher alone, which acts on "
        f"{percent(rows['cascade'].teacher_share)} of the steps. How much of that is the demonstrations' doing says "
        f"random-route,\nwhere the teacher acts on as many steps at random: {won('random-route')}, at "
        f"{cost('random-route')}.\n"
    )


def _copying(out: Path, homes: int, demos: int, embedder: str) -> Bench:
    from atlas.benchmarks.alfworld.options import AlfworldOptions
    from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
    from atlas.benchmarks.arm import Cast
    from atlas.benchmarks.bench import Bench
    from atlas.models import load

    counts = [n for n in CURVE if n < demos]
    curve = [f"{arm}@{n}" for n in counts for arm in ("icd", "cascade")]
    options = AlfworldOptions(
        split=HOMES,
        arms=("teacher", "student", "icd", "cascade", *curve, "online", "random-route"),
        n=homes,
        demos=demos,
        embedder=embedder,
    )
    cast = Cast(student=load(options.student), teacher=load(options.teacher))
    return Bench(suite=Alfworld(), cast=cast, options=options, folder=out)
