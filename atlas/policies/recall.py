"""In-context distillation: demonstrations of the teacher, retrieved afresh at each step, in the student's prompt.

arXiv 2512.02543, with the retrieval of its predecessor, arXiv 2505.00234.
"""

from __future__ import annotations

import asyncio
import math
import time

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.prompts import render_plan
from atlas.protocols import Demonstrations, Model, Policy
from atlas.records import STUDENT, Decision, Hit, View, Window

INSTANT = 0.0005
"""Seconds. To hand work to a thread and back costs about as much on a busy machine."""


class Recall:
    """Shows ``inner`` the ``k`` best windows of ``demos`` at every step.

    With a ``planner`` the first step begins with a plan, written from the plans of the most similar tasks; the plan
    then belongs to every later prompt and query.
    """

    def __init__(self, inner: Policy, demos: Demonstrations, k: int = 6, *, planner: Model | None = None) -> None:
        if k < 1:
            raise ConfigError(f"recall needs k of at least 1, not {k}")
        self.inner = inner
        self.demos = demos
        self.k = k
        self.planner = planner
        self._last_search = math.inf

    async def decide(self, view: View, desk: Desk) -> Decision:
        plan: str | None = None
        if self.planner is not None and view.index == 0 and not view.plan:
            plan = await self._plan(view, desk, self.planner)
            view = view.replace(plan=plan)
        began = time.perf_counter()
        windows = await self._search(view)
        seconds = time.perf_counter() - began
        decided = await self.inner.decide(view.replace(retrieved=windows), desk)
        return decided.replace(
            plan=plan if plan is not None else decided.plan,
            retrieved=tuple(map(_hit, windows)) + decided.retrieved,
            seconds={**decided.seconds, "retrieve": seconds},
        )

    async def _search(self, view: View) -> tuple[Window, ...]:
        """In a thread, so that other episodes go on; directly where the last search took less than starting one."""

        def search() -> tuple[Window, ...]:
            began = time.perf_counter()
            found = tuple(self.demos.search(view, self.k))
            self._last_search = time.perf_counter() - began
            return found

        return search() if self._last_search < INSTANT else await asyncio.to_thread(search)

    async def _plan(self, view: View, desk: Desk, planner: Model) -> str:
        similar = tuple(await asyncio.to_thread(self.demos.similar, view, self.k))
        shown = view.replace(retrieved=similar)
        answer = await desk.ask(
            planner, shown, actor=STUDENT, purpose="plan", prompt=render_plan(shown), max_tokens=200
        )
        return answer.text.strip()

    def config(self) -> dict[str, object]:
        return {
            "policy": "recall",
            "k": self.k,
            "planner": self.planner.name if self.planner else None,
            "demos": self.demos.config(),
            "inner": self.inner.config(),
        }


def _hit(window: Window) -> Hit:
    return Hit.whole(
        {
            "demo_id": window.demo_id,
            "start": window.start,
            "length": len(window.steps),
            "best": window.best,
            "score": round(window.score, 4),
        }
    )
