"""Entries of pamphlets, found afresh at each step, for whoever is asked: after the learning memory of ATLAS (arXiv
2511.01093), with single entries instead of one text, and coins that tell what each of them is worth."""

from __future__ import annotations

import asyncio
import math
import time

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.given import check_policy, has, shown, whole
from atlas.memory.assignment import Assignment, assignment
from atlas.policies.recall import INSTANT
from atlas.protocols import Pamphlets, Policy
from atlas.records import Citation, Decision, Guidance, View

MOST_TOKENS = 1_000_000
"""Of one prompt."""
FAIR = 0.5
"""Probability with which a coin shows an entry."""


class Guided:
    """Shows ``inner`` the entries of ``pamphlets`` that fit the step, in at most ``tokens``.

    In a ``share`` of the episodes a coin for each entry decides whether it is shown, with probability ``p``, or
    withheld for the whole episode. What is withheld leaves its place empty, so that it changes nothing else. Every
    entry that a prompt held, or would have held, is cited in the decision.
    """

    def __init__(
        self, inner: Policy, pamphlets: Pamphlets, tokens: int = 300, *, share: float = 0.0, p: float = FAIR
    ) -> None:
        check_policy("what guidance is around", inner)
        # A memory searches too, but for demonstrations.
        if not has(pamphlets, "search") or has(pamphlets, "similar"):
            raise ConfigError(f"guidance is of a memory's entries, not of {shown(pamphlets)}: give memory.entries")
        if not whole(tokens) or not 1 <= tokens <= MOST_TOKENS:
            raise ConfigError(f"guidance needs a budget of 1 to {MOST_TOKENS:,} tokens, not {shown(tokens)}")
        assignment("", "", 0, share=share, p=p)  # refuses what is no share and no probability
        self.inner = inner
        self.pamphlets = pamphlets
        self.tokens = tokens
        self.share = share
        self.p = p
        self._last_search = math.inf

    async def decide(self, view: View, desk: Desk) -> Decision:
        began = time.perf_counter()
        found = await self._search(view)
        seconds = time.perf_counter() - began
        coins = [self._coin(entry, view) for entry in found]
        shown = tuple(entry for entry, coin in zip(found, coins, strict=True) if coin.shown)
        inner = desk.apart()
        decided = await self.inner.decide(view.replace(guidance=view.guidance + shown), inner)
        asked = {spend.actor for spend in inner.spent}
        cited = tuple(
            Citation(
                id=entry.id,
                score=entry.score,
                shown=coin.shown,
                randomised=coin.randomised,
                p=self.p if coin.randomised else None,
            )
            for entry, coin in zip(found, coins, strict=True)
            if entry.audience in asked
        )
        return decided.replace(
            guidance=cited + decided.guidance,
            seconds={**decided.seconds, "guidance": seconds},
        )

    def _coin(self, entry: Guidance, view: View) -> Assignment:
        return assignment(entry.id, view.task.id, view.seed, share=self.share, p=self.p)

    async def _search(self, view: View) -> tuple[Guidance, ...]:
        """In a thread, so that other episodes go on; directly where the last search took less than starting one."""

        def search() -> tuple[Guidance, ...]:
            began = time.perf_counter()
            found = tuple(self.pamphlets.search(view, self.tokens))
            self._last_search = time.perf_counter() - began
            return found

        return search() if self._last_search < INSTANT else await asyncio.to_thread(search)

    def config(self) -> dict[str, object]:
        return {
            "policy": "guided",
            "tokens": self.tokens,
            "share": self.share,
            "p": self.p,
            "pamphlets": self.pamphlets.config(),
            "inner": self.inner.config(),
        }
