"""``atlas memory compressor``: learn from a student which parts of demonstrations it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import click

from atlas.cli.memory_common import memory_argument, memory_at, there_is
from atlas.errors import ConfigError


@click.command("compressor")
@memory_argument
@click.option("--student", required=True, help="The model that is to read less: see 'atlas models ls'.")
@click.option("--price", help="Dollars per million tokens: PROMPT/COMPLETION[/CACHED].")
@click.option("--states", default=40, show_default=True, type=click.IntRange(min=8), help="One of each demonstration.")
@click.option(
    "--parts", default=6, show_default=True, type=click.IntRange(min=2), help="Random parts that it is shown at each."
)
@click.option("--seed", default=0, show_default=True, help="Of the random parts.")
@click.option("--instructions", default="", help="How to act in the environment, as its tasks tell it.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Write the compressor here, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of sentences.")
def compressor(
    path: str,
    student: str,
    price: str | None,
    states: int,
    parts: int,
    seed: int,
    instructions: str,
    out: Path,
    as_json: bool,
) -> None:
    """Learn from a student which parts of the demonstrations in PATH it needs to do what the teacher did.

    It is asked at states of the demonstrations, with a random part of another one: STATES times PARTS questions. The
    file is used as 'atlas bench --compress FILE', and in Python as Recall(Compressed(Solo(student),
    LearnedCompressor.load(FILE)), memory).
    """
    from atlas.compression.learned import answers, learn, moments
    from atlas.compression.pieces import FEATURES
    from atlas.memory import Memory
    from atlas.models import load
    from atlas.protocols import ReadsView
    from atlas.records import Task

    model = load(student, price=price)
    if isinstance(model, ReadsView):
        raise ConfigError(
            f"{student} reads no prompt, so that nothing is saved by showing it less: name a language model"
        )
    with Memory(there_is(memory_at(path))) as memory:
        known = [
            (Task(id=d.task_id, goal=d.goal, instructions=instructions), d.steps) for d in memory.demonstrations.all()
        ]
        found = moments(known, memory.demonstrations, states)
        rows = asyncio.run(answers(model, found, parts=parts, seed=seed, told=_progress(len(found) * parts)))
    made = learn(rows, student)
    made.save(out)
    if as_json:
        click.echo(made.model_dump_json())
        return
    click.echo(f"Learned from {made.states} states and {made.asked} answers of {student}.")
    click.echo(
        f"It foretells {made.explained:.0%} of how much a part of a demonstration changes the chance of the teacher's "
        "action, at states that were not learned from."
        if made.explained is not None and made.explained > 0
        else "It foretells nothing at states that were not learned from: learn from more states, or of another student."
    )
    for name, weight in sorted(zip(FEATURES, made.weights, strict=True), key=lambda pair: -abs(pair[1])):
        click.echo(f"  {name:12} {weight:+.4f}")
    click.echo(f"Written: {out}   (atlas bench ... --compress {out} --compress-to 0.33)")


def _progress(of: int) -> Callable[[int], None]:
    def told(done: int) -> None:
        click.echo(f"\r{done} of {of} answers", nl=done == of, err=True)

    return told
