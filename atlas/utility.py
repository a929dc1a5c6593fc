"""What a student makes of what it is shown, learned by asking it: what a compressor and a reranker have in common.

A student is asked at states of demonstrations, several times at each, and shown something else each time. How likely
the teacher's action is to it then is the utility of what it was shown. It is laid, within each state, on features that
people can read: a ridge regression, so that the file says what was learned. That costs one short question for each time
and needs no gradient and no access to weights, so that hosted students can be learned from too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from atlas.actions import TextActions
from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.learned_file import LearnedFile
from atlas.protocols import Model
from atlas.records import STUDENT, DemoStep, Task, Turn, View, content_hash

FEWEST = 8
"""States below which nothing is learned."""
PENALTY = 3.0
"""Of the squares of the weights of standardised features, beside the squared errors."""
CHOICES = 40
"""Actions among which a student that ranks chooses at most."""
FOLDS = 5
"""Parts that the states are divided into to say what is foretold of states that were not learned from."""

Trajectory = tuple[Task, tuple[DemoStep, ...]]
"""A task, and the steps that a teacher took in it."""


class Learned(LearnedFile):
    """Base of the files of what was learned from a student."""

    student: str
    """Whom it was learned from."""
    states: int = 0
    asked: int = 0
    """Questions that the student was asked."""
    explained: float | None = None
    """Share of the variance within states that is foretold of states that were not learned from; at most 1."""

    @property
    def digest(self) -> str:
        """Of what it does."""
        return content_hash(self.model_dump(mode="json", exclude=self._besides))

    @property
    def _besides(self) -> set[str]:
        """The fields that say how it was learned."""
        return {"states", "asked", "explained"}


def finite(weights: Iterable[float]) -> None:
    """Raises ValueError for weights that are none."""
    if not all(map(math.isfinite, weights)):
        raise ValueError("weights are numbers")


@dataclass(frozen=True)
class Standpoint:
    """A state of a demonstration, and what the teacher did there."""

    view: View
    action: str
    steps: tuple[DemoStep, ...]
    """Of the whole demonstration."""


@dataclass(frozen=True)
class Answer:
    """What a student did at a state with something of what it could be shown."""

    moment: int
    """Which one of the states."""
    part: int
    """Which one of what could be shown there."""
    chance: float
    """Of the teacher's action: its probability where the student tells it, else the share of its samples."""
    dollars: float | None = None


