"""The scripted expert as a teacher in a cascade."""

from __future__ import annotations

from atlas.actions import normalise
from atlas.benchmarks.alfworld.expert import Expert
from atlas.benchmarks.alfworld.expert_review import review
from atlas.benchmarks.scripted import STATED_PRICE, charged
from atlas.prompts import reply_text
from atlas.records import Ask, Completion, Price


class ScriptedExpert:
    """A program, not a language model: it explores by the text alone, and is always reported as scripted.

    So that costs can be compared, it is charged what a hosted model would have been for the same prompts and replies:
    their estimated tokens (:func:`atlas.tokens.estimate_tokens`, none of them cached) at a stated price.
    """

    name = "scripted-expert"
    shares_prompt = False
    scripted = True
    """It writes no prose on demand: nobody distils by it."""

    def __init__(self, *, price: Price | None = None) -> None:
        self.price: Price = price or STATED_PRICE
        self._expert = Expert()

    async def sample(self, ask: Ask) -> Completion:
        view = ask.view
        if ask.purpose == "plan":
            text = self._expert.plan(view.task.goal, view.opening)
        elif ask.purpose == "review":
            text = review(view.task.goal, view.opening, [(turn.action, turn.observation) for turn in view.turns])
        else:
            history = [(turn.action, turn.observation) for turn in view.turns]
            move = self._expert.act(view.task.goal, view.opening, history, view.admissible)
            text = reply_text(move.action, move.reason)
            if ask.purpose == "guide":
                same = normalise(move.action) == normalise(ask.proposal)
                text = "Verdict: good" if same else f"Advice: {move.reason}\nAction: {move.action}"
        return charged(ask, text, self.price)
