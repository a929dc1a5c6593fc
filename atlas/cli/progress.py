"""How far a command is, on standard error: a bar with the time to go on a terminal, a plain line now and then else.

Times are told on a terminal only, where somebody waits, and only once they rest on something.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from atlas.records import Episode

Counted = Callable[[int, int], None]
"""Called with how many are done, and of how many."""

ENOUGH = 5
"""Episodes that an estimate rests on at the least."""


@contextmanager
def following(what: str) -> Iterator[Counted]:
    """Follows ``what`` (``episodes``) until the end of the block."""
    from atlas.tables import console

    out = console(stderr=True)
    if out.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=out, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, of: bar.update(task, completed=done, total=of)
        return
    last = time.monotonic()

    def seen(done: int, of: int) -> None:
        nonlocal last
        if time.monotonic() - last >= 10:
            last = time.monotonic()
            click.echo(f"{done:,} of {of:,} {what}", err=True)

    yield seen


class Pace:
    """The time to go in a run whose arms are played one after the other, each at a pace of its own.

    An arm that has not been played by this process is taken to be as fast as those that have: what it will be nobody
    knows. Episodes that were there before count for nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: Counter[str] | None = None
        self._done: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._last = 0.0

    def left(self, episodes: Sequence[Episode], planned: Mapping[str, int]) -> float | None:
        """Seconds to go, of the episodes ``planned`` by arm; None where that is not known yet."""
        now, there = self._clock(), Counter(episode.arm for episode in episodes)
        if self._before is None:
            self._before, self._done, self._last = there, there, now
            return None
        if new := there - self._done:
            for arm, count in new.items():
                share = (now - self._last) * count / new.total()
                self._seconds[arm] = self._seconds.get(arm, 0.0) + share
            self._done, self._last = there, now
        played = self._done - self._before
        if played.total() < ENOUGH:
            return None
        usual = sum(self._seconds.values()) / played.total()
        left = 0.0
        for arm, of in planned.items():
            pace = self._seconds[arm] / played[arm] if played[arm] >= ENOUGH else usual
            left += max(0, of - self._done[arm]) * pace
        return max(0.0, left - (now - self._last))


def to_go(seconds: float | None) -> str:
    """In words, no more exact than it is known: ``about 50 s to go``, ``about 12 min to go``; '' where it is not."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(5, round(seconds / 5) * 5)} s to go"
    minutes = round(seconds / 60)
    return f"about {minutes} min to go" if minutes < 90 else f"about {minutes / 60:.1f} h to go"
