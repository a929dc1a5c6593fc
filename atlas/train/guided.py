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
from atlas.trained.trajectory import Moment, Trajectory
from atlas.trained.vocabulary import Encoded


class Internalise(SftSuccess):
    """``internalise``: what was done with guidance in the prompt, learnt without it.

    The offline proxy of pi-Distill: one network reads each action with and without guidance, and the two distributions
    are drawn together (:func:`atlas.train.losses.joint`); :class:`Joint` is pi-Distill itself. With ``alpha`` and
    ``beta`` 0 it is plain training on the prompts without guidance, which is the first thing to compare with.
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
        return _twins(base, trajectories, rng)

    def loss(self, base: Base, batch: Sequence[Encoded], progress: float) -> Tensor:
        plain = base.scores(batch)
        guided = base.scores([twin for item in batch for twin in item.twins])
        acted = plain.weights >= 1
        own = _those(plain, acted, guided)
        both = losses.joint(guided.logits, own.logits, own.targets, own.weights, alpha=self.alpha, beta=self.beta)
        # What else a base learns of its sequences it learns without guidance, as in plain training.
        share = plain.weights[acted].sum() / plain.weights.sum().clamp(min=1e-9)
        rest = losses.nll(plain.logits[~acted], plain.targets[~acted], plain.weights[~acted])
        return share * both + (1 - share) * rest

    def work(self, item: Encoded) -> float:
        return len(item) + sum(map(len, item.twins))

    def config(self) -> dict[str, Any]:
        # With alpha 0 nothing teaches how guidance is read.
        return {"recipe": self.name, "alpha": self.alpha, "beta": self.beta, "reads_guidance": self.alpha > 0}


class Joint(Internalise):
    """``internalise --joint``: the objective of pi-Distill itself, on what this very student played with pamphlets.

    Won and lost episodes count, see :func:`atlas.train.losses.joint_objective`. The reward is 1 where the episode
    succeeded, else 0, less the mean of the other episodes of its task, or of all others where there are none. Who
    played is taken to be the student as training begins, with guidance, at temperature 1: so play, train few epochs,
    play again. Where actions were drawn from a list, its probabilities are those of the list alone, and the ratio
    leaves out how much of the whole the list's share changed.
    """

    def __init__(self, alpha: float = 0.5, beta: float = 0.1, clip: float = 0.2, *, player: str = "") -> None:
        """``clip``: how far a ratio of probabilities counts; ``player``: the model whose steps are learnt from, all of
        the student's where empty."""
        super().__init__(alpha, beta)
        if not 0 < clip < 1:
            raise ConfigError(f"clip lies between 0 and 1, and it is {clip}")
        self.clip = clip
        self.player = player

    def prepare(self, found: Sequence[Trajectory]) -> list[Trajectory]:
        """DataError where there is no guidance, where another played, or where all ended alike."""
        told = "internalise --joint learns from what this very student played with pamphlets"
        guided = [t for t in _guided(found, "internalise --joint") if any(m.guidance for m in t.moments)]
        own = [t.weighted(m.weight * self._played(m) for m in t.moments) for t in guided]
        own = [t for t in own if t.success is not None and any(m.weight for m in t.moments)]
        if not own:
            others = ", ".join(sorted({m.model or m.actor for t in guided for m in t.moments}))
            raise DataError(
                f"{told}, and no step was {self.player or 'a student'}'s own that may be trained on: "
                f"they are of {others}"
            )
        won = sum(bool(t.success) for t in own)
        if won in (0, len(own)):
            raise DataError(
                f"{told}, won and lost, and all {len(own)} episodes {'succeeded' if won else 'failed'}: play "
                f"{'harder' if won else 'easier'} tasks, or more of them at temperature 1"
            )
        gains = losses.leave_one_out([float(bool(t.success)) for t in own], [t.task for t in own])
        return [t.model_copy(update={"advantage": gain}) for t, gain in zip(own, gains, strict=True)]

    def _played(self, moment: Moment) -> bool:
        return moment.actor == STUDENT and self.player in ("", moment.model)

    def begin(self, base: Base) -> None:
        self._player = base.frozen()

    def examples(self, base: Base, trajectories: Sequence[Trajectory], rng: random.Random | None) -> list[Encoded]:
        if rng is None:
            return super().examples(base, [t for t in trajectories if t.success], rng)
        return [replace(item, advantage=t.advantage) for t in trajectories for item in _twins(base, [t])]

    def loss(self, base: Base, batch: Sequence[Encoded], progress: float) -> Tensor:
        plain, guided = _both(base, batch)
        with torch.no_grad():
            then = self._player.scores([twin for item in batch for twin in item.twins])
            played = losses.logprobs(then.logits, then.targets)
        advantages = plain.weights.new_tensor([item.advantage for item in batch])[plain.owners]
        return losses.joint_objective(
            guided.logits, plain.logits, played, plain.targets, plain.weights, advantages,
            alpha=self.alpha, beta=self.beta, clip=self.clip,
        )  # fmt: skip

    def work(self, item: Encoded) -> float:
        return len(item) + (1 + FORWARD) * sum(map(len, item.twins))

    def config(self) -> dict[str, Any]:
        told = {"joint": True, "clip": self.clip, "player": self.player}
        # Who played with pamphlets reads them, whatever alpha is.
        return {**super().config(), **told, "reads_guidance": True}


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


def _twins(base: Base, trajectories: Sequence[Trajectory], rng: random.Random | None = None) -> list[Encoded]:
    """Sequences without guidance, each with those that hold the same actions with guidance; ``rng`` for augmentation,
    which is the same in both."""
    found = []
    for trajectory in trajectories:
        seed = rng.random() if rng is not None else None
        first, second = (random.Random(seed) if rng is not None else None for _ in range(2))
        rest = base.encode(trajectory, first, guided=True)
        for item in base.encode(trajectory, second):
            own: list[Encoded] = []
            while rest and sum(map(_targets, own)) < _targets(item):
                own.append(rest.pop(0))
            found.append(replace(item, twins=tuple(own)))
    return [item for item in found if _targets(item)]


def _targets(item: Encoded) -> int:
    weights = (item.weights, *(branch.weights for branch in item.branches))
    return sum(weight >= 1 for own in weights for weight in own)


def _those(plain: Scores, chosen: Tensor, guided: Scores) -> Scores:
    """The chosen targets of ``plain``, which are those of ``guided``."""
    found = Scores(plain.logits[chosen], plain.targets[chosen], plain.weights[chosen], plain.owners[chosen])
    assert torch.equal(found.targets, guided.targets), "both readings of an episode have the same actions"
    return found


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
