"""The demonstration memory: add what worked, find what fits the present step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from atlas.errors import ConfigError, StoreError
from atlas.given import check_record, check_records, check_text, check_whole, shown, whole
from atlas.memory.backend import SEARCHED
from atlas.memory.database import Database, Item, Status, check_place, parsed
from atlas.memory.demonstration import Demonstration, counted, provenance
from atlas.memory.embed import embedder_of
from atlas.memory.held import Held
from atlas.memory.index import (
    DEFAULT_KEYS,
    STEP_KEYS,
    TRAJECTORY_KEYS,
    Index,
    Query,
    Ranked,
    Snapshot,
    check_keys,
    demo_texts,
    distinct,
)
from atlas.memory.indexes import SERVER, check_index, chosen, chroma_tables, make_index, may_be_faiss, tell_once
from atlas.memory.part import MOST, MemoryView, check_ids
from atlas.memory.safety import Vetted, vet
from atlas.memory.same import Same
from atlas.memory.saved import Kept, SavedIndex
from atlas.memory.texts import TextVectors, embedded
from atlas.memory.vectors import Floats, IndexGone, Ints
from atlas.protocols import Embedder
from atlas.records import View, Window

MOST_STEPS = 1_000_000
"""Of a window, on each side: all of any episode."""
_AT_ONCE = 500
"""Demonstrations that are embedded at once, for an index that keeps less of them than they are."""
_ALL_ABOVE = 4_000
"""Demonstrations up to which their steps are counted before an index is chosen; more are judged by so many."""

Progress = Callable[[int, int], None]


class DemonstrationStore:
    """A memory of successful trajectories, which may hold other things as well.

    Any number of processes may add and search at once; what one adds, the others find at their next search. Equal goal
    and equal steps are one demonstration, with a count, whatever the task. Embedding is done when first searched (or by
    :meth:`warm`), once per distinct text, and kept. Searching is safe from many threads.

    Only what is on trial or admitted counts and is searched. What was quarantined or removed stays in the file, where
    :meth:`get` and ``atlas memory show`` find it.
    """

    def __init__(
        self,
        path: str | Path | Database,
        embedder: Embedder | str = "minilm",
        index: str = "auto",
        keys: Sequence[str] = DEFAULT_KEYS,
        weights: Mapping[str, float] | None = None,
        window: int = 5,
    ) -> None:
        """
        path: as :class:`atlas.memory.database.Database` takes it, or a database that is open, which its owner closes.
        embedder: an object, or a name for :func:`atlas.memory.embed.load_embedder`; loaded at the first search.
        index: ``exact`` compares with every vector; ``auto`` estimates first where there are many, by faiss where that
            is installed, then rescores the best exactly; ``faiss``, ``chroma`` (a folder beside the memory) and
            ``chroma://host:port`` (a server of Chroma) always use what they name.
        keys: what is compared, among goal, plan, thought, observation and action.
        weights: of the keys within their average; 1 where not given.
        window: how many steps to show before and after the best one.
        """
        check_index(index)
        if not whole(window) or not 0 <= window <= MOST_STEPS:
            raise ConfigError(f"window is 0 to {MOST_STEPS:,} steps, not {shown(window)}")
        check_place(path)
        self.window = window
        self._weights = check_keys(keys, weights or {})
        self._index_kind = self._asked_for = index
        self._embedder = embedder_of(embedder)
        self.database = path if isinstance(path, Database) else Database(str(path))
        self.path = self.database.path
        self._owned = self.database is not path
        self._texts = TextVectors(self.database, self._embedder)
        self._same = Same(self.database)
        if index.startswith(SERVER):
            try:
                chroma_tables(index, self.database)  # a server that is not there is told of before anything is done
            except BaseException:
                self.close()
                raise
        self._embedding = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        """Begin anew, to read the file from its first item."""
        self._kind = ""
        self._undone = self.database.undone
        self._stamp: object = None
        self._head = 0
        self._demos = Held(self._load)
        self._places: dict[str, int] = {}
        self._shown: list[bool] = []
        self._hidden: Ints = np.empty(0, np.intp)
        self._by_task: dict[str, list[int]] = {}
        self._index: Index | None = None
        self._saved: SavedIndex | None = None
        self._looked = False
        """Whether an index was looked for in a file."""

    # --- writing ------------------------------------------------------------------------------------------------------

    def add(
        self,
        demo: Demonstration,
        *,
        status: Status = "admitted",
        author: str | None = None,
        reason: str = "",
        apart: bool = False,
    ) -> bool:
        """Store a demonstration durably; False if what it says was there already, whatever its status.

        As :meth:`add_many`, which see. Raises StoreError for an unsuccessful one.
        """
        return self.add_many([demo], status=status, author=author, reason=reason, apart=apart) == 1

    def add_many(
        self,
        demos: Iterable[Demonstration],
        *,
        status: Status = "admitted",
        author: str | None = None,
        reason: str = "",
        apart: bool = False,
    ) -> int:
        """Store demonstrations in one transaction, all or none, as one version of the memory; how many were new.

        They are stored cleaned, and quarantined with the reason where something in them is suspicious
        (:func:`atlas.memory.safety.vet`). One that says what another does, goal and steps, is counted with that
        (:attr:`Demonstration.seen`), once for each episode; what was removed or quarantined stays so.

        author and reason: for the log of versions, as :meth:`Database.write` takes them; by default the trace that they
            come from, where they come from one.
        apart: keep each under its own task, also where another says the same.
        """
        demos = check_records("what a memory takes", demos, Demonstration, "make one with from_episode, say")
        check_text("the reason of a change", reason, "say why in words")
        for demo in demos:
            if not demo.success:
                raise StoreError(
                    f"the demonstration {demo.id} of task {demo.task_id} did not succeed: a memory takes only successes"
                )
        vetted = [vet(demo, status=status) for demo in demos]
        by, why = provenance(demos)
        return self.database.whole(lambda: self._store(vetted, author or by, reason or why, apart))

    def _store(self, vetted: Sequence[Vetted[Demonstration]], author: str, reason: str, apart: bool) -> int:
        with self.database.transaction():
            due = self._same.due(vetted, apart=apart)
            said = [reason, *counted(due.repeated)]
            if any(found.status == "quarantined" for found in vetted):
                new = {write.id for write in due.writes if write.only_new}
                bad = [found for found in vetted if found.status == "quarantined" and found.item.id in new]
                said += [f"{found.item.id} quarantined: {found.reason}" for found in bad]
            done = self.database.write_within(due.writes, author=author, reason="; ".join(filter(None, said)))
        return sum(new for new, write in zip(done, due.writes, strict=True) if write.only_new)

    def find(self, demo: Demonstration) -> Demonstration | None:
        """What the memory has in use that says what ``demo`` does, as it is kept; None where there is none."""
        check_record("what is looked for in a memory", demo, Demonstration, "give get() an id")
        item = vet(demo).item
        with self.database.transaction():
            return self._same.twin(item, "admitted").demo

    @property
    def embedder(self) -> Embedder:
        """What its texts are embedded by, for what is kept beside it in the same file."""
        return self._embedder

    @property
    def index(self) -> str:
        """How it was asked to be searched."""
        return self._asked_for

    def close(self) -> None:
        if self._owned:
            self.database.close()

    def __enter__(self) -> DemonstrationStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.database.count("demonstration")

    def __contains__(self, demo_id: str) -> bool:
        item = self.database.get("demonstration", demo_id)
        return item is not None and item.searched

    def get(self, demo_id: str) -> Demonstration:
        """One that is or was here, whatever its status. Raises StoreError for an id that is not there."""
        item = self.database.get("demonstration", demo_id)
        if item is None:
            raise StoreError(f"there is no demonstration {demo_id} in {self.path}")
        return parsed(item, Demonstration, self.path)

    def all(self) -> list[Demonstration]:
        """Every demonstration that may be searched, in insertion order."""
        return [parsed(item, Demonstration, self.path) for item in self.database.rows("demonstration") if item.searched]

    def limit(self, count: int) -> MemoryView:
        """A read-only view of the first ``count`` demonstrations, which later additions do not change."""
        check_whole("a limit of demonstrations", count, 0, MOST)
        return MemoryView(self, count=count)

    def subset(self, ids: Iterable[str]) -> MemoryView:
        """A read-only view of some demonstrations."""
        return MemoryView(self, ids=frozenset(check_ids(ids)))

    def search(self, view: View, k: int) -> list[Window]:
        """The ``k`` best windows for the view's next step, best first, one per trajectory, none of its own task.

        No two of them show the same: of trajectories that are equal in what is shown, the best one is."""
        return MemoryView(self).search(view, k)

    def similar(self, view: View, k: int) -> list[Window]:
        """The ``k`` best trajectories by goal, and plan where the view has one, shown whole."""
        return MemoryView(self).similar(view, k)

    def config(self) -> dict[str, object]:
        """What determines retrieval, besides the demonstrations themselves."""
        return {
            "embedder": self._embedder.name,
            "index": self._asked_for,
            "weights": self._weights,
            "window": self.window,
        }

    def warm(self, progress: Progress | None = None) -> None:
        """Load and embed everything now; ``progress(done, of)`` counts the texts that had to be embedded."""
        self._refresh(progress)

    # --- index --------------------------------------------------------------------------------------------------------

    def _refresh(self, progress: Progress | None = None) -> Snapshot:
        """The index as it is now, with all that any process has added, removed or brought back."""
        try:
            return self._refreshed(progress)
        except IndexGone as gone:
            self._give_up(gone)
        return self._refreshed(progress)

    def _refreshed(self, progress: Progress | None) -> Snapshot:
        with self.database.embedding(self._embedding):
            while True:
                with self.database.turn():
                    if self._undone != self.database.undone:
                        self._forget()
                    stamp = self.database.stamp()
                    if self._index is not None and stamp == self._stamp:
                        return self._index.snapshot()
                    if not self._looked:
                        self._take_up()
                    head, undone = self._head, self._undone
                    rows = self.database.marks("demonstration", head)
                    new = [row for row in rows if row.id not in self._places]
                    known = [row for row in rows if row.id in self._places]
                # Others have their turn while this reads and embeds.
                again = [(row.id, parsed(row, Demonstration, self.path)) for row in self.database.whole_rows(known)]
                if self._take_in(new, (head, undone), progress):
                    with self.database.turn():
                        if (head, undone) == (self._head, self.database.undone) and self._index is not None:
                            self._recount(again)
                            self._show(rows)
                            self._stamp = stamp
                            snapshot, due = self._index.snapshot(), self._to_keep()
                        else:
                            continue
                    if due is not None and self._saved is not None:
                        self._saved.save(due)
                    return snapshot

    def _take_up(self) -> None:
        """Begin with the index that is kept in a file, where there is one that is of this memory."""
        self._looked = True
        if not may_be_faiss(self._index_kind):
            return
        self._saved = SavedIndex(self.database, self._embedder, tuple(self._weights))
        if (kept := self._saved.load()) is None:
            return
        index = make_index("faiss", self._weights, self._embedder, self.database)
        try:
            index.restore(kept.arrays, kept.steps)
        except ValueError as error:
            self._saved.damaged(error)
            return
        self._index, self._kind, self._head = index, "faiss", kept.head
        self._demos.restore(kept.ids, kept.tasks, kept.steps)
        self._shown, self._hidden = kept.shown.tolist(), np.flatnonzero(~kept.shown)
        for place, (demo_id, tasks) in enumerate(zip(kept.ids, kept.tasks, strict=True)):
            self._found_at(place, demo_id, tasks)

    def _to_keep(self) -> Kept | None:
        """What is to be kept in a file, where it is a great index, and much greater than what is there."""
        held = self._demos
        if self._saved is None or self._index is None or not self._saved.due(held.steps):
            return None
        shown, parts = np.array(self._shown, bool), self._index.arrays()
        return Kept(self._head, held.steps, list(held.ids), list(held.tasks), shown, parts) if parts else None

    def _take_in(self, rows: list[Item], state: tuple[int, int], progress: Progress | None) -> bool:
        """Put new demonstrations into the index; False where the memory is another meanwhile than at ``state``."""
        few = self.database.whole_rows(rows[:_ALL_ABOVE])
        demos = [parsed(row, Demonstration, self.path) for row in few]
        steps = sum(len(demo.steps) for demo in demos) * len(rows) // max(1, len(demos))
        with self.database.turn():
            kind = chosen(self._index_kind, self._demos.steps + steps)
            # What was judged by a part of it, or lay in a file, stays.
            if self._index is not None and kind != self._kind and not (kind == "auto" and self._kind == "faiss"):
                self._forget()
                return False
            if self._index is None:
                self._kind = kind
                self._index = make_index(kind, self._weights, self._embedder, self.database)
        # Hidden ones too: places are in insertion order for ever, and some will be brought back.
        at_once = _AT_ONCE if self._kind == "faiss" else len(rows)
        for start in range(0, len(rows), max(1, at_once)):
            part = rows[start : start + at_once]
            some = demos[start : start + at_once]
            rest = self.database.whole_rows(part[len(some) :])
            some += [parsed(row, Demonstration, self.path) for row in rest]
            vectors = self._embedded(some, progress)
            with self.database.turn():
                if state != (self._head, self.database.undone) or self._index is None:
                    return False
                self._index.append(some, vectors)
                self._remember(some, [row.id for row in part])
        return True

    def _give_up(self, gone: IndexGone) -> None:
        """Go on without an index outside of the memory."""
        with self.database.turn():
            tell_once(self.database, gone)
            self._index_kind = "auto"
            self._forget()

    def _load(self, demo_id: str) -> Demonstration:
        item = self.database.backend.item("demonstration", demo_id)
        if item is None:
            raise StoreError(f"there is no demonstration {demo_id} in {self.path}")
        return parsed(item, Demonstration, self.path)

    def _embedded(self, demos: Sequence[Demonstration], progress: Progress | None) -> Callable[[Sequence[str]], Floats]:
        """Looks up the vectors of the texts of ``demos``: of those that the index lacks."""
        index = self._index
        texts = index.unknown(demos) if index else distinct(demos, self._weights)
        found = dict(zip(texts, self._texts.embed(texts, progress), strict=True))

        def vectors(wanted: Sequence[str]) -> Floats:
            return np.stack([found[t] for t in wanted]) if wanted else np.empty((0, self._embedder.dim), np.float32)

        return vectors

    def _remember(self, demos: list[Demonstration], ids: list[str]) -> None:
        for demo, demo_id in zip(demos, ids, strict=True):
            place = len(self._demos)
            self._demos.append(demo_id, demo)
            self._shown.append(False)
            self._found_at(place, demo_id, demo.tasks)

    def _found_at(self, place: int, demo_id: str, tasks: frozenset[str]) -> None:
        self._places[demo_id] = place
        for task in tasks:
            self._by_task.setdefault(task, []).append(place)

    def _recount(self, demos: Iterable[tuple[str, Demonstration]]) -> None:
        """Demonstrations that were read before and are counted anew."""
        for demo_id, demo in demos:
            place = self._places[demo_id]
            if self._saved is not None and not demo.goal and not demo.task_id:
                self._saved.discard()
            before = self._demos.tasks[place]
            self._demos.replace(place, demo)
            for task in before - demo.tasks:
                self._by_task[task].remove(place)
            for task in demo.tasks - before:
                self._by_task.setdefault(task, []).append(place)

    def _show(self, rows: list[Item]) -> None:
        for row in rows:
            self._shown[self._places[row.id]] = row.status in SEARCHED
        if rows:
            self._hidden = np.flatnonzero(~np.array(self._shown))
            self._head = max(self._head, *(row.version for row in rows))

    def _blocked(self, task_id: str, ids: frozenset[str] | None) -> Ints:
        """Places that may not be returned: the task's own, hidden ones, and those outside a subset."""
        own = np.concatenate([np.array(self._by_task.get(task_id, []), np.intp), self._hidden])
        if ids is None:
            return own
        outside = np.ones(len(self._demos), bool)
        outside[[self._places[demo_id] for demo_id in ids if demo_id in self._places]] = False
        return np.concatenate([own, np.flatnonzero(outside)])

    def _first(self, count: int | None, size: int) -> int:
        """How many places, of ``size``, hold the first ``count`` demonstrations that are not hidden."""
        if count is None:
            return size
        hidden = self._hidden[self._hidden < size]
        if not len(hidden):
            return max(0, min(count, size))
        places = np.delete(np.arange(size), hidden)
        return int(places[count]) if 0 <= count < len(places) else size if count > 0 else 0

    def _sharpened(self, query: Query, ranked: list[Ranked], keys: tuple[str, ...], k: int) -> list[Ranked]:
        """The ``k`` best of ``ranked``, by scores of the vectors that the memory keeps."""
        demos = [self._demos[row.place] for row in ranked]
        texts = [
            {key: demo_texts(demo, key)[row.step if key in STEP_KEYS else 0] for key in keys if key in query}
            for demo, row in zip(demos, ranked, strict=True)
        ]
        wanted = list(dict.fromkeys(text for some in texts for text in some.values() if text))
        vectors = dict(zip(wanted, self._texts.embed(wanted), strict=True))

        def mean(some: Mapping[str, str], level: Sequence[str]) -> float:
            shared = [key for key in level if some.get(key)]
            above = sum(self._weights[key] * float(vectors[some[key]] @ query[key]) for key in shared)
            return above / sum(self._weights[key] for key in shared) if shared else 0.0

        scored = [
            row._replace(score=round(mean(some, TRAJECTORY_KEYS) + mean(some, STEP_KEYS), 6))
            for row, some in zip(ranked, texts, strict=True)
        ]
        return sorted(scored, key=lambda row: (-row.score, self._demos.ids[row.place]))[:k]

    def _query(self, texts: Mapping[str, str]) -> dict[str, Floats]:
        return dict(zip(texts, embedded(self._embedder, list(texts.values())), strict=True))
