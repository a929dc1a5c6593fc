"""The demonstrations of a memory by their place in it: all of them, or of a great many those used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from atlas.memory.demonstration import Demonstration

MOST_STEPS = 300_000
"""Steps of all of them above which they are read again when they are shown: a million takes a gigabyte."""
_LAST = 2_048


class Held:
    """Grows by one writer at a time; read by any number of threads."""

    def __init__(self, load: Callable[[str], Demonstration]) -> None:
        """``load`` reads one again, by its id."""
        self._load = load
        self.ids: list[str] = []
        self.tasks: list[frozenset[str]] = []
        self.steps = 0
        self._all: list[Demonstration] | None = []
        self._last: OrderedDict[int, Demonstration] = OrderedDict()
        self._lock = threading.Lock()

    def restore(self, ids: list[str], tasks: list[frozenset[str]], steps: int) -> None:
        """Hold these, which are in the memory."""
        self.ids, self.tasks, self.steps = ids, tasks, steps
        self._all = list(map(self._load, ids)) if steps <= MOST_STEPS else None

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, name: str, demo: Demonstration) -> None:
        self.ids.append(name)
        self.tasks.append(demo.tasks)
        self.steps += len(demo.steps)
        if self._all is not None:
            self._all.append(demo)
            if self.steps > MOST_STEPS:
                self._all = None

    def replace(self, place: int, demo: Demonstration) -> None:
        self.tasks[place] = demo.tasks
        if (held := self._all) is not None:
            held[place] = demo
        with self._lock:
            self._last.pop(place, None)

    def __getitem__(self, place: int) -> Demonstration:
        if (held := self._all) is not None:
            return held[place]
        with self._lock:
            if place in self._last:
                self._last.move_to_end(place)
                return self._last[place]
        demo = self._load(self.ids[place])
        with self._lock:
            self._last[place] = demo
            while len(self._last) > _LAST:
                self._last.popitem(last=False)
        return demo
