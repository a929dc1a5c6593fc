"""``atlas play``: one task of a benchmark, by hand or from a file of commands, seen as an agent sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.given import from_file, played, show, typed
from atlas.cli.play_excytin import excytin
from atlas.errors import ConfigError
from atlas.records import Observation

if TYPE_CHECKING:
    from atlas.benchmarks.alfworld.engine import Engine
    from atlas.benchmarks.alfworld.game import Game


@click.group(help="Play one task of a benchmark by hand or from a file of commands.")
def command() -> None:
    pass


command.add_command(excytin)


@command.command("alfworld")
@click.argument("game")
@click.option(
    "--commands",
    type=click.Path(path_type=Path),
    help="File of commands, one a line, played until the goal is reached.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per state, the opening first.")
def alfworld(game: str, commands: Path | None, as_json: bool) -> None:
    """Play GAME: a game.tw-pddl file, or a generated home such as homes/unseen/0/3 (split, seed, number)."""
    from atlas.benchmarks.alfworld.engine import Engine

    engine = Engine(_game(game))
    given = from_file(commands) if commands else typed(lambda: _state(engine))
    show(None, _state(engine), as_json=as_json)
    for action in played(given, lambda: _state(engine), commands):
        engine.step(action)
        show(action, _state(engine), as_json=as_json)
    if not as_json:
        click.echo("The goal is reached." if engine.done else "The goal is not reached.")


def _state(engine: Engine) -> Observation:
    return Observation(text=engine.observation, admissible=engine.admissible, score=engine.score, done=engine.done)


def _game(name: str) -> Game:
    from atlas.benchmarks.alfworld.game import Game
    from atlas.benchmarks.alfworld.homes import homes

    parts = name.split("/")
    if parts[0] != "homes" or Path(name).exists():
        return Game.load(name)
    try:
        _, split, seed, number = parts
        if split not in ("train", "unseen"):
            raise ValueError
        return homes("train" if split == "train" else "unseen", int(number) + 1, seed=int(seed))[-1]
    except (ValueError, IndexError):
        raise ConfigError(f"{name!r} is no generated home: write homes/train/SEED/NUMBER or homes/unseen/...") from None
