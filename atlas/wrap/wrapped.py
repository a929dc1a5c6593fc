"""One episode of a wrapped agent: what it asked, what was decided, what came of it, how it was scored."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from atlas.budget import Meter
from atlas.errors import BudgetExceeded, ConfigError, ModelError
from atlas.evaluators import success
from atlas.records import (
    TEACHER,
    Decision,
    Episode,
    Failure,
    Message,
    Review,
    Spend,
    Step,
    Stop,
    Task,
    View,
    by_actor,
    content_hash,
)
from atlas.redact import scrub
from atlas.wrap.chat import opening_of, turns_of, with_ids
from atlas.wrap.client import AsyncClient, Client
from atlas.wrap.steps import Steps

if TYPE_CHECKING:
    from atlas.wrap.agent import Agent


class WrappedEpisode:
    """What ``with agent.episode(...) as episode`` gives: a client for the loop inside, and a score at its end.

    Each call of ``create`` is one step. Its outcome is what the next call shows after it, so a step is recorded when
    the next one begins, the last one when the block ends; a process that is killed loses the step it was in. An episode
    that nobody scored is recorded without a score, which is not a score of 0, and nothing is learned from it.

    An exception that leaves the block ends the episode with ``error`` and goes on to the caller.
    """

    def __init__(self, agent: Agent, task: Task, seed: int, *, owns_agent: bool = False) -> None:
        self.agent = agent
        self.task = task
        self.seed = seed
        self.id = uuid.uuid4().hex[:12]
        self.result: Episode | None = None
        """The record of the episode, once the block has ended."""
        self._owns_agent = owns_agent
        self._steps = Steps(agent.actions, lambda step: agent.recorder.step(self.id, step))
        self._meter = Meter(agent.budget)
        self._spend: list[Spend] = []
        self._score: float | None = None
        self._plan = ""
        self._lane = ""
        self._reviews: list[Review] = []
        self._open = False
        self._stopped: BudgetExceeded | None = None
        self._raised: Exception | None = None
        self._started = self._began = 0.0

    # --- for the code inside the block --------------------------------------------------------------------------------

    @property
    def goal(self) -> str:
        return self.task.goal

    @property
    def client(self) -> Client:
        """For a loop written with ``openai.OpenAI``."""
        return Client(self, self.agent.background)

    @property
    def async_client(self) -> AsyncClient:
        """For a loop written with ``openai.AsyncOpenAI``."""
        return AsyncClient(self)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps whose outcome is known so far; all of them once the block has ended."""
        return self._steps.written

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
    ) -> Decision:
        """Decide what the agent says next; the clients call this."""
        if not self._open:
            raise ConfigError("the client belongs to an episode: use it inside the episode's with block")
        began = time.perf_counter()
        self._steps.settle(messages)
        try:
            self._check()
            view = self._view(messages, tools, options)
            decided = with_ids(await self.agent.policy.decide(view), messages)
        except Exception as error:
            # Noted and passed on: it is our failure, not one of the loop that it now travels through.
            self._raised = error
            if isinstance(error, ModelError):
                self._charge(error.spend)
            raise
        self._charge(decided.spend)
        self._plan = decided.plan or self._plan
        self._lane = decided.lane.lane if decided.lane is not None else self._lane
        self._reviews.extend(decided.reviews)
        self._steps.begin(messages, view.observation, decided, began)
        return decided

    # --- the block ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._started:
            raise ConfigError(f"episode {self.id} was entered before: an episode is used once, begin another")
        self._started, self._began = time.time(), time.perf_counter()
        self.agent.recorder.start(self.id, self.agent.arm, self.task, self.seed, self._config())
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            self.result = self._end(error)
            self.agent.learn_from(self.result, self.steps)
        finally:
            if self._owns_agent:
                self.agent.close()

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
            turns=turns_of(messages, self.agent.actions),
            plan=self._plan,
            lane=self._lane,
            messages=tuple(messages),
            tools=tools,
            options=options,
            seed=self.seed,
        )

    def _check(self) -> None:
        try:
            self._meter.check()
            self.agent.meter.check()
        except BudgetExceeded as stopped:
            self._stopped = stopped
            raise

    def _charge(self, spend: tuple[Spend, ...]) -> None:
        with self.agent.lock:
            self._spend.extend(spend)
            self._meter.add(spend)
            self.agent.meter.add(spend)

    def _config(self) -> str:
        return content_hash({"policy": self.agent.policy.config()})

    def _end(self, error: BaseException | None) -> Episode:
        stop, failure = self._why(error)
        self._steps.finish(self._score)
        steps = self.steps
        result = Episode(
            id=self.id,
            run=self.agent.run,
            arm=self.agent.arm,
            task=self.task,
            seed=self.seed,
            config=self._config(),
            stop=stop,
            score=self._score,
            success=success(self._score, at_least=self.agent.success_score),
            steps=len(steps),
            teacher_steps=sum(step.decision.actor == TEACHER for step in steps),
            spend=by_actor(self._spend),
            seconds=time.perf_counter() - self._began,
            started=self._started,
            plan=self._plan,
            lane=self._lane,
            asked_steps=sum(any(s.actor == TEACHER for s in step.decision.spend) for step in steps),
            reviews=tuple(self._reviews),
            failure=failure,
        )
        self.agent.recorder.end(result)
        return result

    def _why(self, error: BaseException | None) -> tuple[Stop, Failure | None]:
        if error is None or isinstance(error, BudgetExceeded):
            if self._stopped is None:
                return Stop.DONE, None
            return (Stop.RUN_BUDGET if self._stopped.what == "run" else Stop.BUDGET), None
        if not isinstance(error, Exception):
            # KeyboardInterrupt, SystemExit, a cancelled task: somebody stopped it, nothing went wrong.
            return Stop.CANCELLED, None
        where = "policy" if error is self._raised else "agent"
        return Stop.ERROR, Failure(kind=type(error).__name__, message=scrub(str(error)), where=where)
