"""All workers, as the command sees them: it deals episodes out, writes down what they send, and deals those of a worker
that is gone out again."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.budget import Meter
from atlas.errors import ConfigError, StoreError
from atlas.fanout.cluster import Cluster
from atlas.fanout.standin import Replied, about, answered
from atlas.fanout.worker import Call, Company, News, Worker
from atlas.protocols import Model
from atlas.records import Episode
from atlas.runner import Job
from atlas.traces import RunWriter

log = logging.getLogger("atlas.fanout")

DEATHS = 3
"""Of workers: that many with the same episode, or one after the other before they play, are no accident."""
_PARTING = 5.0
"""Seconds for the ends of episodes that are broken off."""


class WorkersLost(Exception):
    """An episode was in flight each time that a worker died."""


@dataclass(eq=False)
class _Ticket:
    call: Call
    future: asyncio.Future[Episode | None]
    deaths: int = 0


@dataclass(eq=False)
class _Hand:
    """A worker."""

    actor: Any
    out: dict[int, _Ticket] = field(default_factory=dict)
    """What it is at."""
    calls: list[Call] = field(default_factory=list)
    answers: list[Replied] = field(default_factory=list)
    off: list[int] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    """The scenes that it was given."""
    ready: bool = False
    share: int = 1
    """How many of the episodes that waited for workers it was given."""
    sending: bool = False


class Troupe:
    """Workers of ``cluster``, as many as it has cores and at most ``most``, each with who ``company`` makes.

    ``meter`` is the run's and ``writer`` its recorder: all that workers use and tell goes there. ``models`` stay here
    and are asked from there. An asynchronous context; its end breaks off what is still played.
    """

    def __init__(
        self,
        cluster: Cluster,
        company: Company,
        *,
        writer: RunWriter,
        meter: Meter,
        models: Mapping[str, Model],
        most: int,
    ) -> None:
        try:
            # Told here, and not from the depths of Ray.
            cluster.ray.cloudpickle.dumps(company)
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise ConfigError(
                f"who plays cannot be sent to other processes ({error}): name models and suites, or leave --ray out"
            ) from error
        self._cluster, self._company = cluster, company
        self._writer, self._meter, self._models = writer, meter, models
        self._most = max(1, min(cluster.cores, most))
        self._hands: list[_Hand] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[_Ticket] = []
        self._scene, self._content = 0, None
        self._numbers = 0
        self._stillborn = 0
        self._ending = False
        self._heard = asyncio.Event()
        """Set when a worker has told something, or is gone."""
        self._error: BaseException | None = None

    def scene(self, content: Any) -> int:
        """What episodes are played on; the number to play them by. That before it is let go."""
        self._scene += 1
        self._content = self._cluster.ray.put(content)
        return self._scene

    async def play(self, scene: int, job: Job) -> Episode | None:
        """What ``job`` came to; None where the run's budget was spent before it began. Raises what a worker did, and
        :class:`WorkersLost` where it has cost too many of them."""
        if self._error is not None:
            raise self._error
        self._numbers += 1
        call = Call(self._numbers, scene, job.task_id, job.seed, job.retries)
        ticket = _Ticket(call, asyncio.get_running_loop().create_future())
        self._deal(ticket)
        try:
            return await ticket.future
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._waiting.remove(ticket)
            for hand in self._hands:
                if call.ticket in hand.out:
                    hand.off.append(call.ticket)
                    self._send_soon(hand)
            raise

    async def __aenter__(self) -> Troupe:
        for _ in range(self._most):
            self._hire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        for hand in self._hands:
            hand.off += hand.out
            self._send_soon(hand)
        if self._error is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PARTING):
                    while any(hand.out for hand in self._hands if hand.ready):
                        self._heard.clear()
                        await self._heard.wait()
        for hand in self._hands:
            with suppress(Exception):  # it may be gone, and has nothing more to give
                await asyncio.wait_for(_result(hand.actor.stop.remote()), 1 if hand.ready else 0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for hand in self._hands:
            self._cluster.ray.kill(hand.actor)

    # --- workers ------------------------------------------------------------------------------------------------------

    def _hire(self) -> None:
        actor = self._cluster.ray.remote(num_cpus=1, max_restarts=0)(Worker).remote()
        hand = _Hand(actor)
        self._hands.append(hand)
        self._task(self._listen(hand))

    async def _listen(self, hand: _Hand) -> None:
        try:
            told = {name: about(model) for name, model in self._models.items()}
            begun = hand.actor.begin.remote(self._company, str(Path.cwd()), self._meter.budget, told)
            if (problem := await _result(begun)) is not None:
                raise problem
            hand.ready, self._stillborn = True, 0
            # Those that begin later have their part, too.
            hand.share = max(1, -(-len(self._waiting) // (1 + sum(not other.ready for other in self._hands))))
            self._deal_waiting(hand)
            while True:
                self._take(hand, await _result(hand.actor.news.remote(self._meter.total())))
        except self._cluster.failed as error:
            self._fail(error)
        except self._cluster.lost as error:
            self._lost(hand, error)
        except Exception as error:
            self._fail(error)

    def _take(self, hand: _Hand, news: News) -> None:
        self._heard.set()
        self._writer.take(news.lines, ends=bool(news.ended))
        if news.used is not None:
            self._meter.add(news.used)
        for number, ended in news.ended:
            ticket = hand.out.pop(number, None)
            if ticket is None or ticket.future.done():
                continue
            if isinstance(ended, Exception):
                ticket.future.set_exception(ended)
            else:
                ticket.future.set_result(ended)
        self._deal_waiting(hand)
        for asked in news.asks:
            self._task(self._answer(hand, asked))

    async def _answer(self, hand: _Hand, asked: Any) -> None:
        hand.answers.append(await answered(self._models[asked.model], asked))
        self._send_soon(hand)

    def _lost(self, hand: _Hand, error: Exception) -> None:
        """``hand`` is gone, or not to be reached: it plays no more, and what it was at is played by others."""
        self._hands.remove(hand)
        self._heard.set()
        self._cluster.ray.kill(hand.actor)
        if self._ending:
            return
        self._stillborn += not hand.ready
        if self._stillborn >= DEATHS:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            self._fail(StoreError(f"Ray's workers end before they play ({reason}): leave --ray out, or see Ray's logs"))
            return
        log.warning("a worker is gone: the %d episodes that it was at are played again", len(hand.out))
        self._hire()
        for ticket in hand.out.values():
            ticket.deaths += 1
            if ticket.future.done():
                continue
            if ticket.deaths >= DEATHS:
                ticket.future.set_exception(
                    WorkersLost(f"it was in flight at each of {DEATHS} times that a worker died")
                )
            else:
                self._deal(ticket)

    def _fail(self, error: BaseException) -> None:
        """Nothing goes on after ``error``."""
        self._error = self._error or error
        tickets = [*self._waiting, *(ticket for hand in self._hands for ticket in hand.out.values())]
        for ticket in tickets:
            if not ticket.future.done():
                ticket.future.set_exception(error)

    # --- what is sent to them -----------------------------------------------------------------------------------------

    def _deal(self, ticket: _Ticket) -> None:
        ready = [hand for hand in self._hands if hand.ready]
        if not ready:
            self._waiting.append(ticket)
            return
        self._give(min(ready, key=lambda hand: len(hand.out)), ticket)

    def _deal_waiting(self, hand: _Hand) -> None:
        given = self._waiting[: max(0, hand.share - len(hand.out))]
        del self._waiting[: len(given)]
        for ticket in given:
            self._give(hand, ticket)

    def _give(self, hand: _Hand, ticket: _Ticket) -> None:
        hand.out[ticket.call.ticket] = ticket
        hand.calls.append(ticket.call)
        self._send_soon(hand)

    def _send_soon(self, hand: _Hand) -> None:
        """Send what there is for ``hand``, together with what comes in the same turn of the event loop."""
        if not hand.sending:
            hand.sending = True
            asyncio.get_running_loop().call_soon(self._send, hand)

    def _send(self, hand: _Hand) -> None:
        hand.sending = False
        calls, answers, off = hand.calls, hand.answers, hand.off
        hand.calls, hand.answers, hand.off = [], [], []
        new = {call.scene for call in calls} - hand.known
        hand.known |= new
        # A reference within a list is sent as what it is; the worker looks for the content once.
        scenes = {number: [self._content] for number in new}
        # Where it fails the worker is gone, which whoever listens to it hears.
        hand.actor.tell.remote(calls, scenes, answers, off)

    def _task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _result(reference: Any) -> Any:
    return await reference
