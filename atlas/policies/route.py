"""Random routing: the control that a cascade has to beat at the same share of teacher steps."""

from __future__ import annotations

import random

from atlas.actions import Actions, TextActions
from atlas.asking import Desk
from atlas.given import check_model, check_share
from atlas.policies.solo import check_asking, decision
from atlas.protocols import Model
from atlas.records import STUDENT, TEACHER, Decision, View


class RandomRoute:
    """``teacher`` acts with probability ``share`` at each step, ``student`` (one sample) otherwise."""

    def __init__(
        self,
        student: Model,
        teacher: Model,
        *,
        share: float,
        temperature: float = 0.0,
        max_tokens: int | None = 256,
        actions: Actions | None = None,
    ) -> None:
        check_model("a student", student)
        check_model("a teacher", teacher)
        check_share("the teacher's share, a probability,", share)
        check_asking(temperature, max_tokens, actions)
        self.student = student
        self.teacher = teacher
        self.share = share
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.actions = actions or TextActions()

    async def decide(self, view: View, desk: Desk) -> Decision:
        to_teacher = random.Random(view.moment).random() < self.share
        answer = await desk.ask(
            self.teacher if to_teacher else self.student,
            view.replace(retrieved=()) if to_teacher else view,
            actor=TEACHER if to_teacher else STUDENT,
            actions=self.actions,
            temperature=0.0 if to_teacher else self.temperature,
            max_tokens=self.max_tokens,
        )
        return decision(answer, reason="routed")

    def config(self) -> dict[str, object]:
        return {
            "policy": "random-route",
            "student": self.student.name,
            "teacher": self.teacher.name,
            "share": self.share,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
