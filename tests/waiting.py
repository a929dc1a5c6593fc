"""Waiting for what is to happen: for the event itself and not for so many seconds, so that no machine is too slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds after which a test gives up: many times what a slow and busy machine takes."""


def until(holds: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether ``holds()`` comes to be true; returns as soon as it is."""
    end = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < end:
        time.sleep(0.005)
    return bool(found)


async def meanwhile(holds: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """The same while other tasks of this event loop go on."""
    end = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < end:  # noqa: ASYNC110 - whatever happens is asked for
        await asyncio.sleep(0.005)
    return bool(found)
