"""``atlas memory compressor``: learn from a student which parts of demonstrations it needs."""

from __future__ import annotations

import asyncio
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.memory_asked import all_answers, asked_line, how_options, reader, weight_lines, whom_options, written
from atlas.cli.memory_common import memory_argument, memory_at, there_is

if TYPE_CHECKING:
    from atlas.utility import Answer


@click.command("compressor")
@memory_argument
@whom_options
@click.option(
    "--parts", default=6, show_default=True, type=click.IntRange(min=2), help="Random parts that it is shown at each."
)
@how_options
@click.option("--seed", default=0, show_default=True, help="Of the random parts.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Write the compressor here, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of sentences.")
def compressor(
    path: str,
    student: str,
    price: str | None,
    embedder: str,
    states: int,
    parts: int,
    draws: int,
    seed: int,
    instructions: str,
    out: Path,
    as_json: bool,
) -> None:
    """Learn from a student which parts of the demonstrations in PATH it needs to do what the teacher did.

    It is asked at states of the demonstrations, with a random part of another one: STATES times PARTS questions. What
    it answered is kept beside FILE until all is learned, and the same command goes on where it was killed. FILE is used
    as 'atlas bench --compress FILE', and in Python as Recall(Compressed(Solo(student), load_compressor(FILE)), memory).
    """
    from atlas.compression import learned
    from atlas.compression.pieces import OF_ACTIONS, OF_PIECES
    from atlas.memory import Memory
    from atlas.records import Task, content_hash
    from atlas.utility import enough

    model = reader(student, price, "so that nothing is saved by showing it less")
    with Memory(there_is(memory_at(path)), embedder) as memory:
        known = [
            (Task(id=d.task_id, goal=d.goal, instructions=instructions), d.steps) for d in memory.demonstrations.all()
        ]
        found = learned.moments(known, memory.demonstrations, states)
    enough(len(found), learned.LearnedCompressor.KIND)

    async def ask(number: int, part: int) -> Answer:
        return await learned.answer(model, found[number], number, part, seed, draws)

    shown = [[m.view.task.model_dump(), m.view.index, m.action, m.window.demo_id] for m in found]
    key = content_hash([student, draws, seed, shown])
    rows = asyncio.run(all_answers([*product(range(len(found)), range(parts))], ask, out, key))
    made = learned.learn(found, rows, student, seed=seed)
    written(made, out)
    if as_json:
        click.echo(made.model_dump_json())
        return
    click.echo(asked_line(made, rows))
    click.echo(
        f"It foretells {made.explained:.0%} of how much a part of a demonstration changes the chance of the teacher's "
        "action, at states that were not learned from."
        if made.explained is not None and made.explained > 0
        else "It foretells nothing at states that were not learned from: learn from more states, or of another student."
    )
    told = [(f"action: {name}", weight) for name, weight in zip(OF_ACTIONS, made.actions, strict=True)]
    told += [(f"clause: {name}", weight) for name, weight in zip(OF_PIECES, made.pieces, strict=True)]
    click.echo("\n".join(weight_lines(told)))
    click.echo(f"Written: {out}   (atlas bench ... --compress {out} --compress-to 0.33)")
