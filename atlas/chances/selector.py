"""Which of several answers to take, and whether to ask once more: learned from logged attempts of the very tiers.

Two regressions. The first says how likely an answer is right by itself, and the best answer so far is the one it puts
first. The second says how likely that best one is right, also by what the other tiers answered; where that reaches a
threshold, no further tier is asked. They are apart because agreement says how sure one may be and not whom to believe:
weak models share their mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple

from pydantic import Field, field_validator

from atlas.chances.attempt import ANSWERS, BESIDE, OWN, Attempt, beside
from atlas.chances.folding import folded
from atlas.errors import ConfigError
from atlas.learned_file import LearnedFile
from atlas.records import content_hash
from atlas.stats.logistic import Logistic, fit, sigmoid
from atlas.trust.record import Certificate

FEWEST = 20
"""Tasks below which nothing is learned."""
PENALTY, STANDING_PENALTY = 0.08, 0.05
"""For each row that is learned from: of the first regression, and of the second."""
_STANDING = ("own", "lead", "last", *BESIDE)


class Settled(NamedTuple):
    """What the answers so far come to."""

    best: int
    """Index of the best one."""
    chance: float
    """Of that one to be right."""
    chances: tuple[float, ...]
    """Of each answer by itself."""
    stop: bool
    """Whether no further tier is asked: the best one is taken."""


class Selector(LearnedFile):
    """A file: what was learned of some tiers, and from which chance on no further one is asked."""

    KIND: ClassVar[str] = "selector"
    MADE_BY: ClassVar[str] = "'atlas trust select RUN -o FILE'"

    tiers: tuple[str, ...]
    """In the order in which they are asked: arms, as the run names them."""
    threshold: float | None = None
    """None where all tiers are always asked, and the best answer is taken."""
    marks: dict[str, str] = Field(default_factory=dict)
    """Name -> pattern: the share of the actions that it is found in is one more figure of an attempt."""
    answers: str = ANSWERS
    """Pattern of the actions that give an answer, which is its first group."""
    own: Logistic
    """How likely an answer is right, by its attempt alone."""
    standing: Logistic
    """How likely the best answer so far is right."""
    learned_from: str = ""
    tasks: int = 0
    certificate: Certificate | None = None

    @field_validator("tiers")
    @classmethod
    def _several(cls, tiers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(tiers)) < 2 or len(set(tiers)) < len(tiers):
            raise ValueError("a selector needs two tiers or more, each named once")
        return tiers

    @field_validator("threshold")
    @classmethod
    def _chance(cls, threshold: float | None) -> float | None:
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise ValueError(f"a threshold lies between 0 and 1, not at {threshold}")
        return threshold

    @field_validator("marks", "answers")
    @classmethod
    def _patterns(cls, value: Any) -> Any:
        for pattern in value.values() if isinstance(value, dict) else (value,):
            compiled(pattern)
        return value

    @property
    def digest(self) -> str:
        """Which one it is."""
        return content_hash(self.model_dump(mode="json"))

    def settle(self, attempts: Sequence[Attempt]) -> Settled:
        """``attempts`` of the first tiers, in their order: at least one."""
        logits = [self.own.logit(own_figures(a, t, self.marks)) for a, t in zip(attempts, self.tiers, strict=False)]
        best = best_of(logits)
        figures = standing_figures(attempts, logits, best, len(self.tiers))
        chance = self.standing.chance(figures)
        done = len(attempts) >= len(self.tiers)
        return Settled(
            best=best,
            chance=chance,
            chances=tuple(map(sigmoid, logits)),
            stop=done or (self.threshold is not None and chance >= self.threshold),
        )

    def renamed(self, tiers: Sequence[str]) -> Selector:
        """The same, of tiers that are called otherwise where it is used."""
        names = {f"tier {old}": f"tier {new}" for old, new in zip(self.tiers, tiers, strict=True)}
        own = self.own.replace(names=tuple(names.get(name, name) for name in self.own.names))
        return Selector.model_validate({**dict(self), "tiers": tuple(tiers), "own": own})


@dataclass(frozen=True)
class Tried:
    """One tier's attempt at a task, as it was logged."""

    attempt: Attempt
    score: float
    dollars: float | None = None
    success: bool | None = None
    """None where nobody says: then a full score is one."""

    @property
    def won(self) -> float:
        return float(self.score >= 1.0 if self.success is None else self.success)


