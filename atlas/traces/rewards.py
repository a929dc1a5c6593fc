"""How far judged rewards are from true ones, wherever a run has both."""

from __future__ import annotations

from statistics import fmean

from atlas.records import Record
from atlas.stats import Interval, paired, wilson
from atlas.traces.reader import Run
from atlas.traces.verdicts import newest, read_verdicts

JUDGED_AT = 0.5
"""The judged score that is read as a success."""


class RewardRow(Record):
    """One judge on one arm."""

    arm: str
    judge: str
    n: int
    """Episodes with a judged and a true reward."""
    missing: int
    """Episodes with a true reward to which the judge gave none."""
    agreement: Interval
    """Share of tasks on which both say success, or both say failure."""
    difference: Interval
    """Judged minus true reward, by task."""
    asked: float
    """Share of the verdicts that the arbiter had to give, or failed to."""


def rewards(run: Run) -> list[RewardRow]:
    """A row per arm and judge that has judged it. Where a judge's word is an episode's score there is no true one."""
    lines = read_verdicts(run.place)
    if not lines:
        return []
    true = {e.id: e for e in run.results() if e.success is not None and e.verdict is None and _unit(e.score)}
    found: list[RewardRow] = []
    for config in dict.fromkeys(line.config for line in lines):
        judged = [line for line in newest(line for line in lines if line.config == config).values()]
        for arm in dict.fromkeys(line.arm for line in judged):
            both = [(line, true[line.episode]) for line in judged if line.arm == arm and line.episode in true]
            known = [(line.verdict, episode) for line, episode in both if line.verdict.score is not None]
            if not both:
                continue
            agree: dict[str, list[float]] = {}
            gaps: dict[str, list[float]] = {}
            for verdict, episode in known:
                said, score = verdict.score or 0.0, episode.score or 0.0
                agree.setdefault(episode.task.id, []).append(float((said >= JUDGED_AT) == bool(episode.success)))
                gaps.setdefault(episode.task.id, []).append(said - score)
            found.append(
                RewardRow(
                    arm=arm,
                    judge=both[0][0].verdict.judge,
                    n=len(known),
                    missing=len(both) - len(known),
                    agreement=wilson(sum(map(fmean, agree.values())), len(agree)),
                    difference=paired([fmean(values) for values in gaps.values()]),
                    asked=fmean(line.verdict.decided_by not in ("agreement", line.verdict.judge) for line, _ in both),
                )
            )
    return found


def _unit(score: float | None) -> bool:
    return score is not None and 0 <= score <= 1
