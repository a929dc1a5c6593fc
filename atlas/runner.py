"""Many episodes at once, in one process: siblings go on whatever happens to one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from atlas.asking import Desk, Desks
from atlas.budget import Budget, Meter
from atlas.errors import AtlasError, ConfigError
from atlas.evaluators.verdict import Judge, Reference
from atlas.given import check_arm, shown, whole
from atlas.loop import Rollout
from atlas.protocols import Environment, Policy, Recorder, Reviewer
from atlas.records import INTERRUPTED, Episode, Step, Stop, counted

Key = tuple[str, str, int]
"""(arm, task id, seed): what makes an episode of a run the same on resume."""


Learns = Callable[[Episode, Sequence[Step]], Awaitable[Episode] | object]
"""What learns from an episode and its steps, at once, or while it is awaited: then it gives the episode as it is told
from there on, with what learning used."""


@dataclass(frozen=True)
class Job:
    """One episode to play. ``environment`` is built when its turn comes: environments are single-use."""

    arm: str
    task_id: str
    policy: Policy
    environment: Callable[[], Environment]
    seed: int = 0
    reviewer: Reviewer | None = None
    judge: Judge | None = None
    """Whose verdict is the episode's score, in place of the environment's."""
    reference: Reference | None = None
    """What the judge may know of the solution."""
    success_at: float = 1.0
    """The score from which the episode counts as successful."""
    retries: str = ""
    """Id of the episode that ended with an error and that this job plays again."""
    max_steps: int | None = None
    """Where it is not that of the other jobs."""

    def __post_init__(self) -> None:
        if self.arm != "":
            check_arm("the arm of a job", self.arm)

    @property
    def key(self) -> Key:
        return (self.arm, self.task_id, self.seed)


Plays = Callable[[Rollout, Learns | None], Awaitable[Episode]]
"""How an episode is played, and learned from where somebody learns: gives the episode as it is told from there on."""


Away = Callable[[Job], Awaitable[Episode | None]]
"""Has an episode played by another process, and gives what it came to; None where the run's budget was spent first."""


async def straight(rollout: Rollout, learns: Learns | None) -> Episode:
    """One phase after the other."""
    episode = await rollout.play()
    if learns is not None and inspect.isawaitable(learning := learns(episode, rollout.steps)):
        episode = await learning
    return episode


class Shares(Protocol):
    """Says which jobs are this process's to play, where several play a run."""

    def take(self, job: Job) -> bool:
        """Whether to play ``job``: nobody else has, or is at it. It is this process's until it gives it back."""

    def give_back(self, job: Job) -> None:
        """``job`` is over, or broken off."""


def settled(episodes: Iterable[Episode]) -> set[Key]:
    """The keys that need not be played again: all that ended for a reason of their own."""
    return {(e.arm, e.task.id, e.seed) for e in episodes if e.stop not in INTERRUPTED}


def failed(episodes: Iterable[Episode]) -> dict[Key, str]:
    """The keys whose result is an error, and the id of the episode that it is. An error is an outage more often than
    not, so a resumed run plays them again."""
    results = counted(episodes)
    over = settled(e for e in results if e.stop is not Stop.ERROR)
    errors = {(e.arm, e.task.id, e.seed): e.id for e in results if e.stop is Stop.ERROR}
    return {key: found for key, found in errors.items() if key not in over}


def remaining(jobs: Iterable[Job], episodes: Iterable[Episode], again: Mapping[Key, str] | None = None) -> list[Job]:
    """The ``jobs`` of a run with the results ``episodes`` that are still to be played, and those of the keys ``again``,
    which are given with the id of the episode that they retry: see :func:`failed`."""
    again = again or {}
    over = settled(episodes)
    return [
        replace(job, retries=again[job.key]) if job.key in again else job
        for job in jobs
        if job.key in again or job.key not in over
    ]


def retrying(jobs: Iterable[Job]) -> str:
    """How many of ``jobs`` are played again, for the line that says what is being done; nothing where none is."""
    again = sum(bool(job.retries) for job in jobs)
    return f" ({again} again after an error)" if again else ""


async def play(
    jobs: Iterable[Job],
    *,
    recorder: Recorder | None = None,
    run: str = "",
    concurrency: int = 8,
    max_steps: int = 50,
    budget: Budget | None = None,
    meter: Meter | None = None,
    done: Callable[[Episode], None] | None = None,
    learns: Learns | None = None,
    desks: Desks = Desk,
    shares: Shares | None = None,
    plays: Plays = straight,
    away: Away | None = None,
) -> list[Episode]:
    """Play ``jobs``, at most ``concurrency`` at a time, and return their episodes in the order they ended.

    ``budget`` is per episode, ``meter`` carries the run's. When the run's budget is spent no further episode starts.
    After each episode ``learns`` is called with it and its steps, where a memory learns from them, say, and ``done``
    with it alone. ``plays`` is how an episode is played, ``desks`` makes the desk of each decision. Jobs that
    ``shares`` does not give out are left. Where there is an ``away`` it has all of them played, and learned from
    nothing.
    """
    if not whole(concurrency):
        raise ConfigError(f"concurrency is a whole number of episodes, not {shown(concurrency)}")
    if not isinstance(jobs, Iterable):
        raise ConfigError(f"what is played are jobs, not {shown(jobs)}: give a list of atlas.Job(...)")
    waiting = iter(jobs)
    finished: list[Episode] = []

    async def worker() -> None:
        for job in waiting:
            if not isinstance(job, Job):
                raise ConfigError(f"what is played are jobs, not {shown(job)}: give atlas.Job(...)")
            if not callable(job.environment):
                raise ConfigError(
                    f"a job's environment is what makes one, not {shown(job.environment)}: environments are single-use"
                )
            if meter is not None and meter.spent:
                return
            if shares is None:
                await one(job)
            elif shares.take(job):
                try:
                    await one(job)
                finally:
                    shares.give_back(job)

    async def here(job: Job) -> Episode:
        rollout = Rollout(
            job.environment(),
            job.policy,
            seed=job.seed,
            max_steps=job.max_steps or max_steps,
            arm=job.arm,
            run=run,
            recorder=recorder,
            budget=budget,
            run_meter=meter,
            reviewer=job.reviewer,
            again=job.environment,
            judge=job.judge,
            reference=job.reference,
            success_at=job.success_at,
            retries=job.retries,
            desks=desks,
            keeps_steps=learns is not None,
        )
        return await plays(rollout, learns)

    async def one(job: Job) -> None:
        episode = await (here(job) if away is None else away(job))
        if episode is None:
            return
        finished.append(episode)
        if done is not None:
            done(episode)
        # Models that answer at once never wait: without a pause an interrupt would be heard when all is played.
        await asyncio.sleep(0)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, concurrency)):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        # A wrong configuration fails every worker in the same way: one sentence is enough.
        wrong, rest = errors.split(AtlasError)
        if wrong is not None and rest is None:
            raise _first(wrong) from None
        raise
    return finished


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
