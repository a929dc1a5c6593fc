"""What a judge says."""

from __future__ import annotations

from pydantic import Field, model_validator

from atlas.money import Spend
from atlas.record import Record

OVERALL = "overall"
"""The axis of a verdict that stands for all of its judge's axes."""


class Verdict(Record):
    """What a judge says of a case on one axis, or ``overall``. A score of None is a missing verdict, never a 0."""

    judge: str
    axis: str = OVERALL
    score: float | None = Field(ge=0, le=1, allow_inf_nan=False)
    """0 for failed, 1 for fully met."""
    missing: str = ""
    """Why there is no score; empty where there is one."""
    principles: tuple[str, ...] = ()
    """What the judge said it would judge by, before it judged."""
    uncertainty: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    """As the judge stated it; None where it did not."""
    rationale: str = ""
    model: str = ""
    """The model asked; empty for a rule."""
    spend: tuple[Spend, ...] = ()
    """All that reaching this verdict cost, its parts included, also where no verdict came of it."""
    axes: tuple[Verdict, ...] = ()
    """The verdicts by axis that an overall verdict sums up. Their cost stands in the overall verdict."""
    opinions: tuple[Verdict, ...] = ()
    """In an ensemble: what each judge said, the arbiter last. Their cost is part of ``spend``."""
    disagreement: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """In an ensemble: the largest standard deviation among the fast judges, over axes and overall."""
    decided_by: str = ""
    """Whose word this is: the judge, ``agreement`` among fast judges, or the arbiter."""

    @model_validator(mode="after")
    def _scored_or_missing(self) -> Verdict:
        if (self.score is None) != bool(self.missing):
            raise ValueError("a verdict has either a score or the reason why it is missing")
        return self
