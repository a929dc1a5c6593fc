"""The calls of an episode: one step each, however often a client sends the same one again."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from atlas.wire.request import Told

LINGER = 15.0
"""Seconds that a step goes on when nobody waits for it any more: clients that gave up ask again within a few."""
KEPT = 32
"""Calls of an episode that are remembered: each of them holds its answer."""


class Call:
    """A step that is being decided or was, and who waits for it. Belongs to the event loop it was begun in."""

    def __init__(
        self,
        decide: Callable[[Call], Coroutine[Any, Any, Told]],
        number: int = 0,
        *,
        key: str = "",
        retry: bool = False,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.key = key
        """Of what is asked."""
        self.retry = retry
        """Whether its client says that it has asked before."""
        self.number = number
        """How many calls of the same content came before this one."""
        self.created = int(time.time())
        self.delivered = False
        """Whether somebody has had the whole answer."""
        self.had: Callable[[], object] = lambda: None
        """Told when that is so first."""
        self.parts: list[tuple[str, dict[str, Any]]] = []
        """What was heard of the answer so far: the model, and a delta as the chat-completions API has it."""
        self.first = 0.0
        """When the first of them was heard, by ``time.perf_counter``."""
        self.loop = asyncio.get_running_loop()
        self.news: asyncio.Future[None] = self.loop.create_future()
        """Done when there are more parts."""
        self.waiting = 0
        self.task = self.loop.create_task(decide(self))
        # Whoever waits is told of a failure; where nobody does any more, nobody is to be warned of it.
        self.task.add_done_callback(_looked_at)

    def heard(self, model: str, delta: dict[str, Any]) -> None:
        """A part of the answer, as ``model`` writes it. In the call's own loop."""
        self.first = self.first or time.perf_counter()
        self.parts.append((model, delta))
        news, self.news = self.news, self.loop.create_future()
        if not news.done():
            news.set_result(None)

    def deliver(self) -> None:
        """Somebody has had the whole answer."""
        if not self.delivered:
            self.delivered = True
            self.had()

    def leave(self) -> None:
        """One who waited goes: the step is given up in a while, unless others come."""
        self.waiting -= 1
        if not self.waiting and not self.task.done():
            self.loop.call_later(LINGER, self._give_up)

    async def cancel(self) -> None:
        """Give the step up now, unless others wait for it; returns when what it used is charged."""
        self.waiting -= 1
        if not self.waiting and not self.task.done():
            self.task.cancel()
            await asyncio.wait({self.task})

    def _give_up(self) -> None:
        if not self.waiting:
            self.task.cancel()


class Calls:
    """Finds the call that a request repeats. Safe from many threads.

    A request repeats an earlier one of the same content where it says that it is a retry, or where nobody waits for
    that one and nobody had its answer: then its client gave up and asks again. Else it is a call of its own: an agent
    may draw several answers to the same question. A call that failed is not repeated but made anew.
    """

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: str, retry: bool, decide: Callable[[Call], Coroutine[Any, Any, Told]]) -> Call:
        """The call of ``key``, begun by ``decide`` where there is none to go on with. Whoever asks waits for it, until
        :meth:`Call.leave` or :meth:`Call.cancel`."""
        with self._lock:
            call = self._calls.get(key)
            if call is None or not _goes_on(call, retry):
                number = 0 if call is None else call.number + 1
                call = self._calls[key] = Call(decide, number, key=key, retry=retry)
                self._calls.move_to_end(key)
                while len(self._calls) > KEPT and next(iter(self._calls.values())).task.done():
                    self._calls.popitem(last=False)
            call.waiting += 1
            return call

    def goes_on(self, key: str, retry: bool) -> bool:
        """Whether a request of that key would be given a call that there is."""
        with self._lock:
            call = self._calls.get(key)
            return call is not None and _goes_on(call, retry)

    @property
    def under_way(self) -> list[Call]:
        with self._lock:
            return [call for call in self._calls.values() if not call.task.done()]

    async def end(self) -> None:
        """Give up what is under way in this loop; returns when it is charged."""
        here = asyncio.get_running_loop()
        tasks = {call.task for call in self.under_way if call.loop is here}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _goes_on(call: Call, retry: bool) -> bool:
    if call.task.done():
        return not _failed(call.task) and (retry or not call.delivered)
    return call.loop is asyncio.get_running_loop() and (retry or not call.waiting)


def _failed(task: asyncio.Task[Told]) -> bool:
    return task.cancelled() or task.exception() is not None


def _looked_at(task: asyncio.Task[Told]) -> None:
    if not task.cancelled():
        task.exception()
