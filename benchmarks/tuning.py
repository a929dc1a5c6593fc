"""How a local model reads prompts best: tried at states of the expert in train games, a few ways one after the other.

Each way is a change of the best one so far (the form; how many demonstrations; a reminder), ranked by sum and by mean.
So few states tell large differences and not small ones: a change is taken where it is right more often, and what was
tried is kept beside it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.benchmarks.alfworld.suite import Alfworld
from atlas.benchmarks.forced import State, ask, expert_steps, states
from atlas.errors import ConfigError
from atlas.memory import Demonstration, Memory
from atlas.models import load
from atlas.models.ranking import RANKS
from atlas.models.readings import Reading, Tried, canonical
from atlas.protocols import Model, RanksActions, ReadsView
from atlas.records import BARE, TRANSCRIPT

DEMONSTRATIONS = 100
"""Games that the expert demonstrates where no memory is given."""

CHANGES: tuple[dict[str, object], ...] = ({"form": TRANSCRIPT}, {"form": BARE}, {"k": 2}, {"remind": True})

Seen = Callable[[Tried, int, int], None]
"""Told the way that is tried, how many of its states were asked, and of how many."""


@dataclass
class Tuning:
    """One search. What was asked is kept in ``folder``, and the same search goes on from there."""

    model: str
    folder: Path
    memory: Path | None = None
    split: str = "train"
    games: int = 8
    each: int = 3
    seen: Seen = lambda tried, done, of: None
    player: Model | None = None
    """The model, where it is loaded already."""

    def run(self) -> Reading:
        """Try, and say what was best. Raises ConfigError for a model that ranks no actions by a prompt."""
        player = self.player or load(canonical(self.model))
        if not isinstance(player, RanksActions) or isinstance(player, ReadsView):
            raise ConfigError(
                f"{self.model} has no prompt to tune: give a local language model, such as smollm2-135m or hf:FOLDER"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        found = asyncio.run(states(Alfworld(), self.split, self.games, self.each))
        with Memory(self.memory or self._demonstrated()) as remembered:
            tried: list[Tried] = []
            for change in CHANGES:
                for rank in RANKS:
                    way = (_best(tried) if tried else Tried()).model_copy(update={**change, "rank": rank})
                    tried.append(self._tried(player, remembered, found, way))
        return Reading(best=_best(tried), tried=tuple(tried), split=self.split)

    def _tried(self, player: Model, memory: Memory, found: list[State], way: Tried) -> Tried:
        file = self.folder / "asked.jsonl"
        asked = {tuple(r["at"]): r["good"] for r in map(json.loads, _lines(file))}
        assert isinstance(player, RanksActions)
        player.form, player.rank, player.remind = way.form, way.rank, way.remind
        good = 0
        for number, state in enumerate(found, 1):
            at = (way.words, state.game, state.view.index)
            if at not in asked:
                (row,) = asyncio.run(ask(player, memory, [state], way.k, "episode"))
                asked[at] = row.good
                with file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps({"at": at, "good": row.good}) + "\n")
            good += asked[at]
            self.seen(way, number, len(found))
        return way.model_copy(update={"good": good, "states": len(found)})

    def _demonstrated(self) -> Path:
        """A memory of the expert's own games, made once."""
        path = self.folder / "memory.sqlite"
        with Memory(path) as memory:
            if not len(memory.demonstrations):
                for ref in Alfworld().tasks(self.split, DEMONSTRATIONS):
                    task, steps = asyncio.run(expert_steps(ref.environment()))
                    if steps:
                        memory.add(Demonstration(task_id=task.id, goal=task.goal, steps=steps, success=True))
        return path


def _best(tried: Sequence[Tried]) -> Tried:
    """Of equals the first: the simpler one."""
    return max(tried, key=lambda one: one.good)


def place_of(cache: Path, model: str, *settings: object) -> Path:
    """Where a search of these settings is kept while it is under way."""
    key = hashlib.sha256(json.dumps([canonical(model), *map(str, settings)]).encode()).hexdigest()[:16]
    return cache / "tuning" / key


def _lines(file: Path) -> list[str]:
    """The whole lines of a file that may have been cut while it was written."""
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()
