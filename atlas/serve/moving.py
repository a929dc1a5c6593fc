"""Episodes that any process of a run on a server goes on with: in one call here, in the next one elsewhere.

What an open episode is beyond its recorded steps (what was decided last and has no outcome yet, what was answered, what
it used) is kept on the server after each call, before the client has the answer. A process claims the episode for the
time of a call, and goes on from what is kept. Where the one before it was killed in the middle of a call, the trace
tells which steps it had still written.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from atlas.errors import ConfigError
from atlas.records import Decision, Episode, Step, Usage
from atlas.serve.talks import Heard
from atlas.traces.reader import Run
from atlas.traces.server import ServerRun
from atlas.traces.server_open import OpenEpisodes
from atlas.traces.writer import RunWriter
from atlas.wire.calls import Call
from atlas.wire.refusals import Refused
from atlas.wire.request import Told
from atlas.wrap import Agent, WrappedEpisode

T = TypeVar("T")

ANSWERS = 4
"""Answers of an episode that are kept, for clients that ask again elsewhere."""


@dataclass
class Held:
    """What this process has of an episode."""

    version: int = 0
    """Of what is kept; 0 for nothing yet."""
    turns: int = 0
    """Calls of this process that are at it."""
    busy: bool = False
    """Whether what is kept says that this process is at it."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    answers: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)
    """The newest, by what was asked."""
    moved: bool = False
    """Whether another process has had it: then not all of its steps are here."""


class Moving:
    """A tenant's part of the open episodes of its run."""

    def __init__(self, agent: Agent) -> None:
        if not isinstance(agent.place, ServerRun) or not isinstance(agent.recorder, RunWriter):
            raise ConfigError(
                "episodes move between processes that record in one run on a server, and whose spans nobody is sent as "
                "they happen: give --run postgresql://...?schema=NAME&run=NAME, and no --otlp"
            )
        self._agent = agent
        self._run = agent.place
        self._writer = agent.recorder
        self._me = uuid.uuid4().hex[:12]
        self._open = OpenEpisodes(agent.place, agent.arm, self._me)
        self._following = asyncio.Lock()
        self.keeps_steps = agent.memory is not None

    # --- who is open --------------------------------------------------------------------------------------------------

    async def follow(self, learn: Callable[[dict[str, Any]], None]) -> None:
        """Be told what other processes have told."""
        async with self._following:
            for event in await self._do(self._open.news):
                if event["by"] != self._me:
                    learn(event)

    async def tell(self, **event: Any) -> None:
        await self._do(lambda: self._open.tell({"by": self._me, **event}))

    async def heard(self, id: str, *all_heard: Heard) -> None:
        """Tell the others what tells its conversation."""
        parts = zip(*all_heard, strict=True)
        moments, calls, texts = ([one for part in parts_of for one in part] for parts_of in parts)
        await self.tell(heard=id, moments=moments, calls=calls, texts=texts)

    @asynccontextmanager
    async def alone(self, what: object) -> AsyncIterator[None]:
        """One process at a time does it."""
        async with self._claimed(("begin", what)):
            yield

    # --- one of them --------------------------------------------------------------------------------------------------

    async def begin(self, episode: WrappedEpisode, held: Held) -> None:
        """It begins here."""
        held.version = 1
        await self._do(lambda: self._open.begin(episode.id, self._state(episode, held)))

    @asynccontextmanager
    async def turn(
        self, id: str, held: Held, resume: Callable[[WrappedEpisode], None], *, waits: bool = True
    ) -> AsyncIterator[bool]:
        """The episode is this process's inside, as it was left by whoever had it; ``resume`` is given it where that was
        another one. Gives whether it is still open, and, where nobody ``waits`` for another process, not at work."""
        async with held.lock:
            if not held.turns and not await self._waited(("open", id), waits=waits):
                yield False
                return
            held.turns += 1
            try:
                there = await self._taken(id, held, resume)
            except BaseException:
                await _through(self._left(id, held))
                raise
        try:
            yield there
        finally:
            await _through(self._leave(id, held))

    async def _taken(self, id: str, held: Held, resume: Callable[[WrappedEpisode], None]) -> bool:
        if held.busy:
            return True  # by another call of this process
        kept = await self._do(lambda: self._open.take(id, held.version))
        if kept is None:
            return False
        if kept.state is not None:
            stored = await self._do(lambda: self._steps(id)) if kept.broken else None
            held.answers = OrderedDict(kept.state["answers"])
            held.version, held.moved = kept.version, True
            self._writer.forget(id)
            resume(self._agent.restored(kept.state, stored, self.keeps_steps))
        held.busy = True
        return True

    async def _leave(self, id: str, held: Held) -> None:
        async with held.lock:
            await self._left(id, held)

    async def _left(self, id: str, held: Held) -> None:
        held.turns -= 1
        if not held.turns:
            held.busy = False
            await self._do(lambda: self._open.claims.release(("open", id)))

    async def keep(self, episode: WrappedEpisode, held: Held) -> None:
        """What has become of it, for whoever goes on. To be called in its turn."""
        await _through(self._kept(episode, held))

    async def _kept(self, episode: WrappedEpisode, held: Held) -> None:
        # One after the other: what was kept last is what is gone on from. While other calls are at it, so is this
        # process.
        async with held.lock:
            held.version += 1
            state, more = self._state(episode, held), held.turns > 1
            await self._do(lambda: self._open.put(episode.id, held.version, state, more=more))
            held.busy = more

    async def whole(self, episode: WrappedEpisode, held: Held) -> None:
        """It ends here: where others have had it, its steps are read back for who learns from them."""
        if held.moved and self.keeps_steps:
            steps = await self._do(lambda: self._steps(episode.id))
            episode.book.steps[:] = steps or ()

    async def over(self, id: str, name: str) -> None:
        await self._do(lambda: self._open.end(id))
        await self.tell(over=id, name=name)

    async def steps(self, id: str) -> int | None:
        """How many steps of an open one are known; None where it is over."""
        return await self._do(lambda: self._open.steps(id))

    async def idle(self, seconds: float) -> list[str]:
        """The open ones that no process has had for so long, and that none is at."""
        return await self._do(lambda: self._open.idle(seconds))

    async def ended(self, id: str) -> tuple[Episode, tuple[Step, ...]] | None:
        """One that is over, as the trace has it."""

        def find() -> tuple[Episode, tuple[Step, ...]] | None:
            for stored in Run(self._run).episodes(among=lambda one: one == id):
                if stored.id == id and stored.result is not None:
                    return stored.result, stored.steps
            return None

        return await self._do(find)

    async def close(self) -> None:
        await self._do(self._open.close)

    def _steps(self, id: str) -> tuple[Step, ...] | None:
        stored = self._open.stored(id)
        if stored is not None and stored.result is not None:
            raise Refused(409, f"episode {id} has ended: begin another", kind="server_error")
        return stored.steps if stored is not None else None

    def _state(self, episode: WrappedEpisode, held: Held) -> dict[str, Any]:
        return {**episode.state(), "answers": list(held.answers.items())}

    @asynccontextmanager
    async def _claimed(self, key: object) -> AsyncIterator[None]:
        await self._waited(key)
        try:
            yield
        finally:
            await _through(self._do(lambda: self._open.claims.release(key)))

    async def _waited(self, key: object, *, waits: bool = True) -> bool:
        pause = 0.005
        while not await self._claim(key):
            if not waits:
                return False
            await asyncio.sleep(pause)
            pause = min(0.2, 2 * pause)
        return True

    async def _claim(self, key: object) -> bool:
        asked = asyncio.ensure_future(self._do(lambda: self._open.claims.claim(key)))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            # Nobody would free it.
            if await asked:
                await self._do(lambda: self._open.claims.release(key))
            raise

    async def _do(self, work: Callable[[], T]) -> T:
        """The server is waited for off the loop."""
        return await asyncio.to_thread(work)


