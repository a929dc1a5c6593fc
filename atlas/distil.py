"""Learning from stored episodes, off the hot path: each is distilled once, whatever happens in between.

What a distiller wrote is kept beside the run (``lessons.jsonl``) before it goes into the memory: it was paid for. A
command that was killed goes on with what is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from atlas.asking import Account, Desk, Desks
from atlas.errors import StoreError
from atlas.evaluators.rules import OutcomeJudge
from atlas.evaluators.verdict import Verdict
from atlas.memory.distil import Distilled, Distiller
from atlas.memory.pamphlet import Entry
from atlas.memory.pamphlets import PamphletStore
from atlas.records import Record, Spend, by_actor, content_hash
from atlas.redact import Cleaner
from atlas.regrade import stored_case
from atlas.traces.claims import Claims
from atlas.traces.place import Place, news, place_of, values
from atlas.traces.reader import Run, StoredEpisode

LESSONS = "lessons.jsonl"
SCHEMA = 1


class Lesson(Record):
    """One line: which episode, which distiller, what it wrote and what that cost."""

    schema_version: int = SCHEMA
    episode: str
    arm: str
    task: str
    family: str = ""
    """Task type, for controls that leave one out."""
    config: str
    """Hash of the distiller's configuration."""
    time: float
    """Unix time."""
    distilled: Distilled


def distiller_hash(distiller: Distiller) -> str:
    """The identity of a distiller."""
    return content_hash(distiller.config())


def read_lessons(folder: Path | Place, config: str | None = None) -> list[Lesson]:
    """All lessons beside a run in order, or those of the distiller with the hash ``config``."""
    lessons = []
    log = place_of(folder).log(LESSONS)
    for number, value in values(log):
        try:
            lessons.append(Lesson.model_validate(value))
        except ValidationError as error:
            raise StoreError(
                f"{log.path}, line {number}, is no lesson that this atlas reads: mend or remove it"
            ) from error
    return [lesson for lesson in lessons if config is None or lesson.config == config]


def append_lesson(folder: Path | Place, lesson: Lesson) -> None:
    """Append ``lesson`` durably."""
    place_of(folder).log(LESSONS).append(Cleaner().text(lesson.model_dump_json(exclude_defaults=True)).encode())


def paid(lessons: Sequence[Lesson]) -> tuple[Spend, ...]:
    """What all of them cost."""
    return by_actor(spend for lesson in lessons for spend in lesson.distilled.spend)


async def distil_run(
    run: Run,
    distiller: Distiller,
    episodes: Sequence[StoredEpisode],
    memory: PamphletStore | None = None,
    *,
    verdicts: Mapping[str, Verdict] | None = None,
    batch: int = 8,
    retry: bool = False,
    desks: Desks = Desk,
    seen: Callable[[int, int], None] = lambda done, of: None,
    missed: Callable[[str], None] = lambda why: None,
) -> list[Lesson]:
    """Distil those of ``episodes`` that were not yet, put what they teach into ``memory``, and return the lessons of
    all of them, in order.

    verdicts: by episode; without one an episode is judged by its environment's score. An episode without a verdict
        teaches nothing, and is looked at again next time.
    batch: episodes that are distilled at once.
    retry: ask again where a paid call came to nothing.
    desks: makes the desk at which an episode is distilled.
    seen: called with how many are done, of how many.
    missed: called with the reason for each episode that taught nothing because it could not be distilled.
    """
    config = distiller_hash(distiller)
    tail = run.place.log(LESSONS).tail()
    known = {lesson.episode: lesson for lesson in read_lessons(run.place, config)}
    found: dict[str, Lesson] = {}

    since: dict[str, Lesson] = {}
    """What was distilled meanwhile, by other processes too."""

    async def taught(episode: StoredEpisode) -> Lesson | None:
        lesson = known.get(episode.id)
        if lesson is not None and not (retry and lesson.distilled.missing):
            return lesson
        with Claims(run.place) as claims:
            async with claims.turn(("lesson", config, episode.id)):
                found = map(Lesson.model_validate, (line for line in news(tail) if line.get("config") == config))
                since.update({lesson.episode: lesson for lesson in found})
                return since.get(episode.id) or await distilled(episode)

    async def distilled(episode: StoredEpisode) -> Lesson | None:
        # A copy, so that its steps are let go with it: a run of thousands of episodes does not fit in memory.
        case = stored_case(replace(episode))
        verdict = (verdicts or {}).get(episode.id) or await OutcomeJudge().judge(case, Desk())
        written = await distiller.distil(case, verdict, desks(Account()))
        lesson = Lesson(
            episode=episode.id,
            arm=episode.arm,
            task=episode.task.id,
            family=episode.task.family,
            config=config,
            time=time.time(),
            distilled=written.model_copy(update={"entries": tuple(of_run(e, run.name) for e in written.entries)}),
        )
        if not written.missing or written.spend:
            append_lesson(run.place, lesson)
        return lesson

    for start in range(0, len(episodes), batch):
        part = [episode for episode in episodes[start : start + batch] if not episode.lost]
        for episode in episodes[start : start + batch]:
            if episode.lost:
                missed("steps of it are lost: the trace is damaged")
        for lesson in await asyncio.gather(*map(taught, part)):
            if lesson is not None and lesson.distilled.missing:
                missed(lesson.distilled.missing)
            elif lesson is not None:
                found[lesson.episode] = lesson
                if memory is not None:
                    memory.learn(f"{run.name}/{lesson.episode}", lesson.distilled.entries, distiller=config)
        seen(min(start + batch, len(episodes)), len(episodes))
    return list(found.values())


def of_run(entry: Entry, run: str) -> Entry:
    """``entry``, whose origins are episodes of ``run``."""
    return entry.model_copy(update={"origins": tuple(o.model_copy(update={"run": run}) for o in entry.origins)})
