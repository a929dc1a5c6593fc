"""Work that never waits, within a task: it ends between two of its parts where the task was cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Progress = Callable[[int, int], object]


def unless_cancelled(progress: Progress) -> Callable[[int, int], None]:
    """``progress(done, of)``, and CancelledError behind it once the present task is cancelled.

    A task hears of that where it waits. One that embeds a hundred thousand texts waits for nothing, and Ctrl-C would
    be heard minutes later.
    """

    def told(done: int, of: int) -> None:
        progress(done, of)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError

    return told
