"""What an agent's open episodes have beyond their traces, for the next agent of the same run and arm: nobody goes on
with an episode whose process is gone, so that it is recorded as far as it came.

A server's episodes go on, and are its own affair: see :mod:`atlas.serve`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from atlas.errors import AtlasError, StoreError
from atlas.records import Step
from atlas.traces.claims import Claims
from atlas.traces.folder import FolderRun
from atlas.traces.open_log import OPEN, open_lines, owner_of
from atlas.traces.open_state import AGENT, State, agent_of, state_of
from atlas.traces.place import Place
from atlas.traces.reader import Run
from atlas.wrap.kept_open import KeptOpen

if TYPE_CHECKING:
    from atlas.traces.server import ServerRun
    from atlas.wrap.wrapped import WrappedEpisode

log = logging.getLogger("atlas.wrap")

Restored = Callable[[Mapping[str, Any], Sequence[Step], bool], "WrappedEpisode"]
"""Makes an open episode of its state, the steps that the trace has, and whether it is to hold its steps."""


class _Kept(Protocol):
    """What is open, where the run is. An owner is one process of an agent."""

    def keep(self, episode: WrappedEpisode, owner: str) -> None: ...

    def over(self, id: str, owner: str) -> None: ...

    def owners(self) -> dict[str, str]:
        """Of this agent, by episode."""
        ...

    def left(self, of: Collection[str]) -> Iterator[tuple[str, State | None]]:
        """The open episodes of these owners, each with what is known of it; None where that is damaged."""
        ...

    def moment(self) -> int:
        """Another one where what could not be kept before may be kept again."""
        ...

    def close(self) -> None: ...


def left_open(place: Place | None, arm: str, restored: Restored) -> LeftOpen | None:
    """Of an agent whose run is at ``place``; None where it has none that can keep it."""
    if place is None:
        return None
    if isinstance(place, FolderRun):
        return LeftOpen(place, arm, restored)
    from atlas.traces.server import ServerRun

    return LeftOpen(place, arm, restored) if isinstance(place, ServerRun) else None


class LeftOpen:
    """Those of one agent. Nothing is written before its first call, and where nothing can be, nobody is kept from an
    answer: that is said. Safe from many threads; a forked child keeps its own apart."""

    def __init__(self, place: FolderRun | ServerRun, arm: str, restored: Restored) -> None:
        self._place = place
        self._of = f"{AGENT}{arm}"
        self._restored = restored
        self._lock = threading.Lock()
        self._late = False
        """Whether others have episodes open, of processes that may be gone."""
        self._anew()

    def _anew(self) -> None:
        self._pid = os.getpid()
        self._owner = f"{self._of}/{uuid.uuid4().hex}"
        """Claimed as long as its process lives."""
        self._claims: Claims | None = None
        self._mine = False
        """Whether it is."""
        self._failed = -1
        """The moment in which nothing could be kept."""
        self._kept: _Kept
        if isinstance(self._place, FolderRun):
            self._kept = _InFolder(self._place, self._of)
        else:
            self._kept = _OnServer(self._place, self._of)

    def keep(self, episode: WrappedEpisode) -> None:
        """A call of it is over."""
        with self._lock:
            if self._pid != os.getpid():
                self._anew()
        self._tried(lambda: self._keep(episode))

    def _keep(self, episode: WrappedEpisode) -> None:
        with self._lock:
            self._mine = self._mine or self._claimed().claim(self._owner)
        self._kept.keep(episode, self._owner)

    def over(self, id: str) -> None:
        """All of it is in the trace."""
        if self._mine and self._pid == os.getpid():
            self._tried(lambda: self._kept.over(id, self._owner))

    def _tried(self, work: Callable[[], None]) -> None:
        if self._failed == self._kept.moment():
            return
        try:
            work()
        except StoreError as error:
            self._failed = self._kept.moment()
            log.warning("%s: who is killed loses the newest answer of each open episode", error)

    def record(self) -> None:
        """Record what processes that are gone have left: each as far as it came."""
        try:
            with self._lock:
                self._record()
        except AtlasError as error:
            log.warning("what an earlier process of this run left open is not recorded: %s", error)

    def _record(self) -> None:
        self._late = False
        theirs = {owner for owner in self._kept.owners().values() if owner != self._owner}
        if not theirs:
            return
        gone = {owner for owner in theirs if self._claimed().claim(owner)}
        self._late = gone != theirs
        # What another process has recorded meanwhile is not there any more.
        left = dict(self._kept.left(gone)) if gone else {}
        stored = {episode.id: episode for episode in Run(self._place).episodes(among=left.__contains__)} if left else {}
        for id, state in left.items():
            episode = stored.get(id)
            if episode is not None and episode.result is None and not episode.lost and state is not None:
                there = {"id": id, "arm": episode.arm, "seed": episode.seed, "until": state["at"]}
                task = episode.task.model_dump(mode="json")
                made = self._restored({**state, **there, "task": task}, episode.steps, False)
                made.book.config = episode.config
                made.left()
            self._kept.over(id, self._owner)
        for owner in gone:
            self._claimed().release(owner)

    def close(self) -> None:
        if self._pid != os.getpid():
            return
        if self._late:
            # A server misses a process some seconds after it is gone, which may have been when this one began.
            self.record()
        self._kept.close()
        if self._claims is not None:
            self._claims.close()

    def _claimed(self) -> Claims:
        if self._claims is None:
            self._claims = Claims(self._place)
        return self._claims


class _InFolder:
    def __init__(self, place: FolderRun, agent: str) -> None:
        self._folder = place.folder()
        self._agent = agent
        self._log: KeptOpen | None = None

    def keep(self, episode: WrappedEpisode, owner: str) -> None:
        self._opened(owner).keep(episode)

    def over(self, id: str, owner: str) -> None:
        self._opened(owner).over(id)

    def owners(self) -> dict[str, str]:
        found = {id: owner_of(lines) for id, lines in open_lines(self._folder / OPEN).items()}
        return {id: owner for id, owner in found.items() if agent_of(owner) == self._agent}

    def left(self, of: Collection[str]) -> Iterator[tuple[str, State | None]]:
        for id, lines in open_lines(self._folder / OPEN).items():
            if (owner := owner_of(lines)) in of:
                yield id, state_of(lines, owner)

    def moment(self) -> int:
        return 0

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def _opened(self, owner: str) -> KeptOpen:
        if self._log is None:
            self._log = KeptOpen(self._folder, owner, takes=False)
        return self._log


class _OnServer:
    def __init__(self, place: ServerRun, agent: str) -> None:
        from atlas.traces.server_open import AgentEpisodes

        self._place = place
        self._open = AgentEpisodes(place, agent)

    def keep(self, episode: WrappedEpisode, owner: str) -> None:
        self._open.keep(episode.id, owner, {**episode.state(), "at": time.time()})

    def over(self, id: str, owner: str) -> None:
        self._open.over(id)

    def owners(self) -> dict[str, str]:
        return self._open.owners()

    def left(self, of: Collection[str]) -> Iterator[tuple[str, State | None]]:
        for id, owner in self._open.owners().items():
            if owner in of:
                yield id, self._open.state(id)

    def moment(self) -> int:
        # A server that was out of reach is not waited for at each call: who writes the trace finds it again.
        return self._place.generation

    def close(self) -> None:
        """The connection is the run's."""
