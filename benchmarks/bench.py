"""Running an experiment: collect demonstrations, play every arm over the same tasks, resume where it was killed.

All of it is in the run's trace; nothing else is kept but the memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.benchmarks.arms import GROWING, ROUTED, ROUTES, Cast, build, needs_demos, split_name
from atlas.benchmarks.growing import Growing, Learner
from atlas.benchmarks.guided_arms import GUIDED_ARMS, ON_TRIAL
from atlas.benchmarks.library import Library
from atlas.benchmarks.suite import Suite, TaskRef, distiller_of
from atlas.budget import Budget, Meter
from atlas.distil import distil_run
from atlas.errors import ConfigError, DataError
from atlas.memory import DemonstrationStore, load_embedder
from atlas.memory.evidence import EvidenceTable, trials_of
from atlas.memory.pamphlets import PamphletStore
from atlas.policies import Solo
from atlas.policies.guided import FAIR
from atlas.protocols import Embedder, Policy, Reviewer
from atlas.records import TEACHER, Episode, Step, Stop, Usage, counted, total
from atlas.runner import Job, Key, failed, play, remaining, retrying, settled
from atlas.traces import Run, RunWriter
from atlas.traces.account import COLLECT, arm_rows
from atlas.trust import UNANIMITY

MEMORY = "memory.sqlite"
Seen = Callable[[str, Sequence[Episode]], None]
"""Called with what is being done and all results so far."""


@dataclass(frozen=True)
class Plan:
    """What an experiment is: all that determines its results."""

    split: str
    arms: tuple[str, ...]
    n: int | None = None
    demos: int = 0
    seeds: tuple[int, ...] = (0,)
    tasks_seed: int = 0
    """Which homes are generated, which train games are demonstrated."""
    share: float | None = None
    """The teacher's share under random routing; None takes the cascade's."""
    embedder: str = "minilm"
    window: int = 5
    memory: str | None = None
    """A memory to use instead of one in the run's folder."""
    max_steps: int | None = None


