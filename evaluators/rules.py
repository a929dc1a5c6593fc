"""Judges that ask no model: the environment's outcome, and the expected answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.evaluators.answer import exact, same
from atlas.evaluators.verdict import Case, Verdict

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
