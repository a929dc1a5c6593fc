"""In which precision this machine multiplies soonest. Its functions need torch."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@cache
def quickest() -> str:
    """The precision in which this CPU multiplies matrices of a small model soonest, measured once: ``bfloat16`` where
    it has AMX or AVX-512 for it, else ``float32``. Takes about a tenth of a second."""
    import torch

    def seconds(name: str, rounds: int) -> float:
        """Of a product, the least of the rounds: others may be at work."""
        a, b = (torch.ones(shape, dtype=getattr(torch, name)) for shape in ((64, 768), (768, 768)))
        took = []
        for _ in range(rounds):
            began = time.perf_counter()
            a @ b
            took.append(time.perf_counter() - began)
        return min(took)

    with torch.inference_mode():
        whole = seconds("float32", 5)
        # Without kernels of its own bfloat16 is many times slower, and two rounds are enough to see it.
        if seconds("bfloat16", 2) > 10 * whole:
            return "float32"
        # Where the two are close it still halves the memory.
        return "bfloat16" if seconds("bfloat16", 5) < 1.2 * whole else "float32"


def precision_for(device: torch.device) -> str:
    """What passes are computed in: ``bfloat16`` on a GPU, and on a CPU that is quicker so, else ``float32``."""
    return quickest() if device.type == "cpu" else "bfloat16"


def passes(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Around a pass. Weights, norms and the loss are in float32 either way."""
    import torch

    found: AbstractContextManager[None] = torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"
    )
    return found
