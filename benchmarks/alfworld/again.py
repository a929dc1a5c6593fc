"""Homes to which one comes again: the teacher does a task there once, and on another day it is to be done again."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.benchmarks.alfworld.engine import Engine
from atlas.benchmarks.alfworld.env import HouseholdEnv
from atlas.benchmarks.alfworld.expert import Expert
from atlas.benchmarks.alfworld.game import Game
from atlas.benchmarks.alfworld.homes import homes
from atlas.benchmarks.suite import TaskRef
from atlas.errors import ConfigError

SPLIT = "another-day"

SHORT = 10
"""Actions that the scripted expert takes at most in these homes, the first time: no long text for a small model."""
_DRAWN = 4
"""Homes drawn for each that is wanted, and more where too few of them are short: about half of them are."""


class Again:
    """Of the generated homes never seen in training those in which the scripted expert, who searches, needs at most
    :data:`SHORT` actions."""

    name = "alfworld-again"
    max_steps = 12

    def tasks(self, split: str, n: int | None = None, seed: int = 0) -> Sequence[TaskRef]:
        """The first ``n`` (6 where not given) such homes, on a day on which things lie elsewhere."""
        if split != SPLIT:
            raise ConfigError(f"homes to which one comes again have no split {split!r}: give {SPLIT}")
        return self._on(1, 6 if n is None else n, seed)

    def demo_tasks(self, split: str, n: int, seed: int = 0) -> Sequence[TaskRef]:
        """The same homes on the first day."""
        return self._on(0, n, seed)

    @staticmethod
    def _on(day: int, n: int, seed: int) -> list[TaskRef]:
        places = _places(n, seed)
        found = homes("unseen", max(places) + 1, seed=seed, day=day)
        return [_ref(found[place], SPLIT if day else "first-day") for place in places]


def _places(n: int, seed: int) -> list[int]:
    """Where the first ``n`` short homes stand in their series, each with a goal that none before it has: a memory is
    asked by the goal."""
    found: dict[str, int] = {}
    place = 0
    while len(found) < n:
        for game in homes("unseen", place + _DRAWN * n, seed=seed)[place:]:
            if game.goal not in found and _is_short(game):
                found[game.goal] = place
            place += 1
    return list(found.values())[:n]


def _is_short(game: Game) -> bool:
    engine, expert = Engine(game), Expert()
    opening, history = engine.observation, list[tuple[str, str]]()
    while len(history) < SHORT and not engine.done:
        action = expert.act(game.goal, opening, history, engine.admissible).action
        engine.step(action)
        history.append((action, engine.observation))
    return engine.done


def _ref(game: Game, split: str) -> TaskRef:
    return TaskRef(id=game.id, environment=lambda: HouseholdEnv(game, split=split))
