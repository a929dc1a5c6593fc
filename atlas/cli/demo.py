"""``atlas demo``: the closed loop on generated homes, with no key and no download but embedded weights."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.cli.stopping import goes_on

if TYPE_CHECKING:
    from atlas.benchmarks.bench import Bench
    from atlas.traces import Run

DEMOS = 160
CURVE = (5, 10, 20, 40, 80)
LANGUAGE_MODEL = "smollm2-135m"
READ = "form=transcript"
"""The form of its prompts."""
TITLE = "A student learns from its teacher, on generated homes"
OPENING = """\
A student that copies demonstrations learns from its teacher, in generated homes, within a few minutes.
No key, and no language model unless you give it time: the teacher is a program. Nothing is billed; the dollars are
what its prompts and replies would have cost at 3 / 15 dollars per million tokens."""
NOTES = [
    "Student: the nearest-demonstration student. No language model: retrieved demonstrations vote, nothing is billed.",
    "Teacher: a scripted expert that explores by the text alone. A program, charged a stated price (3 / 15 dollars per "
    "million prompt / completion tokens) for the tokens its prompts and replies would have taken.",
    "Homes: generated, test layouts never seen in training. Not ALFWorld's games: see docs/results.md for those.",
    f"Group {LANGUAGE_MODEL}: an untuned embedded language model of 135M parameters, over as many homes as the time "
    "allowed, with one demonstration at the head of its prompt and without any. No teacher helps it. It ranks the "
    "possible actions by their log-probability.",
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
    default=0,
    type=click.IntRange(min=0),
    show_default=True,
    help=f"Time for an untuned language model too ({LANGUAGE_MODEL}, fetched once, 93 MB), which wins one home in six "
    "with a demonstration.",
)
@click.option("--embedder", default="minilm", show_default=True, help="minilm, hash, or sentence-transformers/NAME.")
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on standard output.")
def command(out: Path, homes: int, demos: int, lm_seconds: int, embedder: str, as_json: bool) -> None:
    from atlas.cli.bench import live, summary
    from atlas.report import write_report
    from atlas.traces import Run, RunWriter
    from atlas.traces.place import place_of
    from atlas.traces.roles import written

    copying = _copying(out, homes, demos, embedder)
    click.echo(OPENING, err=as_json)
    parts = [copying]
    if lm_seconds:
        parts.append(_language_model(copying))
    settings: dict[str, Any] = {
        "title": TITLE,
        "notes": NOTES if lm_seconds else NOTES[:-1],
        **{part.group or "nearest": part.settings() for part in parts},
    }
    roles = {arm: role for part in parts for arm, role in part.roles.items()}
    with RunWriter(out, settings, {"command": f"atlas demo -o {out}", **written(roles)}) as writer:
        for part in parts:
            if part.group:
                part.until = time.monotonic() + lm_seconds
                part.cut = part.until + lm_seconds
            with live(as_json=as_json, planned=partial(getattr, part, "planned")) as seen:
                part.seen = seen
                with goes_on():
                    asyncio.run(part.play_into(writer))
    summary(place_of(out), as_json=as_json)
    if lm_seconds and not _came(Run(out)):
        click.echo(f"{LANGUAGE_MODEL} came to no end of a home in {lm_seconds} s: --lm-seconds gives it more", err=True)
    if not as_json:
        click.echo(_in_words(Run(out), demos))
    page = write_report(Run(out), out / "report.html")
    click.echo(f"Open {page} in a browser.", err=as_json)


def _came(run: Run) -> bool:
    """Whether the language model came to an end of a home."""
    from atlas.records import INTERRUPTED

    return any(e.arm.startswith(f"{LANGUAGE_MODEL}/") and e.stop not in INTERRUPTED for e in run.results())


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


def _language_model(copying: Bench) -> Bench:
    """The same homes and the same demonstrations, shown to a small language model."""
    from atlas.models import load

    cast = replace(copying.cast, student=load(f"{LANGUAGE_MODEL}?{READ}"))
    # One demonstration for all steps: prefill is what a language model on a CPU spends its time on.
    options = replace(
        copying.options,
        student=f"{LANGUAGE_MODEL}?{READ}",
        arms=("icd", "student"),
        demos=0,
        recall="episode",
        k=None,
        concurrency=1,
    )
    return replace(copying, cast=cast, options=options, group=LANGUAGE_MODEL)
