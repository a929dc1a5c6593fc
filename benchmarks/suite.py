"""What a benchmark has to offer to be run: tasks by split, and for each a fresh environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from atlas.memory.distil import Distiller
from atlas.memory.distil_scripted import ScriptedDistiller
from atlas.protocols import Environment


@dataclass(frozen=True)
class TaskRef:
    """A task that has not been opened. ``environment`` makes a new single-use environment at each call."""

    id: str
    environment: Callable[[], Environment]


class Suite(Protocol):
    """A benchmark."""

    name: str
    max_steps: int
    """Steps an episode may take, by the benchmark's rules."""

    def tasks(self, split: str, n: int | None = None, seed: int = 0) -> Sequence[TaskRef]:
        """``n`` tasks of a split (all where None), always the same. ConfigError for an unknown split."""
        ...

    def demo_tasks(self, split: str, n: int, seed: int = 0) -> Sequence[TaskRef]:
        """``n`` tasks to collect demonstrations on when ``split`` is to be tested: never tasks of ``split``."""
        ...


def distiller_of(suite: Suite) -> Distiller:
    """The rules that turn its episodes into entries: its own where it has a method ``distiller``, else those for worlds
    whose environment lists what can be done."""
    own: Callable[[], Distiller] | None = getattr(suite, "distiller", None)
    return own() if own is not None else ScriptedDistiller()
