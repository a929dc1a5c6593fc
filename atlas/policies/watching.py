"""When a watch acts, step by step: what is known of an episode so far is remembered and taken further.

All of it follows from the opening and the turns, so that a view that is not remembered is gone through from its first
turn, with the same result. Remembering is what keeps the price of a decision from growing with the episode.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from atlas.policies.triggers import Stall, Trigger
from atlas.records import Turn, View

KEPT = 100_000
"""Turns remembered, of all episodes together: those asked for last."""
_ALIKE = 8
"""Episodes remembered that began alike, with the same task and seed."""

_Key = tuple[str, int, int, str]


class _Course:
    """One episode as far as it was followed."""

    def __init__(self, opening: str) -> None:
        self.turns: tuple[Turn, ...] = ()
        self.followed = 0
        """How many decisions are behind it: the next one is that of this index."""
        self.seen = {opening}
        self.newest = 0
        """How many turns there were when something was seen for the first time, last."""
        self.since, self.failed, self.held = 0, 0, 0
        self.found: str | None = None


class Watching:
    """The signs of any number of episodes at once, in any number of threads."""

    def __init__(self, triggers: Sequence[Trigger], *, steps: int, rest: int) -> None:
        self._triggers = tuple(triggers)
        self._steps, self._rest = steps, rest
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, list[_Course]] = OrderedDict()
        self._turns = 0

    def sign(self, view: View) -> str | None:
        """The name of the trigger that fires at this step; None where none does, or the teacher rests."""
        key = (view.task.id, view.seed, view.attempt, view.opening)
        # Taken out meanwhile: it is changed, and what raises on the way leaves nothing half done behind.
        course = self._take(key, view.turns) or _Course(view.opening)
        while course.followed <= view.index:
            self._follow(course, view)
        course.turns = view.turns
        self._keep(key, course)
        return course.found

    def _follow(self, course: _Course, view: View) -> None:
        index = course.followed
        course.followed += 1
        if index:
            seen = view.turns[index - 1].observation
            if seen not in course.seen:
                course.seen.add(seen)
                course.newest, course.failed = index, 0
        if course.held:
            course.since, course.held = index + 1, course.held - 1
            return
        course.found = None
        if course.failed and index - course.since < self._rest * 2 ** (course.failed - 1):
            return
        past = view if index == view.index else view.replace(turns=view.turns[:index])
        course.found = next((t.name for t in self._triggers if _fires(t, past, course)), None)
        if course.found is not None:
            # The turn at this index is the teacher's; what it leads to is looked at from the next one on.
            course.since, course.failed, course.held = index + 1, course.failed + 1, self._steps - 1

    def _take(self, key: _Key, turns: tuple[Turn, ...]) -> _Course | None:
        """What is remembered of the beginning of ``turns``, as far as possible."""
        with self._lock:
            alike = self._kept.get(key, [])
            # Turns of an episode are the same objects at every step: comparing them is comparing addresses.
            fitting = [course for course in alike if turns[: len(course.turns)] == course.turns]
            best = max(fitting, key=lambda course: len(course.turns), default=None)
            if best is not None:
                alike.remove(best)
                self._turns -= best.followed
            return best

    def _keep(self, key: _Key, course: _Course) -> None:
        with self._lock:
            alike = self._kept.setdefault(key, [])
            self._kept.move_to_end(key)
            alike.append(course)
            self._turns += course.followed
            if len(alike) > _ALIKE:
                self._turns -= alike.pop(0).followed
            while self._turns > KEPT:
                _, old = self._kept.popitem(last=False)
                self._turns -= sum(one.followed for one in old)


def _fires(trigger: Trigger, past: View, course: _Course) -> bool:
    # Of the triggers here this one alone looks back to the first turn. Who overrides how it fires is asked for that.
    if isinstance(trigger, Stall) and type(trigger).fires is Stall.fires:
        return trigger.stalled(past.index, course.since, course.newest)
    return trigger.fires(past, course.since)
