"""A process that plays. It knows neither the run's folder nor its memory's file: it is told what to play, and sends
what happened.

All that it sends goes with one answer: the lines of the trace, what was used, and what has ended. Whoever asks has all
of it or nothing, so that an episode of a worker that is gone has ended, or it has not.
"""

from __future__ import annotations

import asyncio
import gc
import os
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NamedTuple, Protocol

from atlas.asking import Account, Answer, Desk, Desks
from atlas.budget import Budget, Meter
from atlas.errors import AtlasError
from atlas.fanout.standin import About, Asked, Replied, portable, stand_in
from atlas.money import Tally
from atlas.protocols import Model, Recorder
from atlas.records import Ask, Episode, Usage
from atlas.traces.writer import Lines

GATHERS = 0.01
"""Seconds for which what happens is gathered before it is sent, where nobody waits for it."""

Total = tuple[float | None, int]
"""Dollars and tokens that the run has used."""


class Call(NamedTuple):
    """An episode to play. ``ticket`` is what it is called between here and there."""

    ticket: int
    scene: int
    task: str
    seed: int
    retries: str


class News(NamedTuple):
    """What has happened since the last answer."""

    lines: Sequence[bytes]
    used: Usage | None
    ended: Sequence[tuple[int, Episode | Exception | None]]
    """By ticket; None where the run's budget was spent before it began."""
    asks: Sequence[Asked]


@dataclass(frozen=True)
class Kit:
    """What a worker gives to those who play in it."""

    meter: Meter
    """The run's."""
    desks: Desks
    models: Mapping[str, Model]
    """Stand-ins for those that are in another process alone."""


class Players(Protocol):
    """Who plays in a worker."""

    async def play(self, scene: Any, task: str, seed: int, retries: str, recorder: Recorder) -> Episode | None:
        """``scene`` is what :meth:`atlas.fanout.troupe.Troupe.scene` was given, the same object each time. ``recorder``
        is for this episode."""
        ...

    def close(self) -> None: ...


Company = Callable[[Kit], Players]
"""Makes who plays, in the worker: so it has to be something that can be sent there."""


class Worker:
    """The actor. Everything in it happens in one event loop."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._texts: set[str] = set()
        self._ended: list[tuple[int, Episode | Exception | None]] = []
        self._asks: list[Asked] = []
        self._answers: dict[int, asyncio.Future[Replied]] = {}
        self._numbers = count()
        self._scenes: dict[int, Any] = {}
        self._playing: dict[int, asyncio.Task[None]] = {}
        self._happened = asyncio.Event()
        self._requests, self._waiting = 0, False
        self._told: list[tuple[int, asyncio.Future[None]]] = []

    async def begin(
        self, company: Company, folder: str, budget: Budget, models: Mapping[str, About]
    ) -> Exception | None:
        """Make who plays; what keeps them from it, where something does. ``folder`` is the present one of the command,
        which relative names start from, where there is such a folder here."""
        with suppress(OSError):
            os.chdir(folder)
        self._meter = _Meter(budget, self._happened.set)
        desks: Desks = partial(_Fresh, self._exchange) if budget != Budget() else Desk
        stand_ins = {name: stand_in(about, partial(self._ask, name)) for name, about in models.items()}
        try:
            self._players = company(Kit(self._meter, desks, stand_ins))
        except Exception as error:
            return sendable(error)
        # The process is ours alone: what is loaded by now stays, and thousands of open episodes are not looked through
        # again for every few hundred objects.
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        return None

    async def tell(
        self, calls: Sequence[Call], scenes: Mapping[int, Sequence[Any]], answers: Sequence[Replied], off: Sequence[int]
    ) -> None:
        """Episodes to play, on scenes whose references are given where they are new; answers of models; tickets that
        nobody waits for any more."""
        for number, (reference,) in scenes.items():
            self._scenes.setdefault(number, asyncio.ensure_future(_content(reference)))
        for call in calls:
            self._playing[call.ticket] = asyncio.create_task(self._play(call))
        for answer in answers:
            if (waiting := self._answers.pop(answer.number, None)) is not None and not waiting.done():
                waiting.set_result(answer)
        for ticket in off:
            if (task := self._playing.get(ticket)) is not None:
                task.cancel()

    async def news(self, total: Total) -> News:
        """What has happened, as soon as something has. ``total`` is what the run has used by all that was sent."""
        self._requests += 1
        self._meter.told(total)
        for needed, future in self._told:
            if needed <= self._requests and not future.done():
                future.set_result(None)
        self._told = [pair for pair in self._told if not pair[1].done()]
        self._waiting = True
        await self._happened.wait()
        if not self._told:
            await asyncio.sleep(GATHERS)
        self._happened.clear()
        self._waiting = False
        found = News(self._lines[:], self._meter.new(), self._ended[:], self._asks[:])
        # The recorder holds the list.
        self._lines.clear()
        self._ended.clear()
        self._asks.clear()
        return found

    async def stop(self) -> None:
        """Nothing more is played here."""
        for task in self._playing.values():
            task.cancel()
        if hasattr(self, "_players"):
            self._players.close()

    async def _play(self, call: Call) -> None:
        recorder = _Sent(self._lines, self._texts, self._happened.set)
        ended: Episode | Exception | None
        try:
            scene = await asyncio.shield(self._scenes[call.scene])
            ended = await self._players.play(scene, call.task, call.seed, call.retries, recorder)
        except asyncio.CancelledError:
            ended = None
        except Exception as error:
            ended = sendable(error)
        self._playing.pop(call.ticket, None)
        self._lines += recorder.last
        self._ended.append((call.ticket, ended))
        self._happened.set()

    async def _exchange(self) -> None:
        """Return when all that was used here is in the run's account, and its total is known here as of after now."""
        # A request that is on its way now may have been sent before.
        needed = self._requests + (1 if self._waiting else 2)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told.append((needed, future))
        self._happened.set()
        await future

    async def _ask(self, name: str, ask: Ask) -> Replied:
        number = next(self._numbers)
        waiting: asyncio.Future[Replied] = asyncio.get_running_loop().create_future()
        self._answers[number] = waiting
        self._asks.append(Asked(number, name, ask))
        self._happened.set()
        return await waiting


