"""What a cascade would have scored and cost, from logged runs alone.

The cascades here are at the level of a question: cheap models investigate it to the end, and only where their answers
give cause does the strong model investigate it too. All that was asked is paid for. No model is called: each model's
logged run stands for what it would have done, which is exact, for it does not depend on who else was asked.

Three rules decide whether the cheap answer is taken:

- ``agree``: two cheap runs submitted the same answer, up to writing (:func:`atlas.evaluators.answer.same`).
- ``agree, loosely``: one of the two answers says what the other says, by the benchmark's rule judge.
- ``answered``: one cheap run submitted an answer that does not say that nothing was found.

The last two read answers by rules that were tuned on the recorded verdicts of half of the questions. What they gain on
those promises too much: ``--held-out`` of :mod:`atlas.benchmarks.excytin.logged.tables` leaves them away.

With two cheap runs the second one's answer is taken. The control is random routing (every question goes to the strong
model with the same chance, otherwise to that second model alone): once at the cascade's share of strong questions, once
at its dollars. Its score is its expectation, so it has no luck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from atlas.benchmarks.excytin.judge import correct, found_nothing
from atlas.benchmarks.excytin.logged.files import answer_of
from atlas.evaluators.answer import same
from atlas.records import Record, total
from atlas.stats import Interval
from atlas.stats.resampling import cluster_bootstrap
from atlas.traces.reader import StoredEpisode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Answered(Record):
    """One run of one question, as far as a cascade looks at it."""

    score: float
    dollars: float | None
    answer: str | None
    """None where none was submitted."""


Runs = Mapping[str, Mapping[str, Answered]]
"""Actor (a model, or a model and its trial) -> task id -> run."""


class CascadeRow(Record):
    """One cascade on the questions that all its models have."""

    rule: str
    cheap: tuple[str, ...]
    strong: str
    questions: int
    share: Interval
    """Of questions that went to the strong model."""
    taken_right: float | None
    """Mean reward of the cheap answers that were taken; None where none was."""
    score: Interval
    cheap_score: Interval
    """Of the cheap model alone whose answers are taken."""
    strong_score: Interval
    random_score: Interval
    """Random routing at the same share."""
    gain: Interval
    """Cascade minus random routing at the same share, paired by question."""
    priced: bool
    """Whether all runs have dollars; the figures below are None where not."""
    dollars: Interval | None
    """Per question, of all models that were asked."""
    strong_dollars: Interval | None
    random_dollars: Interval | None
    extra_dollars: Interval | None
    """Cascade minus random routing at the same share."""
    gain_at_cost: Interval | None
    """Cascade minus random routing that costs the same, or the dearer of its models alone where it costs more."""


Take = Callable[[Sequence[Answered]], bool]


def _agree(runs: Sequence[Answered]) -> bool:
    first, second = runs[0].answer, runs[1].answer
    return first is not None and second is not None and same(first, second)


def _agree_loosely(runs: Sequence[Answered]) -> bool:
    first, second = runs[0].answer, runs[1].answer
    return first is not None and second is not None and (correct(first, second) or correct(second, first))


def _has_answer(runs: Sequence[Answered]) -> bool:
    return runs[0].answer is not None and not found_nothing(runs[0].answer)


RULES: tuple[tuple[str, int, Take], ...] = (
    ("agree", 2, _agree),
    ("agree, loosely", 2, _agree_loosely),
    ("answered", 1, _has_answer),
)
"""Name, how many cheap runs it takes, and whether their answer is taken."""


def runs_of(episodes: Sequence[StoredEpisode]) -> dict[str, dict[str, Answered]]:
    """The scored runs by actor. A model with several trials is several actors: ``gpt-4.1-nano``, ``gpt-4.1-nano#1``."""
    found: dict[str, dict[str, Answered]] = {}
    for episode in episodes:
        if episode.result is None or episode.result.score is None:
            continue
        actor = episode.arm if episode.seed == 0 else f"{episode.arm}#{episode.seed}"
        last = episode.steps[-1].decision.action if episode.steps else ""
        found.setdefault(actor, {})[episode.task.id] = Answered(
            score=episode.result.score, dollars=total(episode.spend).dollars, answer=answer_of(last)
        )
    return found


