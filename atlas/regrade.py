"""Judging stored episodes again, without running the agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from atlas.asking import Account, Desk, Desks
from atlas.evaluators.verdict import Case, Judge, Reference, case_of
from atlas.records import INTERRUPTED, content_hash
from atlas.traces.claims import Claims
from atlas.traces.place import news
from atlas.traces.reader import Run, StoredEpisode
from atlas.traces.verdicts import VERDICTS, VerdictLine, append_verdict, newest, read_verdicts


def finished(run: Run, arm: str | None = None) -> list[StoredEpisode]:
    """The episodes of a run that can be judged: those with a result that was not and will not be played again, and of
    which no step is lost."""
    return [
        e
        for e in run.episodes()
        if e.result is not None
        and e.result.stop not in INTERRUPTED
        and not e.retried
        and not e.lost
        and (arm is None or e.arm == arm)
    ]


def stored_case(episode: StoredEpisode, reference: Reference | None = None) -> Case:
    """The case that a stored episode is."""
    result, steps = episode.result, episode.steps
    # Where a judge scored the episode, its environment's own word stands in the last step.
    judged = result is not None and result.verdict is not None and bool(steps)
    outcome = steps[-1].outcome.score if judged else result.score if result else None
    return case_of(episode.id, episode.task, steps, reference, outcome=outcome)


def judge_hash(judge: Judge, references: Mapping[str, Reference] | None = None) -> str:
    """The identity of a judge with what it knows of the solutions: other answers make other verdicts."""
    known = {task: reference.model_dump() for task, reference in (references or {}).items()}
    return content_hash([judge.config(), known])


async def regrade(
    run: Run,
    judge: Judge,
    episodes: Sequence[StoredEpisode],
    *,
    references: Mapping[str, Reference] | None = None,
    concurrency: int = 4,
    retry: bool = False,
    desks: Desks = Desk,
    seen: Callable[[int, int], None] = lambda done, of: None,
) -> list[VerdictLine]:
    """Judge those of ``episodes`` that ``judge`` has not judged yet, and return its lines for all of them, in order.

    Every verdict is written when it is there, so that a killed command loses none that was paid, and each is asked for
    by one process, however many judge the run. ``retry`` asks again
    where the verdict is missing. ``references`` are by task id; ``desks`` makes the desk of each verdict;
    ``seen`` is called with how many of those that had to be judged are, and how many they are.
    """
    config = judge_hash(judge, references)
    tail = run.place.log(VERDICTS).tail()
    before = newest(read_verdicts(run.place, config))
    waiting = [e for e in episodes if e.id not in before or (retry and before[e.id].verdict.score is None)]
    gate = asyncio.Semaphore(concurrency)
    done = 0
    since: set[str] = set()
    """The episodes that were judged meanwhile, by other processes too."""

    async def grade(episode: StoredEpisode, claims: Claims) -> None:
        nonlocal done
        await _grade(episode, claims)
        done += 1
        seen(done, len(waiting))

    async def _grade(episode: StoredEpisode, claims: Claims) -> None:
        async with gate, claims.turn(("verdict", config, episode.id)):
            since.update(line["episode"] for line in news(tail) if line.get("config") == config)
            if episode.id in since:
                return
            # A copy, so that its steps are let go with it: a run of thousands of episodes does not fit in memory.
            case = stored_case(replace(episode), (references or {}).get(episode.task.id))
            verdict = await judge.judge(case, desks(Account()))
            append_verdict(
                run.place,
                VerdictLine(
                    episode=episode.id,
                    arm=episode.arm,
                    task=episode.task.id,
                    config=config,
                    time=time.time(),
                    verdict=verdict,
                ),
            )

    if waiting:
        with Claims(run.place) as claims:
            async with asyncio.TaskGroup() as group:
                for episode in waiting:
                    group.create_task(grade(episode, claims))
    wanted = {e.id for e in episodes}
    return [line for line in read_verdicts(run.place, config) if line.episode in wanted]