async def _through(work: Coroutine[Any, Any, None]) -> None:
    """``work`` to its end, also where who waits for it is called off: what is claimed and not freed others wait for."""
    doing = asyncio.ensure_future(work)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await doing
        raise


def kept_answer(told: Told, number: int) -> dict[str, Any]:
    """An answer, for a client that asks for it again elsewhere."""
    return {
        "number": number,
        "decision": told.decision.model_dump(mode="json"),
        "others": [other.model_dump(mode="json") for other in told.others],
        "usage": told.usage.model_dump(mode="json"),
        "model": told.model,
        "id": told.id,
        "created": told.created,
        "notes": told.notes,
    }


def given_before(held: Held, call: Call) -> Told | None:
    """The answer that was given to the call before, by another process: where its client says that it asks again, and
    where nobody had it. Else it is another call, and is told so."""
    before = held.answers.get(call.key)
    if before is None:
        return None
    if call.retry or before.get("lost"):
        before["lost"] = False
        return answer_of(before)
    call.number = max(call.number, before["number"] + 1)
    return None


def answer_of(kept: Mapping[str, Any]) -> Told:
    """The answer that was kept."""
    return Told(
        decision=Decision.model_validate(kept["decision"]),
        usage=Usage.model_validate(kept["usage"]),
        model=kept["model"],
        id=kept["id"],
        created=kept["created"],
        others=tuple(Decision.model_validate(other) for other in kept["others"]),
        notes=dict(kept["notes"]),
    )
