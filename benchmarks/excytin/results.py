"""A run in the form of the paper's tables: success at a reward of 0.4, tokens as the run goes on, and all costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from atlas.asking import Desk
from atlas.evaluators import success
from atlas.evaluators.verdict import Case, Judge, Verdict
from atlas.records import INTERRUPTED, Episode, Record, Spend, Usage, by_actor, total
from atlas.stats import Interval, bounded_mean, wilson

PHASES = ((1, 25), (26, 60), (61, 98))
"""Places in the run between which the paper compares tokens; what comes after the last belongs to it."""


class Phase(Record):
    """Tokens a question between two places of the run, all actors together."""

    first: int
    last: int
    questions: int
    tokens: float


class ResultRow(Record):
    """One arm."""

    arm: str
    questions: int
    """Questions with a reward; those without count in no rate."""
    reward: Interval
    """Mean reward; bootstrap over questions."""
    solved: Interval
    """Share with a reward of at least 0.4; Wilson, over questions, those of several seeds at their mean."""
    right: Interval
    """Share with a reward of 1: the answer itself."""
    phases: tuple[Phase, ...]
    spend: tuple[Spend, ...]
    dollars: float | None
    """Of all actors, per question; None where one of them has no price."""
    errors: int


def rows(episodes: Iterable[Episode], order: Sequence[str]) -> list[ResultRow]:
    """A row per arm, in order of first appearance; ``order`` holds the tasks' ids in the order of the run."""
    arms: dict[str, list[Episode]] = {}
    for episode in episodes:
        if episode.stop not in INTERRUPTED:
            arms.setdefault(episode.arm, []).append(episode)
    places = {task: place for place, task in enumerate(order, 1)}
    return [_row(arm, group, places) for arm, group in arms.items()]


def _row(arm: str, group: Sequence[Episode], places: dict[str, int]) -> ResultRow:
    rewards: dict[str, list[float]] = {}
    solved: dict[str, list[bool]] = {}
    for episode in group:
        if episode.score is not None:
            rewards.setdefault(episode.task.id, []).append(episode.score)
            solved.setdefault(episode.task.id, []).append(bool(episode.success))
    spend = by_actor(spent for episode in group for spent in episode.spend)
    dollars = total(spend).dollars
    return ResultRow(
        arm=arm,
        questions=len(rewards),
        reward=bounded_mean([fmean(scores) for scores in rewards.values()]),
        solved=_share(solved),
        right=_share({task: [bool(success(s)) for s in scores] for task, scores in rewards.items()}),
        phases=tuple(_phases(group, places)),
        spend=spend,
        dollars=None if dollars is None else dollars / len(group),
        errors=sum(episode.failure is not None for episode in group),
    )


def _share(reached: dict[str, list[bool]]) -> Interval:
    return wilson(sum(map(fmean, reached.values())), len(reached))


def _phases(group: Sequence[Episode], places: dict[str, int]) -> Iterable[Phase]:
    end = max(places.values(), default=0)
    for number, (first, last) in enumerate(PHASES):
        last = end if number == len(PHASES) - 1 else min(last, end)
        chosen = [e for e in group if first <= places.get(e.task.id, 0) <= last]
        if chosen:
            tokens = fmean(total(e.spend).tokens for e in chosen)
            yield Phase(first=first, last=last, questions=len({e.task.id for e in chosen}), tokens=tokens)


class Metered:
    """A judge whose spending is added up: it is no actor, and its cost stands in no episode."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.name = judge.name
        self.used = Usage()

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        verdict = await self._judge.judge(case, desk, opinions)
        self.used = self.used + total(verdict.spend)
        return verdict

    def config(self) -> dict[str, object]:
        return self._judge.config()
