"""The score of a step: how sure one may be of the student's leading action, from what a cascade has anyway."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from statistics import fmean
from typing import NamedTuple

from atlas.records import Vote, Window
from atlas.trust.record import Trust

_HIGHEST = 2.0
"""A window's score is the likeness of its task plus the likeness of its moment, each at most 1."""


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
    value = best = 1.0
    if "votes" in trust.signals:
        value *= count / samples
        best *= (count + samples - len(votes)) / samples
    if "similarity" in trust.signals:
        similarity = max((window.score for window in retrieved), default=0.0) / _HIGHEST
        similarity = min(1.0, max(0.0, similarity))
        value, best = value * similarity, best * similarity
    if "probability" in trust.signals:
        value *= _probability([vote.logprob for vote in votes if vote.action == leading])
    lead = next(i for i, vote in enumerate(votes) if vote.action == leading)
    best = best if len(votes) < samples else value
    if "judge" in trust.signals:
        chance = votes[lead].chance
        value *= chance or 0.0
        best = best if chance is None or len(votes) < samples else value
    return Score(value, lead, best)


def _probability(logprobs: Sequence[float | None]) -> float:
    known = [min(0.0, logprob) for logprob in logprobs if logprob is not None]
    return exp(fmean(known)) if known else 0.0
