"""Judges that ask no model: the environment's outcome, the expected answer, what was observed, how it was voted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.evaluators.answer import exact, items, normal, same
from atlas.evaluators.verdict import Case, Verdict, submitted

MATCHES: dict[str, Callable[[str, str], bool]] = {"exact": exact, "normal": same}


class OutcomeJudge:
    """The environment's own score, where it is within [0, 1]."""

    name = "outcome"

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        score = case.outcome
        if score is None:
            return Verdict(judge=self.name, score=None, missing="the environment scored nothing")
        if not 0 <= score <= 1:
            return Verdict(judge=self.name, score=None, missing=f"the environment's score {score:g} is not in [0, 1]")
        return Verdict(judge=self.name, score=score, uncertainty=0.0, decided_by=self.name)

    def config(self) -> dict[str, object]:
        return {"judge": self.name}


class AnswerJudge:
    """1 where the answer is the expected one, else 0. ``match`` is ``exact`` or ``normal`` (up to writing)."""

    def __init__(self, match: str = "normal") -> None:
        if match not in MATCHES:
            raise ConfigError(f"there is no answer match {match!r}: choose one of {', '.join(MATCHES)}")
        self.name = f"answer-{match}"
        self._match = match

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        if case.reference is None:
            return Verdict(judge=self.name, score=None, missing="no expected answer is known")
        right = MATCHES[self._match](case.answer, case.reference)
        return Verdict(judge=self.name, score=float(right), decided_by=self.name)

    def config(self) -> dict[str, object]:
        return {"judge": self.name}


class GroundedJudge:
    """Whether the answer stands in what was observed, and is not just what the task itself says: 1, else 0. It is no
    proof: an answer may be read off the wrong row."""

    name = "grounded"

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        if not case.steps or submitted(case.steps[-1].decision.action) is None:
            return Verdict(judge=self.name, score=None, missing="the episode ended without an answer")
        seen = normal("\n".join(step.outcome.text for step in case.steps))
        parts = [part for item in items(case.answer) if (part := normal(item))]
        found = bool(parts) and all(part in seen for part in parts)
        new = any(part not in normal(case.task.goal) for part in parts)
        return Verdict(judge=self.name, score=float(found and new), decided_by=self.name)

    def config(self) -> dict[str, object]:
        return {"judge": self.name}


class SureJudge:
    """How much those who acted were of one mind: the mean share of each step's votes that are for what was done."""

    name = "sure"

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        shares = []
        for step in case.steps:
            votes = [vote.action for vote in step.decision.votes]
            if votes:
                shares.append(votes.count(max(votes, key=votes.count)) / len(votes))
        if not shares:
            return Verdict(judge=self.name, score=None, missing="nobody voted")
        return Verdict(judge=self.name, score=fmean(shares), decided_by=self.name)

    def config(self) -> dict[str, object]:
        return {"judge": self.name}
