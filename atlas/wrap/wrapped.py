"""One episode of a wrapped agent: what it asked, what was decided, what came of it, how it was scored."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from atlas.actions import Actions
from atlas.book import Book
from atlas.errors import BudgetExceeded, ConfigError
from atlas.protocols import Policy
from atlas.records import Decision, Episode, Failure, Message, Spend, Step, Stop, Task, View
from atlas.redact import scrub
from atlas.wrap.background import Background
from atlas.wrap.chat import opening_of, turns_of, with_ids
from atlas.wrap.client import AsyncClient, Client
from atlas.wrap.steps import Steps


class WrappedEpisode:
    """What ``with agent.episode(...) as episode`` gives: a client for the loop inside, and a score at its end.

    Each call of ``create`` is one step. Its outcome is what the next call shows after it, so a step is recorded when
    the next one begins, the last one when the block ends; a process that is killed loses the step it was in. An episode
    that nobody scored is recorded without a score, which is not a score of 0, and nothing is learned from it.

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
        ended: Callable[[Episode, Sequence[Step]], object] = lambda episode, steps: None,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        """
        book: of this episode, not opened.
        ended: called with the record and the steps, once the block has ended: what is learned is learned there.
        closed: called after that, whatever happened.
        """
        self.book = book
        self.result: Episode | None = None
        """The record of the episode, once the block has ended."""
        self._policy = policy
        self._actions = actions
        self._background = background
        self._ended = ended
        self._closed = closed
        self._steps = Steps(actions, book)
        self._score: float | None = None
        self._entered = self._open = False
        self._stopped: BudgetExceeded | None = None
        self._raised: Exception | None = None

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

    @property
    def client(self) -> Client:
        """For a loop written with ``openai.OpenAI``."""
        return Client(self, self._background)

    @property
    def async_client(self) -> AsyncClient:
        """For a loop written with ``openai.AsyncOpenAI``."""
        return AsyncClient(self)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps whose outcome is known so far; all of them once the block has ended."""
        return tuple(self.book.steps)

    def score(self, value: float) -> None:
        """Say how it went; the last word counts. 1 is full success (the agent's ``success_score`` may be less)."""
        if not self._open:
            raise ConfigError(f"episode {self.id} is over: score it inside its with block")
        if not math.isfinite(value):
            raise ConfigError(
                f"a score is a finite number, not {value}: leave the episode unscored where there is none"
            )
        self._score = float(value)

    def succeed(self) -> None:
        """A score of 1."""
        self.score(1.0)

    def fail(self) -> None:
        """A score of 0."""
        self.score(0.0)

    async def act(
        self, messages: tuple[Message, ...], tools: tuple[dict[str, Any], ...], options: dict[str, Any]
    ) -> tuple[Decision, tuple[Spend, ...]]:
        """Decide what the agent says next, and tell what that used; the clients call this."""
        if not self._open:
            raise ConfigError("the client belongs to an episode: use it inside the episode's with block")
        began = time.perf_counter()
        self._steps.settle(messages)
        desk = self.book.desk()
        try:
            self.book.check()
            view = self._view(messages, tools, options)
            decided = with_ids(await self._policy.decide(view, desk), messages)
        except Exception as error:
            # Noted and passed on: it is our failure, not one of the loop that it now travels through.
            self._raised = error
            if isinstance(error, BudgetExceeded):
                self._stopped = error
            raise
        self.book.decided(decided)
        self._steps.begin(messages, view.observation, decided, desk.spent, began)
        return decided, desk.spent

    # --- the block ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._entered:
            raise ConfigError(f"episode {self.id} was entered before: an episode is used once, begin another")
        self._entered = True
        self.book.open()
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            stop, failure = self._why(error)
            self._steps.finish(self._score)
            self.result = self.book.close(stop, self._score, failure)
            self._ended(self.result, self.steps)
        finally:
            self._closed()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Writing to the memory waits for the disk: off the loop, so that other episodes go on.
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _view(self, messages: Sequence[Message], tools: tuple[dict[str, Any], ...], options: dict[str, Any]) -> View:
        return View(
            task=self.task,
            opening=opening_of(messages),
            turns=turns_of(messages, self._actions),
            plan=self.book.plan,
            lane=self.book.lane,
            messages=tuple(messages),
            tools=tools,
            options=options,
            seed=self.seed,
        )

    def _why(self, error: BaseException | None) -> tuple[Stop, Failure | None]:
        if error is None:
            # A loop that caught the budget ended by itself, and what it was scored counts.
            return (Stop.DONE if self._stopped is None else Stop.BUDGET), None
        behind = list(_behind(error))
        if self._stopped is not None and self._stopped in behind:
            return (Stop.RUN_BUDGET if self._stopped.what == "run" else Stop.BUDGET), None
        if not isinstance(error, Exception):
            # KeyboardInterrupt, SystemExit, a cancelled task: somebody stopped it, nothing went wrong.
            return Stop.CANCELLED, None
        where = "policy" if self._raised is not None and self._raised in behind else "agent"
        return Stop.ERROR, Failure(kind=type(error).__name__, message=scrub(str(error)), where=where)


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that led to it: frameworks raise one of their own in place of ours."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
