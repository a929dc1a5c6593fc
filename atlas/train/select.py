"""Which trajectories an epoch is made of: all of them, or those that teach most. Goes with any recipe."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence

import torch

from atlas.errors import ConfigError
from atlas.train import losses
from atlas.train.base import Base, batches
from atlas.trained.trajectory import Trajectory
from atlas.trained.vocabulary import Encoded

WAYS = ("family", "uncertain")


class Select:
    """Draws as many trajectories as there are, some of them several times, so that an epoch costs what it did.

    ``family``: by families that the student finds hard, after DDK (arXiv 2407.16154): of N families each has the rate
    ``r <- psi / (2 sum psi) + 1 / (2 N)`` with ``psi = r exp(ppl_S / ppl_T)``; a teacher that is recorded as text has
    the perplexity 1. ``uncertain``: half at random, half in proportion to the student's negative log-likelihood, after
    LLKD (arXiv 2411.08028); the recipe has already left out what cannot be relied on. Difficulty alone would choose
    what is wrong or odd.
    """

    def __init__(self, way: str) -> None:
        if way not in WAYS:
            raise ConfigError(f"there is no way {way!r} to select: choose one of {', '.join(WAYS)}")
        self.way = way
        self.rates: dict[str, float] = {}
        """Of the families, from one epoch to the next."""
        self._read: int | None = None

    def cost(self, base: Base, trajectories: Sequence[Trajectory]) -> int:
        """Tokens that a draw has to read: every time all of them."""
        if self._read is None:
            self._read = sum(len(item) for trajectory in trajectories for item in base.encode(trajectory))
        return self._read

    def draw(self, base: Base, trajectories: Sequence[Trajectory], tokens: int, rng: random.Random) -> list[int]:
        """Indices of the trajectories of the next epoch."""
        items = [base.encode(trajectory) for trajectory in trajectories]
        nll = surprise(base, items, tokens)
        if self.way == "family":
            weights = self._by_family(trajectories, nll)
        else:
            total = sum(nll) or 1.0
            weights = [0.5 / len(nll) + 0.5 * value / total for value in nll]
        return rng.choices(range(len(trajectories)), weights, k=len(trajectories))

    def _by_family(self, trajectories: Sequence[Trajectory], nll: Sequence[float]) -> list[float]:
        members: dict[str, list[float]] = defaultdict(list)
        for trajectory, value in zip(trajectories, nll, strict=True):
            members[trajectory.family].append(value)
        perplexity = {family: math.exp(sum(own) / len(own)) for family, own in members.items()}
        before = {family: self.rates.get(family, 1 / len(members)) for family in members}
        # Divided by the largest, as an untrained student's perplexity has no exponential that fits a number.
        top = max(perplexity.values())
        psi = {family: before[family] * math.exp(perplexity[family] - top) for family in members}
        total = sum(psi.values())
        self.rates = {family: psi[family] / (2 * total) + 1 / (2 * len(members)) for family in members}
        return [self.rates[t.family] / len(members[t.family]) for t in trajectories]


def surprise(base: Base, encoded: Sequence[Sequence[Encoded]], tokens: int) -> list[float]:
    """For each trajectory, given as its sequences, the mean negative log-likelihood of a token of its actions."""
    found: dict[int, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    owners = {id(item): i for i, own in enumerate(encoded) for item in own}
    base.net.eval()
    with torch.no_grad():
        for batch in batches([item for own in encoded for item in own], tokens, random.Random(0)):
            scores = base.scores(batch)
            values = (-losses.logprobs(scores.logits, scores.targets)).tolist()
            for value, row in zip(values, scores.owners.tolist(), strict=True):
                index = owners[id(batch[row])]
                total, count = found[index]
                found[index] = (total + value, count + 1)
    return [found[i][0] / max(found[i][1], 1) for i in range(len(encoded))]
