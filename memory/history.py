"""How past tasks went: what supervision is chosen by. One small row per episode, beside what the memory holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from atlas.memory.database import Database
from atlas.memory.texts import TextVectors
from atlas.memory.vectors import Floats
from atlas.protocols import Embedder
from atlas.record import Record

_TABLE = """
CREATE TABLE outcomes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    episode TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL
)
"""


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
    """How well the student did by itself, 0 to 1: see :func:`atlas.policies.probe.unaided`. None where nobody knows."""
    dollars: float | None
    """All actors together; None where a price is not known."""
    time: float = 0.0
    """Unix time of its start."""


class Near(NamedTuple):
    """A past task, and how like the present one it is."""

    outcome: Outcome
    similarity: float
    """Inner product of the goals' embeddings."""
    place: int
    """Its place in the order of learning; the newest has the highest."""


class History:
    """The outcomes in a memory file. What another process adds is found at the next look."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._db = database
        self._texts = TextVectors(database, embedder)
        self._embedder = embedder
        self._stamp: tuple[int, int] | None = None
        self._undone = database.undone
        self._seq = 0
        self._outcomes: list[Outcome] = []
        self._vectors: Floats = np.empty((0, embedder.dim), np.float32)
        self._db.define("outcomes", _TABLE)

    def add(self, outcome: Outcome) -> bool:
        """Keep an outcome durably; False where that episode's is there. Raises StoreError when the memory is frozen."""
        with self._db.transaction():
            rows = self._db.execute(
                "INSERT INTO outcomes (episode, record) VALUES (?, ?) ON CONFLICT (episode) DO NOTHING RETURNING seq",
                (outcome.episode, outcome.model_dump_json()),
            )
        return bool(rows)

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM outcomes")[0][0])

    def all(self) -> list[Outcome]:
        """In the order they were learned."""
        return list(self._now()[0])

    def near(self, goal: str, k: int, *, floor: float = 0.0, besides: str = "") -> list[Near]:
        """The ``k`` newest tasks whose goals are at least ``floor`` alike, newest first; not those of task ``besides``.

        Newest and not most alike: what a student can do changes while it learns.
        """
        outcomes, vectors = self._now()
        if not outcomes:
            return []
        scores = vectors @ self._embedder.embed([goal])[0]
        found = []
        for place in range(len(outcomes) - 1, -1, -1):
            outcome = outcomes[place]
            if scores[place] >= floor and outcome.task_id != besides:
                found.append(Near(outcome, float(scores[place]), place))
                if len(found) == k:
                    break
        return found

    def _now(self) -> tuple[list[Outcome], Floats]:
        """What is known, with the vectors of the goals, as it is at this moment."""
        while True:
            with self._db.turn():
                if self._undone != self._db.undone:
                    self._forget()
                # Looked at before the rows are: what is added after this look changes it once more.
                stamp = self._db.stamp()
                if stamp == self._stamp:
                    return self._outcomes, self._vectors
                seq, undone = self._seq, self._undone
                rows = self._db.execute("SELECT seq, record FROM outcomes WHERE seq > ? ORDER BY seq", (seq,))
            # Others have their turn while this embeds.
            new = [Outcome.model_validate_json(record) for _, record in rows]
            vectors = self._texts.embed([outcome.goal for outcome in new])
            with self._db.turn():
                if (seq, undone) == (self._seq, self._db.undone):
                    if rows:
                        self._outcomes = self._outcomes + new
                        self._vectors = np.concatenate([self._vectors, vectors])
                        self._seq = rows[-1][0]
                    self._stamp = stamp
                    return self._outcomes, self._vectors

    def _forget(self) -> None:
        self._stamp, self._seq, self._undone = None, 0, self._db.undone
        self._outcomes, self._vectors = [], np.empty((0, self._embedder.dim), np.float32)
