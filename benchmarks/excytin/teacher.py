"""The scripted analyst as a teacher in a cascade."""

from __future__ import annotations

from atlas.benchmarks.excytin.analyst import Analyst
from atlas.benchmarks.scripted import STATED_PRICE, charged
from atlas.prompts import reply_text
from atlas.records import Ask, Completion, Price

PLAN = (
    "Look at the tables. Find the alert that the question tells of by a value that it names. Read the other alerts of "
    "the same incident. Take the one that the question asks about, and give the value that is asked for."
)


class ScriptedAnalyst:
    """A program, not a language model: it knows what its queries have shown, and is always reported as scripted.

    So that costs can be compared, it is charged what a hosted model would have been for the same prompts and replies:
    their estimated tokens (:func:`atlas.tokens.estimate_tokens`, none of them cached) at a stated price.
    """

    name = "scripted-analyst"
    shares_prompt = False

    def __init__(self, *, price: Price | None = None) -> None:
        self.price: Price = price or STATED_PRICE

    async def sample(self, ask: Ask) -> Completion:
        view = ask.view
        if ask.purpose == "plan":
            text = PLAN
        else:
            move = Analyst(view.task.goal, [(turn.action, turn.observation) for turn in view.turns]).act()
            text = reply_text(move.action, move.reason)
        return charged(ask, text, self.price)
