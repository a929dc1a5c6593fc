"""Whether a wrapped agent still does as well as it should, and what follows from it: who acts, and what is said.

The rule is :mod:`atlas.standing`. Where it stands is kept beside the memory, so that every process that serves the
agent goes by the same, now and after a restart; without a memory it is read off the run's trace, and without either it
lives as long as the agent. Whoever ended the episode that changes it says so: it is said once.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Protocol

from pydantic import ValidationError

from atlas.memory import Memory
from atlas.records import Episode
from atlas.standing import RULE, TAUGHT, TRIED, Change, Standing
from atlas.traces.events import Supervised, Tells
from atlas.traces.folded import Folded
from atlas.traces.place import Place as RunPlace
from atlas.traces.reader import Run

log = logging.getLogger("atlas.wrap")


COUNTED = 10_000
"""Episodes that are remembered as counted."""


class Place(Protocol):
    """Where a standing is kept."""

    def now(self) -> Standing: ...

    def after(self, episode: Episode) -> list[tuple[str, Standing, Change]]:
        """``episode`` of this process has ended: the episodes of this process that changed the standing, and how."""
        ...


class InProcess:
    """As long as the agent lives."""

    def __init__(self, arm: str, expected: float) -> None:
        self._arm, self._expected = arm, expected
        self._lock = threading.Lock()
        self._standing = Standing()
        self._counted: dict[str, None] = {}
        """The newest episodes that were counted: one that is scored anew counts once."""

    def now(self) -> Standing:
        return self._standing

    def after(self, episode: Episode) -> list[tuple[str, Standing, Change]]:
        with self._lock:
            return self._fold(episode)

    def _fold(self, episode: Episode) -> list[tuple[str, Standing, Change]]:
        if episode.success is None or episode.arm != self._arm or episode.id in self._counted:
            return []
        self._counted[episode.id] = None
        if len(self._counted) > COUNTED:
            del self._counted[next(iter(self._counted))]
        self._standing, change = self._standing.after(episode.success, episode.lane, self._expected)
        return [(episode.id, self._standing, change)] if change is not None else []


class InTrace(InProcess):
    """In a run, whose episodes tell it, whichever process played them."""

    def __init__(self, arm: str, expected: float, run: RunPlace) -> None:
        super().__init__(arm, expected)
        self._said: list[tuple[str, Standing, Change]] = []
        self._folded = Folded(run, f"standing/{arm}", {"expected": expected, "rule": RULE, "counted": COUNTED})
        self._folded.restored(self._restore)
        self._follow()

    def now(self) -> Standing:
        with self._lock:
            self._follow()
            return self._standing

    def after(self, episode: Episode) -> list[tuple[str, Standing, Change]]:
        with self._lock:
            self._follow()
            own = [change for change in self._said if change[0] == episode.id]
            # One that is scored anew says nothing again.
            self._said = [change for change in self._said if change[0] != episode.id]
            return own

    def _follow(self) -> None:
        """Read what has been written. Changes are kept for who ended their episode: another may read of it first."""
        for episode in self._folded.new(self._state):
            self._said += self._fold(episode)

    def _state(self) -> dict[str, Any]:
        """All that goes on from here."""
        said = [[id, standing.model_dump(), change.model_dump()] for id, standing, change in self._said]
        return {"standing": self._standing.model_dump(), "counted": [*self._counted], "said": said}

    def _restore(self, state: Any) -> None:
        standing, counted = Standing.model_validate(state["standing"]), dict.fromkeys(map(str, state["counted"]))
        said = [
            (str(id), Standing.model_validate(now), Change.model_validate(change)) for id, now, change in state["said"]
        ]
        self._standing, self._counted, self._said = standing, counted, said


class InMemory(InProcess):
    """Beside what a memory holds, a fact for each arm. One that may not be written is where it begins."""

    def __init__(self, arm: str, expected: float, memory: Memory) -> None:
        super().__init__(arm, expected)
        self._memory = memory
        self._name = f"standing/{arm}"
        self._stamp: object = None
        self._fixed = memory.frozen is not None
        self._standing = self._read()

    def now(self) -> Standing:
        database = self._memory.database
        stamp = database.stamp()
        if not self._fixed and stamp != self._stamp:
            with database.reading():
                self._stamp, self._standing = stamp, self._read()
        return self._standing

    def after(self, episode: Episode) -> list[tuple[str, Standing, Change]]:
        """To be called in the transaction that keeps the episode, and once for each."""
        with self._lock:
            self._fixed = self._memory.frozen is not None
            if not self._fixed:
                # Read again after this, too: the transaction may come to nothing.
                self._standing, self._stamp = self._read(), None
            changed = self._fold(episode)
            if not self._fixed and episode.success is not None:
                self._memory.database.backend.set_fact(self._name, self._standing.model_dump_json())
            return changed

    def _read(self) -> Standing:
        kept = self._memory.database.backend.fact(self._name)
        try:
            return Standing.model_validate_json(kept) if kept else Standing()
        except ValidationError:
            # A later atlas may write it otherwise: from here on it is judged anew.
            return Standing()


class Supervision:
    """What becomes of an agent's episodes, and what is to be said."""

    def __init__(self, arm: str, place: Place, *, teaches: bool, run: str) -> None:
        """
        teaches: whether its policy has the lane in which the teacher acts.
        run: where it is recorded, as a command takes it; empty where it is not.
        """
        self._arm = arm
        self._place = place
        self._teaches = teaches
        self._run = run
        self._lock = threading.Lock()
        self._since = 0
        """Taught episodes that began since the student was tried last."""

    def lane(self) -> str:
        """The lane of an episode that begins now; empty where it is played as usual."""
        if not self._teaches:
            return ""
        standing = self._place.now()
        if not standing.raised:
            return ""
        with self._lock:
            tried = self._since >= standing.rest
            self._since = 0 if tried else self._since + 1
        return TRIED if tried else TAUGHT

    def after(self, episode: Episode) -> list[Supervised]:
        """What an episode that has ended changed, to be recorded and said."""
        return [
            Supervised(
                time=time.time(),
                arm=self._arm,
                episode=name,
                change=change,
                raised=self._teaches and standing.raised,
                said=self._said(change),
            )
            for name, standing, change in self._place.after(episode)
        ]

    def say(self, event: Supervised) -> None:
        """Log it: what needs somebody's eye as a warning."""
        if event.change.turned == "recovered":
            log.info("%s", event.said)
        else:
            log.warning("%s%s", event.said, f": look at 'atlas traces check {self._run}'" if self._run else "")

    def _said(self, change: Change) -> str:
        count = f"{change.succeeded} of the last {change.episodes} scored episodes"
        expected = f"at least {100 * change.level:.0f} % were to be expected"
        if change.turned == "recovered":
            return f"{self._arm}: success has recovered: the student won {count}, and is supervised as usual again"
        if change.turned == "helpless":
            return (
                f"{self._arm}: the teacher does no better: {count} in which it acted succeeded, where {expected}. The "
                f"student acts again as usual; the tasks, the scores or both models may be at fault"
            )
        what = (
            "From now on the teacher acts, and the student is tried again now and then"
            if self._teaches
            else "Nothing follows from it, as the agent has no teacher to turn to, or decides by a policy of its own"
        )
        return f"{self._arm}: success has dropped: {count} succeeded, where {expected}. {what}"


def scored_late(run: Run, episode: Episode, memory: Memory | None, recorder: Tells) -> None:
    """``episode`` of ``run`` got its first score when its agent was elsewhere: what follows is recorded and said.

    To be called once the trace has the score and, where there is a ``memory``, in the transaction that keeps it.
    """
    expected = run.about.get("expect")
    if not isinstance(expected, int | float):
        return
    place: InProcess
    place = InTrace(episode.arm, expected, run.place) if memory is None else InMemory(episode.arm, expected, memory)
    supervision = Supervision(episode.arm, place, teaches=_teaches(run.about.get("policy")), run=run.path)
    for event in supervision.after(episode):
        recorder.tell(event)
        supervision.say(event)


def _teaches(config: object) -> bool:
    """Whether a policy of that configuration has the lane in which the teacher acts."""
    return isinstance(config, dict) and (config.get("policy") == "taught" or _teaches(config.get("inner")))
