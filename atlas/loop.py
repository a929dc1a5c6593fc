"""The step loop: from a task to a trace. One episode at a time here; many at once in :mod:`atlas.runner`."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from atlas.budget import Budget, Meter
from atlas.errors import BudgetExceeded, ConfigError, MissingExtra, ModelError
from atlas.evaluators import success
from atlas.protocols import Environment, Policy, Recorder, Reviewer
from atlas.records import (
    TEACHER,
    Decision,
    Episode,
    Failure,
    Observation,
    Review,
    Spend,
    Step,
    Stop,
    Turn,
    View,
    by_actor,
    content_hash,
)
from atlas.redact import scrub

T = TypeVar("T")


RETRY = 1_000_003
"""Added to the seed of a retry."""


class Unrecorded:
    """The recorder of episodes that nobody wants to keep."""

    def start(self, episode_id: str, arm: str, task: object, seed: int, config: str) -> None: ...

    def step(self, episode_id: str, step: Step) -> None: ...

    def end(self, episode: Episode) -> None: ...


class Rollout:
    """One episode: ``environment`` played by ``policy``. Single use.

    ``run_meter`` is shared by all episodes of a run; the episode's own budget is its alone. An attempt that
    ``reviewer`` rejects is followed by one retry in the fresh environment that ``again`` makes, told what the reviewer
    said; the retry is reviewed too, and its score is the episode's. ``retries`` is the id of the episode that ended
    with an error and that this one plays again.
    """

    def __init__(
        self,
        environment: Environment,
        policy: Policy,
        *,
        seed: int = 0,
        max_steps: int = 50,
        arm: str = "",
        run: str = "",
        recorder: Recorder | None = None,
        budget: Budget | None = None,
        run_meter: Meter | None = None,
        reviewer: Reviewer | None = None,
        again: Callable[[], Environment] | None = None,
        retries: str = "",
    ) -> None:
        if max_steps < 1:
            raise ConfigError(f"an episode needs at least 1 step, not {max_steps}")
        self.environment = environment
        self.policy = policy
        self.seed = seed
        self.max_steps = max_steps
        self.arm = arm
        self.run = run
        self.recorder: Recorder = recorder or Unrecorded()
        self.reviewer = reviewer
        self.again = again
        self.retries = retries
        self.meters = [Meter(budget), *([run_meter] if run_meter else [])]
        self.id = uuid.uuid4().hex[:12]
        self.steps: list[Step] = []
        self.plan = ""
        self.lane = ""
        self.reviews: list[Review] = []
        self.spend: list[Spend] = []
        self._seen = Observation(text="")

    async def play(self) -> Episode:
        """Run to the end and return the result. Whatever the environment or the policy raises is recorded, not raised;
        only errors that no sibling could escape (a wrong configuration) and cancellation pass through."""
        started, began = time.time(), time.perf_counter()
        task = self.environment.task
        config = content_hash(self._config())
        self.recorder.start(self.id, self.arm, task, self.seed, config)
        stop, failure, cancelled = Stop.ERROR, None, None
        try:
            stop = await self._attempts()
        except BudgetExceeded as error:
            stop = Stop.RUN_BUDGET if error.what == "run" else Stop.BUDGET
        except (ConfigError, MissingExtra):
            await self._close()
            raise
        except asyncio.CancelledError as error:
            stop, cancelled = Stop.CANCELLED, error
        except _PartFailed as failed:
            failure = failed.failure
        failure = await self._close() or failure
        # Limits of the episode are part of its rules: where it stood then is its result.
        judged = stop in (Stop.DONE, Stop.MAX_STEPS, Stop.BUDGET)
        score = self._seen.score if judged else None
        episode = Episode(
            id=self.id,
            run=self.run,
            arm=self.arm,
            task=task,
            seed=self.seed,
            config=config,
            stop=stop,
            score=score,
            success=success(score),
            steps=len(self.steps),
            teacher_steps=sum(step.decision.actor == TEACHER for step in self.steps),
            spend=by_actor(self.spend),
            seconds=time.perf_counter() - began,
            started=started,
            plan=self.plan,
            lane=self.lane,
            asked_steps=sum(any(s.actor == TEACHER for s in step.decision.spend) for step in self.steps),
            reviews=tuple(self.reviews),
            failure=failure,
            retries=self.retries,
        )
        self.recorder.end(episode)
        if cancelled is not None:
            raise cancelled
        return episode

    def _config(self) -> dict[str, object]:
        config: dict[str, object] = {"policy": self.policy.config(), "max_steps": self.max_steps}
        if self.reviewer is not None:
            config["reviewer"] = self.reviewer.config()
        return config

    async def _attempts(self) -> Stop:
        stop, last = await self._steps(View(task=self.environment.task, opening="", seed=self.seed))
        review = await self._review(last)
        if review is not None and review.approved is False and self.again is not None:
            failure = await self._close()
            if failure is not None:
                raise _PartFailed(failure)
            self.environment = self.again()
            # The retry draws anew, keeps its lane, and plans afresh.
            retry = View(
                task=last.task, opening="", seed=self.seed + RETRY, lane=last.lane, attempt=1, advice=review.feedback
            )
            self.plan = ""
            stop, last = await self._steps(retry)
            await self._review(last)
        return stop

    async def _review(self, last: View) -> Review | None:
        if self.reviewer is None:
            return None
        review = await self._guard("reviewer", self.reviewer.review(last))
        if review is not None:
            self._charge(review.spend)
            self.reviews.append(review)
        return review

    async def _steps(self, view: View) -> tuple[Stop, View]:
        """One attempt: ``view`` holds what is known before it. Returns the view after its last action."""
        seen = self._seen = await self._guard("environment", self.environment.open())
        view = view.replace(opening=seen.text, admissible=seen.admissible)
        while not seen.done:
            if view.index == self.max_steps:
                return Stop.MAX_STEPS, view
            for meter in self.meters:
                meter.check()
            began = time.perf_counter()
            decided = await self._guard("policy", self.policy.decide(view))
            self._account(decided)
            outcome = await self._guard("environment", self.environment.step(decided.action))
            step = Step(
                index=len(self.steps),
                attempt=view.attempt,
                observation=seen.text,
                admissible=len(seen.admissible),
                decision=decided,
                outcome=outcome,
                seconds=time.perf_counter() - began,
            )
            self.steps.append(step)
            self.recorder.step(self.id, step)
            turn = Turn(action=decided.action, observation=outcome.text, thought=decided.thought)
            view = view.replace(
                turns=(*view.turns, turn), admissible=outcome.admissible, plan=self.plan, lane=self.lane
            )
            seen = self._seen = outcome
        return Stop.DONE, view

    def _account(self, decided: Decision) -> None:
        self._charge(decided.spend)
        if decided.plan is not None:
            self.plan = decided.plan
        if decided.lane is not None:
            self.lane = decided.lane.lane
        self.reviews.extend(decided.reviews)

    def _charge(self, spend: tuple[Spend, ...]) -> None:
        self.spend.extend(spend)
        for meter in self.meters:
            meter.add(spend)

    async def _close(self) -> Failure | None:
        try:
            await self._guard("environment", self.environment.close())
        except _PartFailed as failed:
            return failed.failure
        return None

    async def _guard(self, where: str, part: Awaitable[T]) -> T:
        """The one boundary where foreign code may fail: environments, policies and the models in them."""
        try:
            return await part
        except (BudgetExceeded, ConfigError, MissingExtra):
            raise
        except Exception as error:
            if isinstance(error, ModelError):
                self._charge(error.spend)
            raise _PartFailed(Failure(kind=type(error).__name__, message=scrub(str(error)), where=where)) from error


class _PartFailed(Exception):
    """Carries a failure from the boundary to where it is recorded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
