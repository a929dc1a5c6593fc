"""What a benchmark has to offer to be run: tasks by split, and for each a fresh environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from atlas.evaluators.verdict import Judge, Reference
from atlas.memory.distil import Distiller
from atlas.memory.distil_scripted import ScriptedDistiller
from atlas.protocols import Environment


@dataclass(frozen=True)
class TaskRef:
    """A task that has not been opened. ``environment`` makes a new single-use environment at each call."""

    id: str
    environment: Callable[[], Environment]
    reference: Reference | None = None
    """What is known of its solution, for the suite's judge; nobody who plays is shown it."""


NEEDS = ("name", "max_steps", "tasks", "demo_tasks")


class Suite(Protocol):
    """A benchmark. ``atlas bench mine.py:Tickets`` plays one of your own: the name of a class without arguments, of a
    function that makes one, or of the suite itself.

    It may offer more, and is asked for it by the functions below:

    ``distiller() -> Distiller``
        the rules that turn its episodes into entries of a pamphlet (:func:`distiller_of`)
    ``judge() -> Judge``
        who says what an episode was worth, in place of its environment (:func:`judge_of`)
    ``success_at: float``
        the score from which an episode is a success (:func:`success_at`)
    ``answers_once: bool``
        whether an episode ends with an answer, ``submit[...]``, and no action before it changes anything that lasts
        (:func:`answers_once`)
    """

    @property
    def name(self) -> str:
        """Says all that makes its tasks: only a run of a suite of the same name is resumed. A part of folder names."""
        ...

    @property
    def max_steps(self) -> int:
        """Steps an episode may take, by the benchmark's rules."""
        ...

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


def judge_of(suite: Suite) -> Judge | None:
    """Whose verdict is the score of its episodes: of its method ``judge``; None where their environment scores them."""
    own: Callable[[], Judge] | None = getattr(suite, "judge", None)
    return own() if own is not None else None


def success_at(suite: Suite) -> float:
    """The score from which its episodes are successes: 1 where it does not say."""
    stated: float = getattr(suite, "success_at", 1.0)
    return stated


def answers_once(suite: Suite) -> bool:
    """Whether the answer of its episodes can be held back: not where it does not say so."""
    stated: bool = getattr(suite, "answers_once", False)
    return stated
