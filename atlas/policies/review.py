"""The teacher validates an attempt after it ended (arXiv 2511.01093, the paired lane)."""

from __future__ import annotations

import re

from atlas.asking import Desk
from atlas.evaluators.review import REVIEW, approves
from atlas.given import check_model
from atlas.policies.solo import check_asking
from atlas.prompts import render_review
from atlas.protocols import Model
from atlas.records import TEACHER, Review, View

_FEEDBACK = re.compile(r"^[^\w\n]*feedback[^\w:]*:[ \t]*(.*)", re.IGNORECASE | re.MULTILINE | re.DOTALL)


class TeacherReview:
    """Asks ``teacher`` whether the task was accomplished, and if not what to do better. It is not shown the score."""

    def __init__(self, teacher: Model, *, max_tokens: int = 400) -> None:
        check_model("who reviews", teacher)
        check_asking(0.0, max_tokens, None)
        self.teacher = teacher
        self.max_tokens = max_tokens

    async def review(self, view: View, desk: Desk) -> Review:
        """The review; ``approved`` is None where the reply holds no verdict."""
        own = desk.apart()
        answer = await own.ask(
            self.teacher,
            view,
            actor=TEACHER,
            purpose="review",
            prompt=render_review(view),
            max_tokens=self.max_tokens,
            grammar=REVIEW,
        )
        text = answer.text
        feedback = _FEEDBACK.search(text)
        return Review(
            attempt=view.attempt,
            approved=approves(text),
            feedback=feedback[1].strip() if feedback else "",
            model=self.teacher.name,
            spend=own.spent,
        )

    def config(self) -> dict[str, object]:
        return {"reviewer": "teacher", "teacher": self.teacher.name, "max_tokens": self.max_tokens}
