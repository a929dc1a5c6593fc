"""How past tasks went: what supervision is chosen by. One small row per episode, beside what the memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from atlas.given import check_record, check_text
from atlas.memory.database import Database
from atlas.memory.rows import record
from atlas.memory.texts import TextVectors, embedded
from atlas.memory.vectors import Floats
from atlas.protocols import Embedder
from atlas.record import Record
from atlas.records import Episode, Step, total
from atlas.redact import scrub
from atlas.standing import TAUGHT, TRIED

COACH = "coach"
"""The lane in which the teacher looks at every step."""
CORRECTED = "corrected"
"""The reason of a step whose action the student took after the coach had corrected it."""
UNGUIDED = "unguided"
"""The reason of a step whose coach said nothing that could be read: no consent, and no correction."""
CORRECTED_OUTCOMES = "outcomes/corrected"
"""The fact that counts how often an outcome became another one: who has read them reads them again."""

STOOD = "stood"
"""The reason of a step whose answer the teacher rejected, and which was given all the same."""


class Outcome(Record):
    """How an episode went."""

    episode: str
    task_id: str
    goal: str
    lane: str = ""
    """The supervision it had."""
    success: bool | None
    """None where nothing scored it."""
    unaided: float | None
    """How well the student did by itself, 0 to 1: see :func:`unaided`. None where nobody knows."""
    dollars: float | None
    """All actors together, at the most where some calls did not tell; None where a price is not known."""
    time: float = 0.0
    """Unix time of its start."""


def outcome(episode: Episode, steps: Sequence[Step]) -> Outcome:
    """The row that a history keeps of an episode."""
    return Outcome(
        episode=episode.id,
        task_id=episode.task.id,
        goal=scrub(episode.task.goal),
        lane=episode.lane,
        success=episode.success,
        unaided=unaided(episode, steps),
        dollars=total(episode.spend).at_most,
        time=episode.started,
    )


def unaided(episode: Episode, steps: Sequence[Step]) -> float | None:
    """How well the student did by itself: what the next task like this one may expect of it.

    Alone (auto): whether it succeeded. Paired: whether its first attempt was good, so 0 where that was rejected and
    not given all the same.
    Coached: the share of steps on which the coach had nothing to correct, of those on which it said what could be read,
    or 0 where the task failed all the same. None where nothing scored it, where no word of the teacher could be
    read, and where the teacher acted in an episode whose lane nobody chose for its task: that was not the student.
    """
    if episode.success is None or (episode.lane in ("", TAUGHT, TRIED) and episode.teacher_steps):
        return None
    if not episode.success:
        return 0.0
    if any(review.approved is False for review in episode.reviews[:1]):
        return float(any(step.decision.reason == STOOD for step in steps))
    if any(review.approved is None for review in episode.reviews[:1]):
        return None
    if episode.lane != COACH:
        return 1.0
    coached = [step.decision.reason == CORRECTED for step in steps if step.decision.reason != UNGUIDED]
    return 1.0 - fmean(coached) if coached else None if steps else 0.0


class Near(NamedTuple):
    """A past task, and how like the present one it is."""

    outcome: Outcome
    similarity: float
    """Inner product of the goals' embeddings."""
    place: int
    """Its place in the order of learning; the newest has the highest."""


class History:
    """The outcomes in a memory. What another process adds is found at the next look."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._db = database
        self._texts = TextVectors(database, embedder)
        self._embedder = embedder
        self._stamp: object = None
        self._undone = database.undone
        self._seq = 0
        self._corrected: str | None = None
        self._outcomes: list[Outcome] = []
        self._vectors: Floats | None = None

    @property
    def embedder(self) -> Embedder:
        return self._embedder

    def add(self, outcome: Outcome) -> bool:
        """Keep an outcome durably; False where that episode's is there: that becomes what it says now, in its old
        place, where its success is another one. Raises StoreError when the memory is frozen."""
        check_record("what a history takes", outcome, Outcome, "make one with atlas.memory.history.outcome")
        return self._db.whole(lambda: self._add(outcome))

    def _add(self, outcome: Outcome) -> bool:
        backend = self._db.backend
        with self._db.transaction():
            if backend.add_outcome(outcome.episode, outcome.model_dump_json()):
                return True
            text = backend.outcome(outcome.episode)
            if text is not None and outcome.success is not None:
                known = record(Outcome, text, f"the outcome of episode {outcome.episode}", self._db.path)
                if (known.success, known.unaided) != (outcome.success, outcome.unaided):
                    backend.set_outcome(outcome.episode, outcome.model_dump_json())
                    backend.set_fact(CORRECTED_OUTCOMES, str(int(backend.fact(CORRECTED_OUTCOMES) or 0) + 1))
            return False

    def __len__(self) -> int:
        return self._db.backend.outcome_count()

    def all(self) -> list[Outcome]:
        """In the order they were learned."""
        return list(self._now()[0])

    def near(self, goal: str, k: int, *, floor: float = 0.0, besides: str = "") -> list[Near]:
        """The ``k`` newest tasks whose goals are at least ``floor`` alike, newest first; not those of task ``besides``.

        Newest and not most alike: what a student can do changes while it learns.
        """
        check_text("a goal", goal, "give the words of a task")
        outcomes, vectors = self._now()
        if vectors is None:
            return []
        scores = vectors @ embedded(self._embedder, [goal])[0]
        found = []
        for place in range(len(outcomes) - 1, -1, -1):
            outcome = outcomes[place]
            if scores[place] >= floor and outcome.task_id != besides:
                found.append(Near(outcome, float(scores[place]), place))
                if len(found) == k:
                    break
        return found

    def _now(self) -> tuple[list[Outcome], Floats | None]:
        """What is known, with the vectors of the goals, as it is at this moment."""
        while True:
            with self._db.turn():
                if self._undone != self._db.undone:
                    self._forget()
                # Looked at before the rows are: what is added after this look changes it once more.
                stamp = self._db.stamp()
                if stamp == self._stamp:
                    return self._outcomes, self._vectors
                corrected = self._db.backend.fact(CORRECTED_OUTCOMES)
                if corrected != self._corrected:
                    self._forget()
                    self._corrected = corrected
                seq, undone = self._seq, self._undone
                rows = self._db.backend.outcomes(seq)
            # Others have their turn while this embeds.
            new = [record(Outcome, text, f"outcome {number}", self._db.path) for number, text in rows]
            vectors = self._texts.embed([outcome.goal for outcome in new])
            with self._db.turn():
                if (seq, undone) == (self._seq, self._db.undone):
                    if rows:
                        self._outcomes = self._outcomes + new
                        self._vectors = vectors if self._vectors is None else np.concatenate([self._vectors, vectors])
                        self._seq = rows[-1][0]
                    self._stamp = stamp
                    return self._outcomes, self._vectors

    def _forget(self) -> None:
        self._stamp, self._seq, self._undone = None, 0, self._db.undone
        self._outcomes, self._vectors = [], None
