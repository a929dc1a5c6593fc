"""The teacher validates an attempt after it ended (arXiv 2511.01093, the paired lane)."""

from __future__ import annotations

import re

from atlas.asking import Desk
from atlas.prompts import render_review
from atlas.protocols import Model
from atlas.records import TEACHER, Review, View

_VERDICT = re.compile(r"^[^\w\n]*verdict[^\w:]*:\W*(yes|no)\b", re.IGNORECASE | re.MULTILINE)
_FEEDBACK = re.compile(r"^[^\w\n]*feedback[^\w:]*:[ \t]*(.*)", re.IGNORECASE | re.MULTILINE | re.DOTALL)


class TeacherReview:
    """Asks ``teacher`` whether the task was accomplished, and if not what to do better. It is not shown the score."""

    def __init__(self, teacher: Model, *, max_tokens: int = 400) -> None:
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
        )
        text = answer.text
        verdict, feedback = _VERDICT.search(text), _FEEDBACK.search(text)
        return Review(
            attempt=view.attempt,
            approved=verdict[1].casefold() == "yes" if verdict else None,
            feedback=feedback[1].strip() if feedback else "",
            model=self.teacher.name,
            spend=own.spent,
        )

    def config(self) -> dict[str, object]:
        return {"reviewer": "teacher", "teacher": self.teacher.name, "max_tokens": self.max_tokens}
