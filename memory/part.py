"""What is searched: all of a store, or a part of it that stays the same while the store grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from atlas.errors import ConfigError
from atlas.given import check_record, check_whole, shown
from atlas.memory.demonstration import Demonstration
from atlas.memory.index import TRAJECTORY_KEYS, Query, Ranked, Snapshot, query_texts
from atlas.memory.vectors import IndexGone
from atlas.records import View, Window, content_hash

if TYPE_CHECKING:
    from atlas.memory.store import DemonstrationStore

MOST = 1_000_000_000
"""Of anything that is asked for: more than is there."""
SPARE = 16
"""Beyond what is wanted, how many are scored again exactly where scores are only close."""


def check_view(view: View) -> None:
    """Raises ConfigError for what is no moment of a task."""
    check_record("what a memory is searched for", view, View, "give View(task=..., opening=...)")


def check_search(view: View, k: int) -> None:
    """As :func:`check_view`, and for what is no number of things to find."""
    check_view(view)
    check_whole("how many are searched for", k, 0, MOST)


def check_ids(ids: Iterable[str]) -> list[str]:
    """``ids`` as a list. Raises ConfigError for what is no list of texts."""
    found = list(ids) if isinstance(ids, Iterable) and not isinstance(ids, str) else None
    if found is None or not all(isinstance(one, str) for one in found):
        raise ConfigError(f"a subset of demonstrations is a list of ids, not {shown(ids)}: give [demo.id, ...]")
    return found


class MemoryView:
    """All of a store, or a part that stays the same while the store grows."""

    def __init__(self, store: DemonstrationStore, count: int | None = None, ids: frozenset[str] | None = None) -> None:
        self._store, self._count, self._ids = store, count, ids

    def __len__(self) -> int:
        return len(self.all())

    @property
    def window(self) -> int:
        """How many steps are shown before and after the best one."""
        return self._store.window

    def all(self) -> list[Demonstration]:
        demos = self._store.all()[: None if self._count is None else max(0, self._count)]
        return demos if self._ids is None else [demo for demo in demos if demo.id in self._ids]

    def search(self, view: View, k: int) -> list[Window]:
        """As :meth:`DemonstrationStore.search`, within this part."""
        check_search(view, k)
        query = self._store._query(query_texts(view, list(self._store._weights)))
        width = self._store.window

        def cut(demo: Demonstration, demo_id: str, row: Ranked) -> Window:
            return window_around(demo, demo_id, row, max(0, row.step - width), row.step + width + 1)

        return self._windows(view, k, query, cut)

    def similar(self, view: View, k: int) -> list[Window]:
        """As :meth:`DemonstrationStore.similar`, within this part."""
        check_search(view, k)
        keys = [key for key in self._store._weights if key in ("goal", "plan")]
        query = self._store._query(query_texts(view, keys))

        def whole(demo: Demonstration, demo_id: str, row: Ranked) -> Window:
            return window_around(demo, demo_id, row, 0, len(demo.steps))

        return self._windows(view, k, query, whole, whole=True)

    def config(self) -> dict[str, object]:
        part: dict[str, object] = {}
        if self._count is not None:
            part["limit"] = self._count
        if self._ids is not None:
            part["subset"] = content_hash(sorted(self._ids))
        return {**self._store.config(), **part}

    def _windows(
        self,
        view: View,
        k: int,
        query: Query,
        cut: Callable[[Demonstration, str, Ranked], Window],
        *,
        whole: bool = False,
    ) -> list[Window]:
        store = self._store
        snapshot = store._refresh()
        most = k
        while True:
            try:
                ranked = self._ranked(snapshot, view, most, query, whole)
            except IndexGone as gone:
                store._give_up(gone)
                snapshot = store._refresh()
                continue
            # The same thing may have been done many times; shown twice it says no more.
            shown: list[Window] = []
            alike: dict[tuple[object, ...], list[Window]] = {}
            for row in ranked:
                window = cut(store._demos[row.place], store._demos.ids[row.place], row)
                # Only what begins and ends alike is compared whole: that costs next to nothing.
                begins, ends = window.steps[0], window.steps[-1]
                mark = (window.goal, window.plan, begins.observation, ends.observation, ends.action, len(window.steps))
                others = alike.setdefault(mark, [])
                if not any(window.steps == other.steps for other in others):
                    others.append(window)
                    shown.append(window)
            if len(shown) >= k or len(ranked) < most:
                return shown[:k]
            most *= 4

    def _ranked(self, snapshot: Snapshot, view: View, most: int, query: Query, whole: bool) -> list[Ranked]:
        store = self._store
        first = store._first(self._count, snapshot.size)
        blocked = store._blocked(view.task.id, self._ids)
        blocked = blocked[blocked < first]
        rank = snapshot.rank_trajectories if whole else snapshot.rank
        if not snapshot.error:
            return rank(query, most, store._demos.ids, blocked, first)
        likely = rank(query, most + max(SPARE, most), store._demos.ids, blocked, first)
        if len(likely) > most:
            # Two scores may both be off.
            worst = likely[most - 1].score - 2 * snapshot.error
            likely = [row for row in likely if row.score >= worst]
        return store._sharpened(query, likely, TRAJECTORY_KEYS if whole else tuple(query), most)


def window_around(demo: Demonstration, demo_id: str, row: Ranked, start: int, end: int) -> Window:
    """The steps ``start`` to ``end`` (exclusive, cut at the trajectory's end) as a window."""
    return Window(
        demo_id=demo_id,
        task_id=demo.task_id,
        goal=demo.goal,
        plan=demo.plan,
        steps=demo.steps[start:end],
        start=start,
        best=row.step - start,
        score=row.score,
    )
