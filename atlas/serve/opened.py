"""An open episode of a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from atlas.records import Message
from atlas.serve.moving import Held
from atlas.serve.talks import Found, Heard
from atlas.wire.calls import Call, Calls
from atlas.wire.request import Request, Told
from atlas.wrap import WrappedEpisode

if TYPE_CHECKING:
    from atlas.serve.episodes import Episodes


class Opened:
    """An open episode: a seat of the wire."""

    def __init__(self, id: str, name: str, of: Episodes, episode: WrappedEpisode | None = None) -> None:
        """``episode`` is None for one that another process began, until this one goes on with it."""
        self.id = id
        self.name = name
        self._episode = episode
        self.held = Held()
        """What this process has of it, where several go on with it."""
        self.heard = Heard()
        """What it was asked last."""
        self.first = ""
        """The key of its first call, where it has no name."""
        self.used = time.monotonic()
        self.calls = Calls() if episode is None else episode.calls
        self.over = asyncio.Event()
        """Set once it has ended."""
        self.ends = asyncio.Lock()
        """Of whoever ends it."""
        self.left_by: BaseException | None = None
        """What it ends with, where whoever ends it knows that it came to no result."""
        self._of = of
        self._rewritten = False

    @property
    def episode(self) -> WrappedEpisode:
        assert self._episode is not None
        return self._episode

    def goes_on(self, episode: WrappedEpisode) -> None:
        """As another process has left it."""
        self._episode, episode.calls = episode, self.calls

    def arrived(self, messages: Sequence[Message], found: Found | None) -> None:
        """A call goes on with this episode."""
        self._of.in_use(self)
        self._rewritten = found is not None and found.rewritten
        self.heard = self._of.talks.asked(self.id, messages)

    async def act(self, request: Request, call: Call) -> Told:
        rewritten = self._rewritten
        try:
            told = await self._of.acted(self, request, call)
        finally:
            self._of.in_use(self)
        await self._of.said(self, self._of.talks.said(self.id, request.messages, (told.decision, *told.others)))
        return replace(told, notes={**told.notes, "x-atlas-history": "rewritten"}) if rewritten else told
