"""Homes to which one comes again: the teacher does a task there once, and on another day it is to be done again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

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
_DRAWN = 100
"""Homes looked at, at most, for each that is wanted."""


class Again:
    """Of the generated homes never seen in training those in which the scripted expert, who searches, needs at most
    :data:`SHORT` actions."""

    name = "alfworld-again"
    max_steps = 12

    def tasks(self, split: str, n: int | None = None, seed: int = 0) -> Sequence[TaskRef]:
        """The first ``n`` (6 where not given) such homes, on another day."""
        if split != SPLIT:
            raise ConfigError(f"homes to which one comes again have no split {split!r}: give {SPLIT}")
        return [_ref(later, SPLIT) for _, later in _pairs(6 if n is None else n, seed)]

    def demo_tasks(self, split: str, n: int, seed: int = 0) -> Sequence[TaskRef]:
        """The same homes on the first day."""
        return [_ref(first, "first-day") for first, _ in _pairs(n, seed)]


def copied(n: int, seed: int = 0) -> int:
    """In how many of the first ``n`` homes the expert's actions of the first day, done again on the other day without
    looking, would do: what a student has to be better than who reads."""
    found = 0
    for first, later in _pairs(n, seed):
        engine = Engine(later)
        for action in _done(first, SHORT) or ():
            engine.step(action)
        found += engine.done
    return found


@lru_cache(maxsize=4)
def _pairs(n: int, seed: int) -> list[tuple[Game, Game]]:
    """The first ``n`` such homes of their series on both days, each with a goal that none before it has: a memory is
    asked by the goal. ConfigError where there are not so many."""
    found: dict[str, tuple[Game, Game]] = {}
    place = 0
    while len(found) < n:
        if place > _DRAWN * n:
            raise ConfigError(f"there are only {len(found)} homes to which one comes again: give no more")
        batch = place + 2 * n
        days = (homes("unseen", batch, seed=seed, day=day)[place:] for day in (0, 1))
        for first, later in zip(*days, strict=True):
            if first.goal not in found and _done(first, SHORT) is not None:
                found[first.goal] = (first, later)
        place = batch
    return list(found.values())[:n]


def _done(game: Game, most: int) -> list[str] | None:
    """The actions by which the expert is done; None where ``most`` are not enough."""
    engine, expert = Engine(game), Expert()
    opening, history = engine.observation, list[tuple[str, str]]()
    while len(history) < most and not engine.done:
        action = expert.act(game.goal, opening, history, engine.admissible).action
        engine.step(action)
        history.append((action, engine.observation))
    return [action for action, _ in history] if engine.done else None


def _ref(game: Game, split: str) -> TaskRef:
    return TaskRef(id=game.id, environment=lambda: HouseholdEnv(game, split=split))
