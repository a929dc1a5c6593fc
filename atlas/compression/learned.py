"""A compressor that is learned from one student: which pieces does it need to still do what the teacher did?

A student is asked at states of demonstrations, with the demonstration that it would be shown, of which a random part is
left out, several times for each state. How likely the teacher's action is to it then, is laid on the pieces that
stayed: a ridge regression on the sums of their features, within each state. That costs one short question for each
random part and needs no gradient and no access to the weights, so that hosted students can be learned from too. The
label is that of utility-trained compression (does the reader still decide the same), where LLMLingua-2 (arXiv
2403.12968) learns from texts that a large model has shortened.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError, model_validator

from atlas.actions import TextActions
from atlas.asking import Desk
from atlas.compression.compressor import Worth
from atlas.compression.pieces import (
    OF_ACTIONS,
    OF_PIECES,
    Row,
    Stay,
    cut,
    exchange_tokens,
    features,
    fixed,
    piece_tokens,
    pieces,
    to_the_end,
)
from atlas.errors import ConfigError, DataError
from atlas.folders import write_whole
from atlas.goals import lasting
from atlas.protocols import Demonstrations, Model
from atlas.records import STUDENT, DemoStep, Record, Task, Turn, View, Window, content_hash

FEWEST = 8
"""States below which nothing is learned."""
PENALTY = 3.0
"""Of the squares of the weights of standardised features, beside the squared errors."""
_CHOICES = 40
"""Actions among which a student that ranks chooses at most."""


class LearnedCompressor(Record):
    """A file: what a token of a piece is worth to a student, by the features of the piece."""

    version: int = 1
    student: str
    """Whom it was learned from."""
    actions: tuple[float, ...] = Field(min_length=len(OF_ACTIONS), max_length=len(OF_ACTIONS))
    """Change of the chance of the teacher's action by an action with the observation after it, for one more of each of
    :data:`atlas.compression.pieces.OF_ACTIONS`."""
    pieces: tuple[float, ...] = Field(min_length=len(OF_PIECES), max_length=len(OF_PIECES))
    """The same by a piece, for each of :data:`atlas.compression.pieces.OF_PIECES`."""
    states: int = 0
    asked: int = 0
    """Questions that the student was asked."""
    explained: float | None = None
    """Share of the variance within states that is foretold of states that were not learned from; at most 1."""

    @model_validator(mode="after")
    def _numbers(self) -> LearnedCompressor:
        if not all(map(math.isfinite, (*self.actions, *self.pieces))):
            raise ValueError("weights are numbers")
        return self

    @property
    def digest(self) -> str:
        return content_hash(self.model_dump(mode="json", exclude={"states", "asked", "explained"}))

    def worth(self, window: Window, task: str) -> Worth:
        steps = window.steps
        of_actions, of_pieces = features(steps, window.goal, task)
        return Worth(
            [_dot(self.actions, row) / max(1, exchange_tokens(steps, n)) for n, row in enumerate(of_actions)],
            [
                [
                    _dot(self.pieces, row) / max(1, piece_tokens(piece))
                    for row, piece in zip(rows, pieces(step.observation), strict=True)
                ]
                for rows, step in zip(of_pieces, steps, strict=True)
            ],
        )

    @classmethod
    def load(cls, path: str | Path) -> LearnedCompressor:
        """Read what :meth:`save` wrote. Raises DataError for a file that is none."""
        try:
            return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"the compressor {path} cannot be read: {error.strerror}") from error
        except (ValidationError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} holds no compressor: make one with 'atlas memory compressor MEMORY --student MODEL -o FILE'"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write it as JSON that people can read."""
        try:
            write_whole(Path(path), self.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise DataError(f"the compressor cannot be written to {path}: {error.strerror}") from error


@dataclass(frozen=True)
class Moment:
    """A state of a demonstration, what the teacher did there, and what a student would be shown."""

    view: View
    action: str
    window: Window


@dataclass(frozen=True)
class Answer:
    """What a student did where a part of its demonstration was left out."""

    moment: int
    """Which one of them."""
    part: int
    """Which of its parts: of 0, all of it."""
    chance: float
    """Of the teacher's action: its probability where the student tells it, else the share of its samples."""
    dollars: float | None = None


def moments(
    trajectories: Iterable[tuple[Task, tuple[DemoStep, ...]]], demos: Demonstrations, count: int
) -> list[Moment]:
    """A state of each of ``count`` trajectories, taken evenly from all, with its demonstration as ``Recall(...,
    every="episode")`` finds it; fewer where nothing is found.

    Demonstrations do not say what else was possible: a student that ranks chooses among what was done in the episode
    and in the demonstration, so that copying an action word by word is one way to be wrong.
    """
    known = list(trajectories)
    picked = [known[i * len(known) // count] for i in range(min(count, len(known)))] if count < len(known) else known
    found = []
    for number, (task, steps) in enumerate(picked):
        at = number % len(steps)
        turns = tuple(
            Turn(action=step.action, observation=after.observation) for step, after in pairwise(steps[: at + 1])
        )
        view = View(task=task, opening=steps[0].observation, turns=turns)
        for window in lasting(demos, view, 1):
            done = dict.fromkeys([steps[at].action, *(s.action for s in steps), *(s.action for s in window.steps)])
            choices = tuple(sorted(list(done)[:_CHOICES]))
            found.append(Moment(view.replace(admissible=choices, lasting=True), steps[at].action, to_the_end(window)))
    return found


def part_of(moment: Moment, number: int, part: int, seed: int) -> Stay:
    """What stays of the demonstration in a part of it: all in part 0, else a random share."""
    window = moment.window
    if part == 0:
        return Stay.whole(window)
    draw = random.Random(f"{seed}/{number}/{part}/{moment.view.task.id}")
    share, of_pieces = draw.uniform(0.2, 1.0), draw.uniform(0.1, 0.9)
    return Stay(
        tuple(n in fixed(window) or draw.random() < share for n in range(len(window.steps))),
        tuple(tuple(draw.random() < of_pieces for _ in pieces(step.observation)) for step in window.steps),
    )


async def answer(student: Model, moment: Moment, number: int, part: int, seed: int, draws: int) -> Answer:
    """``student`` at a moment with a part of the demonstration. Its ``draws`` samples tell how likely the teacher's
    action is; of a model that ranks they cost no more than one."""
    desk = Desk()
    shown = moment.view.replace(retrieved=(cut(moment.window, part_of(moment, number, part, seed)),))
    asked = await desk.ask(
        student, shown, actor=STUDENT, actions=TextActions(), n=draws, temperature=1.0 if draws > 1 else 0.0
    )
    same = [vote for vote, parsed in zip(asked.votes, asked.parsed, strict=True) if parsed.action == moment.action]
    likely = next((vote.logprob for vote in same if vote.logprob is not None), None)
    chance = len(same) / len(asked.parsed) if likely is None else math.exp(likely)
    dollars = [spend.usage.dollars for spend in desk.spent]
    return Answer(number, part, chance, None if None in dollars else sum(d for d in dollars if d is not None))


def learn(found: Sequence[Moment], rows: Sequence[Answer], student: str, *, seed: int = 0) -> LearnedCompressor:
    """A compressor of what a student answered at the moments ``found``, whose parts were drawn by ``seed``. Raises
    ConfigError where that is too little, or always the same."""
    groups = sorted({row.moment for row in rows})
    if len(groups) < FEWEST:
        raise ConfigError(f"a compressor is learned from {FEWEST} states or more, and there are {len(groups)}")
    sums, chances, group = _within(found, rows, seed)
    if not np.any(np.abs(chances) > 1e-9):
        raise ConfigError(
            "what was left out of the demonstrations never changed what the student did: there is nothing to learn from"
        )
    folds = np.array([groups.index(g) % 5 for g in group])
    foretold = np.zeros_like(chances)
    for fold in range(5):
        foretold[folds == fold] = sums[folds == fold] @ _ridge(sums[folds != fold], chances[folds != fold])
    explained = 1.0 - float(np.sum((chances - foretold) ** 2) / np.sum(chances**2))
    weights = tuple(map(float, _ridge(sums, chances)))
    return LearnedCompressor(
        student=student,
        actions=weights[: len(OF_ACTIONS)],
        pieces=weights[len(OF_ACTIONS) :],
        states=len(groups),
        asked=len(rows),
        explained=round(explained, 4),
    )


def _held(moment: Moment, stay: Stay) -> tuple[float, ...]:
    """The sums of each feature over the actions that stay, and over the pieces that do."""
    of_actions, of_pieces = features(moment.window.steps, moment.window.goal, moment.view.task.goal)
    there = [True, *stay.actions]  # the first observation, and each that an action brought about
    kept = [row for n, rows in enumerate(of_pieces) if there[n] for row in compress(rows, stay.pieces[n])]
    return (*_sums(compress(of_actions, stay.actions), len(OF_ACTIONS)), *_sums(kept, len(OF_PIECES)))


def _sums(rows: Iterable[Row], columns: int) -> Row:
    return tuple(map(sum, zip(*rows, strict=True))) or (0.0,) * columns


def _dot(weights: Row, row: Row) -> float:
    return sum(weight * number for weight, number in zip(weights, row, strict=True))


def _within(found: Sequence[Moment], rows: Sequence[Answer], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features and chances less their means of each moment, and which moment each row is of."""
    group = np.array([row.moment for row in rows])
    held = [_held(found[row.moment], part_of(found[row.moment], row.moment, row.part, seed)) for row in rows]
    sums, chances = np.array(held), np.array([row.chance for row in rows])
    for one in np.unique(group):
        sums[group == one] -= sums[group == one].mean(axis=0)
        chances[group == one] -= chances[group == one].mean()
    return sums, chances, group


def _ridge(sums: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Weights of the features as they are, found on standardised ones."""
    spread = np.maximum(sums.std(axis=0), 1e-9)
    table = np.where(spread > 1e-8, sums / spread, 0.0)
    solved: np.ndarray = np.linalg.solve(table.T @ table + PENALTY * np.eye(table.shape[1]), table.T @ chances) / spread
    return np.where(spread > 1e-8, solved, 0.0)
