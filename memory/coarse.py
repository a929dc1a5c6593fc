"""Search among a great many windows: a coarse first pass over all of them by faiss, then exact scores of the likeliest.

The first pass reads a code of half a byte per two numbers (product quantisation) for each step, its keys side by side,
and one for each trajectory, so that it sees what a search ranks by: means over keys. What may not be returned never is,
whatever the codes say. Codes are derived from the stored vectors, and of a great memory kept in a file beside it
(:mod:`atlas.memory.saved`). They depend on what the memory holds and its order, not on how it got there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.memory import codes
from atlas.memory.arrayfile import Arrays
from atlas.memory.codes import Level
from atlas.memory.demonstration import Demonstration
from atlas.memory.index import (
    STEP_KEYS,
    TRAJECTORY_KEYS,
    ColumnView,
    Index,
    Query,
    Ranked,
    Snapshot,
    best_places,
)
from atlas.memory.rounded import HashedColumn, RoundedVectors
from atlas.memory.vectors import Buffer, Floats, Ints

CANDIDATES = 1024
"""Steps, and trajectories, that the first pass names."""
COARSE_CANDIDATES = 4096
"""The same where most codes are coarse: naming more is cheaper than reading finer codes."""
RESCORED = 512
"""Of those steps, how many are scored exactly, besides the steps of the trajectories that lead by themselves."""
LEADERS, COARSE_LEADERS = 256, 64
"""How many such trajectories at most; fewer where most codes are coarse and more steps are named."""
_MARGINS = (0.02, 0.05)
"""By how much a trajectory may fall short by estimates and still be looked at: about the standard deviation of their
errors where texts have nothing in common, for codes of two and of four numbers to a half byte; of six
they are greater, and :data:`COARSE_LEADERS` bounds how many are looked at."""
_SPARSE = 8
"""Where less than one trajectory in so many may be returned, those are all scored exactly."""


def installed() -> bool:
    return util.find_spec("faiss") is not None


class CoarseIndex(Index):
    """An index that compares coarsely first. Grows by one writer at a time; searches wait while it adds a code."""

    def __init__(self, weights: Mapping[str, float], dim: int) -> None:
        tables = self._tables = {key: RoundedVectors(dim) for key in weights}
        super().__init__(weights, tables.__getitem__, HashedColumn)
        self._levels = {}
        for name, keys in _LEVELS.items():
            columns = {key: (self._columns[key], tables[key]) for key in keys if key in weights}
            self._levels[name] = Level(columns, weights, dim)
        self._owner = Buffer(np.int32)

    def append(self, demos: Sequence[Demonstration], embed: Callable[[list[str]], Floats]) -> None:
        first = self._starts.size
        super().append(demos, embed)
        with self._lock:
            lengths = [len(demo.steps) for demo in demos]
            self._owner.extend(np.repeat(np.arange(first, first + len(demos), dtype=np.int32), lengths))
        for level in self._levels.values():
            level.extend()

    def arrays(self) -> Arrays:
        held: Arrays = {"starts": self._starts.view().astype(np.int64)}
        for key, column in self._columns.items():
            assert isinstance(column, HashedColumn)
            held.update({f"{key}/{name}": array for name, array in column.arrays().items()})
            held.update({f"{key}/{name}": array for name, array in self._tables[key].arrays().items()})
        for name, level in self._levels.items():
            held.update({f"{name}/{of}": array for of, array in level.arrays().items()})
        return held

    def restore(self, arrays: Arrays, steps: int) -> None:
        try:
            starts = arrays["starts"]
            if (
                starts.dtype != np.int64
                or starts.ndim != 1
                or (np.diff(starts, append=steps) <= 0).any()
                or starts[:1].any()
            ):
                raise ValueError("its trajectories do not follow one another")
            self._starts.take_over(starts.astype(np.intp))
            self._steps = steps
            self._owner.take_over(np.repeat(np.arange(len(starts), dtype=np.int32), np.diff(starts, append=steps)))
            for key, column in self._columns.items():
                assert isinstance(column, HashedColumn)
                held = _under(arrays, key)
                places = column.restore(held, self._tables[key].restore(held))
                if places != (steps if key in STEP_KEYS else len(starts)):
                    raise ValueError("it has not one text for each place")
            for name, level in self._levels.items():
                level.restore(_under(arrays, name))
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError("a part of it is not there") from error

    def snapshot(self) -> CoarseSnapshot:
        with self._lock:
            return CoarseSnapshot(
                self._views(), self._weights, self._starts.view(), self._steps, self._owner.view(), self._levels
            )


def _under(arrays: Arrays, name: str) -> Arrays:
    return {of.removeprefix(f"{name}/"): array for of, array in arrays.items() if of.startswith(f"{name}/")}


_LEVELS = {"trajectories": TRAJECTORY_KEYS, "steps": STEP_KEYS}


class CoarseSnapshot(Snapshot):
    """The index at one moment: codes added since are passed over."""

    def __init__(
        self,
        columns: dict[str, ColumnView],
        weights: Mapping[str, float],
        starts: NDArray[Any],
        steps: int,
        owner: NDArray[np.int32],
        levels: Mapping[str, Level],
    ) -> None:
        super().__init__(columns, weights, starts, steps)
        self._owner, self._levels = owner, levels

    def rank(self, query: Query, k: int, ids: Sequence[str], blocked: Ints, first: int) -> list[Ranked]:
        open_ = self._open(blocked, first)
        places = np.flatnonzero(open_)
        if k <= 0 or not len(places):
            return []
        if len(places) * _SPARSE > len(open_):
            most = COARSE_CANDIDATES if self._coarse else CANDIDATES
            n = int(max(most, 16 * k) * len(open_) / len(places))
            steps = self._likely(query, k, n, open_)
        else:
            steps = self._steps_of(places)
        return self._ranked(query, steps, self._owner[steps].astype(np.intp), ids, k)

    def rank_trajectories(self, query: Query, k: int, ids: Sequence[str], blocked: Ints, first: int) -> list[Ranked]:
        open_ = self._open(blocked, first)
        places = np.flatnonzero(open_)
        if k <= 0 or not len(places):
            return []
        if len(places) * _SPARSE > len(open_):
            n = int(max(CANDIDATES, 16 * k) * len(open_) / len(places))
            near = self._levels["trajectories"].near(query, n, self.size)
            found = near.places[open_[near.places]]
            # Too few have anything to be compared by: all are equal then, or nearly.
            places = found if len(found) >= k else places
        totals = np.full(self.size, -np.inf, np.float32)
        totals[places] = self._exact(query, TRAJECTORY_KEYS, places)
        return [Ranked(p, 0, score) for p, score in best_places(totals, ids, k)]

    @property
    def _coarse(self) -> bool:
        """Whether the codes of most steps are of six numbers to a half byte."""
        return self._steps > codes.FINE_BELOW

    def _open(self, blocked: Ints, first: int) -> NDArray[np.bool_]:
        open_ = np.ones(self.size, bool)
        open_[first:] = False
        open_[blocked[blocked < self.size]] = False
        return open_

    def _likely(self, query: Query, k: int, n: int, open_: NDArray[np.bool_]) -> Ints:
        """The steps that may be the best of the best trajectories, in order."""
        ways = self._levels["trajectories"].near(query, (1 + self._coarse) * n, self.size)
        near = self._levels["steps"].near(query, n, self._steps)
        own = np.full(self.size, ways.rest if ways.rest > -np.inf else 0.0, np.float32)
        own[ways.places] = ways.scores
        own[~open_] = -np.inf
        totals = near.scores + own[self._owner[near.places]]
        best = np.full(self.size, -np.inf, np.float32)
        np.maximum.at(best, self._owner[near.places], totals)
        reached = best[best > -np.inf]
        bar = np.partition(reached, -k)[-k] if len(reached) >= k else -np.inf
        kept = np.flatnonzero(totals > -np.inf)
        most = max(RESCORED, 8 * k)
        if len(kept) > most:
            kept = kept[np.argpartition(totals[kept], -most)[-most:]]
        # A trajectory that leads by itself, and whose best step is not among the steps found.
        room = near.rest if near.rest > -np.inf else 0.0
        leads = ways.places if len(ways.places) else np.flatnonzero(open_)
        leads = leads[own[leads] + room >= bar - _MARGINS[self._coarse]]
        count = max(COARSE_LEADERS, 3 * k) if self._coarse else max(LEADERS, 8 * k)
        if len(leads) > count:
            leads = leads[np.argpartition(own[leads], -count)[-count:]]
        leads = leads[open_[leads]]
        if len(leads) + len(_distinct(self._owner[near.places[kept]])) < k:
            leads = np.flatnonzero(open_)[: max(count, k)]
        return _distinct(np.concatenate([near.places[kept], self._steps_of(leads)]))

    def _steps_of(self, places: Ints) -> Ints:
        starts = self._starts[places]
        lengths = self._ends()[places] - starts
        firsts = np.cumsum(lengths) - lengths
        return np.asarray(np.arange(int(lengths.sum())) + np.repeat(starts - firsts, lengths), np.intp)


def _distinct(numbers: NDArray[Any]) -> NDArray[Any]:
    """In order, each once; of some thousands this takes a tenth of what :func:`numpy.unique` does."""
    ordered = np.sort(numbers)
    found: NDArray[Any] = ordered[np.diff(ordered, prepend=-1) != 0]
    return found
