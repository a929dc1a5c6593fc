"""The score of a step: how sure one may be of the student's leading action, from what a cascade has anyway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from atlas.records import Vote, Window
from atlas.trust.record import Trust
from atlas.trust.signals import SIGNALS, Drawn, Part


class Score(NamedTuple):
    """What a step's samples came to."""

    value: float
    """In [0, 1]: the product of the trust's signals. 0 where no sample holds an action, or before a judge was asked."""
    lead: int
    """Index of the first sample that names the leading action; 0 where none does."""
    best: float
    """The highest value that the samples still to be drawn, and a judge still to be asked, could make of it."""


def score(trust: Trust, votes: Sequence[Vote], samples: int, retrieved: Sequence[Window]) -> Score:
    """The score after ``votes`` of ``samples`` were drawn. Samples that are not drawn yet count for nothing.

    Of actions with equally many votes the one drawn first leads.
    """
    counts: dict[str, int] = {}
    for vote in votes:
        if vote.action is not None:
            counts[vote.action] = counts.get(vote.action, 0) + 1
    if not counts:
        # With no action yet, all that can still come is a leading action that every further sample names.
        left = samples - len(votes)
        return Score(0.0, 0, left / samples if "votes" in trust.signals else float(left > 0))
    leading = max(counts, key=counts.__getitem__)
    count = counts[leading]
    lead = next(i for i, vote in enumerate(votes) if vote.action == leading)
    drawn = Drawn(votes, samples, lead, count, retrieved)
    value = best = 1.0
    for measure in _parts(trust.signals):
        part = measure(drawn)
        value, best = value * part.value, best * part.best
    return Score(value, lead, best)


@cache
def _parts(names: tuple[str, ...]) -> tuple[Callable[[Drawn], Part], ...]:
    """What measures the signals, always in the same order."""
    return tuple(signal.part for name, signal in SIGNALS.items() if name in names)
