"""``judge``: after each step, how likely is it that the episode will succeed? A network that only judges."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from atlas.errors import ConfigError, DataError
from atlas.records import View, content_hash
from atlas.train import losses
from atlas.train.base import Base, Scores
from atlas.train.recipes import SftSuccess
from atlas.train.scratch import ScratchBase
from atlas.trained import student
from atlas.trained.trajectory import Trajectory, from_view
from atlas.trained.vocabulary import BAD, GOOD, SEE, Encoded, Reader, encode


class StepOutcomes(SftSuccess):
    """Learns from episodes that succeeded and others, of whoever acted: their outcome is what each step is told.

    At the end of each action the logits of two reserved tokens are compared: ``P(success) = sigma(z_GOOD - z_BAD)``
    (:func:`atlas.train.losses.logistic`). An early slip is told apart from a late one by its place only as far as the
    data do, so this estimates the chance from here on, not the fault of a step.
    """

    name = "judge"

    def prepare(self, found: Sequence[Trajectory]) -> list[Trajectory]:
        known = [t for t in found if t.success is not None]
        outcomes = {t.success for t in known}
        if len(outcomes) < 2:
            what = "succeeded" if True in outcomes else "failed"
            raise DataError(f"all {len(known)} episodes with a score {what}: a judge needs some of either kind")
        return known

    def examples(self, base: Base, trajectories: Sequence[Trajectory], rng: random.Random | None) -> list[Encoded]:
        if not isinstance(base, ScratchBase):
            raise ConfigError("a judge is trained from scratch: use --base scratch")
        # Context weights are dropped, so that nothing but the end of an action is a target.
        return [_ends(item, bool(t.success)) for t in trajectories for item in base.encode(t, rng)]

    def loss(self, base: Base, batch: Sequence[Encoded], progress: float) -> Tensor:
        scores = base.scores(batch)
        return losses.logistic(_margin(scores), _outcomes(scores, batch))

    def held_out(self, base: Base, batch: Sequence[Encoded]) -> tuple[float, int]:
        scores = base.scores(batch)
        return float(losses.logistic(_margin(scores), _outcomes(scores, batch))) * len(scores.targets), len(
            scores.targets
        )


TASKS = "tasks"
"""Where a judge's folder says on which tasks it was trained."""


def marks(trajectories: Sequence[Trajectory]) -> list[str]:
    """The hashes of their tasks: what a judge's folder keeps, so that it is not measured on what it was trained on."""
    return sorted({content_hash(t.task) for t in trajectories})


class StepCritic:
    """A trained judge: the chance of success after an action. Implements :class:`atlas.protocols.Critic`."""

    def __init__(self, folder: str | Path) -> None:
        """Raises DataError where the folder holds none."""
        told = student.about(folder)
        recipe = told.get("training", {}).get("recipe")
        if recipe != StepOutcomes.name:
            raise DataError(f"{folder} holds no judge but a student ({recipe}): train one with 'atlas train judge'")
        self.name = Path(folder).expanduser().resolve().name
        self._trained_on = frozenset(told[TASKS]) if TASKS in told else None
        self._base = ScratchBase.load(folder)
        self._base.net.eval()

    def chance(self, view: View, action: str) -> float:
        """The probability, from 0 to 1, that the episode succeeds if ``action`` is taken now."""
        past = from_view(view)
        last = past.moments[-1].model_copy(update={"action": action})
        return self.chances(past.model_copy(update={"moments": (*past.moments[:-1], last)}))[-1]

    def chances(self, trajectory: Trajectory) -> list[float]:
        """The probability of success after each action, all read in one pass. The last moment needs an action."""
        whole = trajectory.weighted(1.0 for _ in trajectory.moments)
        item = _ends(encode(whole, Reader(self._base.vocabulary)), good=True)
        with torch.no_grad():
            return [float(p) for p in _margin(self._base.scores([item])).sigmoid()]

    def knows(self, task: str) -> bool | None:
        """Whether it was trained on the task; None where that is not on record (only ``atlas train`` records it)."""
        return None if self._trained_on is None else content_hash(task) in self._trained_on


def _ends(item: Encoded, good: bool) -> Encoded:
    """The same tokens, with the ends of actions as the only targets."""
    ends = [float(token == SEE and weight >= 1) for token, weight in zip(item.tokens, item.weights, strict=True)]
    return replace(item, weights=ends, kind="action" if good else "bad")


def _margin(scores: Scores) -> Tensor:
    return scores.logits[:, GOOD] - scores.logits[:, BAD]


def _outcomes(scores: Scores, batch: Sequence[Encoded]) -> Tensor:
    return scores.weights.new_tensor([float(item.kind != "bad") for item in batch])[scores.owners]
