"""The signals that a score is made of. A new one is a line here, and its function; what it reads that a vote does not
hold yet is a field of :class:`atlas.records.Vote`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from statistics import fmean
from typing import NamedTuple

from atlas.records import Vote, Window

_HIGHEST = 2.0
"""A window's score is the likeness of its task plus the likeness of its moment, each at most 1."""


class Part(NamedTuple):
    """What one signal makes of a step, each in [0, 1]."""

    value: float
    best: float
    """The most that the samples still to be drawn, and a critic still to be asked, could make of it."""


class Drawn(NamedTuple):
    """A step's samples so far."""

    votes: Sequence[Vote]
    samples: int
    """How many will be drawn at most."""
    lead: int
    """Index of the first that names the leading action."""
    naming: int
    """How many name it."""
    retrieved: Sequence[Window]

    @property
    def left(self) -> int:
        return self.samples - len(self.votes)

    @property
    def leading(self) -> Sequence[Vote]:
        """The votes for the leading action."""
        return [vote for vote in self.votes if vote.action == self.votes[self.lead].action]


@dataclass(frozen=True)
class Signal:
    """One of them."""

    says: str
    part: Callable[[Drawn], Part]
    asks_critic: bool = False
    """Whether a critic has to be asked for it."""


def _votes(drawn: Drawn) -> Part:
    return Part(drawn.naming / drawn.samples, (drawn.naming + drawn.left) / drawn.samples)


def _similarity(drawn: Drawn) -> Part:
    likeness = max((window.score for window in drawn.retrieved), default=0.0) / _HIGHEST
    likeness = min(1.0, max(0.0, likeness))
    return Part(likeness, likeness)


def _probability(drawn: Drawn) -> Part:
    known = [min(0.0, vote.logprob) for vote in drawn.leading if vote.logprob is not None]
    value = exp(fmean(known)) if known else 0.0
    return Part(value, 1.0 if drawn.left > 0 else value)


def _judge(drawn: Drawn) -> Part:
    chance = drawn.votes[drawn.lead].chance
    return Part(chance or 0.0, 1.0 if chance is None or drawn.left > 0 else chance)


SIGNALS = {
    "votes": Signal("the share of the samples that name the leading action", _votes),
    "similarity": Signal("half the score of the best retrieved window; 0 where nothing was retrieved", _similarity),
    "probability": Signal(
        "the geometric mean of the probabilities that the student gave to the leading action; 0 where it tells none",
        _probability,
    ),
    "judge": Signal(
        "the chance of success that a judge of steps gives to the leading action", _judge, asks_critic=True
    ),
}
