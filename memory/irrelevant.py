"""The control for retrieval: demonstrations that have nothing to do with the step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from atlas.memory.demonstration import Demonstration
from atlas.records import View, Window


class Listed(Protocol):
    """A memory, or a part of one, that can list its demonstrations."""

    @property
    def window(self) -> int:
        """How many steps it shows before and after the best one."""

    def all(self) -> list[Demonstration]: ...

    def config(self) -> dict[str, object]: ...


class Irrelevant:
    """Windows drawn at random from ``source``, cut as it cuts its own: as much text as retrieval would show, without
    the relevance.

    If retrieved demonstrations help no more than these, it is their format that helps, not what they say.
    """

    def __init__(self, source: Listed, seed: int = 0) -> None:
        self._source = source
        self._demos = source.all()
        self._seed = seed

    def search(self, view: View, k: int) -> Sequence[Window]:
        """``k`` random windows, the same for the same episode and step."""
        return self._drawn(view, k, self._source.window)

    def similar(self, view: View, k: int) -> Sequence[Window]:
        """``k`` random trajectories, whole."""
        return self._drawn(view, k, None)

    def config(self) -> dict[str, object]:
        return {"irrelevant": self._source.config(), "seed": self._seed}

    def _drawn(self, view: View, k: int, width: int | None) -> list[Window]:
        rng = random.Random(f"{self._seed}/{view.moment}")
        others = [demo for demo in self._demos if view.task.id not in demo.tasks]
        drawn = rng.sample(others, min(k, len(others)))
        return [
            self._cut(demo, rng.randrange(len(demo.steps)), len(demo.steps) if width is None else width)
            for demo in drawn
        ]

    def _cut(self, demo: Demonstration, centre: int, width: int) -> Window:
        start = max(0, centre - width)
        return Window(
            demo_id=demo.id,
            task_id=demo.task_id,
            goal=demo.goal,
            plan=demo.plan,
            steps=demo.steps[start : centre + width + 1],
            start=start,
            best=centre - start,
        )
