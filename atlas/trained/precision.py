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
    it has AMX or AVX-512 for it, else ``float32``. Takes milliseconds."""
    import torch

    took = {}
    with torch.inference_mode():
        for name in ("float32", "bfloat16"):
            a, b = torch.ones(128, 1536, dtype=getattr(torch, name)), torch.ones(1536, 1536, dtype=getattr(torch, name))
            a @ b
            began = time.perf_counter()
            for _ in range(3):
                a @ b
            took[name] = time.perf_counter() - began
    # Without kernels of its own bfloat16 is many times slower; where the two are close it still halves the memory.
    return "bfloat16" if took["bfloat16"] < 1.2 * took["float32"] else "float32"


def passes(device: torch.device) -> AbstractContextManager[None]:
    """Passes in bfloat16 on a GPU, and on a CPU that is quicker so; elsewhere in float32. Weights, norms and the loss
    are in float32 either way."""
    import torch

    half = device.type != "cpu" or quickest() == "bfloat16"
    found: AbstractContextManager[None] = torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)
    return found
