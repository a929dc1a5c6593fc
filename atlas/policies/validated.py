"""The paired lane where an answer is one action of the episode: the teacher looks at it before it is given, and where
it finds it wrong the rest of the episode is played under closer supervision."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from atlas.asking import Desk
from atlas.evaluators.verdict import submitted
from atlas.policies.paired import Final, after
from atlas.policies.probe import COACH, STOOD
from atlas.protocols import Policy, Reviewer
from atlas.records import TEACHER, Decision, LaneChoice, Review, View

Stands = Callable[[View], Awaitable[bool]]


def gives_answer(view: View, decided: Decision) -> bool:
    """Whether an action submits the answer, in words that all environments of such actions share."""
    return submitted(decided.action) is not None


class Validated:
    """``inner`` acts; an answer that is not the teacher's is reviewed before it is given. Rejected, it is decided anew
    with what the reviewer said as advice, and the lane of the episode is the coach's from there on
    (:class:`atlas.policies.lanes.Lanes`); or, where ``stands`` says so, it is given all the same, under the reason
    ``stood`` (:meth:`atlas.policies.probe.Probe.stands`)."""

    def __init__(
        self, inner: Policy, reviewer: Reviewer, *, final: Final = gives_answer, stands: Stands | None = None
    ) -> None:
        self.inner = inner
        self.reviewer = reviewer
        self.final = final
        self.stands = stands

    async def decide(self, view: View, desk: Desk) -> Decision:
        decided = await self.inner.decide(view, desk)
        # Its own answer the teacher has looked at already.
        if decided.actor == TEACHER or not self.final(view, decided):
            return decided
        review = await self.reviewer.review(after(view, decided), desk)
        if review is None:
            return decided
        reviews = (*decided.reviews, review)
        if review.approved is not False:
            return decided.replace(reviews=reviews)
        if self.stands is not None and await self.stands(view):
            return decided.replace(reason=STOOD, reviews=reviews)
        advice = "\n".join(part for part in (view.advice, review.feedback) if part)
        again = await self.inner.decide(view.replace(attempt=view.attempt + 1, advice=advice), desk)
        return again.replace(
            reason="revised",
            lane=LaneChoice(lane=COACH, reason="the teacher rejected the answer"),
            advice=advice,
            votes=decided.votes + again.votes,
            reviews=reviews,
        )

    def config(self) -> dict[str, object]:
        return {
            "policy": "validated",
            "reviewer": self.reviewer.config(),
            "inner": self.inner.config(),
            **({"stands": True} if self.stands is not None else {}),
        }


class Unanswered:
    """A reviewer of attempts that gave no answer which was reviewed already: those of environments without such
    actions, and attempts that ran out of steps. A retry is coached, and not reviewed again."""

    def __init__(self, reviewer: Reviewer) -> None:
        self.reviewer = reviewer

    async def review(self, view: View, desk: Desk) -> Review | None:
        last = view.turns[-1].action if view.turns else ""
        if view.attempt or submitted(last) is not None:
            return None
        return await self.reviewer.review(view, desk)

    def config(self) -> dict[str, object]:
        return {"unanswered": self.reviewer.config()}
