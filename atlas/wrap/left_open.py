"""What an agent's open episodes have beyond their traces, for the next agent of the same run and arm: nobody goes on
with an episode whose process is gone, so that it is recorded as far as it came.

A server's episodes go on, and are its own affair: see :mod:`atlas.serve`.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.errors import AtlasError
from atlas.records import Step
from atlas.traces.claims import Claims
from atlas.traces.open_log import OPEN, open_lines, owner_of
from atlas.traces.open_state import state_of
from atlas.traces.reader import Run
from atlas.wrap.kept_open import KeptOpen

if TYPE_CHECKING:
    from atlas.wrap.wrapped import WrappedEpisode

log = logging.getLogger("atlas.wrap")

Restored = Callable[[Mapping[str, Any], Sequence[Step], bool], "WrappedEpisode"]
"""Makes an open episode of its state, the steps that the trace has, and whether it is to hold its steps."""


class LeftOpen:
    """Those of one agent. Nothing is written before its first call. Safe from many threads; a forked child keeps its
    own apart."""

    def __init__(self, folder: Path, arm: str) -> None:
        self._folder = folder
        self._of = f"agent/{arm}"
        self._lock = threading.Lock()
        self._anew()

    def _anew(self) -> None:
        self._pid = os.getpid()
        self._owner = f"{self._of}/{uuid.uuid4().hex}"
        """Claimed as long as its process lives."""
        self._claims: Claims | None = None
        self._kept: KeptOpen | None = None

    def keep(self, episode: WrappedEpisode) -> None:
        """A call of it is over."""
        with self._lock:
            if self._pid != os.getpid():
                self._anew()
            kept = self._keeper()
        kept.keep(episode)

    def over(self, id: str) -> None:
        """All of it is in the trace."""
        if self._kept is not None and self._pid == os.getpid():
            self._kept.over(id)

    def record(self, restored: Restored) -> None:
        """Record what processes that are gone have left: each as far as it came."""
        try:
            with self._lock:
                self._record(restored)
        except AtlasError as error:
            log.warning("what an earlier process of this run left open is not recorded: %s", error)

    def _record(self, restored: Restored) -> None:
        path = self._folder / OPEN
        owners = {id: owner_of(lines) for id, lines in open_lines(path).items()}
        theirs = {owner for owner in owners.values() if owner.rpartition("/")[0] == self._of}
        gone = {owner for owner in theirs if self._claimed().claim(owner)}
        if not gone:
            return
        # What another process has recorded meanwhile is not there any more.
        left = {id: lines for id, lines in open_lines(path).items() if owners.get(id) in gone}
        stored = {episode.id: episode for episode in Run(self._folder).episodes(among=left.__contains__)}
        for id, lines in left.items():
            episode, state = stored.get(id), state_of(lines, owners[id])
            if episode is not None and episode.result is None and not episode.lost and state is not None:
                there = {"id": id, "arm": episode.arm, "seed": episode.seed, "until": state["at"]}
                task = episode.task.model_dump(mode="json")
                made = restored({**state, **there, "task": task}, episode.steps, False)
                made.book.config = episode.config
                made.left()
            self._keeper().over(id)
        for owner in gone:
            self._claimed().release(owner)

    def close(self) -> None:
        if self._pid == os.getpid():
            if self._kept is not None:
                self._kept.close()
            if self._claims is not None:
                self._claims.close()

    def _keeper(self) -> KeptOpen:
        if self._kept is None:
            self._claimed().claim(self._owner)
            self._kept = KeptOpen(self._folder, self._owner, takes=False)
        return self._kept

    def _claimed(self) -> Claims:
        if self._claims is None:
            self._claims = Claims(self._folder)
        return self._claims
