"""What the trainer asks of a model: the seam between recipes and networks.

The from-scratch transformer is one base (:mod:`atlas.train.scratch`). Whoever adds another implements :class:`Base`;
the trainer, the recipes and the losses stay as they are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from atlas.protocols import Model
from atlas.trained.trajectory import Trajectory
from atlas.trained.vocabulary import Encoded


@dataclass(frozen=True)
class Scores:
    """What a forward pass says of the targets of a batch."""

    logits: Tensor
    """``(targets, vocabulary)``, float32."""
    targets: Tensor
    """``(targets,)``: the token that stood there."""
    weights: Tensor
    """``(targets,)``."""
    owners: Tensor
    """``(targets,)``: the index of the sequence in the batch."""


class Base(Protocol):
    """A network that can be trained, put away, and asked to act."""

    net: Any
    """A ``torch.nn.Module``: its parameters are what is trained."""
    precision: str
    """What passes are computed in, ``float32`` or ``bfloat16``: what is quickest here, and what it was before where a
    training goes on."""

    def encode(
        self, trajectory: Trajectory, rng: random.Random | None = None, *, guided: bool = False
    ) -> list[Encoded]:
        """The sequences of one trajectory; ``rng`` draws augmentation, None is for measuring."""
        ...

    def encode_reason(self, trajectory: Trajectory, index: int) -> Encoded:
        """The sequence that ends in the thought of step ``index``."""
        ...

    def scores(self, batch: Sequence[Encoded]) -> Scores:
        """One forward pass; a target is every token whose weight is not 0."""
        ...

    def optimizers(self, lr: float) -> list[Any]:
        """The optimizers of its parameters, with ``lr`` as the highest rate."""
        ...

    def frozen(self) -> Base:
        """A copy as it is now, that no training changes."""
        ...

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write the student's folder, at once or not at all."""
        ...

    def model(self) -> Model:
        """The student as it is now, to play with."""
        ...

    def config(self) -> dict[str, Any]:
        """All that determines it beside its weights, JSON-serialisable."""
        ...


def batches(encoded: Sequence[Encoded], tokens: int, rng: random.Random) -> Iterator[list[Encoded]]:
    """Batches of at most ``tokens`` tokens with padding, in random order.

    Sequences of about one length go together, so that little of a batch is padding. Where lengths differ all the same a
    base may lay several into a row: see :mod:`atlas.train.packing`.
    """
    groups: list[list[Encoded]] = []
    group: list[Encoded] = []
    for item in sorted(encoded, key=lambda e: len(e) * (1 + 0.1 * rng.random())):
        if group and (len(group) + 1) * max(len(item), *map(len, group)) > tokens:
            groups.append(group)
            group = []
        group.append(item)
    if group:
        groups.append(group)
    rng.shuffle(groups)
    yield from groups
