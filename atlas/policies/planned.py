"""A plan before the first step: what a teacher that demonstrates leaves to those who come after it."""

from __future__ import annotations

import time

from atlas.asking import Desk
from atlas.prompts import render_plan
from atlas.protocols import Model, Policy
from atlas.records import TEACHER, Decision, View

MOST_TOKENS = 200
MOST_CHARACTERS = 1_200
"""Of a plan: it stands in every later prompt of its episode, and of those that it is shown to."""


class Planned:
    """``inner`` decides, after ``planner`` has written a plan at the first step; the plan belongs to every later
    prompt, and to the demonstration that the episode becomes."""

    def __init__(self, inner: Policy, planner: Model, *, actor: str = TEACHER) -> None:
        self.inner = inner
        self.planner = planner
        self.actor = actor

    async def decide(self, view: View, desk: Desk) -> Decision:
        if view.index or view.plan:
            return await self.inner.decide(view, desk)
        began = time.perf_counter()
        plan = await written_plan(self.planner, view, desk, actor=self.actor)
        seconds = time.perf_counter() - began
        decided = await self.inner.decide(view.replace(plan=plan), desk)
        return decided.replace(
            plan=plan if decided.plan is None else decided.plan, seconds={**decided.seconds, "plan": seconds}
        )

    def config(self) -> dict[str, object]:
        return {
            "policy": "planned",
            "planner": self.planner.name,
            "actor": self.actor,
            "inner": self.inner.config(),
        }


async def written_plan(planner: Model, view: View, desk: Desk, *, actor: str) -> str:
    """The plan that ``planner`` writes for the task of ``view``, from the plans of what it was shown."""
    answer = await desk.ask(
        planner, view, actor=actor, purpose="plan", prompt=render_plan(view), max_tokens=MOST_TOKENS
    )
    return answer.text.strip()[:MOST_CHARACTERS]
