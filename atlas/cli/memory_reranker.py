"""``atlas memory reranker``: learn from a student which of the demonstrations that are found help it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from atlas.cli.memory_asked import all_answers, asked_line, how_options, reader, weight_lines, whom_options, written
from atlas.cli.memory_common import memory_argument, memory_at, there_is

if TYPE_CHECKING:
    from atlas.utility import Answer


@click.command("reranker")
@memory_argument
@whom_options
@click.option(
    "--candidates",
    default=8,
    show_default=True,
    type=click.IntRange(min=2, max=100),
    help="Of how many that retrieval finds it chooses.",
)
@click.option(
    "--recall",
    "every",
    default="episode",
    show_default=True,
    type=click.Choice(["step", "episode"]),
    help="Whether it chooses whole demonstrations for an episode or windows for a step.",
)
@how_options
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Write the reranker here, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of sentences.")
def reranker(
    path: str,
    student: str,
    price: str | None,
    embedder: str,
    states: int,
    candidates: int,
    every: Literal["step", "episode"],
    draws: int,
    instructions: str,
    out: Path,
    as_json: bool,
) -> None:
    """Learn from a student with which of the demonstrations in PATH it does what the teacher did.

    It is asked at states of the demonstrations, with each of the first that retrieval finds there: STATES times
    CANDIDATES questions. What it answered is kept beside FILE until all is learned, and the same command goes on where
    it was killed. FILE is used as 'atlas bench --rerank FILE', and in Python as Recall(Solo(student), memory, 1,
    every="episode", reranker=load_reranker(FILE)).
    """
    from atlas.memory import Memory
    from atlas.records import Task, content_hash
    from atlas.reranking import learned
    from atlas.utility import enough

    model = reader(student, price, "so that it is not for a reranker to say what stands in it")
    with Memory(there_is(memory_at(path)), embedder) as memory:
        known = [
            (Task(id=d.task_id, goal=d.goal, instructions=instructions), d.steps) for d in memory.demonstrations.all()
        ]
        found = learned.moments(known, memory.demonstrations, states, candidates, every)
    enough(len(found), learned.LearnedReranker.KIND)

    async def ask(number: int, part: int) -> Answer:
        return await learned.answer(model, found[number], number, part, draws)

    shown = [
        [m.view.task.model_dump(), m.view.index, m.action, [[w.demo_id, w.start, len(w.steps)] for w in m.windows]]
        for m in found
    ]
    questions = [(number, part) for number, moment in enumerate(found) for part in range(len(moment.windows))]
    rows = asyncio.run(all_answers(questions, ask, out, content_hash([student, draws, every, shown])))
    made = learned.learn(found, rows, student, candidates, every)
    written(made, out)
    if as_json:
        click.echo(made.model_dump_json())
        return
    click.echo(asked_line(made, rows))
    click.echo(
        f"It foretells {made.explained:.0%} of how much the choice of a demonstration changes the chance of the "
        "teacher's action, at states that were not learned from."
        if made.explained is not None and made.explained > 0
        else "It foretells nothing at states that were not learned from: learn from more states, or of another student."
        if any(made.weights.values())
        else "Nothing that foretells was found, so that what is found first stays first: learn from more states."
    )
    click.echo(
        f"That chance is {made.found:.0%} with what retrieval finds first, {made.chosen:.0%} with what is chosen of "
        f"{candidates}, and {made.best:.0%} with the best of them."
    )
    click.echo("\n".join(weight_lines([*made.weights.items()])))
    click.echo(f"Written: {out}   (atlas bench ... --recall {every} --rerank {out})")
