"""A compressor that is learned from one student: which pieces does it need to still do what the teacher did?

A student is asked at states of demonstrations, with the demonstration that it would be shown, of which a random part is
left out, several times for each state. How likely the teacher's action is to it then, is laid on the sums of the
features of the pieces that stayed: see :mod:`atlas.utility`. The label is that of utility-trained compression (does the
reader still decide the same), where LLMLingua-2 (arXiv 2403.12968) learns from texts that a large model has shortened.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from atlas.compression.compressor import Worth
from atlas.compression.pieces import (
    LONG,
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
from atlas.goals import lasting
from atlas.protocols import Demonstrations, Model
from atlas.records import View, Window
from atlas.utility import Answer, Learned, Trajectory, chance, choices, dot, enough, finite, regressed, standpoints


class LearnedCompressor(Learned):
    """A file: what a token of a piece is worth to a student, by the features of the piece."""

    KIND: ClassVar[str] = "compressor"
    MADE_BY: ClassVar[str] = "'atlas memory compressor MEMORY --student MODEL -o FILE'"
    long: ClassVar[int] = LONG

    actions: tuple[float, ...] = Field(min_length=len(OF_ACTIONS), max_length=len(OF_ACTIONS))
    """Change of the chance of the teacher's action by an action with the observation after it, for one more of each of
    :data:`atlas.compression.pieces.OF_ACTIONS`."""
    pieces: tuple[float, ...] = Field(min_length=len(OF_PIECES), max_length=len(OF_PIECES))
    """The same by a piece, for each of :data:`atlas.compression.pieces.OF_PIECES`."""

    @model_validator(mode="after")
    def _numbers(self) -> LearnedCompressor:
        finite((*self.actions, *self.pieces))
        return self

    def worth(self, window: Window, task: str) -> Worth:
        steps = window.steps
        of_actions, of_pieces = features(steps, window.goal, task)
        return Worth(
            [dot(self.actions, row) / max(1, exchange_tokens(steps, n)) for n, row in enumerate(of_actions)],
            [
                [
                    dot(self.pieces, row) / max(1, piece_tokens(piece))
                    for row, piece in zip(rows, pieces(step.observation), strict=True)
                ]
                for rows, step in zip(of_pieces, steps, strict=True)
            ],
        )


@dataclass(frozen=True)
class Moment:
    """A state of a demonstration, what the teacher did there, and what a student would be shown."""

    view: View
    action: str
    window: Window


def moments(trajectories: Iterable[Trajectory], demos: Demonstrations, count: int) -> list[Moment]:
    """A state of each of ``count`` trajectories, taken evenly from all, with its demonstration as ``Recall(...,
    every="episode")`` finds it; fewer where nothing is found. What a student that ranks chooses from:
    :func:`atlas.utility.choices`."""
    found = []
    for point in standpoints(trajectories, count):
        for window in lasting(demos, point.view, 1):
            offered = choices(point, (step.action for step in window.steps))
            found.append(Moment(point.view.replace(admissible=offered, lasting=True), point.action, to_the_end(window)))
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
    """``student`` at a moment with a part of the demonstration, of 0 all of it: see :func:`atlas.utility.chance`."""
    shown = moment.view.replace(retrieved=(cut(moment.window, part_of(moment, number, part, seed)),))
    likely, dollars = await chance(student, shown, moment.action, draws)
    return Answer(number, part, likely, dollars)


def learn(found: Sequence[Moment], rows: Sequence[Answer], student: str, *, seed: int = 0) -> LearnedCompressor:
    """A compressor of what a student answered at the moments ``found``, whose parts were drawn by ``seed``. Raises
    ConfigError where that is too little, or always the same."""
    enough(len({row.moment for row in rows}), LearnedCompressor.KIND)
    held = [_held(found[row.moment], part_of(found[row.moment], row.moment, row.part, seed)) for row in rows]
    made = regressed(
        np.array(held),
        rows,
        never="what was left out of the demonstrations never changed what the student did: give more --states, or "
        "another student",
    )
    return LearnedCompressor(
        student=student,
        actions=made.weights[: len(OF_ACTIONS)],
        pieces=made.weights[len(OF_ACTIONS) :],
        states=made.states,
        asked=len(rows),
        explained=round(made.explained, 4),
    )


def _held(moment: Moment, stay: Stay) -> tuple[float, ...]:
    """The sums of each feature over the actions that stay, and over the pieces that do."""
    of_actions, of_pieces = features(moment.window.steps, moment.window.goal, moment.view.task.goal)
    there = [True, *stay.actions]  # the first observation, and each that an action brought about
    kept = [row for n, rows in enumerate(of_pieces) if there[n] for row in compress(rows, stay.pieces[n])]
    return (*_sums(compress(of_actions, stay.actions), len(OF_ACTIONS)), *_sums(kept, len(OF_PIECES)))


def _sums(rows: Iterable[Row], columns: int) -> Row:
    return tuple(map(sum, zip(*rows, strict=True))) or (0.0,) * columns
