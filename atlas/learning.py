"""What becomes of an episode once it is over: judged, distilled and kept, off the hot path.

Each part finds what it did before: the verdict in ``verdicts.jsonl``, the lesson in ``lessons.jsonl``, both beside the
trace, and the memory takes the same thing once. So whatever is killed in between is gone on with, and paid once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from atlas.asking import Account, Desk, Desks
from atlas.distil import Lesson, append_lesson, distiller_hash, of_run, read_lessons
from atlas.errors import AtlasError, ConfigError, DataError, FrozenMemory, MissingExtra
from atlas.evaluators.outcome import success
from atlas.evaluators.verdict import Case, Judge, Verdict, case_of
from atlas.memory import Memory
from atlas.memory.distil import Distilled, Distiller, shapeless
from atlas.memory.memory import Kept
from atlas.records import INTERRUPTED, TEACHER, Episode, Spend, Step, Stop, by_actor
from atlas.redact import scrub
from atlas.regrade import judge_hash
from atlas.traces.audit import CASCADED
from atlas.traces.events import Learned
from atlas.traces.place import Place
from atlas.traces.rewards import JUDGED_AT
from atlas.traces.verdicts import VerdictLine, append_verdict, newest, read_verdicts

T = TypeVar("T")

Reward = Literal["env", "judged"]
"""What is learned from: the environment's score, and a judge's where that gives none; or a judge's alone."""

MOST = 16
"""Entries that are taken from one episode, whoever distils."""
PATIENCE = 300.0
"""Seconds that a verdict or a lesson is waited for."""


class Lived(NamedTuple):
    """An episode after it was learned from."""

    episode: Episode
    """With what judging and distilling used."""
    kept: Kept
    learned: Learned


