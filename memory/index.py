"""Multi-key retrieval over trajectories and their steps (icd: arXiv 2512.02543; keys and windows: arXiv 2505.00234).

Each key (goal, plan, thought, observation, action) is compared on its own by inner product of unit vectors, and the
products are averaged over the keys that both sides have. Goal and plan score a trajectory, the others a step. A
trajectory ranks by its own score plus that of its best step.

Texts repeat a great deal across trajectories, so that each unique text of a key is scored once and its score is
gathered to all the places where it occurs.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.errors import ConfigError
from atlas.given import real, shown
from atlas.memory.arrayfile import Arrays
from atlas.memory.demonstration import Demonstration
from atlas.memory.vectors import Buffer, Floats, Ints, Vectors, VectorView
from atlas.records import View

TRAJECTORY_KEYS = ("goal", "plan")
STEP_KEYS = ("thought", "observation", "action")
DEFAULT_KEYS = ("goal", "plan", "thought", "observation")

RESCORED_TRAJECTORIES = 512
"""How many of the best trajectories by estimated score are scored again exactly."""
RESCORED_STEPS = 768
"""How many steps, the likeliest of those trajectories."""
_TIE = 1e-6
"""Scores closer than this are equal: float32 products of equal vectors may differ in the last bits."""

Query = Mapping[str, Floats]


class Ranked(NamedTuple):
    """A trajectory by its place in insertion order, its best step and its score."""

    place: int
    step: int
    score: float


def check_keys(keys: Sequence[str], weights: Mapping[str, float]) -> dict[str, float]:
    """The weight of each key; raises ConfigError for a key that does not exist or a weight that is not positive."""
    known = TRAJECTORY_KEYS + STEP_KEYS
    if isinstance(keys, str) or not isinstance(keys, Sequence) or not keys:
        raise ConfigError(f"retrieval keys are a list, such as {list(DEFAULT_KEYS)!r}, not {shown(keys)}")
    if not isinstance(weights, Mapping):
        raise ConfigError(f"retrieval weights are numbers by key, such as {{'goal': 2.0}}, not {shown(weights)}")
    for key in (*keys, *weights):
        if key not in known:
            raise ConfigError(f"there is no retrieval key {key!r}: choose among {', '.join(known)}")
    if any(not real(weight) or weight <= 0 for weight in weights.values()):
        raise ConfigError("retrieval weights must be positive: leave a key out of `keys` to ignore it")
    return {key: float(weights.get(key, 1.0)) for key in keys}


def demo_texts(demo: Demonstration, key: str) -> list[str]:
    """The texts of one key: one for the trajectory, or one per step; empty where there is none.

    A step is chosen knowing the thought before it, so that thought is its key: it is matched with the last thought of
    the agent that is about to act.
    """
    if key == "goal":
        return [demo.goal]
    if key == "plan":
        return [demo.plan]
    if key == "thought":
        return ["", *(step.thought for step in demo.steps[:-1])]
    return [getattr(step, key) for step in demo.steps]


def distinct(demos: Sequence[Demonstration], keys: Iterable[str]) -> list[str]:
    """Every text of ``demos`` by one of the keys, once."""
    return list(dict.fromkeys(text for key in keys for demo in demos for text in demo_texts(demo, key) if text))


def query_texts(view: View, keys: Sequence[str]) -> dict[str, str]:
    """The texts that the next step of ``view`` is compared by, without the keys it lacks."""
    last = view.turns[-1] if view.turns else None
    texts = {
        "goal": view.task.goal,
        "plan": view.plan,
        "thought": last.thought if last else "",
        "observation": view.observation,
        "action": last.action if last else "",
    }
    return {key: texts[key] for key in keys if texts[key]}


class Column:
    """One key: which unique text stands at each place, and the vectors of the unique texts."""

    def __init__(self, vectors: Vectors) -> None:
        self.rows: dict[str, int] = {"": 0}
        self.places = Buffer(np.int32)
        self.present = Buffer(np.float32)
        self.vectors = vectors

    def unknown(self, texts: list[str]) -> list[str]:
        return [text for text in dict.fromkeys(texts) if text not in self.rows]

    def append(self, texts: list[str], unknown: list[str], vectors: Floats) -> None:
        if unknown:
            self.vectors.append(unknown, vectors)
            self.rows.update(zip(unknown, range(len(self.rows), len(self.rows) + len(unknown)), strict=True))
        self.place(np.fromiter((self.rows[text] for text in texts), np.int32, len(texts)))

    def place(self, rows: NDArray[np.int32]) -> None:
        """Texts, by their rows, at the next places."""
        self.places.extend(rows)
        self.present.extend((rows > 0).astype(np.float32))

    def view(self) -> ColumnView:
        return ColumnView(self.places.view(), self.present.view(), self.vectors.view())


class Index:
    """Grows by one writer at a time; searches run on snapshots and wait neither for it nor for one another."""

    def __init__(
        self,
        weights: Mapping[str, float],
        make_vectors: Callable[[str], Vectors],
        column: Callable[[Vectors], Column] = Column,
    ) -> None:
        """``weights`` by key; ``make_vectors`` gives the table of one key, ``column`` what is kept of it."""
        self._weights = dict(weights)
        self._columns = {key: column(make_vectors(key)) for key in weights}
        self._starts = Buffer(np.intp)
        self._steps = 0
        self._lock = threading.Lock()

    def append(self, demos: Sequence[Demonstration], embed: Callable[[list[str]], Floats]) -> None:
        """Add trajectories at the end; ``embed`` gives the unit vectors of texts that :meth:`unknown` names."""
        new = []
        for key, column in self._columns.items():
            texts = [text for demo in demos for text in demo_texts(demo, key)]
            unknown = column.unknown(texts)
            new.append((column, texts, unknown, embed(unknown)))
        with self._lock:
            for column, texts, unknown, vectors in new:
                column.append(texts, unknown, vectors)
            lengths = np.array([len(demo.steps) for demo in demos], np.intp)
            self._starts.extend(self._steps + np.cumsum(lengths) - lengths)
            self._steps += int(lengths.sum())

    def unknown(self, demos: Sequence[Demonstration]) -> list[str]:
        """The texts of ``demos`` that a table lacks, each once."""
        lacking = (c.unknown(distinct(demos, [key])) for key, c in self._columns.items())
        return list(dict.fromkeys(text for texts in lacking for text in texts))

    def arrays(self) -> Arrays:
        """All of it, to be kept in a file; nothing of an index that is made anew whenever a memory is opened."""
        return {}

    def restore(self, arrays: Arrays, steps: int) -> None:
        """Be, from empty, the index of so many steps whose :meth:`arrays` these are. Raises ValueError where they do
        not belong together; it is of no use then."""
        raise ValueError("it is of another kind of index")

    def snapshot(self) -> Snapshot:
        with self._lock:
            return Snapshot(self._views(), self._weights, self._starts.view(), self._steps)

    def _views(self) -> dict[str, ColumnView]:
        return {
            key: ColumnView(c.places.view(), c.present.view(), c.vectors.view()) for key, c in self._columns.items()
        }


class ColumnView(NamedTuple):
    places: NDArray[np.int32]
    """The row of the unique text at each place."""
    present: Floats
    """0 where the text is missing, else 1."""
    vectors: VectorView


class Snapshot:
    """The index at one moment."""

    def __init__(
        self, columns: dict[str, ColumnView], weights: Mapping[str, float], starts: NDArray[Any], steps: int
    ) -> None:
        self._columns, self._weights, self._starts, self._steps = columns, weights, starts, steps

    @property
    def size(self) -> int:
        """How many trajectories."""
        return len(self._starts)

    @property
    def error(self) -> float:
        """About the most that a score may be off: more than 0 of rounded vectors, and infinite of an index outside of
        the memory."""
        return max((getattr(column.vectors, "error", 0.0) for column in self._columns.values()), default=0.0)

    def rank(self, query: Query, k: int, ids: Sequence[str], blocked: Ints, first: int) -> list[Ranked]:
        """The ``k`` best among the ``first`` trajectories, best first; equal scores by id.

        ``blocked`` are places that may not be returned; ``ids`` are the trajectories' ids by place.
        """
        starts = self._starts[:first]
        if k <= 0 or not len(starts):
            return []
        end = int(self._starts[first]) if first < len(self._starts) else self._steps
        step_scores = self._scores(query, STEP_KEYS, end)
        own = self._scores(query, TRAJECTORY_KEYS, first)
        totals = own + np.maximum.reduceat(step_scores, starts)
        totals[blocked] = -np.inf
        if not self._approximate(query):
            top = _top(_leaders(totals, k), totals, ids, k)
            ends = self._ends()
            return [Ranked(p, _first_best(step_scores[starts[p] : ends[p]]), score) for p, score in top]
        places = _leaders(totals, max(RESCORED_TRAJECTORIES, 4 * k))
        return self._rescored(query, places, own, step_scores, ids, k)

    def rank_trajectories(self, query: Query, k: int, ids: Sequence[str], blocked: Ints, first: int) -> list[Ranked]:
        """As :meth:`rank`, by goal and plan alone."""
        if k <= 0 or not first:
            return []
        totals = self._scores(query, TRAJECTORY_KEYS, first)
        totals[blocked] = -np.inf
        if self._approximate(query):
            places = _leaders(totals, max(RESCORED_TRAJECTORIES, 4 * k))
            totals[places] = self._exact(query, TRAJECTORY_KEYS, places)
        else:
            places = _leaders(totals, k)
        return [Ranked(p, 0, score) for p, score in _top(places, totals, ids, k)]

    def _rescored(
        self, query: Query, places: Ints, own: Floats, step_scores: Floats, ids: Sequence[str], k: int
    ) -> list[Ranked]:
        """Score the likeliest steps of ``places`` exactly, and rank by that."""
        starts = self._starts[places]
        lengths = self._ends()[places] - starts
        firsts = np.cumsum(lengths) - lengths
        steps = np.arange(int(lengths.sum())) + np.repeat(starts - firsts, lengths)
        owner = np.repeat(np.arange(len(places)), lengths)
        if len(steps) > RESCORED_STEPS:
            estimates = own[places][owner] + step_scores[steps]
            chosen = np.sort(np.argpartition(estimates, -RESCORED_STEPS)[-RESCORED_STEPS:])
            steps, owner = steps[chosen], owner[chosen]
        return self._ranked(query, steps, places[owner], ids, k)

    def _ranked(self, query: Query, steps: Ints, owner: Ints, ids: Sequence[str], k: int) -> list[Ranked]:
        """The ``k`` best of the trajectories that ``steps`` belong to (``owner``), by exact scores of those steps."""
        scores = self._exact(query, STEP_KEYS, steps)
        # The best step of each owner: highest score, then earliest.
        order = np.lexsort((steps, -np.round(scores, 6), owner))
        lead = order[np.flatnonzero(np.diff(owner[order], prepend=-1))]
        places, best = owner[lead], steps[lead]
        totals = scores[lead] + self._exact(query, TRAJECTORY_KEYS, places)
        top = _leaders(totals, k)
        places, best = places[top], best[top]
        step_of = dict(zip(places.tolist(), (best - self._starts[places]).tolist(), strict=True))
        return [Ranked(p, step_of[p], score) for p, score in _first(places, totals[top], ids, k)]

    def _ends(self) -> Ints:
        return np.append(self._starts[1:], self._steps)

    def _approximate(self, query: Query) -> bool:
        return any(self._columns[key].vectors.approximate for key in query)

    def _scores(self, query: Query, keys: Sequence[str], count: int) -> Floats:
        """Weighted mean over the keys present on both sides, for the first ``count`` places; 0 where there is none."""
        parts = []
        for key in keys:
            if key in query:
                column = self._columns[key]
                scores = column.vectors.scores(query[key])
                scores[0] = 0.0
                parts.append((self._weights[key], scores.take(column.places[:count]), column.present[:count]))
        return _mean(parts, count)

    def _exact(self, query: Query, keys: Sequence[str], places: Ints) -> Floats:
        """The same for some places, never estimated."""
        parts = []
        for key in keys:
            if key in query:
                column = self._columns[key]
                present = column.present[places]
                scores = column.vectors.exact(query[key], column.places[places].astype(np.intp))
                parts.append((self._weights[key], scores * present, present))
        return _mean(parts, len(places))


def _mean(parts: list[tuple[float, Floats, Floats]], count: int) -> Floats:
    """Mean of ``(weight, scores, present)``; scores are 0 where a text is not present."""
    if not parts:
        return np.zeros(count, np.float32)
    above = np.zeros(count, np.float32)
    below = np.zeros(count, np.float32)
    for weight, scores, present in parts:
        above += np.float32(weight) * scores
        below += np.float32(weight) * present
    return np.divide(above, below, out=above, where=below > 0)


def _leaders(totals: Floats, k: int) -> Ints:
    """The places whose total is not below the k-th best, ties included, in insertion order."""
    allowed = totals > -np.inf
    if np.count_nonzero(allowed) > k:
        allowed = totals >= np.partition(totals, len(totals) - k)[len(totals) - k] - _TIE
    return np.flatnonzero(allowed)


def _first_best(scores: Floats) -> int:
    return int(np.argmax(np.round(scores, 6)))


def _top(places: Ints, totals: Floats, ids: Sequence[str], k: int) -> list[tuple[int, float]]:
    """The ``k`` best of ``places`` with their scores, best first; equal scores by id."""
    return _first(places, totals[places], ids, k)


def _first(places: Ints, scores: Floats, ids: Sequence[str], k: int) -> list[tuple[int, float]]:
    rows = zip(places.tolist(), np.round(scores.astype(np.float64), 6).tolist(), strict=True)
    return heapq.nsmallest(k, rows, key=lambda row: (-row[1], ids[row[0]]))


def best_places(totals: Floats, ids: Sequence[str], k: int) -> list[tuple[int, float]]:
    """The ``k`` places with the highest total and those totals, best first; equal ones by id."""
    return _top(_leaders(totals, k), totals, ids, k)
