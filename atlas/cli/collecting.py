"""Python's garbage collector, in commands that read episodes by the ten thousand and are over in seconds."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

RARELY = 50_000, 50, 50
"""Nearly all that such a command makes it keeps to its end, in no circle: looking at it again and again took a sixth
of its CPU time and more."""


def collecting_rarely(command: Callable[P, R]) -> Callable[P, R]:
    """``command``, while which the collector looks rarely; afterwards it is as whoever calls the command had it."""

    @functools.wraps(command)
    def calling(*args: P.args, **kwargs: P.kwargs) -> R:
        before = gc.get_threshold()
        if before[0]:  # 0: somebody has turned it off
            gc.set_threshold(*RARELY)
        try:
            return command(*args, **kwargs)
        finally:
            gc.set_threshold(*before)

    return calling