class Learning:
    """Judges, distils and keeps episodes in ``memory``.

    distiller: None distils nothing.
    judge: gives a reward where the environment gives none, and a second opinion where it does. No verdict is no reward.
    reward: see :data:`Reward`.
    folder, run: of the run (its folder, or its place) that the episodes are recorded in, where what was paid is kept;
        None keeps it nowhere.
    desks: makes the desk at which judge and distiller ask; each part of each episode begins one.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        distiller: Distiller | None = None,
        judge: Judge | None = None,
        reward: Reward = "env",
        folder: Path | Place | None = None,
        run: str = "",
        desks: Callable[[], Desks] = lambda: Desk,
        patience: float = PATIENCE,
    ) -> None:
        if reward == "judged" and judge is None:
            raise ConfigError("a reward by judges alone needs judges: name some")
        self.memory = memory
        self.distiller = distiller
        self.judge = judge
        self.reward = reward
        self.folder = folder
        self.run = run
        self.patience = patience
        self._desks = desks
        self._verdicts: dict[str, Verdict] | None = None
        self._lessons: dict[str, Lesson] | None = None
        self._judge = judge_hash(judge) if judge is not None else ""
        self._distiller = distiller_hash(distiller) if distiller is not None else ""

    async def after(
        self,
        episode: Episode,
        steps: Sequence[Step],
        account: Account | None = None,
        *,
        learn: bool = True,
        ended: Callable[[Episode], None] = lambda episode: None,
    ) -> Lived:
        """All of it. ``account`` is charged; ``ended`` records the episode anew where that used something or gave it a
        score, before the memory takes anything; ``learn`` is whether a success may become a demonstration."""
        account = account or Account()
        verdict = await self.judged(episode, steps, account)
        lesson = await self.distilled(self.rewarded(episode, verdict), steps, account)
        told = self.told(episode, verdict, lesson)
        if told != episode:
            ended(told)
        return self.remember(told, steps, verdict, lesson, learn=learn)

    def config(self) -> dict[str, object]:
        """All that determines what is learned from an episode."""
        return {
            "distiller": self.distiller.config() if self.distiller is not None else None,
            "judge": self.judge.config() if self.judge is not None else None,
            "reward": self.reward,
        }

    # --- its parts ----------------------------------------------------------------------------------------------------

    async def judged(self, episode: Episode, steps: Sequence[Step], account: Account) -> Verdict | None:
        """The judge's verdict on an episode that has a result; None where there is nobody to ask."""
        if self.judge is None or not _has_result(episode) or not steps:
            return None
        if self._verdicts is None:
            lines = read_verdicts(self.folder, self._judge) if self.folder else []
            self._verdicts = {key: line.verdict for key, line in newest(lines).items()}
        if (known := self._verdicts.get(episode.id)) is not None:
            return known
        # What its environment scored is not the judge's to know.
        case = case_of(episode.id, episode.task, steps)
        desk = self._desks()(account)
        verdict, failed = await self._waited("judge", self.judge.name, episode, self.judge.judge(case, desk))
        if verdict is None:
            verdict = Verdict(judge=self.judge.name, score=None, missing=failed, spend=desk.spent)
        self._verdicts[episode.id] = verdict
        if self.folder is not None:
            append_verdict(
                self.folder,
                VerdictLine(
                    episode=episode.id,
                    arm=episode.arm,
                    task=episode.task.id,
                    config=self._judge,
                    time=time.time(),
                    verdict=verdict,
                ),
            )
        return verdict

    def rewarded(self, episode: Episode, verdict: Verdict | None) -> Episode:
        """``episode`` with the reward that is learned from."""
        if self.reward == "env" and (episode.score is not None or verdict is None):
            return episode
        score = verdict.score if verdict is not None else None
        return episode.replace(score=score, success=success(score, at_least=JUDGED_AT))

    async def distilled(self, episode: Episode, steps: Sequence[Step], account: Account) -> Distilled | None:
        """What an episode with its reward teaches; None where it is not distilled: without a reward, or where it only
        repeats what is known, and where the memory takes nothing."""
        if self.distiller is None or episode.success is None or not tells(episode, steps) or self.memory.frozen:
            return None
        if self._lessons is None:
            found = read_lessons(self.folder, self._distiller) if self.folder else []
            self._lessons = {lesson.episode: lesson for lesson in found}
        if (known := self._lessons.get(episode.id)) is not None:
            return known.distilled
        case = case_of(episode.id, episode.task, steps, outcome=episode.score)
        distilled = await self._lesson(self.distiller, episode, case, account)
        lesson = Lesson(
            episode=episode.id,
            arm=episode.arm,
            task=episode.task.id,
            family=episode.task.family,
            config=self._distiller,
            time=time.time(),
            distilled=distilled,
        )
        self._lessons[episode.id] = lesson
        # What came to nothing and was not paid is asked for again, should the run be gone on with.
        if self.folder is not None and (distilled.spend or not distilled.missing):
            append_lesson(self.folder, lesson)
        return distilled

    def told(self, episode: Episode, verdict: Verdict | None, lesson: Distilled | None) -> Episode:
        """``episode`` as the trace has it from now on: with what was used after its end, and, where its environment
        gave no score, with the judge's."""
        if episode.after:
            return episode
        used: list[Spend] = [*(verdict.spend if verdict else ()), *(lesson.spend if lesson else ())]
        if used:
            episode = episode.replace(spend=by_actor([*episode.spend, *used]), after=by_actor(used))
        if episode.score is None and verdict is not None and verdict.score is not None:
            given = success(verdict.score, at_least=JUDGED_AT)
            episode = episode.replace(score=verdict.score, success=given, verdict=verdict)
        return episode

    def remember(
        self,
        episode: Episode,
        steps: Sequence[Step],
        verdict: Verdict | None,
        lesson: Distilled | None,
        *,
        learn: bool = True,
    ) -> Lived:
        """Put it into the memory, all or nothing, and once. A frozen memory is used and takes nothing."""
        rewarded = self.rewarded(episode, verdict)

        def take() -> tuple[Kept, tuple[str, ...]]:
            with self.memory.database.transaction():
                kept = self.memory.keep(rewarded, steps, learn=learn)
                if lesson is None or not lesson.entries:
                    return kept, ()
                source = f"{self.run}/{episode.id}"
                added = self.memory.entries.learn(source, lesson.entries, distiller=self._distiller)
                return kept, (*added.new, *added.merged) if added is not None else ()

        try:
            kept, new = self.memory.database.whole(take)
        except FrozenMemory:
            kept, new = Kept(), ()
        learned = Learned(
            time=time.time(),
            arm=episode.arm,
            episode=episode.id,
            demonstration=kept.demonstration,
            settled={entry: said.status for entry, said in kept.settled.items()},
            entries=new,
            judged=verdict.score if verdict is not None else None,
            missing=_missing(verdict, lesson),
            spend=episode.after,
        )
        return Lived(episode, kept, learned)

    async def _lesson(self, distiller: Distiller, episode: Episode, case: Case, account: Account) -> Distilled:
        score = episode.score or 0.0
        verdict = Verdict(judge="reward", score=min(1.0, max(0.0, score)), decided_by="reward")
        desk = self._desks()(account)
        said, failed = await self._waited("distiller", distiller.name, episode, distiller.distil(case, verdict, desk))
        if said is None:
            return Distilled(missing=failed, spend=desk.spent)
        fit = [entry for entry in said.entries if not shapeless(entry)]
        dropped = [*said.dropped, *(why for entry in said.entries if (why := shapeless(entry)))]
        dropped += [f"one too many: more than {MOST} were written"] * max(0, len(fit) - MOST)
        entries = tuple(of_run(entry, self.run) for entry in fit[:MOST])
        return said.model_copy(update={"entries": entries, "dropped": tuple(dropped[:MOST])})

    async def _waited(self, what: str, name: str, episode: Episode, work: Awaitable[T]) -> tuple[T | None, str]:
        """What ``work`` gives, or why there is nothing. An error that is nobody's who uses atlas ends the run, in one
        sentence: what was played is in the trace, and is learned from when the run goes on."""
        try:
            async with asyncio.timeout(self.patience):
                return await work, ""
        except (ConfigError, MissingExtra):
            raise
        except TimeoutError:
            return None, f"the {what} {name} did not answer within {self.patience:g} seconds"
        except AtlasError as error:
            return None, f"the {what} {name} could not be asked: {error}"
        except Exception as error:
            said = scrub(f"{type(error).__name__}: {error}")
            raise DataError(
                f"the {what} {name} failed on episode {episode.id} with {said}: mend it, and the same command goes on"
            ) from error


def worth_telling(learned: Learned) -> bool:
    """Whether anything came of it, or should have."""
    return bool(learned.demonstration or learned.entries or learned.settled or learned.missing or learned.spend)


def tells(episode: Episode, steps: Sequence[Step]) -> bool:
    """Whether an episode says something that the memory may not know: it failed, or the teacher had a part in it."""
    return not episode.success or informed(episode, steps)


def informed(episode: Episode, steps: Sequence[Step]) -> bool:
    """Whether the teacher had a part in what was done. An audit only looks: what the student then did all the same
    repeats what the memory holds."""
    asked = (step for step in steps if any(spend.actor == TEACHER for spend in step.spend))
    return episode.teacher_steps > 0 or any(step.decision.reason not in CASCADED for step in asked)


def _has_result(episode: Episode) -> bool:
    return episode.stop not in (*INTERRUPTED, Stop.ERROR)


def _missing(verdict: Verdict | None, lesson: Distilled | None) -> str:
    """Why something was not learned."""
    whys = [verdict.missing if verdict is not None else "", lesson.missing if lesson is not None else ""]
    return "; ".join(filter(None, whys))
