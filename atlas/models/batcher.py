"""Asks that wait while a model is busy, answered together when it is free."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from atlas.errors import ModelError
from atlas.records import Ask, Completion

Outcome = Completion | ModelError
Answer = Callable[[Sequence[Ask]], Sequence[Outcome]]
E = TypeVar("E", bound=Exception)


class _Waiting:
    """An ask, and who waits for it on which event loop."""

    def __init__(self, ask: Ask, loop: asyncio.AbstractEventLoop) -> None:
        self.ask = ask
        self.loop = loop
        self.future: asyncio.Future[Completion] = loop.create_future()

    @property
    def gone(self) -> bool:
        """Whether nobody waits any more: cancelled, or left behind by a loop that has ended."""
        return self.future.done() or self.loop.is_closed()

    def settle(self, outcome: Completion | Exception) -> None:
        """Called in the model's thread: a future belongs to the thread of its loop."""
        with suppress(RuntimeError):  # the loop has ended meanwhile, and nobody waits
            self.loop.call_soon_threadsafe(self._settle, outcome)

    def _settle(self, outcome: Completion | Exception) -> None:
        if self.future.done():
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Batcher:
    """Calls ``answer`` in one thread with up to ``size`` asks of equal ``kind``, in order of arrival.

    There is no timer: a lone ask is answered at once, and what arrives meanwhile forms the next batch. Asks of several
    event loops, each in its thread, may share a batch. An outcome that is a ModelError is raised for its ask only; what
    ``answer`` raises, for the whole batch, in each ask as an error of its own: whoever caught one may add to it.
    """

    def __init__(self, answer: Answer, *, size: int, kind: Callable[[Ask], object], name: str) -> None:
        self._answer = answer
        self._size = size
        self._kind = kind
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._lock = threading.Lock()
        """Around the two below."""
        self._waiting: dict[_Waiting, None] = {}
        self._working = False

    async def ask(self, ask: Ask) -> Completion:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(ask, loop)
        with self._lock:
            self._waiting[waiting] = None
        # Not at once: the asks of other tasks that are ready now share the batch.
        loop.call_soon(self._begin)
        try:
            return await waiting.future
        finally:
            with self._lock:
                self._waiting.pop(waiting, None)

    def _begin(self) -> None:
        with self._lock:
            if not self._working and self._waiting:
                self._thread.submit(self._work)
                self._working = True

    def _work(self) -> None:
        """In the model's thread: no event loop has to live for the asks of another to be answered."""
        while batch := self._take():
            try:
                outcomes: Sequence[Outcome | Exception] = self._answer([waiting.ask for waiting in batch])
            except Exception as error:  # not swallowed: every ask of the batch raises it
                outcomes = [error] * len(batch)
            for waiting, outcome in zip(batch, outcomes, strict=True):
                waiting.settle(_own(outcome) if isinstance(outcome, Exception) else outcome)

    def _take(self) -> list[_Waiting]:
        """The next batch: the oldest ask, and the others of its kind. Asks whose caller has gone are dropped; if none
        is left, the work is over."""
        with self._lock:
            live = [waiting for waiting in self._waiting if not waiting.gone]
            kind = self._kind(live[0].ask) if live else None
            batch = [waiting for waiting in live if self._kind(waiting.ask) == kind][: self._size]
            taken = set(batch)
            self._waiting = {waiting: None for waiting in live if waiting not in taken}
            self._working = bool(batch)
            return batch


def _own(error: E) -> E:
    """The same error as another object, caused by the first. Not by its constructor, which may take something else."""
    own = type(error).__new__(type(error), *error.args)
    vars(own).update(vars(error))
    own.__cause__ = error
    return own
