"""The paired lane within an episode: the teacher validates an answer before it is given (arXiv 2511.01093)."""

from __future__ import annotations

from collections.abc import Callable

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.given import check_policy, has, shown
from atlas.protocols import Policy, Reviewer
from atlas.records import Decision, Message, Review, Turn, View, reply_text

Final = Callable[[View, Decision], bool]


def answers(view: View, decided: Decision) -> bool:
    """Whether a wrapped agent's loop gets its answer: a reply that calls none of its tools."""
    return bool(view.messages) and not decided.tool_calls


class Paired:
    """``inner`` acts; a step that ``final`` says is the answer is reviewed before it is given.

    A rejected answer is decided anew once, with what the reviewer said as advice, and that answer is reviewed too; it
    is given whatever the second review says, which stands in the trace. Where an attempt cannot be taken back (a
    household, a repository) give the reviewer to the rollout instead: it reviews the whole attempt.
    """

    def __init__(self, inner: Policy, reviewer: Reviewer, *, final: Final = answers) -> None:
        check_policy("what a review is around", inner)
        if not has(reviewer, "review"):
            raise ConfigError(f"a reviewer is atlas.TeacherReview(model), say, not {shown(reviewer)}")
        self.inner = inner
        self.reviewer = reviewer
        self.final = final

    async def decide(self, view: View, desk: Desk) -> Decision:
        decided = await self.inner.decide(view, desk)
        if not self.final(view, decided):
            return decided
        review = await self.reviewer.review(after(view, decided), desk)
        if review is None:
            return decided
        reviewed = _with(decided, review)
        if review.approved is not False:
            return reviewed
        # What is told now stands beside what was told before.
        advice = "\n".join(part for part in (view.advice, review.feedback) if part)
        retry = view.replace(attempt=view.attempt + 1)
        again = await self.inner.decide(retry.replace(advice=advice), desk)
        revised = again.replace(
            reason="revised",
            advice=advice,
            votes=reviewed.votes + again.votes,
            reviews=reviewed.reviews,
        )
        if not self.final(view, again):
            return revised
        second = await self.reviewer.review(after(retry, again), desk)
        return revised if second is None else _with(revised, second)

    def config(self) -> dict[str, object]:
        return {"policy": "paired", "reviewer": self.reviewer.config(), "inner": self.inner.config()}


def _with(decided: Decision, review: Review) -> Decision:
    return decided.replace(reviews=(*decided.reviews, review))


def after(view: View, decided: Decision) -> View:
    """The view as it will be when the answer is given."""
    turn = Turn(action=decided.action, observation="", thought=decided.thought)
    said = Message(role="assistant", content=decided.text or reply_text(decided.action, decided.thought))
    return view.replace(turns=(*view.turns, turn), messages=(*view.messages, said) if view.messages else ())
