"""An average of the weights as they were during training: the student that is measured, kept and played."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

DECAY = 0.998
"""Of the average, once training is long: it then looks back over about 500 steps."""


class Average:
    """Exponential moving average of the weights that are trained.

    In imitation a small slip early in an episode grows, so the success of neighbouring checkpoints differs by many
    points while their loss does not; averaging takes most of that away (Butterfly Effects of SGD Noise, arXiv
    2310.11428). After ``t`` updates the decay is ``min(DECAY, (1 + t) / (10 + t))``, so that a short training is not
    held back by the weights it began with.
    """

    def __init__(self, net: Any) -> None:
        self.updates = 0
        self._weights = {n: p.detach().clone() for n, p in net.named_parameters() if p.requires_grad}

    def update(self, net: Any) -> None:
        """Take in the weights as they are now."""
        self.updates += 1
        decay = min(DECAY, (1 + self.updates) / (10 + self.updates))
        own = [p.detach() for p in net.parameters() if p.requires_grad]
        torch._foreach_lerp_(list(self._weights.values()), own, 1 - decay)

    @contextmanager
    def worn(self, net: Any) -> Iterator[None]:
        """``net`` has the averaged weights within, and its own again afterwards."""
        self._swap(net)
        try:
            yield
        finally:
            self._swap(net)

    def _swap(self, net: Any) -> None:
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                if name in self._weights:
                    own = parameter.detach().clone()
                    parameter.copy_(self._weights[name])
                    self._weights[name].copy_(own)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"updates": self.updates, "weights": self._weights}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self.updates = state["updates"]
        found: dict[str, Tensor] = state["weights"]
        for name, weight in found.items():
            self._weights[name].copy_(weight)
