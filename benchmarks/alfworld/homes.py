"""Generated household games: endless, seeded, and playable without any download.

A generated game is a `game.tw-pddl` like ALFWorld's own (same fields, same commands, same wording of goals and replies)
over a domain and a grammar written for this package, so agents, demonstrations and engines work on both.
"""

from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import get_args

from atlas.benchmarks.alfworld.game import Game
from atlas.benchmarks.alfworld.homes_furnish import ROOMS, Chore, furnish, refurnish
from atlas.benchmarks.alfworld.homes_pddl import game_file
from atlas.benchmarks.alfworld.homes_rooms import Split, layouts
from atlas.errors import ConfigError, DataError

FAMILIES: dict[str, Chore] = {
    "pick_and_place_simple": "put",
    "look_at_obj_in_light": "look",
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
    "pick_two_obj_and_place": "two",
}
"""ALFWorld's task types, with the short names that ids of generated games carry."""


def homes(split: Split, n: int, seed: int = 0, families: Sequence[str] | None = None, *, day: int = 0) -> list[Game]:
    """The first `n` games of an endless series, balanced over the task types.

    The same arguments give the same games everywhere, and a larger `n` only adds games at the end. Layouts of "unseen"
    are never those of "train", whatever the seeds; objects and goals are drawn per game. `families` restricts and
    orders the task types, by their ALFWorld names. On another `day` homes and goals are the same, and objects are
    drawn anew: most lie elsewhere.

    Raises ConfigError for an unknown split or task type and for a negative `n`.
    """
    if split not in get_args(Split):
        raise ConfigError(f"there is no split {split!r} of generated homes: use one of {', '.join(get_args(Split))}")
    if n < 0:
        raise ConfigError(f"cannot generate {n} homes: give a number of 0 or more")
    names = list(FAMILIES) if families is None else list(families)
    if not names or (unknown := [name for name in names if name not in FAMILIES]):
        wrong = repr(unknown[0]) if names else "an empty list"
        raise ConfigError(f"{wrong} is no ALFWorld task type: use some of {', '.join(FAMILIES)}")
    return [_game(split, seed, index, family, day) for index, family in enumerate(islice(cycle(names), n))]


def write(games: Iterable[Game], folder: Path) -> list[Path]:
    """Write each game to `folder/<id>/game.tw-pddl`, where ALFWorld's own tools also find and play it.

    Raises DataError where a file cannot be written. `Game.load(path, root=folder)` gives an equal game back.
    """
    paths = []
    for game in games:
        path = folder / game.id / "game.tw-pddl"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot make the folder {path.parent}: {error.strerror}") from error
        game.save(path)
        paths.append(path)
    return paths


def _game(split: Split, seed: int, index: int, family: str, day: int) -> Game:
    chore = FAMILIES[family]
    rng = Random(f"home/{split}/{seed}/{index}/{chore}")
    room = rng.choice(ROOMS[chore])
    layout = rng.choice(layouts(split, seed, room))
    home = furnish(layout, chore, rng)
    if day:
        home = refurnish(home, Random(f"home/{split}/{seed}/{index}/{chore}/day/{day}"))
    scene = f"{room}-{layout.number:02}"
    data = game_file(home) | {"task_type": family, "scene": scene}
    return Game.from_data(data, id=f"homes/{split}/{seed}/{index:05}-{chore}-{scene}{f'/day-{day}' if day else ''}")
