"""A cascade over whole attempts: each tier plays the task to its answer, which is held back until it is known whether
to take it, to ask the next tier, or to take an earlier one's. An answer is given once.

What was held back stands in the episode's turns, so that all of this follows from the view: a killed episode is resumed
as any other, and the trace shows every tier's steps and what each would have answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from atlas.asking import Desk
from atlas.chances.attempt import ANSWERS, Attempt, answer_in
from atlas.chances.selector import Selector, Settled
from atlas.errors import ConfigError
from atlas.protocols import Environment, Policy
from atlas.records import STUDENT, Decision, Observation, Turn, View

HOLD = "hold back: "
"""What the action begins with that keeps an answer, which may be none, and begins the task anew for the next tier."""
NONE_GIVEN = "give no answer"
"""The action that ends an episode in which no tier had an answer."""
OVER = "(this attempt is over, and gave no answer)"


class Replayed:
    """An environment whose answer can be held back: :class:`Select` plays the task anew for each tier, in a fresh one
    that ``make`` gives, and the answer goes to one that is still open.

    It is for environments whose actions but the answer change nothing that lasts. One that ends well without an answer
    is none of them: ConfigError.
    """

    def __init__(self, make: Callable[[], Environment], answers: str = ANSWERS) -> None:
        self._make = make
        self._answers = answers
        self._inner = make()
        self._over = False
        self._score: float | None = None
        self.task = self._inner.task

    async def open(self) -> Observation:
        seen = await self._inner.open()
        self._score = seen.score
        return seen

    async def step(self, action: str) -> Observation:
        if action == NONE_GIVEN:
            return Observation(text="", score=self._score, done=True)
        held = action.startswith(HOLD)
        if held or self._over:
            await self._inner.close()
            self._inner, self._over = self._make(), False
            seen = await self.open()
            if held:
                return seen
        seen = await self._inner.step(action)
        self._score = seen.score
        if not seen.done or answer_in(action, self._answers) is not None:
            return seen
        if seen.score:
            raise ConfigError(
                f"the task {self.task.id} was decided by the action {action[:60]!r} and not by an answer that could be "
                "held back: tiers that choose among answers cannot play it, take a cascade"
            )
        self._over = True
        return Observation(text=f"{seen.text}\n{OVER}", score=seen.score)

    async def close(self) -> None:
        await self._inner.close()


class _Part(NamedTuple):
    """What one tier did so far."""

    opening: str
    turns: tuple[Turn, ...]
    held: Turn | None
    """The turn that ended it; None for the present tier."""


class Select:
    """``tiers`` attempt the task one after the other, the cheapest first, and ``selector``, which was learned from
    attempts of theirs, says whose answer is given and when no further one is asked. Any policy can be a tier.

    It is played in a :class:`Replayed` environment. ``steps`` is what each tier may take before the next one is asked;
    None leaves that to the environment.

    Reasons: those of the tiers, then ``held`` with the chance of the best answer so far, ``chosen`` for a tier's own
    answer that is given, ``picked`` for an earlier tier's.
    """

    def __init__(self, tiers: Sequence[Policy], selector: Selector, *, steps: int | None = None) -> None:
        if len(tiers) != len(selector.tiers):
            raise ConfigError(
                f"the selector was learned from {len(selector.tiers)} tiers ({', '.join(selector.tiers)}), and "
                f"{len(tiers)} are given: give as many, in that order"
            )
        if steps is not None and steps < 1:
            raise ConfigError(f"a tier may take 1 step or more, not {steps}")
        self.tiers = tuple(tiers)
        self.selector = selector
        self.steps = steps

    async def decide(self, view: View, desk: Desk) -> Decision:
        parts = _parts(view)
        tier, now = len(parts) - 1, parts[-1]
        over = bool(now.turns) and now.turns[-1].observation.endswith(OVER)
        decided: Decision | None = None
        if not over and (self.steps is None or len(now.turns) < self.steps):
            decided = await self._tier(view, tier, now, desk)
            if answer_in(decided.action, self.selector.answers) is None:
                return decided
        settled = await asyncio.to_thread(self.selector.settle, self._attempts(view, parts, decided))
        if not settled.stop:
            why = f"held: chance {settled.chance:.2f} of {self.selector.tiers[settled.best]}"
            return self._said(decided, f"{HOLD}{decided.action if decided else ''}", tier, why)
        return self._given(parts, decided, settled)

    async def _tier(self, view: View, tier: int, now: _Part, desk: Desk) -> Decision:
        """What the present tier does: it sees its own attempt alone."""
        draw = view.draw if not tier else f"{view.draw}/tier {tier}".lstrip("/")
        own = view.replace(opening=now.opening, turns=now.turns, draw=draw)
        if now.turns or not tier:
            return await self.tiers[tier].decide(own, desk)
        decided = await self.tiers[tier].decide(own.replace(plan="", lane=""), desk)
        # The plan before was another tier's.
        return decided.replace(plan=decided.plan or "")

    def _attempts(self, view: View, parts: Sequence[_Part], decided: Decision | None) -> list[Attempt]:
        found = []
        for part in parts:
            if part.held is not None:
                action, thought = part.held.action.removeprefix(HOLD), part.held.thought
            else:
                action, thought = (decided.action, decided.thought) if decided else ("", "")
            answer = answer_in(action, self.selector.answers)
            found.append(Attempt.of_turns(view.task.goal, part.turns, answer, thought))
        return found

    def _given(self, parts: Sequence[_Part], decided: Decision | None, settled: Settled) -> Decision:
        """The best answer there is."""
        held = [part.held.action.removeprefix(HOLD) if part.held else "" for part in parts]
        held[-1] = decided.action if decided else ""
        order = sorted(range(len(parts)), key=lambda i: (i == settled.best, settled.chances[i]), reverse=True)
        best = next((i for i in order if held[i]), None)
        if best is None:
            return self._said(decided, NONE_GIVEN, len(parts) - 1, "no answer")
        if best == len(parts) - 1 and decided is not None:
            return decided.replace(reason=f"chosen: chance {settled.chance:.2f}")
        why = f"picked: {self.selector.tiers[best]}, chance {settled.chance:.2f}"
        return self._said(decided, held[best], best, why)

    def _said(self, decided: Decision | None, action: str, tier: int, reason: str) -> Decision:
        if decided is None:
            return Decision(action=action, actor=self._actor(tier), reason=reason)
        actor = decided.actor if action.startswith(HOLD) else self._actor(tier)
        return decided.replace(action=action, actor=actor, reason=reason)

    def _actor(self, tier: int) -> str:
        return str(getattr(self.tiers[tier], "actor", STUDENT))

    def config(self) -> dict[str, object]:
        return {
            "policy": "select",
            "tiers": [tier.config() for tier in self.tiers],
            "selector": self.selector.digest,
            "steps": self.steps,
        }


def _parts(view: View) -> list[_Part]:
    found, opening, begin = [], view.opening, 0
    for place, turn in enumerate(view.turns):
        if turn.action.startswith(HOLD):
            found.append(_Part(opening, view.turns[begin:place], turn))
            opening, begin = turn.observation, place + 1
    return [*found, _Part(opening, view.turns[begin:], None)]
