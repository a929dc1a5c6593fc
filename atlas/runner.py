"""Many episodes at once, in one process: siblings go on whatever happens to one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from atlas.budget import Budget, Meter
from atlas.errors import AtlasError
from atlas.loop import Rollout
from atlas.protocols import Environment, Policy, Recorder, Reviewer
from atlas.records import INTERRUPTED, Episode

_COLLECT_AFTER = 100_000
"""Objects made and not yet freed before the cycle collector looks at them; Python's own 700 suits programs with few."""

Key = tuple[str, str, int]
"""(arm, task id, seed): what makes an episode of a run the same on resume."""


@dataclass(frozen=True)
class Job:
    """One episode to play. ``environment`` is built when its turn comes: environments are single-use."""

    arm: str
    task_id: str
    policy: Policy
    environment: Callable[[], Environment]
    seed: int = 0
    reviewer: Reviewer | None = None

    @property
    def key(self) -> Key:
        return (self.arm, self.task_id, self.seed)


def settled(episodes: Iterable[Episode]) -> set[Key]:
    """The keys that need not be played again: all that ended for a reason of their own."""
    return {(e.arm, e.task.id, e.seed) for e in episodes if e.stop not in INTERRUPTED}


async def play(
    jobs: Iterable[Job],
    *,
    recorder: Recorder | None = None,
    run: str = "",
    concurrency: int = 8,
    max_steps: int = 50,
    budget: Budget | None = None,
    meter: Meter | None = None,
    done: Callable[[Episode, Rollout], None] | None = None,
) -> list[Episode]:
    """Play ``jobs``, at most ``concurrency`` at a time, and return their episodes in the order they ended.

    ``budget`` is per episode, ``meter`` carries the run's. When the run's budget is spent no further episode starts.
    ``done`` is called after each episode, with its steps: where a memory learns from it, say.
    """
    waiting = iter(jobs)
    finished: list[Episode] = []

    async def worker() -> None:
        for job in waiting:
            if meter is not None and meter.spent:
                return
            rollout = Rollout(
                job.environment(),
                job.policy,
                seed=job.seed,
                max_steps=max_steps,
                arm=job.arm,
                run=run,
                recorder=recorder,
                budget=budget,
                run_meter=meter,
                reviewer=job.reviewer,
                again=job.environment,
            )
            episode = await rollout.play()
            finished.append(episode)
            if done is not None:
                done(episode, rollout)
            # Models that answer at once never wait: without a pause an interrupt would be heard when all is played.
            await asyncio.sleep(0)

    try:
        with _rarely_collected():
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


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Let the cycle collector run seldom, until the end of the block.

    Episodes in flight hold many records and no cycles: looking through them took more than half of the CPU time of a
    thousand episodes at once, and found nothing. Who has set a higher threshold keeps it.
    """
    before = gc.get_threshold()
    if 0 < before[0] < _COLLECT_AFTER:
        gc.set_threshold(_COLLECT_AFTER, *before[1:])
        try:
            yield
        finally:
            gc.set_threshold(*before)
    else:
        yield


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
