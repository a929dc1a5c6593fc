"""``atlas memory compressor``: learn from a student which parts of demonstrations it needs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.memory_common import memory_argument, memory_at, there_is
from atlas.errors import ConfigError, DataError

if TYPE_CHECKING:
    from atlas.compression.learned import Answer, Moment
    from atlas.protocols import Model


@click.command("compressor")
@memory_argument
@click.option("--student", required=True, help="The model that is to read less: see 'atlas models ls'.")
@click.option("--price", help="Dollars per million tokens: PROMPT/COMPLETION[/CACHED].")
@click.option("--embedder", default="minilm", show_default=True, help="minilm, hash, or sentence-transformers/NAME.")
@click.option("--states", default=40, show_default=True, type=click.IntRange(min=8), help="One of each demonstration.")
@click.option(
    "--parts", default=6, show_default=True, type=click.IntRange(min=2), help="Random parts that it is shown at each."
)
@click.option(
    "--draws",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="Samples of each answer, which tell how likely an action is; models that rank draw them for nothing.",
)
@click.option("--seed", default=0, show_default=True, help="Of the random parts.")
@click.option("--instructions", default="", help="How to act in the environment, as its tasks tell it.")
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
    from atlas.compression.learned import learn, moments
    from atlas.compression.pieces import OF_ACTIONS, OF_PIECES
    from atlas.figures import money
    from atlas.memory import Memory
    from atlas.models import load
    from atlas.protocols import ReadsView
    from atlas.records import Task

    model = load(student, price=price)
    if isinstance(model, ReadsView):
        raise ConfigError(
            f"{student} reads no prompt, so that nothing is saved by showing it less: name a language model"
        )
    with Memory(there_is(memory_at(path)), embedder) as memory:
        known = [
            (Task(id=d.task_id, goal=d.goal, instructions=instructions), d.steps) for d in memory.demonstrations.all()
        ]
        found = moments(known, memory.demonstrations, states)
    rows = asyncio.run(_answers(model, found, Asked(out, student, parts, draws, seed)))
    made = learn(found, rows, student, seed=seed)
    made.save(out)
    _kept_at(out).unlink(missing_ok=True)
    if as_json:
        click.echo(made.model_dump_json())
        return
    paid = [row.dollars for row in rows]
    cost = "an unknown sum" if None in paid else money(sum(one for one in paid if one is not None))
    click.echo(f"Learned from {made.states} states and {made.asked} answers of {student}, which cost {cost}.")
    click.echo(
        f"It foretells {made.explained:.0%} of how much a part of a demonstration changes the chance of the teacher's "
        "action, at states that were not learned from."
        if made.explained is not None and made.explained > 0
        else "It foretells nothing at states that were not learned from: learn from more states, or of another student."
    )
    told = [(f"action: {name}", weight) for name, weight in zip(OF_ACTIONS, made.actions, strict=True)]
    told += [(f"clause: {name}", weight) for name, weight in zip(OF_PIECES, made.pieces, strict=True)]
    for name, weight in sorted(told, key=lambda pair: -abs(pair[1])):
        click.echo(f"  {name:20} {weight:+.4f}")
    click.echo(f"Written: {out}   (atlas bench ... --compress {out} --compress-to 0.33)")


@dataclass(frozen=True)
class Asked:
    """What is asked of the student, and where its answers are kept."""

    out: Path
    student: str
    parts: int
    draws: int
    seed: int

    def key(self, found: Sequence[Moment]) -> str:
        """Which questions they are."""
        from atlas.records import content_hash

        shown = [[m.view.task.model_dump(), m.view.index, m.action, m.window.demo_id] for m in found]
        return content_hash([self.student, self.draws, self.seed, shown])


async def _answers(model: Model, found: Sequence[Moment], asked: Asked) -> list[Answer]:
    """All answers: those that are kept from before, and the rest, each kept as it comes."""
    from atlas.compression.learned import answer

    place, key = _kept_at(asked.out), asked.key(found)
    rows = _kept(place, key)
    there = {(row.moment, row.part) for row in rows}
    of = len(found) * asked.parts
    try:
        with place.open("a", encoding="utf-8") as file:
            for number, part in product(range(len(found)), range(asked.parts)):
                if (number, part) not in there:
                    rows.append(await answer(model, found[number], number, part, asked.seed, asked.draws))
                    file.write(json.dumps({"key": key, **asdict(rows[-1])}) + "\n")
                    file.flush()
                    click.echo(f"\r{len(rows)} of {of} answers", nl=len(rows) == of, err=True)
    except OSError as error:
        raise DataError(f"answers cannot be kept at {place}: {error.strerror}") from error
    return [row for row in rows if row.part < asked.parts]


def _kept_at(out: Path) -> Path:
    return out.with_name(f"{out.name}.answers.jsonl")


def _kept(place: Path, key: str) -> list[Answer]:
    """Answers to the same questions; a line that was cut, or is of others, is none."""
    from atlas.compression.learned import Answer
    from atlas.jsontext import read_json

    found: list[Answer] = []
    for line in place.read_text(encoding="utf-8").splitlines() if place.is_file() else ():
        try:
            row = read_json(line)
        except ValueError:
            continue
        if isinstance(row, dict) and row.pop("key", "") == key:
            found.append(Answer(**row))
    return found