async def _content(reference: Any) -> Any:
    return await reference


def sendable(error: Exception) -> Exception:
    """``error`` as another process can raise it: a sentence for people stays one, anything else keeps its traceback."""
    if isinstance(error, AtlasError):
        return portable(error)
    return RuntimeError("".join(traceback.format_exception(error)))


class _Sent(Lines):
    """A recorder of one episode whose lines are sent, ``texts`` being those that this worker has sent already. Its end
    is kept until the episode is over for whoever waits for it, too: the two go together, or neither does."""

    def __init__(self, into: list[bytes], texts: set[str], happened: Callable[[], None]) -> None:
        super().__init__(texts)
        self._into, self._happened = into, happened
        self.last: list[bytes] = []

    def _write(self, *lines: bytes, ends: bool = False) -> None:
        if ends:
            self.last += lines
        else:
            self._into += lines
            self._happened()


class _Meter(Meter):
    """The run's meter as a worker knows it: what it was told, and what it has used since."""

    def __init__(self, budget: Budget, happened: Callable[[], None]) -> None:
        super().__init__(budget, what="run")
        self._elsewhere: Total = (0.0, 0)
        self._new, self._happened = Tally(), happened

    def add(self, usage: Usage) -> None:
        with self._lock:
            self._new.add(usage)
        self._happened()

    def told(self, total: Total) -> None:
        self._elsewhere = total

    def new(self) -> Usage | None:
        """What was used since it was asked for last; from then on whoever asked tells it in the total."""
        with self._lock:
            found, self._new = self._new, Tally()
        return found.usage if found.calls or found.tokens else None

    def total(self) -> Total:
        dollars, tokens = self._elsewhere
        more = self._new.at_most
        return (None if dollars is None or more is None else dollars + more), tokens + self._new.tokens


class _Fresh(Desk):
    """A desk of a run with a budget: no model is asked before what others have used is known."""

    def __init__(self, exchange: Callable[[], Awaitable[None]], account: Account) -> None:
        super().__init__(account)
        self._exchange = exchange

    async def ask(self, *what: Any, **how: Any) -> Answer:
        await self._exchange()
        return await super().ask(*what, **how)
