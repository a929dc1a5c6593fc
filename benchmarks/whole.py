"""The control for retrieval: all that a memory holds, in every prompt. A long context in place of choosing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from atlas.memory.irrelevant import Listed
from atlas.memory.pamphlet import only_from
from atlas.memory.pamphlets import PamphletStore
from atlas.memory.retrieve import SUPPORT
from atlas.records import TEACHER, Guidance, View, Window


class WholeEntries:
    """Every entry for the student, whatever the step and however many tokens they take; those that were learned from
    more episodes first."""

    def __init__(self, memory: PamphletStore) -> None:
        self._memory = memory
        entries = [entry for entry in memory.all() if entry.audience != TEACHER]
        scored = [(entry, SUPPORT * math.log(entry.support)) for entry in entries]
        self._entries = sorted(scored, key=lambda row: (-row[1], row[0].id))

    def search(self, view: View, tokens: int) -> Sequence[Guidance]:
        """All but what the view's own task alone taught."""
        return [entry.as_guidance(score) for entry, score in self._entries if not only_from(entry, view.task.id)]

    def config(self) -> dict[str, object]:
        return {"whole": self._memory.config(), "entries": len(self._entries)}


class WholeDemonstrations:
    """Every demonstration as a whole, whatever the step, but those of the view's own task."""

    def __init__(self, source: Listed) -> None:
        self._source = source
        self._demos = source.all()

    def search(self, view: View, k: int) -> Sequence[Window]:
        """All of them, whatever ``k``."""
        return [
            Window(demo_id=d.id, task_id=d.task_id, goal=d.goal, plan=d.plan, steps=d.steps, start=0, best=0)
            for d in self._demos
            if view.task.id not in d.tasks
        ]

    def similar(self, view: View, k: int) -> Sequence[Window]:
        return self.search(view, k)

    def config(self) -> dict[str, object]:
        return {"whole": self._source.config(), "demonstrations": len(self._demos)}