@dataclass
class Bench:
    """One run of ``plan`` on ``suite`` by ``cast``, in ``folder``."""

    suite: Suite
    cast: Cast
    plan: Plan
    folder: Path
    concurrency: int = 8
    budget: Budget = field(default_factory=Budget)
    """Per episode."""
    run_budget: Budget = field(default_factory=Budget)
    about: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    """Put before the names of the arms (``group/arm``), where several casts play in one run."""
    until: float | None = None
    """Time (``time.monotonic``) after which no further episode starts; those under way are finished."""
    cut: float | None = None
    """Time after which those under way are cancelled as well; a resumed run plays them again."""
    seen: Seen = lambda doing, episodes: None
    retry_errors: bool = True
    """Whether a resumed run plays again what ended with an error, which is an outage more often than not."""
    unplayed: int = field(default=0, init=False)
    """Episodes of the arms that :meth:`run` left to be played, because the budget or the time was spent."""

    def settings(self) -> dict[str, Any]:
        """What is hashed into the run: results are comparable within it, and only the same run is resumed."""
        cast, plan = self.cast, self.plan
        return {
            "benchmark": self.suite.name,
            "split": plan.split,
            "arms": list(plan.arms),
            "n": plan.n,
            "demos": plan.demos,
            "seeds": list(plan.seeds),
            "tasks_seed": plan.tasks_seed,
            "share": plan.share,
            "embedder": plan.embedder,
            "window": plan.window,
            "memory": plan.memory,
            "max_steps": self.max_steps,
            "student": _who(cast.student.name, cast.student.price),
            "teacher": _who(cast.teacher.name, cast.teacher.price),
            "k": cast.k,
            "samples": cast.samples,
            "temperature": cast.temperature,
            "max_tokens": cast.max_tokens,
            "plan": cast.plan,
            **({"audit": cast.audit} if cast.audit else {}),
            **({"trust": cast.trust.name} if cast.trust != UNANIMITY else {}),
            **({"judge": cast.judge.name} if cast.judge is not None else {}),
            "lanes": cast.rules.model_dump(mode="json", exclude_defaults=True),
            **({"trials": cast.trials} if cast.trials else {}),
            **({"guidance_tokens": cast.guidance_tokens} if self._guided else {}),
        }

    @property
    def _guided(self) -> bool:
        return any(split_name(arm)[0] in GUIDED_ARMS for arm in self.plan.arms)

    @property
    def max_steps(self) -> int:
        return self.plan.max_steps or self.suite.max_steps

    async def run(self) -> list[Episode]:
        """Play everything that has not been played, and return all results of the run."""
        with RunWriter(self.folder, self.settings(), self.about) as writer:
            return await self.play_into(writer)

    async def play_into(self, writer: RunWriter) -> list[Episode]:
        """:meth:`run` into a run that is already open."""
        for arm in self.plan.arms:
            split_name(arm)
        self._check_budgets()
        tasks = self.suite.tasks(self.plan.split, self.plan.n, self.plan.tasks_seed)
        if not tasks:
            raise ConfigError(f"the split {self.plan.split!r} with n = {self.plan.n} has no tasks")
        self._before = Run(self.folder).episodes()
        self._episodes = Run(self.folder).results()
        self._meter = Meter(self.run_budget, what="run")
        self._meter.used = total(s for e in self._before for s in e.spend)
        embedder = load_embedder(self.plan.embedder)
        with DemonstrationStore(
            self.plan.memory or self.folder / MEMORY, embedder=embedder, window=self.plan.window
        ) as memory:
            if memory.database.frozen() and (self.plan.demos or self.cast.trials):
                raise ConfigError(
                    f"the memory {memory.path} is frozen, and new demonstrations and trials would be written to it: "
                    f"give --demos 0 and no --trials, or 'atlas memory freeze {memory.path} --off' first"
                )
            if any(needs_demos(arm) for arm in self.plan.arms):
                await self._collect(writer, memory)
            library = await self._distil(memory, embedder) if self._guided and not self._meter.spent else None
            # Random routing needs the cascade's share, so it comes last, whatever its place in the list.
            for arm in sorted(self.plan.arms, key=lambda a: split_name(a)[0] in ROUTES):
                # What is left of a run whose budget is spent lacks what it is built on: demonstrations, a share.
                if not self._meter.spent:
                    await self._arm(arm, tasks, writer, memory, library)
        keys = {(self._name(arm), ref.id, seed) for arm in self.plan.arms for ref in tasks for seed in self.plan.seeds}
        self.unplayed = len(keys - settled(self._episodes))
        self._complain_if_nothing_worked()
        return self._episodes

    async def _collect(self, writer: RunWriter, memory: DemonstrationStore) -> None:
        if self.plan.demos:
            teacher = Solo(self.cast.teacher, actor=TEACHER, max_tokens=self.cast.max_tokens)
            refs = self.suite.demo_tasks(self.plan.split, self.plan.demos, self.plan.tasks_seed)
            jobs = [Job(COLLECT, ref.id, teacher, ref.environment) for ref in refs]
            # One at a time: a learning curve takes the first N, so their order has to be the same in every run.
            await self._play(f"the teacher demonstrates {len(jobs)} tasks", jobs, writer, 1, Learner(memory))
        if self._meter.spent:
            return
        if not len(memory):
            raise ConfigError("there are no demonstrations to recall: give --demos N to collect some, or --memory FILE")
        doing = f"reading {len(memory)} demonstrations"
        self.seen(doing, self._episodes)
        memory.warm(lambda done, of: self.seen(f"{doing}: {done:,} of {of:,} texts", self._episodes))

    async def _distil(self, memory: DemonstrationStore, embedder: Embedder) -> Library:
        """The entries that the demonstrations teach by rule, in the same memory; the lessons lie beside the trace."""
        run = Run(self.folder)
        collected = [e for e in run.episodes() if e.arm == COLLECT and e.result is not None and e.result.success]
        pamphlets = PamphletStore(memory.database, embedder)
        doing = f"distilling {len(collected)} demonstrations"

        def seen(done: int, of: int) -> None:
            self.seen(f"{doing}: {done:,} of {of:,}", self._episodes)

        lessons = await distil_run(run, distiller_of(self.suite), collected, pamphlets, seen=seen)
        if not len(pamphlets):
            raise ConfigError("there are no pamphlets to read: give --demos N to collect and distil some, or --memory")
        return Library(memory, pamphlets, lessons, embedder)

    async def _arm(
        self,
        arm: str,
        tasks: Sequence[TaskRef],
        writer: RunWriter,
        memory: DemonstrationStore,
        library: Library | None,
    ) -> None:
        if split_name(arm)[0] in GROWING:
            await self._growing(arm, tasks, writer)
            return
        jobs = []
        for seed in self.plan.seeds:
            policy = build(arm, self.cast, memory, share=self._share(arm), seed=seed, library=library)
            jobs += self._jobs(arm, policy, tasks, seed)
        await self._play(f"{self._name(arm)}: {len(jobs)} episodes", jobs, writer, self.concurrency)
        if arm in ON_TRIAL and self.cast.trials:
            self._record_trials(arm, memory)

    def _record_trials(self, arm: str, memory: DemonstrationStore) -> None:
        """What the coins of the arm's episodes say of the entries, also of those that were played before a kill."""
        table = EvidenceTable(memory.database)
        for stored in Run(self.folder).episodes():
            if stored.arm == self._name(arm) and stored.result is not None and not stored.retried:
                table.add(trials_of(stored.result, stored.steps, p=FAIR))

    async def _growing(self, arm: str, tasks: Sequence[TaskRef], writer: RunWriter) -> None:
        """In order and one at a time: what the memory holds is what the tasks before have taught."""
        for seed in self.plan.seeds:
            path = self.folder / f"{arm}-{seed}.sqlite"
            with Growing(arm, self.cast, path, embedder=self.plan.embedder, window=self.plan.window) as growing:
                jobs = self._jobs(arm, growing.policy, tasks, seed, growing.reviewer)
                await self._play(f"{arm}, seed {seed}", jobs, writer, 1, growing)

    def _jobs(
        self, arm: str, policy: Policy, tasks: Iterable[TaskRef], seed: int, reviewer: Reviewer | None = None
    ) -> list[Job]:
        return [Job(self._name(arm), ref.id, policy, ref.environment, seed, reviewer) for ref in tasks]

    def _name(self, arm: str) -> str:
        return f"{self.group}/{arm}" if self.group else arm

    def _in_time(self, jobs: Iterable[Job]) -> Iterator[Job]:
        for job in jobs:
            if self.until is not None and time.monotonic() > self.until:
                return
            yield job

    async def _play(
        self,
        doing: str,
        jobs: Sequence[Job],
        writer: RunWriter,
        concurrency: int,
        learns: Learner | None = None,
    ) -> None:
        def done(episode: Episode, steps: Sequence[Step]) -> None:
            if learns is not None:
                learns.learn(episode, steps)
            self._episodes.append(episode)
            if episode.retries:
                self._episodes = counted(self._episodes)
            self.seen(doing, self._episodes)

        left = remaining(jobs, self._episodes, self._again(jobs, in_order=learns is not None))
        doing += retrying(left)
        self.seen(doing, self._episodes)
        if learns is not None:
            self._catch_up(jobs, learns)
        limit = None if self.cut is None else max(0.0, self.cut - time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await play(
                    self._in_time(left),
                    recorder=writer,
                    run=self.folder.name,
                    concurrency=concurrency,
                    max_steps=self.max_steps,
                    budget=self.budget,
                    meter=self._meter,
                    done=done,
                )

    def _again(self, jobs: Sequence[Job], *, in_order: bool) -> dict[Key, str]:
        """The episodes of ``jobs`` that ended with an error and are played again.

        Where a memory learns from them in order it is those after the last other result only, and demonstrations only
        as long as no arm has been played on them: what the memory held for a task stays what it held.
        """
        errors = failed(self._episodes) if self.retry_errors else {}
        if not in_order or not errors:
            return errors
        if any(job.arm == COLLECT for job in jobs) and any(e.arm != COLLECT for e in self._episodes):
            return {}
        over = settled(self._episodes) - errors.keys()
        last = max((i for i, job in enumerate(jobs) if job.key in over), default=-1)
        return {job.key: errors[job.key] for job in jobs[last + 1 :] if job.key in errors}

    def _catch_up(self, jobs: Iterable[Job], learner: Learner) -> None:
        """Learn from what is in the trace but not in the memory: a kill may come between the two."""
        keys = {job.key for job in jobs}
        learned = learner.learned()
        for stored in self._before:
            if (
                stored.result is not None
                and (stored.arm, stored.task.id, stored.seed) in keys
                and stored.id not in learned
            ):
                learner.learn(stored.result, stored.steps)

    def _share(self, arm: str) -> float | None:
        """The share of teacher steps for random routing: as stated, or what the cascade had on these tasks."""
        if split_name(arm)[0] not in ROUTES or self.plan.share is not None:
            return self.plan.share
        rows = {row.arm: row for row in arm_rows(self._episodes)}
        cascade = rows.get(self._name(arm.replace(ROUTED, "cascade")))
        return cascade.teacher_share if cascade else None

    def _check_budgets(self) -> None:
        unpriced = [m.name for m in (self.cast.student, self.cast.teacher) if m.price is None]
        in_dollars = self.budget.dollars is not None or self.run_budget.dollars is not None
        if in_dollars and unpriced:
            raise ConfigError(
                f"a budget in dollars needs prices, and {' and '.join(unpriced)} has none: state one with "
                "--student-price or --teacher-price, or use a budget in tokens"
            )

    def _complain_if_nothing_worked(self) -> None:
        played = [e for e in self._episodes if e.arm != COLLECT] or self._episodes
        failed = [e for e in played if e.stop is Stop.ERROR]
        if failed and len(failed) == len(played):
            first = failed[0].failure
            why = f"{first.kind}: {first.message}" if first else "for an unknown reason"
            raise DataError(f"all {len(failed)} episodes failed, the first with {why}; they are kept in {self.folder}")


def spent(episodes: Iterable[Episode]) -> Usage:
    """What all episodes together used."""
    return sum((total(e.spend) for e in episodes), Usage())


def _who(name: str, price: Any) -> dict[str, Any]:
    return {"model": name, "price": price.model_dump() if price is not None else None}
