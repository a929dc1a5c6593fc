"""The book of an episode: the one place that knows what it is, what was done, what it used and how it ended."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from atlas.asking import Account, Desk, Desks
from atlas.budget import Budget, Meter
from atlas.errors import BudgetExceeded
from atlas.evaluators.outcome import success
from atlas.protocols import Model, Recorder
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
    Task,
    Verdict,
)

SCORED = (Stop.DONE, Stop.MAX_STEPS, Stop.BUDGET)
"""Stops whose score is the episode's: its own limits are part of its rules, and where it stood then is its result."""


class Unrecorded:
    """The recorder of episodes that nobody wants to keep."""

    def start(self, episode_id: str, arm: str, task: object, seed: int, config: str) -> None: ...

    def step(self, episode_id: str, step: Step) -> None: ...

    def end(self, episode: Episode) -> None: ...


class _Open(Account):
    """Charges ``account`` and goes on where that is spent."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self._account = account

    def charge(self, spend: Spend) -> None:
        self._account.charge(spend)

    def check(self, model: Model | None = None) -> None:
        with suppress(BudgetExceeded):
            self._account.check(model)


class Book(Account):
    """One episode, from its opening to its record. Whoever acts in it writes here; nobody else makes an Episode.

    task, arm, run, seed, config: what the episode is. The seed is that of all its attempts.
    recorder: is told as things happen.
    budget: of this episode; ``run_meter`` counts for the whole run.
    success_at: the score from which it counts as successful.
    retries: id of the episode that ended with an error and that this one plays again.
    desks: makes the desk of each decision.
    keeps_steps: whether ``steps`` holds them until the end. Each holds its prompt: of a thousand episodes at once that
        are a hundred megabytes, and millions of objects for the garbage collector to look through.
    """

    def __init__(
        self,
        task: Task,
        *,
        arm: str = "",
        run: str = "",
        seed: int = 0,
        config: str = "",
        recorder: Recorder | None = None,
        budget: Budget | None = None,
        run_meter: Meter | None = None,
        success_at: float = 1.0,
        retries: str = "",
        desks: Desks = Desk,
        keeps_steps: bool = True,
    ) -> None:
        super().__init__([*([Meter(budget)] if budget is not None else []), *([run_meter] if run_meter else [])])
        self.id = uuid.uuid4().hex[:12]
        self.task = task
        self.arm = arm
        self.run = run
        self.seed = seed
        self.config = config
        self.recorder: Recorder = recorder or Unrecorded()
        self.success_at = success_at
        self.retries = retries
        self.attempt = 0
        self.plan = ""
        self.lane = ""
        self.steps: list[Step] = []
        self.reviews: list[Review] = []
        self.verdict: Verdict | None = None
        self._desks = desks
        self._keeps_steps = keeps_steps
        self._count = self._teacher = self._asked = 0
        self._started = self._began = 0.0
        self._resumed: float | None = None
        self._bounded = budget is not None

    @property
    def count(self) -> int:
        """How many steps are known so far, kept or not."""
        return self._count

    def resume(
        self, id: str, steps: Sequence[Step], spend: Sequence[Spend], *, started: float, plan: str, lane: str | None
    ) -> None:
        """Before it is opened: go on with the episode of that id, which another process began. What it used there
        counts here, but for the run's meter, which knows of it. ``lane`` is None where nobody knows it."""
        self.id = id
        self._resumed = started
        self.plan = plan
        self.lane = self.lane if lane is None else lane
        self._count = len(steps)
        self._teacher = sum(step.decision.actor == TEACHER for step in steps)
        self._asked = sum(any(s.actor == TEACHER for s in step.spend) for step in steps)
        if self._keeps_steps:
            self.steps.extend(steps)
        for paid in spend:
            self.carry(paid, self.meters[:1] if self._bounded else ())

    def open(self) -> None:
        """The episode begins."""
        self._started, self._began = time.time(), time.perf_counter()
        if self._resumed is not None:
            # Its time includes that in which nobody served it: how long it was no process knows.
            self._began -= max(0.0, self._started - self._resumed)
            self._started = self._resumed
            return
        self.recorder.start(self.id, self.arm, self.task, self.seed, self.config)

    def state(self) -> dict[str, Any]:
        """The open episode as plain values, without its steps, which are recorded."""
        standing = self.standing()
        return {
            **standing,
            "id": self.id,
            "task": self.task.model_dump(mode="json"),
            "arm": self.arm,
            "seed": self.seed,
            "reviews": [review.model_dump(mode="json") for review in standing["reviews"]],
            "spend": [spend.model_dump(mode="json") for spend in standing["spend"]],
        }

    def standing(self) -> dict[str, Any]:
        """What of that changes with its steps, in records."""
        return {
            "plan": self.plan,
            "lane": self.lane,
            "reviews": self.reviews,
            "spend": self.spent,
            "count": self._count,
            "teacher": self._teacher,
            "asked": self._asked,
            "started": self._started,
        }

    def restore(self, state: Mapping[str, Any], stored: Sequence[Step] | None = None) -> None:
        """Be that open episode, which another process was at. What it used counts against its own budget, and was
        counted for the run's. ``stored`` are its recorded steps, where they may be more than the state knows of. A
        state that says ``until`` when it was worked on is of one that nobody goes on with."""
        self.id, self.plan, self.lane = state["id"], state["plan"], state["lane"]
        self.reviews = [Review.model_validate(review) for review in state["reviews"]]
        for paid in state["spend"]:
            self.carry(Spend.model_validate(paid), self.meters[:1] if self._bounded else ())
        self._count, self._teacher, self._asked = state["count"], state["teacher"], state["asked"]
        for step in (stored or ())[self._count :]:
            self._counted(step)
        self._started = state["started"]
        self._began = time.perf_counter() - max(0.0, state.get("until", time.time()) - self._started)

    def _counted(self, step: Step) -> None:
        self._count += 1
        self._teacher += step.decision.actor == TEACHER
        self._asked += any(spend.actor == TEACHER for spend in step.spend)

    def desk(self, *, judging: bool = False) -> Desk:
        """A desk for one decision, on this book's account. ``judging`` is paid like all else, but a spent budget does
        not leave an episode without its score."""
        return self._desks(_Open(self) if judging else self)

    def decided(self, decision: Decision) -> None:
        """What was decided holds for the steps to come, also where this one comes to nothing."""
        if decision.plan is not None:
            self.plan = decision.plan
        if decision.lane is not None:
            self.lane = decision.lane.lane
        self.reviews.extend(decision.reviews)

    def step(
        self, seen: Observation, decision: Decision, outcome: Observation, spend: Sequence[Spend], seconds: float
    ) -> None:
        """A step whose outcome is known."""
        step = Step(
            index=self._count,
            attempt=self.attempt,
            observation=seen.text,
            admissible=len(seen.admissible),
            decision=decision,
            outcome=outcome,
            spend=tuple(spend),
            seconds=seconds,
        )
        self._counted(step)
        if self._keeps_steps:
            self.steps.append(step)
        self.recorder.step(self.id, step)

    def close(self, stop: Stop, score: float | None, failure: Failure | None = None) -> Episode:
        """The episode's record. ``score`` is where it stood; it is the episode's only where it ended by its rules."""
        score = score if stop in SCORED else None
        episode = Episode(
            id=self.id,
            run=self.run,
            arm=self.arm,
            task=self.task,
            seed=self.seed,
            config=self.config,
            stop=stop,
            score=score,
            success=success(score, at_least=self.success_at),
            steps=self._count,
            teacher_steps=self._teacher,
            spend=self.spent,
            seconds=time.perf_counter() - self._began,
            started=self._started,
            plan=self.plan,
            lane=self.lane,
            asked_steps=self._asked,
            reviews=tuple(self.reviews),
            verdict=self.verdict,
            failure=failure,
            retries=self.retries,
        )
        self.recorder.end(episode)
        return episode
