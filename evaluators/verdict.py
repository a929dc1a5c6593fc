"""What a judge is shown and what it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from atlas.asking import Desk
from atlas.given import Given
from atlas.records import Step, Task
from atlas.verdict import OVERALL as OVERALL
from atlas.verdict import Verdict as Verdict


class Case(Given):
    """An episode put before a judge: the goal and every step, the answer given, and the expected one where it is known.

    Observations, thoughts and the answer are what an agent and its environment wrote: a judge treats them as data.
    """

    id: str
    """The episode's id."""
    task: Task
    steps: tuple[Step, ...] = ()
    answer: str = ""
    reference: str | None = None
    """The expected answer; None where nobody knows it."""
    solution: tuple[str, ...] = ()
    """The steps of the expected solution, where the benchmark has them."""
    outcome: float | None = None
    """The environment's own score; a model judge is not shown it."""


class Reference(Given):
    """What is known of a task's solution: the expected answer, and the steps to it."""

    answer: str
    solution: tuple[str, ...] = ()


_SUBMIT = re.compile(r"(?:submit|answer|finish)\s*[\[(](.*)[\])]\s*", re.DOTALL | re.IGNORECASE)


def submitted(action: str) -> str | None:
    """The answer that an action submits; None for one that submits none."""
    found = _SUBMIT.fullmatch(action.strip())
    return found[1] if found else None


def case_of(
    episode: str, task: Task, steps: Sequence[Step], reference: Reference | None = None, *, outcome: float | None = None
) -> Case:
    """The case that an episode is: its answer is what its last action submits, else that action."""
    last = steps[-1].decision.action if steps else ""
    answer = submitted(last)
    return Case(
        id=episode,
        task=task,
        steps=tuple(steps),
        answer=last if answer is None else answer,
        reference=reference.answer if reference else None,
        solution=reference.solution if reference else (),
        outcome=outcome,
    )


@runtime_checkable
class Judge(Protocol):
    """Says what a case is worth. Never raises for a case it cannot judge: that is a missing verdict."""

    name: str

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        """The verdict. Models are asked at ``desk``; ``opinions`` of other judges are there to be consolidated."""
        ...

    def config(self) -> dict[str, object]:
        """All that determines its verdicts, JSON-serialisable."""
        ...
