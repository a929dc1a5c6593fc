"""The open episodes of one tenant: which of them a call belongs to, and when they end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import unquote

from atlas.errors import AtlasError, ConfigError
from atlas.records import Episode, Message, Step, Stop
from atlas.redact import scrub
from atlas.serve.kept import Kept
from atlas.serve.moving import ANSWERS, Moving, given_before, kept_answer
from atlas.serve.opened import Opened
from atlas.serve.returning import Returning
from atlas.serve.talks import Found, Heard, Talks
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


class Episodes:
    """The host of a tenant's calls.

    A call belongs to the episode that its path names (``/e/NAME/v1``), else its header ``X-Atlas-Episode``, else the
    conversation's own name (codex's ``session-id``), else to the one that its conversation goes on with. A name that no
    open episode has begins one.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        idle: float,
        most: int,
        goal: str = "",
        task: str = "",
        kept: Kept | None = None,
        moving: Moving | None = None,
    ) -> None:
        """
        idle: seconds without a call after which an episode ends, unscored where nobody scored it.
        most: open episodes at a time; one more ends the one that was idle longest.
        goal, task: of episodes whose calls name none.
        kept: where conversations are found again that a server before this one was stopped in.
        moving: where other processes go on with the same episodes: they outlive this one.
        """
        self.agent = agent
        self.moving = moving
        self.talks = Talks()
        self._kept = kept
        self._returning = Returning(agent, kept, until=time.monotonic() + idle)
        for id, left in self._returning.left.items():
            self.talks.recall(id, left.moments)
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
        await self._follow()
        opened, found = await self._find(arrival, request, name)
        if opened is None and self.moving is not None:
            async with self.moving.alone(name or arrival.key):
                await self._follow()
                opened, found = await self._find(arrival, request, name)
                opened = opened or await self._begin(arrival, name)
        opened = opened or await self._begin(arrival, name)
        opened.arrived(request.messages, found)
        return opened

    async def _find(self, arrival: Arrival, request: Request, name: str) -> tuple[Opened | None, Found | None]:
        """The open episode of a call, and how its conversation was recognised, where that told it."""
        found = None
        if name:
            opened = self._open.get(self._names.get(name, name)) or await self._resumed(
                self._returning.of(name), "name"
            )
        elif (opened := self._open.get(self._begun.get(arrival.key, ""))) is None or not (
            opened.calls.goes_on(arrival.key, arrival.retry) or (self.moving is not None and arrival.retry)
        ):
            # No client asks again for the first answer of this one: the conversation tells.
            asked = self._returning.asked(arrival.key, arrival.retry)
            found = None if asked else self.talks.find(request.messages)
            opened = self._open.get(found.id) if found else None
            if opened is None and (asked or found is not None):
                opened = await self._resumed(asked or (found.id if found else ""), "conversation")
        return opened, found

    async def acted(self, opened: Opened, request: Request, call: Call) -> Told:
        """A step of an open episode."""
        held = opened.held
        if self.moving is None:
            return given_before(held, call) or await self._acted(opened, request, call)
        async with self.moving.turn(opened.id, held, opened.goes_on) as there:
            if not there or opened.over.is_set():
                self._close(opened)
                raise Refused(503, "the episode has ended meanwhile: send the call again", kind="server_error")
            if (before := given_before(held, call)) is not None:
                return before
            try:
                told = await opened.episode.act(request, call)
                held.answers[call.key] = kept_answer(told, call.number)
                while len(held.answers) > ANSWERS:
                    held.answers.popitem(last=False)
            finally:
                if not opened.over.is_set():
                    await self.moving.keep(opened.episode, held)
        return told

    async def _acted(self, opened: Opened, request: Request, call: Call) -> Told:
        """The same, which is kept beside the run before the client is told."""
        if self._kept is None:
            return await opened.episode.act(request, call)
        kept, told = self._kept.open, None
        call.had = lambda: kept.had(opened.id, call.key) if opened.id in self._open else None
        try:
            told = await opened.episode.act(request, call)
            return told
        finally:
            kept.keep(opened.episode, call, told)

    async def models(self, arrival: Arrival) -> list[str]:
        return ["atlas"]

    def failed(self, arrival: Arrival, error: Exception) -> None:
        """The client is told; nothing is counted here."""

    def in_use(self, opened: Opened) -> None:
        """A call of this one begins, or is over."""
        opened.used = time.monotonic()
        if opened.id in self._by_use:
            self._by_use.move_to_end(opened.id)

    async def said(self, opened: Opened, heard: Heard) -> None:
        """The conversation of this one is there now."""
        if self._kept is not None:
            for moment in heard.moments:
                self._kept.talks.said(opened.id, bytes.fromhex(moment))
        if self.moving is not None:
            await self.moving.heard(opened.id, opened.heard, heard)

    # --- how they end -------------------------------------------------------------------------------------------------

    async def score(self, name: str, value: float, *, end: bool = True) -> Episode | None:
        """Score an episode by its id or name, an open one or one that is over; None where it goes on. The last word
        counts."""
        await self._follow()
        opened = self._open.get(self._names.get(name, name)) or await self._resumed(self._returning.of(name), "name")
        if opened is not None and end and (result := await self._end(opened, value)) is not None:
            return result
        if opened is not None and not end:
            async with self._turn(opened) as there:
                if there and not opened.over.is_set():
                    opened.episode.score(value)
                    if self.moving is not None:
                        await self.moving.keep(opened.episode, opened.held)
                    return None
        await self._ended(name)
        id = await self._was_ended(name if opened is None else opened.id)
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
        for id in self._returning.given_up():
            if self._returning.left.pop(id, None) is not None:
                await self._give_up(id)
        if self._kept is not None:
            await asyncio.to_thread(self._kept.open.sync)
        if self.moving is not None:
            await self._follow()
            for id in await self.moving.idle(self._idle):
                if id in self._open:
                    await self._end_aside(self._open[id], waits=False)
            return
        before = time.monotonic() - self._idle
        for opened in self.opened:
            if opened.used < before and not opened.calls.under_way and opened.id in self._open:
                await self._end_aside(opened)

    async def close(self) -> None:
        """End all of them, unless other processes go on with them; what is under way is given up."""
        self._closing = True
        if self.moving is not None:
            for opened in self.opened:
                await opened.calls.end()
            await self.moving.close()
            return
        for opened in self.opened:
            await self._end_aside(opened)
        if self._kept is not None:
            self._kept.close()

    async def named(self, name: str) -> tuple[str, Episode | None, int]:
        """(id, its result where it is over, steps so far) of an episode, by its id or name."""
        await self._follow()
        opened = self._open.get(self._names.get(name, name)) or await self._resumed(self._returning.of(name), "name")
        if opened is not None and self.moving is None:
            return opened.id, None, opened.episode.book.count
        if opened is not None and self.moving is not None:
            if (steps := await self.moving.steps(opened.id)) is not None:
                return opened.id, None, steps
            self._close(opened)
        await self._ended(name)
        id = await self._was_ended(name)
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
        if await self._make_room() and name in self._names:
            # Another call began it meanwhile.
            return self._open[self._names[name]]
        # Its steps, and with them its prompts, are held for the memory that learns from them, and for nothing else.
        task = unquote(headers.get("x-atlas-task", "")) or self._task or None
        episode = self.agent.episode(goal, task=task, keeps_steps=self.agent.memory is not None)
        episode.__enter__()
        opened = self._enter(episode, name, "" if name else arrival.key)
        if name and (self._kept is not None or self.moving is not None):
            self._returning.named(episode.id, name)
        if self._kept is not None:
            self._kept.talks.begun(episode.id, name, time.time())
        if self.moving is not None:
            await self.moving.begin(episode, opened.held)
            await self.moving.tell(open=episode.id, name=name, first=opened.first)
        return opened

    async def _make_room(self) -> bool:
        """See to it that one more may be open; whether one was ended for it."""
        if len(self._open) < self._most:
            return False
        quiet = next((opened for opened in self._by_use.values() if not opened.calls.under_way), None)
        if quiet is None:
            raise Refused(429, f"{self._most} episodes are open, and all are at work: ask again later")
        await self._end_aside(quiet)
        return True

    def _enter(self, episode: WrappedEpisode, name: str, first: str = "") -> Opened:
        # Without a memory its end is a line of the trace, as each step is: a thread for it would cost more.
        episode.ends_at_once = self.agent.memory is None
        if self._kept is not None or self.moving is not None:
            episode.keeper = None  # it goes on, as is kept here
        return self._known(Opened(episode.id, name, self, episode), first)

    def _known(self, opened: Opened, first: str) -> Opened:
        """It is open. ``first`` is the key of its first call, where it has no name."""
        self._open[opened.id] = self._by_use[opened.id] = opened
        if opened.name:
            self._names[opened.name] = opened.id
        elif first:
            opened.first = first
            self._begun[first] = opened.id
        return opened

    async def _follow(self) -> None:
        """Take in what other processes have told."""
        if self.moving is not None:
            await self.moving.follow(self._learn)

    def _learn(self, event: Mapping[str, Any]) -> None:
        if (begun := event.get("open")) is not None:
            self._known(Opened(begun, event["name"], self), event["first"])
        elif (opened := self._open.get(event.get("heard", ""))) is not None:
            self.talks.learn(opened.id, Heard(event["moments"], event["calls"], event["texts"]))
            self.in_use(opened)
        elif (id := event.get("over")) is not None:
            if id in self._open:
                self._close(self._open[id])
            self._was(event["name"], id)

    @asynccontextmanager
    async def _turn(self, opened: Opened, *, waits: bool = True) -> AsyncIterator[bool]:
        """An episode is this process's inside. Gives whether it is open."""
        if self.moving is None:
            yield True
            return
        async with self.moving.turn(opened.id, opened.held, opened.goes_on, waits=waits) as there:
            yield there

    async def _was_ended(self, name: str) -> str:
        """The id of the newest of that name or id which is over, and is remembered if it can be."""
        id = self._were.get(name, name)
        if id not in self._over and self.moving is not None and (found := await self.moving.ended(id)) is not None:
            self._over[id] = found
        return id

    async def _resumed(self, id: str, by: Literal["conversation", "name"]) -> Opened | None:
        """The episode of that id which a server before this one was stopped in, open again; None where there is none
        that can go on."""
        if id in self._returning.left:
            found = await self._returning.find(id)
            if found is not None and id in self._returning.left:
                await self._make_room()
            # Another call may have gone on with it meanwhile.
            left = self._returning.left.pop(id, None)
            if left is not None and found is None:
                await self._give_up(id)
            elif left is not None and found is not None:
                self._enter(found, left.name).held.answers.update(self._returning.taken(id))
                self._returning.tell(found.id, by)
        return self._open.get(id)

    async def _give_up(self, id: str) -> None:
        """Nobody goes on with one of a server before this one: where it has not ended, it ends with what is kept."""
        self.talks.forget(id)
        found = await self._returning.find(id, to_end=True)
        self._returning.taken(id)
        if found is not None:
            await self._end_aside(self._enter(found, ""))
        elif self._kept is not None:
            self._kept.over(id, whole=self._returning.is_over(id))

    async def _end_aside(self, opened: Opened, *, waits: bool = True) -> None:
        """End one for which nobody waits: what fails there concerns no other."""
        try:
            await self._end(opened, waits=waits)
        except AtlasError as error:
            log.error("episode %s has ended, but: %s", opened.id, scrub(str(error)))

    async def _end(self, opened: Opened, score: float | None = None, *, waits: bool = True) -> Episode | None:
        """None where it has ended, or, where nobody ``waits``, another process is at it."""
        async with self._turn(opened, waits=waits) as there, opened.ends:
            if not there or opened.over.is_set():
                return None
            if score is not None:
                opened.episode.score(score)
            if self.moving is not None:
                await self.moving.whole(opened.episode, opened.held)
            result = await self._finish(opened)
            if self.moving is not None:
                await self.moving.over(opened.id, opened.name)
            return result

    def _close(self, opened: Opened) -> None:
        """It is open no more."""
        if self._open.pop(opened.id, None) is None:
            return  # as another call has found too
        del self._by_use[opened.id]
        if self._names.get(opened.name) == opened.id:
            del self._names[opened.name]
        if self._begun.get(opened.first) == opened.id:
            del self._begun[opened.first]
        self.talks.forget(opened.id)

    async def _finish(self, opened: Opened) -> Episode | None:
        self._close(opened)
        self._ending[opened.id] = opened
        try:
            await opened.episode.__aexit__(type(opened.left_by) if opened.left_by else None, opened.left_by, None)
        finally:
            result = opened.episode.result
            if result is not None:
                self.ended(result)
                self._remember(opened, result)
                # One that ends with its server is found by the next.
                if self._kept is not None and not self._closing:
                    self._kept.over(opened.id)
            del self._ending[opened.id]
            opened.over.set()
        return result

    async def _ended(self, name: str) -> None:
        """Wait until those of that id or name are over that are about to be."""
        for ending in [other for other in self._ending.values() if name in (other.id, other.name)]:
            await ending.over.wait()

    def _remember(self, opened: Opened, result: Episode) -> None:
        self._over[opened.id] = result, opened.episode.steps
        if len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)
        self._was(opened.name, opened.id)

    def _was(self, name: str, id: str) -> None:
        """The newest of a name that is over."""
        if name:
            self._were[name] = id
            self._were.move_to_end(name)
            if len(self._were) > _REMEMBERED:
                self._were.popitem(last=False)

    def _keep(self, episode: Episode, steps: tuple[Step, ...]) -> None:
        if episode.stop is Stop.DONE or episode.score is not None:
            self.agent.scored(episode, steps)


def _first_words(messages: Sequence[Message]) -> str:
    words = next((m.content for m in messages if m.role == "user" and m.content.strip()), "")
    return words.strip()[:GOAL] or "(a conversation without words of a user)"
