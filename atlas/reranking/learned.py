"""A reranker that is learned from one student: with which of the demonstrations found does it do what the teacher did?

Retrieval puts first what is likest, and what is likest is not always what helps. A student is asked at states of the
memory's own demonstrations with one after the other of the first that retrieval finds; how likely the teacher's action
is to it with each is laid on what can be told of a demonstration beside the others (:mod:`atlas.reranking.features`),
as :mod:`atlas.utility` does it. That the reader's own likelihood trains what is retrieved for it: Rubin et al., arXiv
2112.08633, who train an encoder on it where this is a few weights.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain, zip_longest
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from atlas.goals import lasting
from atlas.protocols import Demonstrations, Model
from atlas.records import View, Window
from atlas.reranking.features import OF_WINDOWS, features
from atlas.utility import (
    Answer,
    Learned,
    Standpoint,
    Trajectory,
    chance,
    choices,
    dot,
    enough,
    finite,
    regressed,
    standpoints,
)

PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, math.inf)
"""Of which the best is chosen: few states say little about many features, and where they say nothing the weights are 0
and what was found first stays first."""
NEAR = 0.8
"""Share of the actions of one of two demonstrations that are done in the other in this order, for the same goal or in
the same place, from which they are near copies. One says what the teacher did in the other, which no demonstration does
for a task that is new."""


class LearnedReranker(Learned):
    """A file: how much a demonstration raises the chance of the teacher's action, by what can be told of it."""

    KIND: ClassVar[str] = "reranker"
    MADE_BY: ClassVar[str] = "'atlas memory reranker MEMORY --student MODEL -o FILE'"

    every: Literal["step", "episode"]
    """Whether it was learned of windows for a step, or of whole demonstrations for an episode."""
    candidates: int = Field(ge=2)
    """Of how many that retrieval found it was learned, and so chooses."""
    weights: dict[str, float]
    """Change of the chance for one more of each of :data:`atlas.reranking.features.OF_WINDOWS`."""
    found: float | None = None
    """Mean chance of the teacher's action with what retrieval found first; this and the next at states that were not
    learned from."""
    chosen: float | None = None
    """The same with what is put first here."""
    best: float | None = None
    """The same with whichever of the candidates was best: nobody can do better by choosing."""

    @model_validator(mode="after")
    def _numbers(self) -> LearnedReranker:
        if set(self.weights) != set(OF_WINDOWS):
            raise ValueError(f"a weight for each of {', '.join(OF_WINDOWS)}")
        finite(self.weights.values())
        return self

    @property
    def _besides(self) -> set[str]:
        return {*super()._besides, "found", "chosen", "best"}

    def scores(self, windows: Sequence[Window], view: View) -> Sequence[float]:
        by = [self.weights[name] for name in OF_WINDOWS]
        return [dot(by, row) for row in features(windows, view)]


@dataclass(frozen=True)
class Found:
    """A state of a demonstration, what the teacher did there, and the demonstrations that a student could be shown."""

    view: View
    action: str
    windows: tuple[Window, ...]


def moments(
    trajectories: Iterable[Trajectory],
    demos: Demonstrations,
    count: int,
    candidates: int,
    every: Literal["step", "episode"],
) -> list[Found]:
    """A state of each of ``count`` trajectories, taken evenly from all, with the first ``candidates`` that
    ``Recall(..., every=every)`` finds for it, its own demonstration and near copies of it left out. States for which
    fewer than two are found are left out too. What a student that ranks chooses from:
    :func:`atlas.utility.choices`."""
    found = []
    for point in standpoints(trajectories, count):
        # As many again, in place of those that are copies.
        seek = lasting if every == "episode" else _searched
        others = [window for window in seek(demos, point.view, 2 * candidates) if not _copies(window, point)]
        windows = tuple(others[:candidates])
        if len(windows) > 1:
            # Of each candidate some, where they do not all have room.
            done = zip_longest(*((step.action for step in window.steps) for window in windows))
            offered = choices(point, (action for action in chain.from_iterable(done) if action is not None))
            view = point.view.replace(admissible=offered, lasting=every == "episode")
            found.append(Found(view, point.action, windows))
    return found


def _searched(demos: Demonstrations, view: View, k: int) -> Sequence[Window]:
    return demos.search(view, k)


def _copies(window: Window, point: Standpoint) -> bool:
    """Whether it is nearly the demonstration that the state is of."""
    theirs, ours = [step.action for step in window.steps], [step.action for step in point.steps]
    alike = sum(block.size for block in SequenceMatcher(None, theirs, ours, autojunk=False).get_matching_blocks())
    there = window.goal == point.view.task.goal or window.steps[0].observation in {s.observation for s in point.steps}
    return there and alike >= NEAR * min(len(theirs), len(ours))


async def answer(student: Model, moment: Found, number: int, part: int, draws: int) -> Answer:
    """``student`` at a moment with the candidate ``part`` alone: see :func:`atlas.utility.chance`."""
    shown = moment.view.replace(retrieved=(moment.windows[part],))
    likely, dollars = await chance(student, shown, moment.action, draws)
    return Answer(number, part, likely, dollars)


def learn(
    found: Sequence[Found], rows: Sequence[Answer], student: str, candidates: int, every: Literal["step", "episode"]
) -> LearnedReranker:
    """A reranker of what a student answered at the moments ``found``. Raises ConfigError where that is too little, or
    always the same."""
    enough(len({row.moment for row in rows}), LearnedReranker.KIND)
    known = [features(moment.windows, seen(moment.view)) for moment in found]
    made = regressed(
        np.array([known[row.moment][row.part] for row in rows]),
        rows,
        never="which demonstration it was shown never changed what the student did: give more --states, or another "
        "student",
        penalties=PENALTIES,
    )
    states: defaultdict[int, list[tuple[Answer, float]]] = defaultdict(list)
    for row, foretold in zip(rows, made.foretold.tolist(), strict=True):
        states[row.moment].append((row, foretold))
    ordered = [sorted(those, key=lambda pair: pair[0].part) for those in states.values()]
    return LearnedReranker(
        student=student,
        every=every,
        candidates=candidates,
        weights=dict(zip(OF_WINDOWS, made.weights, strict=True)),
        states=made.states,
        asked=len(rows),
        explained=round(made.explained, 4),
        found=_mean([those[0][0].chance for those in ordered]),
        chosen=_mean([max(those, key=lambda pair: pair[1])[0].chance for those in ordered]),
        best=_mean([max(row.chance for row, _ in those) for those in ordered]),
    )


def seen(view: View) -> View:
    """What is chosen by: where the demonstrations stay for an episode, its beginning."""
    return view.replace(turns=()) if view.lasting else view


def _mean(chances: Sequence[float]) -> float:
    return round(sum(chances) / len(chances), 4)
