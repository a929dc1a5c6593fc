"""ALFWorld as a suite: the official splits, and homes of our own that need no download."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from atlas.benchmarks.alfworld.data import SPLITS, GameRef, games
from atlas.benchmarks.alfworld.env import HouseholdEnv
from atlas.benchmarks.alfworld.game import Game
from atlas.benchmarks.alfworld.homes import FAMILIES, homes
from atlas.benchmarks.suite import TaskRef
from atlas.errors import ConfigError

HOMES = "homes"
"""The split of generated homes: unseen layouts to test on, other layouts to collect demonstrations in."""
BLOCKS = "homes-blocks"
"""The same kind of homes, one task family after the other."""


class Alfworld:
    """Household games. 50 actions an episode, as usual."""

    name = "alfworld"
    max_steps = 50

    def __init__(self, data: Path | str | None = None) -> None:
        self.data = data

    def tasks(self, split: str, n: int | None = None, seed: int = 0) -> Sequence[TaskRef]:
        """Official splits in order of their paths; ``homes``: ``n`` (134 where not given) generated unseen homes;
        ``homes-blocks``: ``n`` (200) of them, task families in blocks of equal size.

        Fewer games of an official split are taken evenly from all of it: by path, its first ones are all of one type.
        """
        if split == HOMES:
            return [_ref(game, HOMES) for game in homes("unseen", 134 if n is None else n, seed=seed)]
        if split == BLOCKS:
            return [_ref(game, BLOCKS) for game in _blocks(200 if n is None else n, seed)]
        _check(split)
        found = games(split, self.data)
        count = len(found) if n is None else min(n, len(found))
        return [_ref(found[index * len(found) // count], split) for index in range(count)]

    def demo_tasks(self, split: str, n: int, seed: int = 0) -> Sequence[TaskRef]:
        """Train games drawn by ``seed``; the order is the order in which a learning curve grows."""
        if split in (HOMES, BLOCKS):
            return [_ref(game, "homes-train") for game in homes("train", n, seed=seed)]
        _check(split)
        found = games("train", self.data)
        if split == "train":
            raise ConfigError(
                "demonstrations come from train, so train cannot be tested on: choose another --split, or to make "
                "traces of train games give --memory of a run on another split and --demos 0"
            )
        random.Random(seed).shuffle(found)
        return [_ref(ref, "train") for ref in found[:n]]


def _blocks(n: int, seed: int) -> list[Game]:
    sizes = [n // len(FAMILIES) + (place < n % len(FAMILIES)) for place in range(len(FAMILIES))]
    return [
        game
        for family, size in zip(FAMILIES, sizes, strict=True)
        for game in homes("unseen", size, seed=seed, families=[family])
    ]


def _check(split: str) -> None:
    if split not in SPLITS:
        raise ConfigError(f"ALFWorld has no split {split!r}: choose one of {', '.join([*SPLITS, HOMES, BLOCKS])}")


def _ref(game: Game | GameRef, split: str) -> TaskRef:
    return TaskRef(id=game.id, environment=lambda: HouseholdEnv(game, split=split))
