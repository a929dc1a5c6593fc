"""A reviewer's word as a verdict: whether the task was accomplished, as who read the whole attempt sees it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from atlas.asking import Desk
from atlas.errors import BudgetExceeded, ModelError
from atlas.evaluators.asking import JUDGE
from atlas.evaluators.verdict import Case, Verdict
from atlas.grammar import grammar
from atlas.prompts import render_review
from atlas.protocols import Model
from atlas.records import Turn, View

_VERDICT = re.compile(r"^[^\w\n]*verdict[^\w:]*:\W*(yes|no)\b", re.IGNORECASE | re.MULTILINE)


REVIEW = grammar('"Verdict: yes" | "Verdict: no\\nFeedback: " line')
"""The form of a review."""


def approves(text: str) -> bool | None:
    """What a review says; None where it holds no verdict."""
    found = _VERDICT.search(text)
    return found[1].casefold() == "yes" if found else None


class ReviewJudge:
    """Asks ``model`` for a review, as the paired lane does: 1 where it says that the task was accomplished, else 0.

    It suits a model that reviews and writes no scores, a scripted teacher say. A review without a verdict is a missing
    one.
    """

    def __init__(self, model: Model, *, max_tokens: int = 400) -> None:
        self.name = f"review-{model.name}"
        self._model = model
        self._max_tokens = max_tokens

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        own = desk.apart()
        last = max((step.attempt for step in case.steps), default=0)
        steps = [step for step in case.steps if step.attempt == last]
        turns = tuple(Turn(action=s.decision.action, observation=s.outcome.text) for s in steps)
        view = View(task=case.task, opening=steps[0].observation if steps else "", turns=turns)
        prompt = render_review(view)
        try:
            answer = await own.ask(
                self._model,
                view,
                actor=f"{JUDGE}:{self.name}",
                purpose="review",
                prompt=prompt,
                max_tokens=self._max_tokens,
                grammar=REVIEW,
            )
        except (ModelError, BudgetExceeded) as error:
            missing = f"the judge could not be asked: {error}"
            return Verdict(judge=self.name, score=None, missing=missing, model=self._model.name, spend=own.spent)
        said = approves(answer.text)
        return Verdict(
            judge=self.name,
            score=None if said is None else float(said),
            missing="the review holds no verdict" if said is None else "",
            model=self._model.name,
            spend=own.spent,
            decided_by="" if said is None else self.name,
        )

    def config(self) -> dict[str, object]:
        return {"judge": "review", "model": self._model.name, "max_tokens": self._max_tokens}
