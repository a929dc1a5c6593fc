"""Episodes that were open when their server stopped: the next one goes on with them, in the trace too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

from atlas.errors import AtlasError
from atlas.records import Stop, Task
from atlas.serve.kept import Kept
from atlas.serve.kept_talks import Left
from atlas.traces.events import Named, Resumed, Tells
from atlas.traces.reader import Run, StoredEpisode
from atlas.wrap import Agent, WrappedEpisode

_FRESH = 30.0
"""Seconds for which what was read of a trace is good enough."""


class Returning:
    """Those of one tenant, until they are gone on with or given up. In the server's own event loop."""

    def __init__(self, agent: Agent, kept: Kept | None, *, until: float) -> None:
        """``until``: by ``time.monotonic``, when those are given up that nobody has called."""
        self.left: MutableMapping[str, Left] = kept.left if kept is not None else {}
        self._states = kept.states if kept is not None else {}
        self._asked = {key: id for id, state in self._states.items() for key in state["answers"]}
        self._agent = agent
        self._until = until
        self._stored: dict[str, StoredEpisode] = {}
        self._over: set[str] = set()
        self._read = 0.0
        self._reading = asyncio.Lock()

    def of(self, name: str) -> str:
        """The id of the newest that has that name or id; empty where there is none."""
        if name in self.left:
            return name
        return next((id for id in reversed(list(self.left)) if self.left[id].name == name), "")

    def asked(self, key: str, retry: bool) -> str:
        """The id of the one in which that was asked last, where the client asks again or nobody had the answer; empty
        where there is none."""
        id = self._asked.get(key, "")
        return id if id in self.left and (retry or self._states[id]["answers"][key]["lost"]) else ""

    def taken(self, id: str) -> Mapping[str, Any]:
        """That one is not kept here any more; what was answered in it last, by what was asked."""
        state = self._states.pop(id, {})
        found: Mapping[str, Any] = state.get("answers", {})
        return found

    def given_up(self) -> list[str]:
        """The ids of those for whom it is too late now."""
        return list(self.left) if self.left and time.monotonic() >= self._until else []

    def is_over(self, id: str) -> bool:
        """Whether the trace that was read last has its end."""
        return id in self._over

    async def find(self, id: str, *, to_end: bool = False) -> WrappedEpisode | None:
        """That episode, entered; None where its trace does not have it whole, where it was scored since, and where this
        agent is another than the one that began it. ``to_end``: so that it is ended as it is, where it has not ended,
        whatever the agent would do now."""
        async with self._reading:
            if not self._read or time.monotonic() - self._read > _FRESH:
                self._stored = await asyncio.to_thread(self._all)
                self._read = time.monotonic()
        stored, left = self._stored.get(id), self.left.get(id)
        if stored is None or stored.lost or stored.arm != self._agent.arm:
            return None
        result = stored.result
        if result is not None and (to_end or result.stop is not Stop.DONE or result.score is not None):
            return None
        try:
            steps = await asyncio.to_thread(lambda: stored.steps)
            spend = stored.spend
        except AtlasError:
            return None  # it is damaged, as 'atlas traces check' tells
        task: Task = stored.task
        learns = self._agent.memory is not None
        if (state := self._states.get(id)) is not None:
            whole = {**state, "id": id, "task": task.model_dump(mode="json"), "arm": stored.arm, "seed": stored.seed}
            episode = self._agent.restored(whole, steps, learns)
            if to_end:
                episode.book.config = stored.config
            if learns:
                episode.book.steps[:] = steps
            return episode if episode.book.config == stored.config else None
        if to_end or left is None:
            return None
        episode = self._agent.episode(task.goal, task=task.id, family=task.family, seed=stored.seed, keeps_steps=learns)
        if episode.book.config != stored.config:
            return None
        lane = result.lane if result is not None else None
        plan = result.plan if result is not None else ""
        episode.book.resume(id, steps, spend, started=left.started, plan=plan, lane=lane)
        episode.__enter__()
        return episode

    def tell(self, id: str, by: Literal["conversation", "name"]) -> None:
        """Write into the trace that an episode goes on, and how it was found."""
        if isinstance(self._agent.recorder, Tells):
            self._agent.recorder.tell(Resumed(time=time.time(), arm=self._agent.arm, episode=id, by=by))

    def named(self, id: str, name: str) -> None:
        """Write into the trace what a client calls an episode, so that it is found by that when this server is gone."""
        if isinstance(self._agent.recorder, Tells):
            self._agent.recorder.tell(Named(time=time.time(), arm=self._agent.arm, episode=id, name=name))

    def _all(self) -> dict[str, StoredEpisode]:
        assert self._agent.folder is not None
        try:
            known = {*self.left, *self._states}
            found = {e.id: e for e in Run(self._agent.folder).episodes(among=known.__contains__)}
        except AtlasError:
            return {}
        self._over = {id for id, episode in found.items() if episode.result is not None}
        return found
