"""Muon where a CPU has no kernels for bfloat16."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class WholeMuon(torch.optim.Muon):  # type: ignore[misc]  # types are checked without torch
    """torch's Muon (arXiv 2502.16982) with its iteration in float32: torch computes it in bfloat16 on any machine, and
    without kernels for that it takes many times as long as all else of a step. Settings and state are torch's."""

    def step(self, closure: Any = None) -> None:
        if closure is not None:
            raise ValueError("a closure is not evaluated again here: compute the gradients before the step")
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        _update(weight, self.state[weight], group)


def _update(weight: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(weight.grad)
    momentum = state["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
    update = weight.grad.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
    update = orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    # As large as AdamW's updates are: the only adjustment that is used here, `match_rms_adamw`.
    weight.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(weight.shape)))


def orthogonal(matrix: Tensor, coefficients: Sequence[float], steps: int, eps: float) -> Tensor:
    """About the nearest matrix with orthogonal rows or columns, ``(n, m)`` in float32, by ``steps`` of the quintic
    Newton-Schulz iteration, X <- aX + (bA + cA^2)X with A = XX^T."""
    a, b, c = coefficients
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix.float() if wide else matrix.float().T
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * (square @ square)) @ x
    return x if wide else x.T
