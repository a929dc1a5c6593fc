"""The part of ``atlas demo`` in which a language model learns: its teacher's homes again, on another day."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.stopping import goes_on, typed_command
from atlas.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from atlas.benchmarks.bench import Bench
    from atlas.traces import Run

LANGUAGE_MODEL = "smollm2-135m"
READ = "form=transcript"
"""The form of its prompts."""
SECONDS = 150
HOMES = 6
TITLE = "A small language model does its teacher's tasks again, on another day"
OPENING = f"""
Now a language model: {LANGUAGE_MODEL}, untuned, on this machine's CPU.
In {HOMES} homes its teacher does a task once, which is kept in a memory. On another
day the same task is to be done there again, and most things lie elsewhere."""
NOTES = [
    f"Student: {LANGUAGE_MODEL}, an untuned embedded language model of 135M parameters on this machine's CPU. It ranks "
    "the possible actions by their log-probability. No teacher helps it, and nothing is billed.",
    "Teacher: a scripted expert that explores by the text alone. A program, charged a stated price (3 / 15 dollars per "
    "million prompt / completion tokens) for the tokens its prompts and replies would have taken.",
    "Homes: generated. The teacher did the same task in the same home on an earlier day, when most things lay "
    "elsewhere: these are not homes that nobody has seen. They are the first of the series in which the teacher needed "
    "at most 10 actions, each with a goal of its own; in some of them the thing that is wanted lies where it lay.",
    "icd: what the teacher did on that day stands in the prompt, whole. student: it does not.",
]


def learns_again(out: Path, seconds: int, embedder: str, *, as_json: bool) -> Run | None:
    """Play it in a run of its own below ``out``: no home begins after ``seconds``, and half as long after that it is
    cut off. None, with a sentence that says why, where the model cannot be had or came to no end of a home."""
    from atlas.cli.bench import live
    from atlas.traces import Run, RunWriter
    from atlas.traces.roles import written

    click.echo(OPENING, err=as_json)
    try:
        bench = _bench(out / LANGUAGE_MODEL, embedder)
    except (DataError, MissingExtra) as error:
        click.echo(f"{LANGUAGE_MODEL} is left out: {error}", err=True)
        return None
    about = {"command": typed_command(), **written(bench.roles)}
    settings = {"title": TITLE, "notes": NOTES, **bench.settings()}
    with RunWriter(bench.place, settings, about) as writer:
        bench.until = time.monotonic() + seconds
        bench.cut = bench.until + seconds / 2
        with live(as_json=as_json, planned=partial(getattr, bench, "planned")) as bench.seen, goes_on():
            asyncio.run(bench.play_into(writer))
    run = Run(bench.place)
    if not _came(run):
        click.echo(f"{LANGUAGE_MODEL} came to no end of a home in {seconds} s: --lm-seconds gives it more", err=True)
        return None
    return run


def _came(run: Run) -> bool:
    """Whether the language model came to an end of a home."""
    from atlas.records import INTERRUPTED
    from atlas.traces.account import COLLECT

    return any(e.arm != COLLECT and e.stop not in INTERRUPTED for e in run.results())


def again_in_words(run: Run) -> str:
    """What came of it, for who reads it for the first time."""
    from atlas.benchmarks.alfworld.again import copied
    from atlas.figures import money
    from atlas.records import INTERRUPTED
    from atlas.traces.account import COLLECT, arm_rows

    results = [e for e in run.results() if e.stop not in INTERRUPTED]
    rows = {row.arm: row for row in arm_rows(results)}

    def won(arm: str) -> str:
        played = [e for e in results if e.arm == arm]
        return f"{sum(bool(e.success) for e in played)} of {len(played)}" if played else "none, as it came to none"

    paid = rows[COLLECT].usage.dollars
    short = [arm for arm in ("student", "icd") if arm not in rows or rows[arm].episodes < HOMES]
    late = f"It did not come to all {HOMES} homes: --lm-seconds gives it more time.\n" if short else ""
    return (
        f"\n{LANGUAGE_MODEL} alone wins {won('student')} of these homes. With what its teacher\n"
        f"did there on the first day in its prompt (icd) it wins {won('icd')}, at no cost;\n"
        f"to do that again word for word would win {copied(HOMES)} of {HOMES}. "
        f"The teacher's {rows[COLLECT].episodes} episodes\nare charged {money(paid)}.\n{late}"
        "These are tasks that it was shown, done again. In homes that nobody has seen it\n"
        "wins few with a demonstration of another home: 2 of 12 (docs/results/alfworld.md).\n"
    )


def _bench(folder: Path, embedder: str) -> Bench:
    from atlas.benchmarks.alfworld.again import SPLIT, Again
    from atlas.benchmarks.alfworld.options import AlfworldOptions
    from atlas.benchmarks.arm import Cast
    from atlas.benchmarks.bench import Bench
    from atlas.models import load

    options = AlfworldOptions(
        split=SPLIT,
        # With demonstrations first: that is what there is to see, should the time not do for both.
        arms=("icd", "student"),
        student=f"{LANGUAGE_MODEL}?{READ}",
        n=HOMES,
        demos=HOMES,
        recall="episode",
        k=1,
        embedder=embedder,
        concurrency=1,
    )
    cast = Cast(student=load(options.student), teacher=load(options.teacher))
    return Bench(suite=Again(), cast=cast, options=options, folder=folder)
