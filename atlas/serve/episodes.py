"""The open episodes of one tenant: which of them a call belongs to, and when they end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import unquote

from atlas.errors import AtlasError, ConfigError
from atlas.records import Episode, Message, Step, Stop
from atlas.redact import scrub
from atlas.serve.talks import Found, Talks
from atlas.traces.late import rescored
from atlas.wire.app import Arrival
from atlas.wire.calls import Call
from atlas.wire.refusals import Refused
from atlas.wire.request import Request, Told
from atlas.wrap import Agent, WrappedEpisode

log = logging.getLogger("atlas.serve")

GOAL = 2000
"""Characters of a first user turn that are taken for the goal."""
_REMEMBERED = 256
"""Episodes that are over and may still be scored, with their steps."""


class Opened:
    """An open episode: a seat of the wire."""

    def __init__(self, episode: WrappedEpisode, name: str, of: Episodes) -> None:
        self.episode = episode
        self.name = name
        self.first = ""
        """The key of its first call, where it has no name."""
        self.used = time.monotonic()
        self.calls = episode.calls
        self.over = asyncio.Event()
        """Set once it has ended."""
        self._of = of
        self._rewritten = False

    @property
    def id(self) -> str:
        return self.episode.id

    def arrived(self, messages: Sequence[Message], found: Found | None) -> None:
        """A call goes on with this episode."""
        self._of.in_use(self)
        self._rewritten = found is not None and found.rewritten
        self._of.talks.asked(self.id, messages)

    async def act(self, request: Request, call: Call) -> Told:
        rewritten = self._rewritten
        try:
            told = await self.episode.act(request, call)
        finally:
            self._of.in_use(self)
        self._of.talks.said(self.id, request.messages, (told.decision, *told.others))
        return replace(told, notes={**told.notes, "x-atlas-history": "rewritten"}) if rewritten else told


class Episodes:
    """The host of a tenant's calls.

    A call belongs to the episode that its path names (``/e/NAME/v1``), else its header ``X-Atlas-Episode``, else the
    conversation's own name (codex's ``session-id``), else to the one that its conversation goes on with. A name that no
    open episode has begins one.
    """

    def __init__(self, agent: Agent, *, idle: float, most: int, goal: str = "", task: str = "") -> None:
        """
        idle: seconds without a call after which an episode ends, unscored where nobody scored it.
        most: open episodes at a time; one more ends the one that was idle longest.
        goal, task: of episodes whose calls name none.
        """
        self.agent = agent
        self.talks = Talks()
        self.ended: Callable[[Episode], object] = lambda episode: None
        """Told of each episode that is over."""
        self._idle = idle
        self._most = most
        self._goal, self._task = goal, task
        self._open: dict[str, Opened] = {}
        self._by_use: OrderedDict[str, Opened] = OrderedDict()
        """The same, who was called longest ago first."""
        self._names: dict[str, str] = {}
        self._begun: dict[str, str] = {}
        """Episodes without a name, by what was asked in them first."""
        self._over: OrderedDict[str, tuple[Episode, tuple[Step, ...]]] = OrderedDict()
        self._were: OrderedDict[str, str] = OrderedDict()
        """The newest of these, by name."""
        self._ending: dict[str, Opened] = {}
        self._closing = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def opened(self) -> list[Opened]:
        """The open ones, in the order of their beginning."""
        return list(self._open.values())

    # --- what the wire asks -------------------------------------------------------------------------------------------

    async def seat(self, arrival: Arrival) -> Opened:
        request = arrival.request
        assert request is not None
        if self._closing:
            raise Refused(503, "the server is shutting down: ask again when it is back", kind="server_error")
        headers = arrival.headers
        name = arrival.episode or unquote(headers.get("x-atlas-episode", "")) or headers.get("session-id", "")
        name = name or request.conversation
        found = None
        if name:
            opened = self._open.get(self._names.get(name, name))
        elif (opened := self._open.get(self._begun.get(arrival.key, ""))) is None or not opened.calls.goes_on(
            arrival.key, arrival.retry
        ):
            # No client asks again for the first answer of this one: the conversation tells.
            found = self.talks.find(request.messages)
            opened = self._open.get(found.id) if found else None
        opened = opened or await self._begin(arrival, name)
        opened.arrived(request.messages, found)
        return opened

    async def models(self, arrival: Arrival) -> list[str]:
        return ["atlas"]

    def failed(self, arrival: Arrival, error: Exception) -> None:
        """The client is told; nothing is counted here."""

    def in_use(self, opened: Opened) -> None:
        """A call of this one begins, or is over."""
        opened.used = time.monotonic()
        if opened.id in self._by_use:
            self._by_use.move_to_end(opened.id)

    # --- how they end -------------------------------------------------------------------------------------------------

    async def score(self, name: str, value: float, *, end: bool = True) -> Episode | None:
        """Score an episode by its id or name, an open one or one that is over; None where it goes on. The last word
        counts."""
        opened = self._open.get(self._names.get(name, name))
        if opened is not None:
            opened.episode.score(value)
            return await self._end(opened) if end else None
        for ending in [other for other in self._ending.values() if name in (other.id, other.name)]:
            await ending.over.wait()
        id = self._were.get(name, name)
        if id not in self._over:
            raise Refused(
                404, f"no episode {name[:200]!r} is open or lately over: score it with 'atlas score RUN EPISODE VALUE'"
            )
        episode, steps = self._over[id]
        late = rescored(episode, value, at_least=self.agent.success_score)
        await asyncio.to_thread(self._keep, late, steps)
        self._over[id] = late, steps
        return late

    async def sweep(self) -> None:
        """End what nobody has called for long."""
        before = time.monotonic() - self._idle
        for opened in self.opened:
            if opened.used < before and not opened.calls.under_way and opened.id in self._open:
                await self._end_aside(opened)

    async def close(self) -> None:
        """End all of them; what is under way is given up."""
        self._closing = True
        for opened in self.opened:
            await self._end_aside(opened)

    def named(self, name: str) -> tuple[str, Episode | None, int]:
        """(id, its result where it is over, steps so far) of an episode, by its id or name."""
        opened = self._open.get(self._names.get(name, name))
        if opened is not None:
            return opened.id, None, opened.episode.book.count
        id = self._were.get(name, name)
        if id in self._over:
            episode, _ = self._over[id]
            return episode.id, episode, episode.steps
        raise Refused(404, f"no episode {name[:200]!r} is open or lately over: see 'atlas traces show'")

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _begin(self, arrival: Arrival, name: str) -> Opened:
        assert arrival.request is not None
        headers = arrival.headers
        if len(name) > 200 or not name.isprintable():
            raise ConfigError("an episode's name has at most 200 characters, all of them printable: choose another")
        goal = unquote(headers.get("x-atlas-goal", "")) or self._goal or _first_words(arrival.request.messages)
        if len(self._open) >= self._most:
            quiet = next((opened for opened in self._by_use.values() if not opened.calls.under_way), None)
            if quiet is None:
                raise Refused(429, f"{self._most} episodes are open, and all are at work: ask again later")
            await self._end_aside(quiet)
            if name in self._names:
                # Another call began it meanwhile.
                return self._open[self._names[name]]
        # Its steps, and with them its prompts, are held for the memory that learns from them, and for nothing else.
        task = unquote(headers.get("x-atlas-task", "")) or self._task or None
        episode = self.agent.episode(goal, task=task, keeps_steps=self.agent.memory is not None)
        episode.__enter__()
        opened = self._open[episode.id] = self._by_use[episode.id] = Opened(episode, name, self)
        if name:
            self._names[name] = episode.id
        else:
            opened.first = arrival.key
            self._begun[arrival.key] = episode.id
        return opened

    async def _end_aside(self, opened: Opened) -> None:
        """End one for which nobody waits: what fails there concerns no other."""
        try:
            await self._end(opened)
        except AtlasError as error:
            log.error("episode %s has ended, but: %s", opened.id, scrub(str(error)))

    async def _end(self, opened: Opened) -> Episode | None:
        del self._open[opened.id], self._by_use[opened.id]
        self._names.pop(opened.name, None)
        if self._begun.get(opened.first) == opened.id:
            del self._begun[opened.first]
        self.talks.forget(opened.id)
        self._ending[opened.id] = opened
        try:
            await opened.episode.__aexit__(None, None, None)
        finally:
            result = opened.episode.result
            if result is not None:
                self.ended(result)
                self._remember(opened, result)
            del self._ending[opened.id]
            opened.over.set()
        return result

    def _remember(self, opened: Opened, result: Episode) -> None:
        self._over[opened.id] = result, opened.episode.steps
        if len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)
        if opened.name:
            self._were[opened.name] = opened.id
            self._were.move_to_end(opened.name)
            if len(self._were) > _REMEMBERED:
                self._were.popitem(last=False)

    def _keep(self, episode: Episode, steps: tuple[Step, ...]) -> None:
        if episode.stop is Stop.DONE or episode.score is not None:
            self.agent.recorder.end(episode)
            self.agent.learn_from(episode, steps)


def _first_words(messages: Sequence[Message]) -> str:
    words = next((m.content for m in messages if m.role == "user" and m.content.strip()), "")
    return words.strip()[:GOAL] or "(a conversation without words of a user)"
