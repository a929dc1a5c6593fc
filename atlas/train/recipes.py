"""The recipes: what of the traces is learnt, and by which loss.

A recipe is three small methods: ``prepare`` chooses trajectories and weighs their steps, ``examples`` makes an epoch's
sequences of them, ``loss`` says how wrong a batch is. docs/guides/training.md says when which is worth its time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from atlas.compression import KEEP, Compressor, all_compressed
from atlas.errors import ConfigError, DataError
from atlas.records import TEACHER
from atlas.train import losses
from atlas.train.base import Base, Scores
from atlas.train.renaming import renamed
from atlas.trained.trajectory import Trajectory
from atlas.trained.vocabulary import Encoded

FORWARD = 1 / 3
"""The work of reading a token, where that of learning it is 1: a backward pass costs about two forward passes."""


@dataclass(frozen=True)
class Reads:
    """What a student that reads learns from: prompts with what was retrieved in them, and now and then without, so that
    it profits from what it is given and does not depend on it."""

    windows: bool = False
    """The demonstrations beside a trajectory."""
    entries: bool = False
    """The entries of pamphlets that its steps were played with."""
    drop: float = 0.3
    """In this share of readings the demonstrations are left out, and in this share, drawn apart, the entries."""
    rename: float = 0.0
    """In this share of the readings with demonstrations words stand for others: see :mod:`atlas.train.renaming`."""
    compressor: Compressor | None = None
    """What cuts the demonstrations, in each reading to a share of their tokens that is drawn from ``compress_to`` to 1:
    a student reads cut ones that was shown such. None shows them whole."""
    compress_to: float = KEEP

    def drawn(self, trajectory: Trajectory, rng: random.Random | None) -> tuple[Trajectory, bool]:
        """What one reading of it shows, and whether its entries are in it. All of it where ``rng`` is None."""
        windows, entries = (rng is None or rng.random() >= self.drop for _ in range(2))
        if trajectory.shown and not (self.windows and windows):
            trajectory = trajectory.model_copy(update={"shown": ()})
        # Each drawn where it is asked for alone, so that the readings of other trainings stay what they were.
        if self.compressor is not None and trajectory.shown:
            keep = self.compress_to if rng is None else rng.uniform(self.compress_to, 1.0)
            cut = all_compressed(trajectory.shown, self.compressor, keep, trajectory.goal, lasting=True)
            trajectory = trajectory.replace(shown=cut)
        if self.rename and rng is not None and trajectory.shown and rng.random() < self.rename:
            trajectory = renamed(trajectory, rng)
        return trajectory, self.entries and entries and any(m.guidance for m in trajectory.moments)

    def config(self) -> dict[str, Any]:
        told = {"rename": self.rename} if self.rename else {}
        cuts = {"compress": [self.compressor.digest, self.compress_to]} if self.compressor else {}
        return {"reads_windows": self.windows, "reads_guidance": self.entries, "drop": self.drop, **told, **cuts}


class SftSuccess:
    """``sft-success``: what was done in episodes that succeeded, by maximum likelihood.

    Plain behaviour cloning on filtered traces. On what to filter: Not All Correct Answers Are Equal (arXiv 2505.14464).
    """

    name = "sft-success"
    thoughts = False
    """Whether thoughts are learnt, so that the vocabulary needs their words."""
    reads: Reads | None = None
    """What stays in the prompts that are learnt from; None for a student that is given nothing."""

    def __init__(self, reads: Reads | None = None) -> None:
        self.reads = reads

    def prepare(self, found: Sequence[Trajectory]) -> list[Trajectory]:
        """The trajectories to train on. DataError where there are none."""
        kept = [t for t in found if t.success and _taught(t)]
        if not kept:
            raise DataError(
                f"none of the {len(found)} episodes succeeded with steps that may be trained on: collect some with a "
                "teacher first (atlas bench ... --arms teacher)"
            )
        return kept

    def begin(self, base: Base) -> None:
        """Called once, before the first step."""

    def examples(self, base: Base, trajectories: Sequence[Trajectory], rng: random.Random | None) -> list[Encoded]:
        """The sequences of one epoch; ``rng`` None for measuring."""
        return [item for trajectory in trajectories for item in self._encoded(base, trajectory, rng)]

    def _encoded(self, base: Base, trajectory: Trajectory, rng: random.Random | None) -> list[Encoded]:
        if self.reads is None:
            return base.encode(trajectory, rng)
        trajectory, noted = self.reads.drawn(trajectory, rng)
        return base.encode(trajectory, rng, guided=noted)

    def loss(self, base: Base, batch: Sequence[Encoded], progress: float) -> Tensor:
        """How wrong ``base`` is on ``batch``; ``progress`` of the training goes from 0 to 1."""
        return _nll(base.scores(batch))

    def work(self, item: Encoded) -> float:
        """What a sequence costs, in tokens read and learnt by the network that is trained; padding is not counted."""
        return len(item)

    def held_out(self, base: Base, batch: Sequence[Encoded]) -> tuple[float, int]:
        """The sum over the targets of what is measured on held-out episodes, and how many targets there are."""
        scores = base.scores(batch)
        return -float(losses.logprobs(scores.logits, scores.targets).sum()), len(scores.targets)

    def config(self) -> dict[str, Any]:
        """What stands beside the weights, and what a resumed training has to agree with."""
        return {"recipe": self.name, **(self.reads.config() if self.reads else {})}


class Escalations(SftSuccess):
    """``escalations``: the teacher's actions at states that the student reached, from cascade traces.

    An episode in which both acted is what the student will meet again, and the teacher's steps in it are those it was
    in doubt about. They count in every episode; the student's own steps count where the episode succeeded (masking them
    did worse in Distribution-Aligned Sequence Distillation). Other episodes are learnt as in ``sft-success``.
    """

    name = "escalations"

    def prepare(self, found: Sequence[Trajectory]) -> list[Trajectory]:
        if not any(m.escalated for t in found for m in t.moments):
            raise DataError(
                f"the teacher took over in none of the {len(found)} episodes: escalations needs traces of a cascade"
            )
        weighed = [t.weighted(m.weight if t.success or m.actor == TEACHER else 0.0 for m in t.moments) for t in found]
        return [t for t in weighed if _taught(t)]


class Rationale(SftSuccess):
    """``rationale``: actions, and in sequences of their own the thoughts that went with them.

    ``alpha L_action + (1 - alpha) L_rationale``, Distilling Step-by-Step (arXiv 2305.02301): the thought is a second
    answer to the same input, so the student need not think to act.
    """

    name = "rationale"
    thoughts = True

    def __init__(self, alpha: float = 0.5) -> None:
        if not 0 < alpha <= 1:
            raise ConfigError(f"alpha is the share of the action's loss, above 0 and at most 1, not {alpha}")
        self.alpha = alpha

    def prepare(self, found: Sequence[Trajectory]) -> list[Trajectory]:
        kept = super().prepare(found)
        if not any(m.thought for t in kept for m in t.moments):
            raise DataError("no step says why it was taken: rationale needs traces with thoughts")
        return kept

    def examples(self, base: Base, trajectories: Sequence[Trajectory], rng: random.Random | None) -> list[Encoded]:
        actions = super().examples(base, trajectories, rng)
        if rng is None:
            return actions
        # One thought an episode and epoch, drawn: all of them would take as many passes as there are steps.
        told = [(t, [i for i, m in enumerate(t.moments) if m.thought and m.weight]) for t in trajectories]
        return actions + [base.encode_reason(t, rng.choice(steps)) for t, steps in told if steps]

    def loss(self, base: Base, batch: Sequence[Encoded], progress: float) -> Tensor:
        scores = base.scores(batch)
        reason = _flags(scores, [item.kind == "reason" for item in batch])
        return losses.rationale(_nll(scores, ~reason), _nll(scores, reason), self.alpha)

    def config(self) -> dict[str, Any]:
        return {"recipe": self.name, "alpha": self.alpha}


class Redi(SftSuccess):
    """``redi``: a second stage for a trained student, away from what failed episodes did.

    Reinforcement Distillation (arXiv 2505.24850), clamped: see :func:`atlas.train.losses.redi`.
    """

    name = "redi"

    def __init__(self, alpha: float = 0.8, clamp: float = 1.0) -> None:
        if alpha < 0 or clamp < 0:
            raise ConfigError(f"alpha and clamp cannot be negative, and are {alpha} and {clamp}")
        self.alpha = alpha
        self.clamp = clamp
        self._before: Base | None = None

    def prepare(self, found: Sequence[Trajectory]) -> list[Trajectory]:
        good = super().prepare(found)
        bad = [t for t in found if t.success is False and _taught(t)]
        if not bad:
            raise DataError(f"none of the {len(found)} episodes failed: redi needs failures to learn from")
        return good + bad

    def begin(self, base: Base) -> None:
        self._before = base.frozen()

    def examples(self, base: Base, trajectories: Sequence[Trajectory], rng: random.Random | None) -> list[Encoded]:
        good = super().examples(base, [t for t in trajectories if t.success], rng)
        if rng is None:
            return good
        bad = [item for t in trajectories if not t.success for item in base.encode(t)]
        return good + [Encoded(item.tokens, item.weights, "bad") for item in bad]

    def loss(self, base: Base, batch: Sequence[Encoded], progress: float) -> Tensor:
        scores = base.scores(batch)
        bad = [i for i, item in enumerate(batch) if item.kind == "bad"]
        good = [i for i, item in enumerate(batch) if item.kind != "bad"]
        now = _per_sequence(scores, len(batch))
        before = now.detach()
        if bad and self._before is not None:
            before = _per_sequence(self._before.scores(batch), len(batch)).detach()
        return losses.redi(now[good], now[bad], before[bad], alpha=self.alpha, clamp=self.clamp)

    def work(self, item: Encoded) -> float:
        return len(item) * (1 + FORWARD if item.kind == "bad" else 1)

    def config(self) -> dict[str, Any]:
        return {"recipe": self.name, "alpha": self.alpha, "clamp": self.clamp}


class KdWhitebox(SftSuccess):
    """``kd-whitebox``: the whole distribution of a local teacher that shares the student's vocabulary.

    TAID (arXiv 2501.16937): the target moves from the student's own distribution to the teacher's, ``t`` from .4 to 1.
    """

    name = "kd-whitebox"

    def __init__(self, teacher: Base, start: float = 0.4) -> None:
        self.teacher = teacher.frozen()
        self.start = start
        self._size = sum(p.numel() for p in teacher.net.parameters())
        self._reading = FORWARD

    def begin(self, base: Base) -> None:
        known, own = getattr(self.teacher, "vocabulary", None), getattr(base, "vocabulary", None)
        if known != own:
            raise ConfigError(
                f"the teacher knows other words than the student ({len(known or ())} and {len(own or ())} tokens): "
                "kd-whitebox needs a teacher with the student's own vocabulary, so train both on the same data"
            )
        self.teacher.precision = base.precision  # one that is kept, where a training goes on
        self._reading = FORWARD * self._size / sum(p.numel() for p in base.net.parameters())

    def work(self, item: Encoded) -> float:
        return len(item) * (1 + self._reading)

    def loss(self, base: Base, batch: Sequence[Encoded], progress: float) -> Tensor:
        scores, taught = base.scores(batch), self.teacher.scores(batch)
        t = self.start + (1 - self.start) * progress
        return losses.kd_whitebox(scores.logits, taught.logits, scores.weights, t)

    def config(self) -> dict[str, Any]:
        return {"recipe": self.name, "start": self.start, "teacher": self.teacher.config()}


def _taught(trajectory: Trajectory) -> bool:
    return any(m.weight and m.action for m in trajectory.moments)


def _nll(scores: Scores, only: Tensor | None = None) -> Tensor:
    weights = scores.weights if only is None else scores.weights * only
    return losses.nll(scores.logits, scores.targets, weights)


def _flags(scores: Scores, flags: Sequence[bool]) -> Tensor:
    """For each target, the flag of the sequence it belongs to."""
    return scores.weights.new_tensor(flags)[scores.owners].bool()


def _per_sequence(scores: Scores, count: int) -> Tensor:
    values = losses.logprobs(scores.logits, scores.targets)
    acted = scores.weights >= 1
    return losses.per_sequence(values[acted], scores.owners[acted], count)