def standpoints(trajectories: Iterable[Trajectory], count: int) -> list[Standpoint]:
    """A state of each of ``count`` trajectories, taken evenly from all; of fewer trajectories one of each."""
    known = list(trajectories)
    picked = [known[i * len(known) // count] for i in range(min(count, len(known)))] if count < len(known) else known
    found = []
    for number, (task, steps) in enumerate(picked):
        at = number % len(steps)
        turns = tuple(
            Turn(action=step.action, observation=after.observation) for step, after in pairwise(steps[: at + 1])
        )
        found.append(Standpoint(View(task=task, opening=steps[0].observation, turns=turns), steps[at].action, steps))
    return found


def choices(point: Standpoint, others: Iterable[str]) -> tuple[str, ...]:
    """What a student that ranks chooses from, as demonstrations do not say what else was possible: what was done in the
    episode, and ``others``, at most :data:`CHOICES`. To copy an action of a demonstration word for word is then one way
    to be wrong."""
    done = dict.fromkeys([point.action, *(step.action for step in point.steps), *others])
    return tuple(sorted(list(done)[:CHOICES]))


async def chance(student: Model, shown: View, action: str, draws: int) -> tuple[float, float | None]:
    """How likely ``action`` is to ``student`` at ``shown``, and the dollars that it cost to ask. Its ``draws`` samples
    tell; of a model that ranks they cost no more than one."""
    desk = Desk()
    asked = await desk.ask(
        student, shown, actor=STUDENT, actions=TextActions(), n=draws, temperature=1.0 if draws > 1 else 0.0
    )
    same = [vote for vote, parsed in zip(asked.votes, asked.parsed, strict=True) if parsed.action == action]
    likely = next((vote.logprob for vote in same if vote.logprob is not None), None)
    dollars = [spend.usage.dollars for spend in desk.spent]
    return (
        len(same) / len(asked.parsed) if likely is None else math.exp(likely),
        None if None in dollars else sum(d for d in dollars if d is not None),
    )


@dataclass(frozen=True)
class Regression:
    """What the features of what was shown say of the chance of the teacher's action."""

    weights: tuple[float, ...]
    """Change of the chance for one more of each feature."""
    foretold: np.ndarray
    """``(answers,)``: of each answer how far its chance lies above the mean of its state, said by weights that were
    learned from other states."""
    explained: float
    """Share of the variance within states that ``foretold`` explains; at most 1."""
    states: int


def enough(states: int, what: str) -> None:
    """Raises ConfigError where there are too few states to learn ``what`` from."""
    if states < FEWEST:
        raise ConfigError(
            f"a {what} is learned from {FEWEST} states or more, and there are {states}: give a memory with more "
            "demonstrations"
        )


def regressed(
    table: np.ndarray, rows: Sequence[Answer], *, never: str, penalties: Sequence[float] = (PENALTY,)
) -> Regression:
    """Lay the chances of ``rows`` on the features ``table``, ``(len(rows), features)``, within each state. Of several
    ``penalties`` that is taken which foretells best at states that were not learned from; infinity leaves all weights
    0. Raises ConfigError, with the sentence ``never``, where no chance differs within any state."""
    states = sorted({row.moment for row in rows})
    group = np.array([row.moment for row in rows])
    sums, chances = np.array(table, float), np.array([row.chance for row in rows])
    for state in states:
        sums[group == state] -= sums[group == state].mean(axis=0)
        chances[group == state] -= chances[group == state].mean()
    if not np.any(np.abs(chances) > 1e-9):
        raise ConfigError(never)
    foretold = np.zeros_like(chances)
    for learned in _others(group):
        # The penalty too is chosen without the states that are foretold.
        weights = _fitted(sums[learned], chances[learned], group[learned], penalties)
        foretold[~learned] = sums[~learned] @ weights
    explained = 1.0 - float(np.sum((chances - foretold) ** 2) / np.sum(chances**2))
    weights = _fitted(sums, chances, group, penalties)
    return Regression(tuple(map(float, weights)), foretold, explained, len(states))


def _others(group: np.ndarray) -> list[np.ndarray]:
    """Of each of :data:`FOLDS` parts of the states, which rows are of the others."""
    _, place = np.unique(group, return_inverse=True)
    return [place % FOLDS != fold for fold in range(FOLDS)]


def _fitted(sums: np.ndarray, chances: np.ndarray, group: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Weights by the best of ``penalties``; of equal ones the first."""
    if len(penalties) == 1:
        return _ridge(sums, chances, penalties[0])
    errors = [
        sum(
            float(np.sum((chances[~those] - sums[~those] @ _ridge(sums[those], chances[those], penalty)) ** 2))
            for those in _others(group)
        )
        for penalty in penalties
    ]
    return _ridge(sums, chances, penalties[int(np.argmin(errors))])


def _ridge(sums: np.ndarray, chances: np.ndarray, penalty: float) -> np.ndarray:
    """Weights of the features as they are, found on standardised ones."""
    if math.isinf(penalty):
        return np.zeros(sums.shape[1])
    spread = np.maximum(sums.std(axis=0), 1e-9)
    table = np.where(spread > 1e-8, sums / spread, 0.0)
    solved: np.ndarray = np.linalg.solve(table.T @ table + penalty * np.eye(table.shape[1]), table.T @ chances) / spread
    return np.where(spread > 1e-8, solved, 0.0)


def dot(weights: Sequence[float], row: Sequence[float]) -> float:
    return sum(weight * number for weight, number in zip(weights, row, strict=True))
