"""Asking a student again and again, its answers kept as they come: for what is learned from one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.errors import ConfigError, DataError

if TYPE_CHECKING:
    from atlas.protocols import Model
    from atlas.utility import Answer, Learned

_OPTIONS = (
    click.option("--student", required=True, help="The model that reads them: see 'atlas models ls'."),
    click.option("--price", help="Dollars per million tokens: PROMPT/COMPLETION[/CACHED]."),
    click.option(
        "--embedder", default="minilm", show_default=True, help="minilm, hash, or sentence-transformers/NAME."
    ),
    click.option(
        "--states", default=40, show_default=True, type=click.IntRange(min=8), help="One of each demonstration."
    ),
)
_MORE = (
    click.option(
        "--draws",
        default=8,
        show_default=True,
        type=click.IntRange(1, 1000),
        help="Samples of each answer, which tell how likely an action is; models that rank draw them for nothing.",
    ),
    click.option("--instructions", default="", help="How to act in the environment, as its tasks tell it."),
)


def whom_options(command: Any) -> Any:
    """Who is asked, and how often."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def how_options(command: Any) -> Any:
    """How its answers are had."""
    for option in reversed(_MORE):
        command = option(command)
    return command


def reader(name: str, price: str | None, so: str) -> Model:
    """The model. Raises ConfigError for one that reads no prompt, and says what follows from that."""
    from atlas.models import load
    from atlas.protocols import ReadsView

    model = load(name, price=price)
    if isinstance(model, ReadsView):
        raise ConfigError(f"{name} reads no prompt, {so}: name a language model")
    return model


async def all_answers(
    questions: Sequence[tuple[int, int]], ask: Callable[[int, int], Awaitable[Answer]], out: Path, key: str
) -> list[Answer]:
    """The answers to ``questions``, each a state and a part: those that are kept beside ``out`` from before, under the
    same ``key``, and the rest, each kept as it comes. Raises DataError where they cannot be kept, and ConfigError where
    ``out`` is a folder."""
    place = _kept_at(out)
    rows = _kept(place, key)
    there = {(row.moment, row.part) for row in rows}
    try:
        with place.open("a", encoding="utf-8") as file:
            # What comes first stands in a line of its own, whatever was cut off before it.
            file.write("\n" if file.tell() else "")
            for number, part in questions:
                if (number, part) not in there:
                    rows.append(await ask(number, part))
                    file.write(json.dumps({"key": key, **asdict(rows[-1])}) + "\n")
                    file.flush()
                    over = len(rows) == len(questions)
                    click.echo(f"\r{len(rows)} of {len(questions)} answers", nl=over, err=True)
    except OSError as error:
        raise DataError(f"answers cannot be kept at {place}: {error.strerror}") from error
    wanted = set(questions)
    return [row for row in rows if (row.moment, row.part) in wanted]


def written(made: Learned, out: Path) -> None:
    """Write what was learned; the answers are needed no more."""
    made.save(out)
    _kept_at(out).unlink(missing_ok=True)


def asked_line(made: Learned, rows: Sequence[Answer]) -> str:
    """Of what it was learned, and what that cost."""
    from atlas.figures import money

    paid = [row.dollars for row in rows]
    cost = "an unknown sum" if None in paid else money(sum(one for one in paid if one is not None))
    return f"Learned from {made.states} states and {made.asked} answers of {made.student}, which cost {cost}."


def weight_lines(weights: Sequence[tuple[str, float]]) -> list[str]:
    """The heaviest first."""
    return [f"  {name:20} {weight:+.4f}" for name, weight in sorted(weights, key=lambda pair: -abs(pair[1]))]


def _kept_at(out: Path) -> Path:
    """Where answers are kept. Raises ConfigError where ``out`` is no file."""
    if out.is_dir():
        raise ConfigError(f"{out} is a folder: name a file, such as {out / 'learned.json'}")
    return out.with_name(f"{out.name}.answers.jsonl")


def _kept(place: Path, key: str) -> list[Answer]:
    """Answers to the same questions; a line that was cut, or is of others, is none."""
    from atlas.jsontext import read_json
    from atlas.utility import Answer

    found: list[Answer] = []
    for line in place.read_text(encoding="utf-8", errors="replace").splitlines() if place.is_file() else ():
        try:
            row = read_json(line)
            if isinstance(row, dict) and row.pop("key", "") == key:
                found.append(Answer(**row))
        except (ValueError, TypeError):
            continue
    return found
