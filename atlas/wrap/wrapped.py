"""One episode of a wrapped agent: what it asked, what was decided, what came of it, how it was scored."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from atlas.actions import Actions
from atlas.asking import Desk
from atlas.background import Background
from atlas.book import Book
from atlas.errors import BudgetExceeded, ConfigError
from atlas.given import shown
from atlas.policies import Guided, Recall, Solo
from atlas.protocols import Policy
from atlas.record import finite
from atlas.records import Decision, Episode, Failure, Step, Stop, Task, View, total
from atlas.redact import scrub
from atlas.wire import clients
from atlas.wire.app import Arrival, Wire
from atlas.wire.calls import Call, Calls
from atlas.wire.request import Request, Told
from atlas.wrap.steps import Pending, Steps
from atlas.wrap.talk import CallIds, Talks, opening_of, turns_of

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from openai import AsyncOpenAI, OpenAI


class Keeper(Protocol):
    """Keeps what an open episode has beyond its trace, for when its process is killed."""

    def keep(self, episode: WrappedEpisode) -> None:
        """A call of it is over, and who asked does not have the answer yet."""
        ...

    def over(self, id: str) -> None:
        """All of it is in the trace."""
        ...


class WrappedEpisode:
    """What ``with agent.episode(...) as episode`` gives: clients for the loop inside, and a score at its end.

    Each call of a client for an answer is one step, whichever API it is of. Its outcome is what the next call shows
    after it, so a step is recorded when the next one begins, the last one when the block ends. Until then it is kept
    beside a run in a folder: the next agent of that run and arm records the episodes of a process that was killed as
    far as they came, as ``cancelled``. An episode that nobody scored is recorded without a score, which is not a score
    of 0, and nothing is learned from it.

    An exception that leaves the block ends the episode with ``error`` and goes on to the caller; whatever it was scored
    before, an episode that ended so has no score.
    """

    def __init__(
        self,
        book: Book,
        policy: Policy,
        actions: Actions,
        background: Background,
        *,
        ending: Callable[[str, Stop, float | None], object] = lambda episode, stop, score: None,
        ended: Callable[[Episode, Sequence[Step]], object] = lambda episode, steps: None,
        late: Callable[[Episode, Sequence[Step], float], Episode] = lambda episode, steps, score: episode,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        """
        book: of this episode, not opened.
        ending: called with its id, why it ends and where it stands, before its end is recorded.
        ended: called with the record and the steps, once the block has ended: what is learned is learned there.
        late: called with a score that comes after that; returns the record that has it.
        closed: called once the block has ended, whatever happened.
        """
        self.book = book
        self.result: Episode | None = None
        """The record of the episode, once the block has ended."""
        self._policy = policy
        self._actions = actions
        self._background = background
        self._ending = ending
        self._ended = ended
        self._late = late
        self._closed = closed
        self._alone = speaks_alone(policy)
        self._steps = Steps(actions, book)
        self._score: float | None = None
        self._entered = self._open = False
        self._raised: list[Exception] = []
        self.refused: Exception | None = None
        """What its newest call failed with; None where that was answered."""
        self._talks = Talks()
        self._pid = 0
        self.calls = Calls()
        """Those of its clients."""
        self.keeper: Keeper | None = None
        """Keeps what the trace does not have yet."""
        self.goes_on: Callable[[], object] = lambda: None
        """Raises where it cannot: its agent is closed."""
        self.ends_at_once = False
        """Whether nothing at its end waits for a memory or a thread, so that it may end within an event loop."""

    # --- for the code inside the block --------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self.book.id

    @property
    def task(self) -> Task:
        return self.book.task

    @property
    def seed(self) -> int:
        return self.book.seed

    @property
    def goal(self) -> str:
        return self.book.task.goal

    @cached_property
    def _wire(self) -> Wire:
        return Wire(_Alone(self))

    @cached_property
    def client(self) -> OpenAI:
        """An ``openai.OpenAI`` whose calls are steps of this episode: they leave this process only for the models."""
        return clients.openai_client(self._wire, self._background)

    @cached_property
    def async_client(self) -> AsyncOpenAI:
        """The same as an ``openai.AsyncOpenAI``."""
        return clients.async_openai_client(self._wire)

    @cached_property
    def anthropic(self) -> Anthropic:
        """The same for a loop written with ``anthropic.Anthropic``."""
        return clients.anthropic_client(self._wire, self._background)

    @cached_property
    def async_anthropic(self) -> AsyncAnthropic:
        """The same as an ``anthropic.AsyncAnthropic``."""
        return clients.async_anthropic_client(self._wire)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps whose outcome is known so far; all of them once the block has ended."""
        return tuple(self.book.steps)

    def score(self, value: float) -> None:
        """Say how it went, in the block or after it; the last word counts. 1 is full success (the agent's
        ``success_score`` may be less)."""
        if not finite(value):
            raise ConfigError(
                f"a score is a finite number, not {shown(value)}: leave the episode unscored where there is none"
            )
        if self._open:
            self._score = float(value)
        elif self.result is not None:
            self.result = self._late(self.result, self.steps, float(value))
        else:
            over = "is over, and its end was not recorded" if self._entered else "has not begun"
            raise ConfigError(f"episode {self.id} {over}: score it inside its with block, or after that")

    def succeed(self) -> None:
        """A score of 1."""
        self.score(1.0)

    def fail(self) -> None:
        """A score of 0."""
        self.score(0.0)

    async def act(self, request: Request, call: Call) -> Told:
        """Decide what the agent says next; the wire calls this."""
        try:
            return await self._act(request, call)
        finally:
            if self.keeper is not None and self._open and self._pid == os.getpid():
                self.keeper.keep(self)

    async def _act(self, request: Request, call: Call) -> Told:
        if not self._open:
            raise ConfigError("the client belongs to an episode: use it inside the episode's with block")
        if self._pid != os.getpid():
            raise ConfigError(
                "the client belongs to an episode of the process that began it, where its steps are recorded: begin an "
                "episode in this process, or point its client at 'atlas serve'"
            )
        self.goes_on()
        began = time.perf_counter()
        request = replace(request, messages=self._talks.same(request.messages))
        self._steps.settle(request.messages)
        desk = self.book.desk()
        ids = CallIds({c.id for m in request.messages for c in m.tool_calls})
        if request.stream and self._alone and request.options.get("n", 1) == 1:
            desk.heard = lambda model, delta: call.heard(model, ids.heard(delta))
        try:
            self.book.check()
            views = [self._view(request, call, i) for i in range(request.options.get("n") or 1)]
            choices = await self._decide(views, desk, ids)
        except Exception as error:
            # Noted and passed on: it is our failure, not one of the loop that it now travels through.
            self._raised.append(error)
            self.refused = error
            raise
        self.refused = None
        if call.first:
            told = {**choices[0].seconds, "first_token": call.first - began}
            choices = (choices[0].replace(seconds=told), *choices[1:])
        decided, *others = choices
        self.book.decided(decided)
        spent = desk.spent
        self._steps.begin(request.messages, views[0].observation, choices, spent, began)
        return Told(
            decision=decided,
            usage=total(spent),
            model=next((s.model for s in spent if s.actor == decided.actor), decided.actor),
            id=call.id,
            created=call.created,
            others=tuple(others),
            notes=_notes(request, decided),
        )

    async def _decide(self, views: Sequence[View], desk: Desk, ids: CallIds) -> tuple[Decision, ...]:
        """A decision for each of ``views``, which are the same but for chance."""
        if len(views) == 1:
            return (ids.given(await self._policy.decide(views[0], desk)),)
        found = await asyncio.gather(*(self._policy.decide(view, desk) for view in views), return_exceptions=True)
        for decided in found:
            if isinstance(decided, BaseException):
                raise decided
        return tuple(ids.given(d) for d in found if isinstance(d, Decision))

    # --- from one process to another ----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The open episode as plain values, from which another process goes on."""
        return {**self.standing(), **self.book.state(), "pending": self._steps.state()}

    def standing(self) -> dict[str, Any]:
        """What of it changes with each call, but for its steps, recorded and :attr:`unrecorded`."""
        raised = [[e.what, str(e)] if isinstance(e, BudgetExceeded) else _failed(e) for e in self._raised[-8:]]
        return {**self.book.standing(), "score": self._score, "raised": raised}

    @property
    def unrecorded(self) -> tuple[int, tuple[Pending, ...]]:
        """How many of its steps are recorded, and what was decided and is not recorded yet, as its outcome is not
        known, or that of one before it is not."""
        return self._steps.unrecorded

    def restore(self, state: Mapping[str, Any], stored: Sequence[Step] | None = None) -> None:
        """Be the episode of that state, which another process began. ``stored`` are the steps that the trace has,
        where that process may have written more of them than it told."""
        self._entered = self._open = True
        self._pid = os.getpid()
        self.book.restore(state, stored)
        self._score = state["score"]
        self._raised = [
            BudgetExceeded(one[1], one[0]) if isinstance(one, list) else _Elsewhere(one["kind"], one["message"])
            for one in state["raised"]
        ]
        self._steps.restore(state["pending"][max(0, self.book.count - state["count"]) :])

    def left(self) -> None:
        """Restored, and nobody goes on with it: it is recorded as far as it came."""
        self._open = False
        self._steps.leave()
        self.result = self.book.close(Stop.CANCELLED, None)

    # --- the block ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._entered:
            raise ConfigError(f"episode {self.id} was entered before: an episode is used once, begin another")
        self.goes_on()
        self._entered = True
        self._pid = os.getpid()
        self.book.open()
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            self._background.finish(self.calls.end)
            stop, failure = self._why(error)
            self._steps.finish(self._score)
            self._ending(self.id, stop, self._score)
            self.result = self.book.close(stop, self._score, failure)
            if self.keeper is not None:
                self.keeper.over(self.id)
            self._ended(self.result, self.steps)
        finally:
            self._closed()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            await self.calls.end()
        finally:
            # Whoever is cancelled meanwhile, once more or while a thread is waited for, has an end all the same.
            if self.ends_at_once:
                self.__exit__(kind, error, trace)
            else:
                # Writing to the memory waits for the disk: off the loop, so that other episodes go on.
                await _uncut(lambda: self.__exit__(kind, error, trace))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _view(self, request: Request, call: Call, choice: int) -> View:
        options = {name: value for name, value in request.options.items() if name != "n"}
        # An agent that asks the same again wants another answer: chance must not be the same, unless its seed is.
        again = f"{call.number}/{choice}" if call.number or choice else ""
        seed = options.get("seed")
        if choice:
            options.pop("seed", None)
        return View(
            task=self.task,
            opening=opening_of(request.messages),
            turns=turns_of(request.messages, self._actions),
            plan=self.book.plan,
            lane=self.book.lane,
            messages=request.messages,
            tools=request.tools,
            options=options,
            seed=self.seed,
            draw=again if seed is None else f"{seed}/{choice}",
        )

    def _why(self, error: BaseException | None) -> tuple[Stop, Failure | None]:
        spent = [e for e in self._raised if isinstance(e, BudgetExceeded)]
        if error is None:
            # A loop that caught the budget ended by itself, and what it was scored counts. What else it was refused
            # and went on without is told all the same.
            failed = next((e for e in reversed(self._raised) if not isinstance(e, BudgetExceeded)), None)
            told = None if failed is None else _failure(failed, "policy")
            return (Stop.BUDGET if spent else Stop.DONE), told
        causes = list(_behind(error))
        for known in spent:
            if known in causes:
                return (Stop.RUN_BUDGET if known.what == "run" else Stop.BUDGET), None
        if not isinstance(error, Exception):
            # KeyboardInterrupt, SystemExit, a cancelled task: somebody stopped it, nothing went wrong.
            return Stop.CANCELLED, None
        # What a client made of our failure says less than the failure.
        ours = next((e for e in self._raised if e in causes), None)
        return Stop.ERROR, _failure(error, "agent") if ours is None else _failure(ours, "policy")