@dataclass(frozen=True)
class Case:
    """A task that every tier has attempted."""

    task: str
    group: str
    """Tasks of one group are never both learned from and foretold."""
    tried: tuple[Tried, ...]
    """In the order of the tiers."""


def own_figures(attempt: Attempt, tier: str, marks: Mapping[str, str]) -> dict[str, float]:
    """What is known of one attempt by itself, its tier included."""
    return {**attempt.figures, f"tier {tier}": 1.0, **{f"mark {n}": _marked(attempt, p) for n, p in marks.items()}}


def standing_figures(attempts: Sequence[Attempt], logits: Sequence[float], best: int, tiers: int) -> dict[str, float]:
    """What is known of the best of several answers."""
    rest = [logit for i, logit in enumerate(logits) if i != best]
    return {
        "own": logits[best],
        "lead": logits[best] - max(rest) if rest else 0.0,
        "last": float(best == len(attempts) - 1),
        **beside(attempts[best], [a for i, a in enumerate(attempts) if i != best]),
        "tiers": float(len(attempts)),
    }


def best_of(logits: Sequence[float]) -> int:
    """The index of the highest; of equal ones the later, which is the stronger tier's."""
    return max(range(len(logits)), key=lambda i: (logits[i], i))


def learn(
    cases: Sequence[Case],
    tiers: Sequence[str],
    *,
    marks: Mapping[str, str] = {},
    answers: str = ANSWERS,
    threshold: float | None = None,
    learned_from: str = "",
) -> Selector:
    """A selector of ``cases``. Raises ConfigError where they are too few, or all went alike.

    The second regression learns from what the first one says of tasks that it has not seen: what it says of its own
    would be too sure.
    """
    if len(cases) < FEWEST:
        raise ConfigError(
            f"a selector of {', '.join(tiers)} is learned from {FEWEST} tasks or more that all of them attempted, and "
            f"there are {len(cases)}: play or import more"
        )
    if len({t.score for case in cases for t in case.tried}) < 2:
        raise ConfigError(f"every attempt of {', '.join(tiers)} has the same score: there is nothing to tell apart")
    logits: dict[str, list[float]] = {}
    for rest, held in folds(cases):
        own = _learn_own(rest, tiers, marks)
        for case in held:
            logits[case.task] = _logits(own, case, tiers, marks)
    rows, outcomes = [], []
    for case in cases:
        attempts = [t.attempt for t in case.tried]
        for stage in range(1, len(tiers) + 1):
            best = best_of(logits[case.task][:stage])
            rows.append(standing_figures(attempts[:stage], logits[case.task][:stage], best, len(tiers)))
            outcomes.append(case.tried[best].score)
    return Selector(
        tiers=tuple(tiers),
        threshold=threshold,
        marks=dict(marks),
        answers=answers,
        own=_learn_own(cases, tiers, marks),
        standing=fit(rows, outcomes, _STANDING, penalty=STANDING_PENALTY * len(rows)),
        learned_from=learned_from,
        tasks=len(cases),
    )


def folds(cases: Sequence[Case]) -> list[tuple[list[Case], list[Case]]]:
    """What to learn from, and what is then foretold: see :func:`atlas.chances.folding.folded`."""
    parts = folded([case.group for case in cases], [case.task for case in cases])
    return [([cases[i] for i in rest], [cases[i] for i in held]) for rest, held in parts]


def _learn_own(cases: Sequence[Case], tiers: Sequence[str], marks: Mapping[str, str]) -> Logistic:
    names = (*OWN, *(f"mark {name}" for name in marks), *(f"tier {tier}" for tier in tiers))
    pairs = [(tier, tried) for case in cases for tier, tried in zip(tiers, case.tried, strict=True)]
    return fit(
        [own_figures(tried.attempt, tier, marks) for tier, tried in pairs],
        [tried.score for _, tried in pairs],
        names,
        penalty=PENALTY * len(pairs),
    )


def _logits(own: Logistic, case: Case, tiers: Sequence[str], marks: Mapping[str, str]) -> list[float]:
    return [own.logit(own_figures(tried.attempt, t, marks)) for t, tried in zip(tiers, case.tried, strict=True)]


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Raises ValueError for what is no pattern."""
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no pattern ({error})") from error


def _marked(attempt: Attempt, pattern: str) -> float:
    found = compiled(pattern)
    return sum(bool(found.search(a)) for a in attempt.actions) / max(1, len(attempt.actions))
