"""The coach: the teacher looks at the plan, and at every step before it is taken (arXiv 2511.01093)."""

from __future__ import annotations

import re
import time

from atlas.asking import Desk
from atlas.given import check_model, check_policy
from atlas.grammar import grammar, one_of
from atlas.policies.probe import CORRECTED, UNGUIDED
from atlas.policies.solo import check_asking
from atlas.prompts import render_guide
from atlas.protocols import Model, Policy
from atlas.records import TEACHER, Decision, Record, View

_GOOD = re.compile(
    r"^[^\w\n]*verdict[^\w:]*:\W*(?:good|ok|yes|right|approved?)\b(?![^\n]*(?:\?|\b(?:not?|but|never)\b))",
    re.IGNORECASE | re.MULTILINE,
)
_PLAN = re.compile(r"^[^\w\n]*plan[^\w:]*:[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)
_ADVICE = re.compile(r"^[^\w\n]*advice[^\w:]*:[ \t]*(.*)", re.IGNORECASE | re.MULTILINE | re.DOTALL)


class Word(Record):
    """What the coach said of a step that the student wants to take."""

    good: bool
    advice: str = ""
    plan: str = ""
    """A better plan; empty where the student's may stay."""


class Coach:
    """``inner`` proposes each step; ``teacher`` finds it good, or gives advice with which ``inner`` decides again.

    The student acts in either case, so what it learns from is its own; every step has asked the teacher. A teacher that
    says neither is asked once more. A step on which it says neither again is taken with the reason ``unguided``, which
    is no consent: what is known of the student by itself leaves that step out (:func:`atlas.memory.history.unaided`).
    """

    def __init__(self, inner: Policy, teacher: Model, *, max_tokens: int | None = 256) -> None:
        check_policy("what a coach is around", inner)
        check_model("a coach", teacher)
        check_asking(0.0, max_tokens, None)
        self.inner = inner
        self.teacher = teacher
        self.max_tokens = max_tokens

    async def decide(self, view: View, desk: Desk) -> Decision:
        proposed = await self.inner.decide(view, desk)
        plan = proposed.plan or view.plan
        began = time.perf_counter()
        shown = view.replace(plan=plan)
        said = await self._word(shown, proposed.action, desk) or await self._word(
            shown, proposed.action, desk, unread=True
        )
        seconds = {**proposed.seconds, TEACHER: proposed.seconds.get(TEACHER, 0.0) + time.perf_counter() - began}
        seen = proposed.replace(seconds=seconds)
        if said is None:
            return seen.replace(reason=UNGUIDED)
        if said.plan:
            seen = seen.replace(plan=said.plan)
        if said.good:
            return seen.replace(reason="approved")
        # What was said about the attempt before still holds.
        advice = "\n".join(part for part in (view.advice, said.advice) if part)
        again = await self.inner.decide(view.replace(advice=advice, plan=said.plan or plan), desk)
        return again.replace(
            reason=CORRECTED,
            plan=seen.plan if again.plan is None else again.plan,
            advice=advice,
            votes=seen.votes + again.votes,
            seconds=_sum(seen.seconds, again.seconds),
        )

    async def _word(self, shown: View, proposal: str, desk: Desk, *, unread: bool = False) -> Word | None:
        answer = await desk.ask(
            self.teacher,
            shown,
            actor=TEACHER,
            purpose="guide",
            prompt=render_guide(shown, proposal, unread=unread),
            max_tokens=self.max_tokens,
            proposal=proposal,
            grammar=_form(shown),
        )
        return read_word(answer.text)

    def config(self) -> dict[str, object]:
        return {
            "policy": "coach",
            "teacher": self.teacher.name,
            "max_tokens": self.max_tokens,
            "inner": self.inner.config(),
        }


def _sum(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {part: first.get(part, 0.0) + second.get(part, 0.0) for part in first | second}


def _form(view: View) -> str:
    """The form of a coach's reply."""
    action = one_of(view.admissible) if view.admissible else "line"
    return grammar(f'"Verdict: good" | "Advice: " line "\\nAction: " {action}')


def read_word(text: str) -> Word | None:
    """A coach's reply; None where it neither approves nor advises."""
    found = _PLAN.search(text)
    plan = found[1].strip() if found else ""
    advice = _ADVICE.search(text)
    if advice and advice[1].strip():
        return Word(good=False, advice=_PLAN.sub("", advice[1]).strip(), plan=plan)
    return Word(good=True, plan=plan) if _GOOD.search(text) else None
