"""The step loop: from a task to a trace. One episode at a time here; many at once in :mod:`atlas.runner`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, Protocol, TypeVar

from atlas.asking import Desk, Desks
from atlas.book import SCORED, Book
from atlas.budget import Budget, Meter
from atlas.errors import BudgetExceeded, ConfigError, MissingExtra
from atlas.evaluators.verdict import Judge, Reference, case_of
from atlas.given import check_arm, check_policy, has, shown, whole
from atlas.protocols import Environment, Policy, Recorder, Reviewer
from atlas.record import finite
from atlas.records import (
    Decision,
    Episode,
    Failure,
    LaneChoice,
    Observation,
    Review,
    Step,
    Stop,
    Turn,
    View,
    content_hash,
)
from atlas.redact import scrub

T = TypeVar("T")


class Rollout:
    """One episode: ``environment`` played by ``policy``. Single use.

    ``run_meter`` is shared by all episodes of a run; the episode's own budget is its alone. An attempt that
    ``reviewer`` rejects is followed by one retry in the fresh environment that ``again`` makes, told what the reviewer
    said; the retry is reviewed too, and its score is the episode's. Where there is a ``judge``, which may know the
    ``reference``, the score is its verdict's in place of the environment's. ``retries`` is the id of the episode that
    ended with an error and that this one plays again. ``keeps_steps`` is whether ``steps`` holds them until the end.
    ``told`` is called with each step as it is done.
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
        told: Callable[[Decision, Observation], None] = lambda decided, outcome: None,
    ) -> None:
        if not whole(max_steps) or max_steps < 1:
            raise ConfigError(f"an episode needs at least 1 step, not {shown(max_steps)}")
        if not has(environment, "open", "step", "close") or not hasattr(environment, "task"):
            raise ConfigError(f"an environment has a task, open(), step() and close(), not {shown(environment)}")
        check_policy("who plays an episode", policy)
        if not whole(seed):
            raise ConfigError(f"the seed of an episode is a whole number, not {shown(seed)}")
        if arm != "":
            check_arm("the arm of an episode", arm)
        if recorder is not None and not has(recorder, "start", "step", "end"):
            raise ConfigError(f"a recorder is atlas.RunWriter(folder), say, not {shown(recorder)}")
        if not finite(success_at):
            raise ConfigError(f"success_at, a score, is a finite number, not {shown(success_at)}")
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
        self.told = told
        self.waits = False
        """Whether the attempt goes on when it is called again."""
        self._seen = Observation(text="")
        self._view = View(task=environment.task, opening="", seed=seed)
        self._chosen: tuple[LaneChoice, Desk, float] | None = None
        """What was chosen for the first step, the desk it was asked at, and when that began."""
        self._said: Review | None = None
        self._stop, self._cut = Stop.DONE, False
        self._score: float | None = None
        self._failure: Failure | None = None
        self._episode: Episode | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps so far."""
        return tuple(self.book.steps)

    async def play(self) -> Episode:
        """Run to the end and return the result. Whatever the environment or the policy raises is recorded, not raised;
        only errors that no sibling could escape (a wrong configuration, a trace that cannot be written) and
        cancellation pass through, the environment closed."""
        await self.open()
        await self.attempt()
        await self.review()
        if self.rejected:
            await self.retry()
            await self.review()
        return await self.end()

    # --- its phases, in order, for whoever plays it otherwise; once it is over they do nothing ------------------------

    async def open(self) -> None:
        """The episode begins, and its environment is opened."""
        await self._phase(self._open())

    async def choose(self) -> str:
        """The supervision of this episode, where its policy chooses one at the first step: chosen here, for that step.
        Empty where it chooses none."""
        chooser = _chooser(self.policy)
        if chooser is not None:
            await self._phase(self._choose(chooser))
        return self._chosen[0].lane if self._chosen is not None else ""

    async def attempt(self, *, pause: Collection[str] = ()) -> None:
        """Steps, until the environment is done, or a limit is reached; or until the supervision has become one of
        ``pause``: then it :attr:`waits` to be called again."""
        self.waits = False
        await self._phase(self._steps(pause=pause))

    async def review(self) -> None:
        """The reviewer's word on the attempt that has ended, where there is one."""
        await self._phase(self._review())

    @property
    def rejected(self) -> bool:
        """Whether the first attempt was rejected, and there is another environment to try again in."""
        rejected = self._said is not None and self._said.approved is False
        return rejected and not self.over and self.book.attempt == 0 and self.again is not None

    async def retry(self) -> None:
        """The second attempt."""
        await self._phase(self._retry())

    @property
    def over(self) -> bool:
        """Whether something has ended it before its time."""
        return self._cut

    async def end(self) -> Episode:
        """The result, with its score; the environment is closed. Called again it is the same."""
        if self._episode is None:
            score: float | None = None
            if not self._cut:
                await self._phase(self._scored())
                score = self._score
            elif self._stop in SCORED:
                await self._phase(self._scored(), again=True)
                score = self._score
            self._failure = await self._close() or self._failure
            self._episode = self.book.close(self._stop, score, self._failure)
        return self._episode

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _phase(self, work: Coroutine[Any, Any, None], *, again: bool = False) -> None:
        """Do ``work``, unless the episode is over; what it raises ends it."""
        if self._cut and not again:
            work.close()
            return
        try:
            await work
        except BudgetExceeded as error:
            self._cut, self._stop = True, Stop.RUN_BUDGET if error.what == "run" else Stop.BUDGET
        except _PartFailed as failed:
            self._cut, self._stop, self._failure = True, Stop.ERROR, failed.failure
        except (asyncio.CancelledError, ConfigError, MissingExtra):
            # Whatever ends the run from here is no result of this episode: it has an end, and is played again.
            await self.abandon()
            raise
        except BaseException:
            await self._close()
            raise

    async def abandon(self) -> None:
        """End it as cancelled, where it has not ended: it is no result, and is played again."""
        if self._episode is None:
            self._cut, self._stop = True, Stop.CANCELLED
            await self.end()

    def _config(self) -> dict[str, object]:
        config: dict[str, object] = {"policy": self.policy.config(), "max_steps": self.max_steps}
        if self.reviewer is not None:
            config["reviewer"] = self.reviewer.config()
        if self.judge is not None:
            config["judge"] = self.judge.config()
        return config

    async def _open(self) -> None:
        self.book.open()
        await self._begin(View(task=self.environment.task, opening="", seed=self.book.seed))

    async def _begin(self, view: View) -> None:
        """Open the environment for an attempt: ``view`` holds what is known before it."""
        seen = self._seen = await self._guard("environment", self.environment.open())
        self._view = view.replace(opening=seen.text, admissible=seen.admissible)

    async def _choose(self, chooser: Chooses) -> None:
        self.book.check()
        began, desk = time.perf_counter(), self.book.desk()
        choice = await self._guard("policy", chooser.choose(self._view, desk))
        self._chosen = (choice, desk, began)

    async def _steps(self, *, pause: Collection[str] = ()) -> None:
        """One attempt."""
        book, view, seen = self.book, self._view, self._seen
        while not seen.done:
            if view.index == self.max_steps:
                self._stop = Stop.MAX_STEPS
                return
            book.check()
            began, desk, choice = time.perf_counter(), book.desk(), None
            if self._chosen is not None:
                # What was chosen for this step was paid for it.
                (choice, desk, began), self._chosen = self._chosen, None
                view = view.replace(lane=choice.lane)
            lane = view.lane
            decided = await self._guard("policy", self.policy.decide(view, desk))
            if choice is not None and decided.lane is None:
                decided = decided.replace(lane=choice)
            book.decided(decided)
            outcome = await self._guard("environment", self.environment.step(decided.action))
            book.step(seen, decided, outcome, desk.spent, time.perf_counter() - began)
            self.told(decided, outcome)
            turn = Turn(action=decided.action, observation=outcome.text, thought=decided.thought)
            self._view = view = view.after(turn, outcome.admissible, plan=book.plan, lane=book.lane)
            changed, seen = bool(lane) and book.lane != lane, outcome
            self._seen = seen
            if changed and book.lane in pause and not seen.done:
                self.waits = True
                return
        self._stop = Stop.DONE

    async def _review(self) -> None:
        self._said = None
        if self.reviewer is None:
            return
        review = self._said = await self._guard("reviewer", self.reviewer.review(self._view, self.book.desk()))
        if review is not None:
            self.book.reviews.append(review)

    async def _retry(self) -> None:
        assert self._said is not None and self.again is not None
        failure = await self._close()
        if failure is not None:
            raise _PartFailed(failure)
        self.environment = self.again()
        # The retry draws anew, keeps its lane, and plans afresh.
        self.book.attempt, self.book.plan = 1, ""
        last, advice = self._view, self._said.feedback
        await self._begin(View(task=last.task, opening="", seed=last.seed, lane=last.lane, attempt=1, advice=advice))
        await self._steps()

    async def _scored(self) -> None:
        """Where the episode stood at its end, by the environment or by the judge."""
        if self.judge is None or self._stop not in SCORED:
            self._score = self._seen.score
            return
        book = self.book
        case = case_of(book.id, book.task, book.steps, self.reference, outcome=self._seen.score)
        book.verdict = await self._guard("judge", self.judge.judge(case, book.desk(judging=True)))
        self._score = book.verdict.score

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


class Chooses(Protocol):
    """A policy that chooses an episode's supervision at its first step."""

    async def choose(self, view: View, desk: Desk) -> LaneChoice: ...


def _chooser(policy: Policy) -> Chooses | None:
    """The policy that chooses the supervision: this one, or one that it is around."""
    found: Any = policy
    while found is not None and not hasattr(found, "choose"):
        found = getattr(found, "inner", None)
    chooser: Chooses | None = found
    return chooser


class _PartFailed(Exception):
    """Carries a failure from the boundary to where it is recorded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
