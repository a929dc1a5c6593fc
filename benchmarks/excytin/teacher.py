"""The scripted analyst as a teacher in a cascade."""

from __future__ import annotations

from atlas.benchmarks.excytin.analyst import Analyst
from atlas.benchmarks.excytin.analyst_words import guidance, plan_for, review
from atlas.benchmarks.scripted import STATED_PRICE, charged
from atlas.prompts import reply_text
from atlas.records import Ask, Completion, Price


class ScriptedAnalyst:
    """A program, not a language model: it knows what its queries have shown, and is always reported as scripted.

    So that costs can be compared, it is charged what a hosted model would have been for the same prompts and replies:
    their estimated tokens (:func:`atlas.tokens.estimate_tokens`, none of them cached) at a stated price.
    """

    name = "scripted-analyst"
    shares_prompt = False
    scripted = True
    """It writes no prose on demand: nobody distils by it."""

    def __init__(self, *, price: Price | None = None) -> None:
        self.price: Price = price or STATED_PRICE

    async def sample(self, ask: Ask) -> Completion:
        view = ask.view
        analyst = Analyst(view.task.goal, [(turn.action, turn.observation) for turn in view.turns])
        if ask.purpose == "plan":
            text = plan_for(view.task.goal)
        elif ask.purpose == "review":
            text = review(analyst, view.turns[-1].action if view.turns else "")
        elif ask.purpose == "guide":
            text = guidance(analyst.act(), ask.proposal)
        else:
            move = analyst.act()
            text = reply_text(move.action, move.reason)
        return charged(ask, text, self.price)