def cascade_rows(runs: Runs, cheap: Sequence[str], strong: str) -> list[CascadeRow]:
    """Every rule over the cheap actors: pairs in the order given, and single ones. Where some of the questions have no
    dollars, each cascade comes twice: on all questions, and on those that have.
    """
    rows = []
    for rule, count, take in RULES:
        groups = [(a,) for a in cheap] if count == 1 else [(a, b) for i, a in enumerate(cheap) for b in cheap[i + 1 :]]
        for group in groups:
            tasks = [t for t in runs[strong] if all(t in runs[a] for a in group)]
            with_dollars = [t for t in tasks if all(runs[a][t].dollars is not None for a in (*group, strong))]
            for chosen in (tasks, with_dollars) if 0 < len(with_dollars) < len(tasks) else (tasks,):
                if chosen:
                    rows.append(_row(rule, take, group, strong, runs, chosen))
    return rows


def _row(rule: str, take: Take, cheap: tuple[str, ...], strong: str, runs: Runs, tasks: Sequence[str]) -> CascadeRow:
    import numpy as np

    asked = [[runs[a][t] for a in cheap] for t in tasks]
    strongs = [runs[strong][t] for t in tasks]
    up = np.array([not take(group) for group in asked], float)
    low = np.array([group[-1].score for group in asked])
    high = np.array([run.score for run in strongs])
    score = np.where(up > 0, high, low)

    def interval(
        statistic: Callable[[Sequence[Floats]], Floats],
        *columns: Floats,
        within: tuple[float, float] | None = (0.0, 1.0),
    ) -> Interval:
        """Of a function of column means: as observed, and over resampled questions."""
        return cluster_bootstrap(lambda *drawn: statistic([c.mean(axis=1) for c in drawn]), *columns, within=within)

    def mean(m: Sequence[Floats]) -> Floats:
        return m[0]

    def mixed(m: Sequence[Floats]) -> Floats:
        return (1 - m[0]) * m[1] + m[0] * m[2]

    def beyond(m: Sequence[Floats]) -> Floats:
        return m[3] - mixed(m)

    def beyond_at_cost(m: Sequence[Floats]) -> Floats:
        """Columns: dollars of the cheap model, the strong one and the cascade, then the three scores."""
        chance = np.clip((m[2] - m[0]) / np.maximum(m[1] - m[0], 1e-12), 0, 1)
        return m[5] - mixed([chance, m[3], m[4]])

    taken = low[up == 0]
    row = CascadeRow(
        rule=rule,
        cheap=cheap,
        strong=strong,
        questions=len(tasks),
        share=interval(mean, up),
        taken_right=float(taken.mean()) if taken.size else None,
        score=interval(mean, score),
        cheap_score=interval(mean, low),
        strong_score=interval(mean, high),
        random_score=interval(mixed, up, low, high),
        gain=interval(beyond, up, low, high, score, within=(-1.0, 1.0)),
        priced=False,
        dollars=None,
        strong_dollars=None,
        random_dollars=None,
        extra_dollars=None,
        gain_at_cost=None,
    )
    prices = [[run.dollars for run in (*group, run)] for group, run in zip(asked, strongs, strict=True)]
    if any(dollars is None for line in prices for dollars in line):
        return row
    table = np.array(prices, float)
    last, dear = table[:, -2], table[:, -1]
    paid = table[:, :-1].sum(axis=1) + up * dear
    return row.model_copy(
        update={
            "priced": True,
            "dollars": interval(mean, paid, within=None),
            "strong_dollars": interval(mean, dear, within=None),
            "random_dollars": interval(mixed, up, last, dear, within=None),
            "extra_dollars": interval(beyond, up, last, dear, paid, within=None),
            "gain_at_cost": interval(beyond_at_cost, last, dear, paid, low, high, score, within=(-1.0, 1.0)),
        }
    )
