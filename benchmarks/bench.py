"""Running an experiment: collect demonstrations, play every arm over the same tasks, resume where it was killed.

All of it is in the run's trace; nothing else is kept but the memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from atlas.asking import Desk, Desks
from atlas.benchmarks.arm import Cast, Played, Stage
from atlas.benchmarks.arms import all_played, build
from atlas.benchmarks.fanned import Fanned, Makes, check_fanned, fanned
from atlas.benchmarks.frozen import check_given, check_unfrozen
from atlas.benchmarks.growing import After, Growing, Learner, begin
from atlas.benchmarks.heard import unless_cancelled
from atlas.benchmarks.library import Library, distilled
from atlas.benchmarks.options import BenchOptions
from atlas.benchmarks.sending import check_sending, sending
from atlas.benchmarks.sharing import WAIT, Shared
from atlas.benchmarks.suite import Suite, TaskRef, answers_once, distiller_of, judge_of, success_at
from atlas.budget import Meter
from atlas.errors import ConfigError, DataError
from atlas.evaluators.verdict import Judge
from atlas.memory import Memory
from atlas.memory.evidence import trials_of
from atlas.policies import Planned, Solo
from atlas.protocols import Policy, Reviewer
from atlas.records import TEACHER, Episode, Stop, Usage, total
from atlas.runner import Away, Job, Key, Plays, failed, play, remaining, retrying, settled, straight
from atlas.traces import Run, RunWriter
from atlas.traces.account import COLLECT, arm_rows
from atlas.traces.place import Place, place_of
from atlas.traces.roles import Role, written
from atlas.trust import UNANIMITY

log = logging.getLogger("atlas.benchmarks")


WAITING = "waiting for episodes that another process plays"
Seen = Callable[[str, Sequence[Episode]], None]
"""Called with what is being done and all results so far."""


@dataclass
class Bench:
    """One run of ``suite`` by ``cast``, as ``options`` say, in ``folder``."""

    suite: Suite
    cast: Cast
    options: BenchOptions
    folder: Path | str
    """Where the run is: a folder, or the URL of a run on a server."""
    about: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    """Put before the names of the arms (``group/arm``), where several casts play in one run."""
    until: float | None = None
    """Time (``time.monotonic``) after which no further episode starts; those under way are finished."""
    cut: float | None = None
    """Time after which those under way are cancelled as well; a resumed run plays them again."""
    seen: Seen = lambda doing, episodes: None
    makes: Makes | None = None
    """How workers make the suite and the cast again, where these themselves cannot be sent there."""
    planned: dict[str, int] = field(default_factory=dict, init=False)
    """How many episodes each arm has when all is played, by its name in the trace; empty until that is known."""
    unplayed: int = field(default=0, init=False)
    """Episodes of the arms that :meth:`run` left to be played, because the budget or the time was spent."""

    @cached_property
    def place(self) -> Place:
        """The same, for all that this process does with it."""
        return place_of(self.folder)

    def settings(self) -> dict[str, Any]:
        """What is hashed into the run: results are comparable within it, and only the same run is resumed."""
        cast = self.cast
        return {
            **self.options.settings(guided=self._guided),
            "benchmark": self.suite.name,
            "max_steps": self.max_steps,
            "student": _who(cast.student.name, cast.student.price),
            "teacher": _who(cast.teacher.name, cast.teacher.price),
            **({"trust": cast.trust.name} if cast.trust != UNANIMITY else {}),
            **({"judge": cast.critic.name} if cast.critic is not None else {}),
        }

    @property
    def arms(self) -> tuple[Played, ...]:
        return all_played(self.options.arms)

    @property
    def roles(self) -> dict[str, Role]:
        """What the arms are to each other, by their names in the trace: written beside the settings."""
        return {self._name(arm): arm.role(self.group) for arm in self.arms}

    @property
    def _guided(self) -> bool:
        return any(arm.arm.pamphlets for arm in self.arms)

    @property
    def _taught(self) -> bool:
        """Whether an arm needs demonstrations before it begins."""
        begins = self.options.from_memory
        return any(arm.arm.demos or (begins and arm.arm.grows) for arm in self.arms)

    @property
    def _distilled_first(self) -> bool:
        """Whether an arm that distils begins with what demonstrations were distilled to."""
        begins = self.options.from_memory and "pamphlets" not in self.options.without
        return begins and any(arm.arm.distils for arm in self.arms)

    @property
    def max_steps(self) -> int:
        return self.options.max_steps or self.suite.max_steps

    async def run(self) -> list[Episode]:
        """Play everything that has not been played, and return all results of the run."""
        self._check()  # before there is a folder
        with RunWriter(self.place, self.settings(), {**self.about, **written(self.roles)}) as writer:
            return await self.play_into(writer)

    async def play_into(self, writer: RunWriter) -> list[Episode]:
        """:meth:`run` into a run that is already open."""
        with sending(self.options, writer) as self._recorder:
            return await self._play_all(writer)

    async def _play_all(self, writer: RunWriter) -> list[Episode]:
        options, arms = self.options, self.arms
        self._check()
        tasks = self.suite.tasks(options.split, options.n, options.tasks_seed)
        if not tasks:
            raise ConfigError(f"the split {options.split!r} with n = {options.n} has no tasks")
        self.planned = {self._name(arm): len(tasks) * len(options.seeds) for arm in arms}
        if self._taught and options.demos:
            self.planned = {COLLECT: options.demos, **self.planned}
        prices = {model.name: model.price for model in (self.cast.student, self.cast.teacher)}
        with (
            Shared(self.place, prices) as self._shared,
            Memory(
                options.memory or self.place.memory("memory"),
                options.embedder,
                index=options.index,
                window=options.around,
            ) as memory,
        ):
            # The run's, whoever spends it.
            self._meter = Meter(options.run_budget, what="run", past=self._shared.past, ledger=self._shared.claims)
            check_unfrozen(memory.database, options)
            async with fanned(self, writer, self._meter) as workers:
                if self._taught:
                    self._check_counts(options.demos + (len(memory.demonstrations) if options.memory else 0))
                    await self._collect(writer, memory)
                library = None
                if (self._guided or self._distilled_first) and not self._meter.spent:
                    async with self._shared.alone("distil"):
                        library = await self._distil(memory)
                stage = Stage(self.cast, options, memory, library)
                # Random routing needs the cascade's share, so it comes last, whatever its place in the list.
                for arm in sorted(arms, key=lambda arm: arm.arm.routes):
                    # What is left of a run whose budget is spent lacks what it is built on: demonstrations, a share.
                    if not self._meter.spent:
                        await self._arm(arm, tasks, writer, stage, workers)
        keys = {(self._name(arm), ref.id, seed) for arm in arms for ref in tasks for seed in options.seeds}
        self.unplayed = len(keys - settled(self._episodes))
        self._complain_if_nothing_worked()
        return self._episodes

    @property
    def _episodes(self) -> list[Episode]:
        """The results of the run so far, whichever process played them."""
        return self._shared.episodes

    @cached_property
    def _judge(self) -> Judge | None:
        return judge_of(self.suite)

    async def _collect(self, writer: RunWriter, memory: Memory) -> None:
        options, demos = self.options, memory.demonstrations
        if options.demos:
            teacher: Policy = Solo(self.cast.teacher, actor=TEACHER, max_tokens=options.max_tokens)
            if options.plan:
                teacher = Planned(teacher, self.cast.teacher)
            refs = self.suite.demo_tasks(options.split, options.demos, options.tasks_seed)
            jobs = [self._job(COLLECT, teacher, ref) for ref in refs]
            # One at a time: a learning curve takes the first N, so their order has to be the same in every run.
            await self._play(f"the teacher demonstrates {len(jobs)} tasks", jobs, writer, 1, Learner(demos))
        if self._meter.spent or any(end is not None and time.monotonic() >= end for end in (self.until, self.cut)):
            return
        if not len(demos):
            raise ConfigError("there are no demonstrations to recall: give --demos N to collect some, or --memory FILE")
        for arm in self.arms:
            if arm.count is not None and arm.count > len(demos):
                said = "%s shows %d demonstrations: the others were not won, or known before"
                log.warning(said, arm.name, len(demos))
        doing = f"reading {len(demos)} demonstrations"
        self.seen(doing, self._episodes)
        told = unless_cancelled(lambda done, of: self.seen(f"{doing}: {done:,} of {of:,} texts", self._episodes))
        demos.warm(told)

    async def _distil(self, memory: Memory) -> Library:
        """What the demonstrations teach by the rules of the suite, in the same memory."""
        found = await distilled(
            Run(self.place), distiller_of(self.suite), memory, lambda doing: self.seen(doing, self._episodes)
        )
        if not len(memory.entries) and self._guided:
            raise ConfigError("there are no pamphlets to read: give --demos N to collect and distil some, or --memory")
        return found

    async def _arm(
        self, arm: Played, tasks: Sequence[TaskRef], writer: RunWriter, stage: Stage, workers: Fanned | None
    ) -> None:
        if arm.arm.grows:
            await self._growing(arm, tasks, writer, stage)
            return
        if arm.arm.routes and self.options.share is None:
            # At the share of a part of its cascade a control would be another's, also once the rest is played again.
            for other in self.arms:
                if other.name == arm.control_of and any(key[0] == self._name(other) for key in failed(self._episodes)):
                    await self._arm(other, tasks, writer, stage, workers)
        jobs, share = [], self._share(arm)
        away = workers.away(arm, replace(stage, share=share)) if workers is not None else None
        for seed in self.options.seeds:
            policy = build(arm, replace(stage, share=share, seed=seed))
            jobs += self.jobs(arm, policy, tasks, seed)
        await self._play(f"{self._name(arm)}: {len(jobs)} episodes", jobs, writer, self.options.concurrency, away=away)
        if arm.arm.evidence and not arm.suffix and self.options.trials and stage.memory is not None:
            self._record_trials(arm, stage.memory)

    def _record_trials(self, arm: Played, memory: Memory) -> None:
        """What the coins of the arm's episodes say of the entries, also of those that were played before a kill."""
        for stored in Run(self.place).episodes():
            if stored.arm == self._name(arm) and stored.result is not None and not stored.retried:
                memory.trials.add(trials_of(stored.result, stored.steps))

    async def _growing(self, arm: Played, tasks: Sequence[TaskRef], writer: RunWriter, stage: Stage) -> None:
        """In order and one at a time: what the memory holds is what the tasks before have taught."""
        for seed in self.options.seeds:
            path = self.place.memory(f"{arm.name}-{seed}")
            if self.options.from_memory and stage.memory is not None:
                async with self._shared.alone(f"begins: {arm.name}, seed {seed}"):
                    begin(stage.memory, path)
            with Growing(arm, replace(stage, seed=seed), path, self._after(arm)) as growing:
                jobs = self.jobs(arm, growing.policy, tasks, seed, growing.reviewer)
                await self._play(f"{arm.name}, seed {seed}", jobs, writer, 1, growing)

    def _after(self, arm: Played) -> After | None:
        """What follows each episode of an arm that distils."""
        if not arm.arm.distils:
            return None
        without, cast = self.options.without, self.cast
        return After(
            self._recorder,
            self.place,
            self._meter,
            distiller=None if "pamphlets" in without else cast.distiller or distiller_of(self.suite),
            judge=None if "judge" in without else cast.judge,
        )

    def jobs(
        self, arm: Played, policy: Policy, tasks: Iterable[TaskRef], seed: int, reviewer: Reviewer | None = None
    ) -> list[Job]:
        """The episodes of an arm and a seed."""
        jobs = [self._job(self._name(arm), policy, ref, seed, reviewer) for ref in tasks]
        replays, most = arm.arm.replays, arm.arm.tiers * (self.max_steps + 1)
        if replays is None:
            return jobs
        return [replace(job, environment=partial(replays, job.environment), max_steps=most) for job in jobs]

    def _job(self, arm: str, policy: Policy, ref: TaskRef, seed: int = 0, reviewer: Reviewer | None = None) -> Job:
        return Job(
            arm,
            ref.id,
            policy,
            ref.environment,
            seed,
            reviewer,
            judge=self._judge,
            reference=ref.reference,
            success_at=success_at(self.suite),
        )

    def _name(self, arm: Played) -> str:
        return f"{self.group}/{arm.name}" if self.group else arm.name

    def _in_time(self, jobs: Iterable[Job]) -> Iterator[Job]:
        for job in jobs:
            if self._late:
                return
            yield job

    @property
    def _late(self) -> bool:
        return self.until is not None and time.monotonic() > self.until

    async def _play(
        self,
        doing: str,
        jobs: Sequence[Job],
        writer: RunWriter,
        concurrency: int,
        learns: Learner | None = None,
        away: Away | None = None,
    ) -> None:
        def done(episode: Episode) -> None:
            self._shared.add([episode])
            self.seen(doing, self._episodes)

        shared = self._shared
        limit = None if self.cut is None else max(0.0, self.cut - time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(limit), AsyncExitStack() as whole:
                if learns is not None:
                    # In order: what is learned from one is there for the next, also where another process played it.
                    name = f"in order: {jobs[0].arm}, seed {jobs[0].seed}" if jobs else ""
                    await whole.enter_async_context(shared.alone(name, lambda: self.seen(WAITING, self._episodes)))
                    await self._catch_up(jobs, learns)
                left = remaining(jobs, self._episodes, self._again(jobs, in_order=learns is not None))
                doing += retrying(left)
                self.seen(doing, self._episodes)
                plays, desks = self._by(jobs, learns)
                while left:
                    await play(
                        self._in_time(left),
                        recorder=self._recorder,
                        run=self.place.name,
                        concurrency=concurrency,
                        max_steps=self.max_steps,
                        budget=self.options.budget,
                        meter=self._meter,
                        done=done,
                        learns=learns.learn if learns is not None else None,
                        shares=shared,
                        plays=plays,
                        desks=desks,
                        away=away,
                    )
                    shared.look()
                    left = shared.left(left)
                    if not left or self._meter.spent or self._late:
                        break
                    self.seen(WAITING, self._episodes)
                    await asyncio.sleep(WAIT)

    def _by(self, jobs: Sequence[Job], learns: Learner | None) -> tuple[Plays, Desks]:
        """How episodes are played, and at what desks models are asked."""
        if not self.options.graph or not jobs:
            return straight, Desk
        from atlas.benchmarks.graphed import by_graph, journal_of

        return by_graph(learns), journal_of(self.place, jobs[0].arm).phase()

    def _again(self, jobs: Sequence[Job], *, in_order: bool) -> dict[Key, str]:
        """The episodes of ``jobs`` that ended with an error and are played again.

        Where a memory learns from them in order it is those after the last other result only, and demonstrations only
        as long as no arm has been played on them: what the memory held for a task stays what it held.
        """
        errors = failed(self._episodes) if self.options.retry_errors else {}
        if not in_order or not errors:
            return errors
        if any(job.arm == COLLECT for job in jobs) and any(e.arm != COLLECT for e in self._episodes):
            return {}
        over = settled(self._episodes) - errors.keys()
        last = max((i for i, job in enumerate(jobs) if job.key in over), default=-1)
        return {job.key: errors[job.key] for job in jobs[last + 1 :] if job.key in errors}

    async def _catch_up(self, jobs: Iterable[Job], learner: Learner) -> None:
        """Learn from what is in the trace but not in the memory: a kill may come between the two."""
        for stored in self._shared.stored({job.key for job in jobs}, learner.learned()):
            if stored.result is not None:
                learning = learner.learn(stored.result, stored.steps)
                if learning is not None:
                    await learning

    def _share(self, arm: Played) -> float | None:
        """The share of teacher steps for random routing: as stated, or what the cascade had on these tasks."""
        if not arm.arm.routes or self.options.share is not None:
            return self.options.share
        rows = {row.arm: row for row in arm_rows(self._episodes)}
        cascade = rows.get(arm.role(self.group).control_of)
        return cascade.teacher_share if cascade else None

    def _check(self) -> None:
        """Raise ConfigError for what cannot be played to its end, before any of it is paid."""
        self.options.check_parts()
        self._check_budgets()
        check_sending(self.options)
        check_fanned(self.options)
        check_given(self.options)
        if self.options.graph:
            from atlas.graph import loop_graph

            loop_graph()  # where LangGraph is not installed it is said here, before anything is paid
        if self.options.memory is None:
            self._check_counts(self.options.demos)
        names = {arm.name for arm in self.arms}
        for arm in self.arms:
            if arm.arm.tiers and not answers_once(self.suite):
                raise ConfigError(
                    f"the tasks of {self.suite.name} do not end with an answer that could be held back, so the arm "
                    f"{arm.name} cannot choose one: take a cascade"
                )
            if arm.arm.routes and self.options.share is None and arm.control_of not in names:
                cascade = arm.control_of or "cascade"
                raise ConfigError(f"{arm.name} needs the cascade's share: add the arm {cascade!r}, or give --share")

    def _check_counts(self, most: int) -> None:
        """Raise ConfigError for a point of a learning curve beyond the demonstrations that there can be."""
        for arm in self.arms:
            if arm.count is not None and arm.count > most:
                raise ConfigError(
                    f"{arm.name} shows {arm.count} demonstrations, and there are {most} at the most: give --demos "
                    f"{arm.count}, or name {arm.arm.name}@{most}"
                )

    def _check_budgets(self) -> None:
        unpriced = [m.name for m in (self.cast.student, self.cast.teacher) if m.price is None]
        in_dollars = self.options.episode_dollars is not None or self.options.budget_dollars is not None
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
            raise DataError(
                f"all {len(failed)} episodes failed, the first with {why}; they are kept in {self.place.path}"
            )


def spent(episodes: Iterable[Episode]) -> Usage:
    """What all episodes together used."""
    return sum((total(e.spend) for e in episodes), Usage())


def _who(name: str, price: Any) -> dict[str, Any]:
    return {"model": name, "price": price.setting() if price is not None else None}
