"""How likely a student is to succeed at a task by itself: before its first step, and again after some of them.

A ridge regression over the embedding of what the task asks (its last sentence: the story before it says what happened,
not what is hard), which student it is, and, in mid-episode, what its first steps were. What it says is then fitted to
how often tasks that it had not seen went well, so that a stated chance is a share of successes. It is learned from
episodes of any suite: nothing in it is about one benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from atlas.chances.first_steps import FIRST, first_steps
from atlas.chances.folding import folded
from atlas.chances.texts import question
from atlas.errors import ConfigError
from atlas.learned_file import LearnedFile
from atlas.protocols import Embedder
from atlas.records import Record, Turn, content_hash
from atlas.stats.logistic import Logistic, fit, fit_table, sigmoid

Floats = NDArray[np.float64]

STAGES = (0, 8, 12)
"""After how many steps a chance is stated."""
FEWEST = 40
"""Episodes below which nothing is learned; a later stage that fewer came to is left out."""
QUESTION_PENALTY, STUDENT_PENALTY, STEPS_PENALTY = 0.3, 0.002, 0.3
"""For each episode that is learned from."""


@dataclass(frozen=True)
class Past:
    """An episode that a student played by itself."""

    task: str
    group: str
    """Tasks of one group are never both learned from and foretold."""
    student: str
    goal: str
    turns: tuple[Turn, ...]
    success: float
    arm: str = ""


class Stage(Record):
    """What is said after so many steps."""

    after: int
    says: Logistic
    sure: Logistic
    """From what that says to the share of successes."""


class Foresight(LearnedFile):
    """A file: what was learned of some students."""

    KIND: ClassVar[str] = "foresight"
    MADE_BY: ClassVar[str] = "'atlas trust foresee RUN -o FILE'"
    INDENT: ClassVar[int | None] = None

    embedder: str
    dim: int
    students: tuple[str, ...]
    stages: tuple[Stage, ...]
    learned_from: str = ""
    episodes: int = 0

    def check(self, embedder: Embedder) -> None:
        """Raises ConfigError where it was learned with another embedder."""
        if (embedder.name, embedder.dim) != (self.embedder, self.dim):
            raise ConfigError(
                f"the foresight was learned with the embedder {self.embedder}, and the memory has {embedder.name}: "
                f"make it anew with 'atlas trust foresee RUN --embedder {embedder.name} -o FILE'"
            )

    @property
    def digest(self) -> str:
        """Which one it is."""
        return content_hash(self.model_dump(mode="json"))

    def stage(self, steps: int) -> Stage:
        """The latest that holds after ``steps``."""
        return max((stage for stage in self.stages if stage.after <= steps), key=lambda stage: stage.after)

    def chance(self, goal: str, turns: Sequence[Turn], student: str, embedder: Embedder) -> float:
        """That ``student`` succeeds by itself, ``turns`` being what it did so far. A student that it does not know is
        taken to be like the mean of those it knows."""
        stage = self.stage(len(turns))
        vector = embedder.embed([question(goal)])[0]
        steps = first_steps(goal, turns, stage.after) if stage.after else {}
        row = _row(np.asarray(vector, dtype=float), student, self.students, steps, staged=bool(stage.after))
        if student not in self.students:
            place = self.dim
            row[place : place + len(self.students)] = stage.says.centre[place : place + len(self.students)]
        return sigmoid(stage.sure.logit({"logit": float(stage.says.logits(row[None])[0])}))


def learn(
    past: Sequence[Past], embedder: Embedder, *, stages: Sequence[int] = STAGES, learned_from: str = ""
) -> Foresight:
    """Raises ConfigError where ``past`` is too little, or all went alike."""
    if len(past) < FEWEST:
        raise ConfigError(f"foresight is learned from {FEWEST} scored episodes or more, and there are {len(past)}")
    if len({one.success for one in past}) < 2:
        raise ConfigError("every episode ended alike: there is nothing to foresee")
    students = tuple(dict.fromkeys(one.student for one in past))
    vectors = asked_vectors(past, embedder)
    found = []
    for after in sorted({0, *stages}):
        # Those that were over by then are learned from too: what is hard about a question is the same for them.
        if not after or sum(len(one.turns) > after for one in past) >= FEWEST:
            table = stage_table(past, vectors, students, after)
            found.append(_stage(past, table, students, embedder.dim, after))
    return Foresight(
        embedder=embedder.name,
        dim=embedder.dim,
        students=students,
        stages=tuple(found),
        learned_from=learned_from,
        episodes=len(past),
    )


def asked_vectors(past: Sequence[Past], embedder: Embedder) -> Floats:
    """The embeddings of what their tasks ask, each text once."""
    texts = list(dict.fromkeys(question(one.goal) for one in past))
    known = dict(zip(texts, embedder.embed(texts), strict=True))
    return np.array([known[question(one.goal)] for one in past], dtype=float)


def stage_table(past: Sequence[Past], vectors: Floats, students: Sequence[str], after: int) -> Floats:
    """A row for each episode."""
    steps = [first_steps(one.goal, one.turns, after) if after else {} for one in past]
    rows = zip(vectors, past, steps, strict=True)
    return np.array([_row(v, one.student, students, s, staged=bool(after)) for v, one, s in rows])


def _row(vector: Floats, student: str, students: Sequence[str], steps: dict[str, float], *, staged: bool) -> Floats:
    who = [float(student == known) for known in students]
    return np.concatenate([vector, who, [steps[name] for name in FIRST] if staged else []])


def _stage(past: Sequence[Past], table: Floats, students: Sequence[str], dim: int, after: int) -> Stage:
    names = (*(f"q{i}" for i in range(dim)), *(f"student {name}" for name in students), *(FIRST if after else ()))
    outcomes = np.array([one.success for one in past])

    def regression(chosen: NDArray[np.int_]) -> Logistic:
        sizes = [QUESTION_PENALTY] * dim + [STUDENT_PENALTY] * len(students)
        sizes += [STEPS_PENALTY] * (len(names) - len(sizes))
        return fit_table(table[chosen], list(outcomes[chosen]), names, len(chosen) * np.array(sizes))

    unseen = np.zeros(len(past))
    for rest, held in folded([one.group for one in past], [one.task for one in past]):
        unseen[held] = regression(rest).logits(table[held])
    sure = fit([{"logit": float(x)} for x in unseen], list(outcomes), ("logit",), penalty=1.0)
    # What is worth nothing on tasks that were not seen must not turn around.
    weights = tuple(max(0.0, weight) for weight in sure.weights)
    return Stage(after=after, says=regression(np.arange(len(past))), sure=sure.replace(weights=weights))