async def _uncut(work: Callable[[], None]) -> None:
    """Do ``work`` in a thread, also where the task that waits for it is cancelled before the thread has begun."""
    under_way = asyncio.get_running_loop().run_in_executor(None, copy_context().run, work)
    try:
        await asyncio.shield(under_way)
    except asyncio.CancelledError:
        await asyncio.wait({under_way})
        raise


class _Alone:
    """The host of one episode: every call is a step of it."""

    def __init__(self, episode: WrappedEpisode) -> None:
        self._episode = episode

    async def seat(self, arrival: Arrival) -> WrappedEpisode:
        return self._episode

    async def models(self, arrival: Arrival) -> list[str]:
        return ["atlas"]

    def failed(self, arrival: Arrival, error: Exception) -> None:
        """The episode has noted it."""


def speaks_alone(policy: Policy) -> bool:
    """Whether what one model says is the answer, whatever it says: then it may be heard while it is being said."""
    while isinstance(policy, Recall | Guided):
        policy = policy.inner
    return isinstance(policy, Solo)


def _notes(request: Request, decided: Decision) -> dict[str, str]:
    """Which options did not hold for this decision."""
    options = request.options
    voted = sum(vote.actor == decided.actor for vote in decided.votes) > 1
    aside: list[str] = [name for name in ("temperature", "seed") if voted and name in options]
    if options.get("logprobs") and "logprobs" not in (decided.message or {}):
        aside.append("logprobs")
    return {"x-atlas-set-aside": ", ".join(aside)} if aside else {}


class _Elsewhere(Exception):
    """What another process was refused."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _failed(error: Exception) -> dict[str, str]:
    return {"kind": getattr(error, "kind", type(error).__name__), "message": scrub(str(error))}


def _failure(error: Exception, where: str) -> Failure:
    if isinstance(error, _Elsewhere):
        return Failure(kind=error.kind, message=str(error), where=where)
    return Failure(kind=type(error).__name__, message=scrub(str(error)), where=where)


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that led to it: clients and frameworks raise one of their own in place of ours."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        ours = clients.behind(error)
        if ours is not None:
            yield ours
        error = error.__cause__ or error.__context__
