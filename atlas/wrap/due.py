"""What an agent has to learn from yet. It is written down in ``due.jsonl``, beside the trace, before an episode's end
is, and again when it is learned: where a process is killed in between, the next one of that run and arm learns it. A
memory takes the same episode once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from atlas.background import Background
from atlas.errors import AtlasError
from atlas.records import Episode, Step
from atlas.traces.claims import Claims
from atlas.traces.place import Place, values
from atlas.traces.reader import Run

DUE = "due.jsonl"
PAUSE = 2.0
"""Seconds between two looks at what another process may be at."""
log = logging.getLogger("atlas.wrap")

Learns = Callable[[Episode, Sequence[Step]], object]


class Due:
    """The episodes of one arm of a run that are to be learned from. Safe from many threads."""

    def __init__(self, place: Place, arm: str) -> None:
        self._place = place
        self._arm = arm
        self._lock = threading.Lock()
        self._marks: Counter[str] = Counter()
        """How often each is due here: it may be scored again while it is learned from."""
        self._me = secrets.token_hex(4)
        self._owed: dict[str, frozenset[str]] = {}
        """By episode, whose notes that it is due are answered once it is over here: this process's, and those of
        processes that are gone."""
        self._claims: Claims | None = None
        self._left = _left(place, arm)
        self._looked: threading.Event | None = None

    def mark(self, episode: str) -> None:
        """It is about to end."""
        with self._lock:
            if not self._marks[episode]:
                # Where another process is at it, each is over for itself.
                gone = self._left.get(episode, set()) if self._claim(episode) else set()
                self._owed[episode] = frozenset({self._me, *gone})
                self._note(episode, [self._me], over=False)
            self._marks[episode] += 1

    def over(self, episode: str) -> None:
        """It is learned from, or there is nothing to learn."""
        with self._lock:
            if not self._marks[episode]:
                return
            self._marks[episode] -= 1
            if not self._marks[episode]:
                del self._marks[episode]
                self._note(episode, sorted(self._owed.pop(episode)), over=True)
                assert self._claims is not None
                self._claims.release(("after", episode))

    def catch_up(self, background: Background, learn: Learns) -> None:
        """Begin to ``learn`` what other processes have left, until nothing is left."""
        if self._left:
            self._looked = threading.Event()
            background.start(self._caught_up(learn, self._looked))

    def flush(self) -> None:
        """Wait until what can be learned now is learned: what another process may be at is not."""
        if self._looked is not None:
            self._looked.wait()

    async def _caught_up(self, learn: Learns, looked: threading.Event) -> None:
        left = list(self._left)
        try:
            while left := await asyncio.to_thread(self._pass, left, learn):
                looked.set()
                # On a server it takes some seconds until a process that was killed is known to be gone.
                await asyncio.sleep(PAUSE)
        except AtlasError as error:
            log.warning("not all is learned that an earlier process of this run left: %s", error)
        finally:
            looked.set()

    def _pass(self, ids: Sequence[str], learn: Learns) -> list[str]:
        """Learn from what nobody is at; what somebody is at."""
        taken = [id for id in ids if self._take(id)]
        if not taken:
            return [id for id in ids if not self._marks[id]]
        still = _left(self._place, self._arm)
        found = Run(self._place).episodes(among=frozenset(taken).__contains__)
        stored = {episode.id: episode for episode in found}
        for id in taken:
            episode = stored.get(id)
            self._owed[id] = frozenset(still.get(id, ()))
            # What never ended, has lost steps or was taken out of the run is due no more.
            if id in still and episode is not None and episode.result is not None and not episode.lost:
                learn(episode.result, episode.steps)
            else:
                self.over(id)
        return [id for id in ids if id not in taken and not self._marks[id]]

    def _take(self, id: str) -> bool:
        with self._lock:
            # One that is marked here has been gone on with meanwhile.
            if self._marks[id] or not self._claim(id):
                return False
            self._marks[id] = 1
            return True

    def close(self) -> None:
        """What is not over stays due."""
        if self._claims is not None:
            self._claims.close()

    def _claim(self, episode: str) -> bool:
        if self._claims is None:
            self._claims = Claims(self._place)
        return self._claims.claim(("after", episode))

    def _note(self, episode: str, by: Sequence[str], *, over: bool) -> None:
        said = json.dumps({"episode": episode, "arm": self._arm, "over": over, "by": by})
        # The end that it is about waits for no disk either.
        self._place.log(DUE).append(said.encode(), lasting=False)


def _left(place: Place, arm: str) -> dict[str, set[str]]:
    """The episodes of ``arm`` that are due and not over, in order, and by whose notes; lines of before name nobody."""
    left: dict[str, set[str]] = {}
    for _, line in values(place.log(DUE)):
        if isinstance(line, dict) and line.get("arm") == arm and isinstance(line.get("episode"), str):
            noted, by = left.pop(line["episode"], set()), line.get("by")
            if not line.get("over"):
                noted |= {*by} if by else {""}
            else:
                noted -= {*by} if by else noted
            if noted:
                left[line["episode"]] = noted
    return left
