"""The episode so far in fewer tokens, for the student that acts in it."""

from __future__ import annotations

import asyncio

from atlas.asking import Desk
from atlas.compression import Compressor
from atlas.compression.history import told
from atlas.errors import ConfigError
from atlas.protocols import Policy
from atlas.records import Decision, View


class Abridged:
    """Tells the students of ``inner`` at most about ``tokens`` of the episode so far: ``Abridged(Solo(student), 600)``.

    Where that is exceeded old steps are left out, down to about half of it, and what is told grows again: see
    :func:`atlas.compression.history.told`. A prefix that changed at every step would cost more than it saves, as no
    cache would hold it. The ``compressor`` says what goes first; without one the oldest does. A teacher of ``inner`` is
    told all, and what a wrapped agent sends itself stays as it is. Local models leave out more where even this does
    not fit their context (:mod:`atlas.models.fit`).
    """

    def __init__(self, inner: Policy, tokens: int, compressor: Compressor | None = None) -> None:
        """Raises ConfigError for no tokens at all."""
        if tokens < 1:
            raise ConfigError(f"an episode is told in 1 token or more, not in {tokens}")
        self.inner = inner
        self.tokens = tokens
        self.compressor = compressor

    async def decide(self, view: View, desk: Desk) -> Decision:
        if not view.messages:
            view = view.replace(told=await asyncio.to_thread(told, view, self.tokens, self.compressor))
        return await self.inner.decide(view, desk)

    def config(self) -> dict[str, object]:
        return {
            "policy": "abridged",
            "tokens": self.tokens,
            "compressor": self.compressor.digest if self.compressor else None,
            "inner": self.inner.config(),
        }
