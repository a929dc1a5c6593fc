"""The step loop: from a task to a trace. One episode at a time here; many at once in :mod:`atlas.runner`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from atlas.asking import Desk, Desks
from atlas.book import SCORED, Book
from atlas.budget import Budget, Meter
from atlas.errors import BudgetExceeded, ConfigError, MissingExtra
from atlas.evaluators.verdict import Judge, Reference, case_of
from atlas.protocols import Environment, Policy, Recorder, Reviewer
from atlas.records import Episode, Failure, Observation, Review, Step, Stop, Turn, View, content_hash
from atlas.redact import scrub

T = TypeVar("T")


class Rollout:
    """One episode: ``environment`` played by ``policy``. Single use.

    ``run_meter`` is shared by all episodes of a run; the episode's own budget is its alone. An attempt that
    ``reviewer`` rejects is followed by one retry in the fresh environment that ``again`` makes, told what the reviewer
    said; the retry is reviewed too, and its score is the episode's. Where there is a ``judge``, which may know the
    ``reference``, the score is its verdict's in place of the environment's. ``retries`` is the id of the episode that
    ended with an error and that this one plays again. ``keeps_steps`` is whether ``steps`` holds them until the end.
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
        judge: Judge | None = None,
        reference: Reference | None = None,
        success_at: float = 1.0,
        retries: str = "",
        desks: Desks = Desk,
        keeps_steps: bool = True,
    ) -> None:
        if max_steps < 1:
            raise ConfigError(f"an episode needs at least 1 step, not {max_steps}")
        self.environment = environment
        self.policy = policy
        self.max_steps = max_steps
        self.reviewer = reviewer
        self.again = again
        self.judge = judge
        self.reference = reference
        self.book = Book(
            environment.task,
            arm=arm,
            run=run,
            seed=seed,
            config=content_hash(self._config()),
            recorder=recorder,
            budget=budget,
            run_meter=run_meter,
            success_at=success_at,
            retries=retries,
            desks=desks,
            keeps_steps=keeps_steps or judge is not None,
        )
        self._seen = Observation(text="")

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps so far."""
        return tuple(self.book.steps)

    async def play(self) -> Episode:
        """Run to the end and return the result. Whatever the environment or the policy raises is recorded, not raised;
        only errors that no sibling could escape (a wrong configuration, a trace that cannot be written) and
        cancellation pass through, the environment closed."""
        stop, score, failure = Stop.ERROR, None, None
        cancelled: BaseException | None = None
        try:
            self.book.open()
            stop = await self._ended()
            score = await self._score(stop)
        except (asyncio.CancelledError, ConfigError, MissingExtra) as error:
            # Whatever ends the run from here is no result of this episode: it has an end, and is played again.
            stop, cancelled = Stop.CANCELLED, error
        except _PartFailed as failed:
            stop, failure = Stop.ERROR, failed.failure
        finally:
            failure = await self._close() or failure
        episode = self.book.close(stop, score, failure)
        if cancelled is not None:
            raise cancelled
        return episode

    def _config(self) -> dict[str, object]:
        config: dict[str, object] = {"policy": self.policy.config(), "max_steps": self.max_steps}
        if self.reviewer is not None:
            config["reviewer"] = self.reviewer.config()
        if self.judge is not None:
            config["judge"] = self.judge.config()
        return config

    async def _ended(self) -> Stop:
        try:
            return await self._attempts()
        except BudgetExceeded as error:
            return Stop.RUN_BUDGET if error.what == "run" else Stop.BUDGET

    async def _attempts(self) -> Stop:
        stop, last = await self._steps(View(task=self.environment.task, opening="", seed=self.book.seed))
        review = await self._review(last)
        if review is not None and review.approved is False and self.again is not None:
            failure = await self._close()
            if failure is not None:
                raise _PartFailed(failure)
            self.environment = self.again()
            # The retry draws anew, keeps its lane, and plans afresh.
            self.book.attempt, self.book.plan = 1, ""
            retry = View(task=last.task, opening="", seed=last.seed, lane=last.lane, attempt=1, advice=review.feedback)
            stop, last = await self._steps(retry)
            await self._review(last)
        return stop

    async def _review(self, last: View) -> Review | None:
        if self.reviewer is None:
            return None
        review = await self._guard("reviewer", self.reviewer.review(last, self.book.desk()))
        if review is not None:
            self.book.reviews.append(review)
        return review

    async def _steps(self, view: View) -> tuple[Stop, View]:
        """One attempt: ``view`` holds what is known before it. Returns the view after its last action."""
        book = self.book
        seen = self._seen = await self._guard("environment", self.environment.open())
        view = view.replace(opening=seen.text, admissible=seen.admissible)
        while not seen.done:
            if view.index == self.max_steps:
                return Stop.MAX_STEPS, view
            book.check()
            began = time.perf_counter()
            desk = book.desk()
            decided = await self._guard("policy", self.policy.decide(view, desk))
            book.decided(decided)
            outcome = await self._guard("environment", self.environment.step(decided.action))
            book.step(seen, decided, outcome, desk.spent, time.perf_counter() - began)
            turn = Turn(action=decided.action, observation=outcome.text, thought=decided.thought)
            view = view.after(turn, outcome.admissible, plan=book.plan, lane=book.lane)
            seen = self._seen = outcome
        return Stop.DONE, view

    async def _score(self, stop: Stop) -> float | None:
        """Where the episode stood at its end, by the environment or by the judge."""
        if self.judge is None or stop not in SCORED:
            return self._seen.score
        book = self.book
        case = case_of(book.id, book.task, book.steps, self.reference, outcome=self._seen.score)
        book.verdict = await self._guard("judge", self.judge.judge(case, book.desk(judging=True)))
        return book.verdict.score

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
            raise _PartFailed(Failure(kind=type(error).__name__, message=scrub(str(error)), where=where)) from error


class _PartFailed(Exception):
    """Carries a failure from the boundary to where it is recorded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
