"""Demonstrations in fewer tokens, for whoever is asked."""

from __future__ import annotations

import asyncio

from atlas.asking import Desk
from atlas.compression import KEEP, Compressor, all_compressed
from atlas.errors import ConfigError
from atlas.protocols import Policy
from atlas.records import Decision, View, Window


class Compressed:
    """Shows ``inner`` what was retrieved in at most a share of ``keep`` of its tokens:
    ``Recall(Compressed(Solo(student), compressor), memory)``.

    What stays is chosen by the demonstration and the goal of the task, so that it is the same at all steps of an
    episode for which demonstrations are found once, and a provider's cache holds it.
    """

    def __init__(self, inner: Policy, compressor: Compressor, keep: float = KEEP) -> None:
        if not 0.0 < keep <= 1.0:
            raise ConfigError(f"a share of a demonstration's tokens lies above 0 and at most at 1, not at {keep}")
        self.inner = inner
        self.compressor = compressor
        self.keep = keep

    async def decide(self, view: View, desk: Desk) -> Decision:
        if not view.retrieved:
            return await self.inner.decide(view, desk)
        windows = await asyncio.to_thread(self._shorter, view)
        return await self.inner.decide(view.replace(retrieved=windows), desk)

    def _shorter(self, view: View) -> tuple[Window, ...]:
        return all_compressed(view.retrieved, self.compressor, self.keep, view.task.goal, lasting=view.lasting)

    def config(self) -> dict[str, object]:
        return {
            "policy": "compressed",
            "compressor": self.compressor.digest,
            "keep": self.keep,
            "inner": self.inner.config(),
        }
