"""Recipes for traces made with guidance in the prompt: what it taught goes into the weights, and it can go."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from atlas.errors import ConfigError, DataError
from atlas.records import STUDENT
from atlas.train import losses
from atlas.train.base import Base, Scores
from atlas.train.recipes import FORWARD, SftSuccess
from atlas.train.trajectories import Trajectory
from atlas.train.vocabulary import Encoded


class Internalise(SftSuccess):
    """``internalise``: what was done with guidance in the prompt, learnt without it.

    The offline proxy of pi-Distill: one network reads each action with and without guidance, and the two distributions
    are drawn together (:func:`atlas.train.losses.joint`). With ``alpha`` and ``beta`` 0 it is plain training on the
    prompts without guidance, which is the first thing to compare with.
    """

    name = "internalise"

    def __init__(self, alpha: float = 0.5, beta: float = 0.1) -> None:
        if not 0 <= alpha <= 1 or beta < 0:
            raise ConfigError(f"alpha lies between 0 and 1 and beta is not negative, and they are {alpha} and {beta}")
        self.alpha = alpha
        self.beta = beta

    def prepare(self, found: Sequence[Trajectory]) -> list[Trajectory]:
        return _guided(super().prepare(found), self.name)

    def examples(self, base: Base, trajectories: Sequence[Trajectory], rng: random.Random | None) -> list[Encoded]:
        if rng is None:
            return super().examples(base, trajectories, rng)
        return _twins(base, trajectories)

    def loss(self, base: Base, batch: Sequence[Encoded], progress: float) -> Tensor:
        plain, guided = _both(base, batch)
        return losses.joint(guided.logits, plain.logits, plain.targets, plain.weights, alpha=self.alpha, beta=self.beta)

    def work(self, item: Encoded) -> float:
        return len(item) + sum(map(len, item.twins))

    def config(self) -> dict[str, Any]:
        # With alpha 0 nothing teaches how guidance is read.
        return {"recipe": self.name, "alpha": self.alpha, "beta": self.beta, "reads_guidance": self.alpha > 0}


class OnPolicy(SftSuccess):
    """``on-policy``: the student without guidance learns from itself with guidance, at states it reached itself.

    ``KL(pi(. | x) // sg pi(. | x, guidance))`` at each of the student's own steps, won or lost: On-Policy
    Self-Distillation (arXiv 2601.18734). It is on-policy as long as the traces are of this very student: play some,
    train on them for few epochs, play again.
    """

    name = "on-policy"

    def prepare(self, found: Sequence[Trajectory]) -> list[Trajectory]:
        own = [t.weighted(m.weight * (m.actor == STUDENT) for m in t.moments) for t in found]
        return _guided([t for t in own if any(m.weight for m in t.moments)], self.name)

    def begin(self, base: Base) -> None:
        # What guidance makes of the student as it is now; if it moved along, both could drift anywhere.
        self._teacher = base.frozen()

    def examples(self, base: Base, trajectories: Sequence[Trajectory], rng: random.Random | None) -> list[Encoded]:
        if rng is None:
            return super().examples(base, trajectories, rng)
        return _twins(base, trajectories)

    def loss(self, base: Base, batch: Sequence[Encoded], progress: float) -> Tensor:
        plain, guided = _both(base, batch, self._teacher)
        return losses.reverse_kl(plain.logits, guided.logits, plain.weights)

    def work(self, item: Encoded) -> float:
        return len(item) + FORWARD * sum(map(len, item.twins))

    def config(self) -> dict[str, Any]:
        return {"recipe": self.name, "reads_guidance": True}


def _guided(trajectories: Sequence[Trajectory], recipe: str) -> list[Trajectory]:
    if not any(m.guidance for t in trajectories for m in t.moments):
        raise DataError(f"no prompt held guidance: {recipe} needs traces that were made with pamphlets")
    return list(trajectories)


def _twins(base: Base, trajectories: Sequence[Trajectory]) -> list[Encoded]:
    """Sequences without guidance, each with those that hold the same targets with guidance."""
    found = []
    for trajectory in trajectories:
        rest = base.encode(trajectory, guided=True)
        for item in base.encode(trajectory):
            own: list[Encoded] = []
            while rest and sum(map(_targets, own)) < _targets(item):
                own.append(rest.pop(0))
            found.append(replace(item, twins=tuple(own)))
    return [item for item in found if _targets(item)]


def _targets(item: Encoded) -> int:
    weights = (item.weights, *(branch.weights for branch in item.branches))
    return sum(weight > 0 for own in weights for weight in own)


def _both(base: Base, batch: Sequence[Encoded], teacher: Base | None = None) -> tuple[Scores, Scores]:
    """The scores without guidance and, of ``teacher``, with it: of the same targets in the same order."""
    plain = base.scores(batch)
    guided = [twin for item in batch for twin in item.twins]
    if teacher is None:
        noted = base.scores(guided)
    else:
        with torch.no_grad():
            noted = teacher.scores(guided)
    assert torch.equal(plain.targets, noted.targets), "both readings of an episode have the same actions"
    return plain, noted
