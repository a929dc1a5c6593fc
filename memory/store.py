"""The demonstration memory: add what worked, find what fits the present step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from atlas.errors import ConfigError, StoreError
from atlas.memory.backend import SEARCHED
from atlas.memory.database import Database, Item, Status, parsed
from atlas.memory.demonstration import Demonstration
from atlas.memory.embed import load_embedder
from atlas.memory.index import DEFAULT_KEYS, Index, Snapshot, check_keys, distinct
from atlas.memory.part import MemoryView
from atlas.memory.safety import vet
from atlas.memory.same import Same
from atlas.memory.texts import TextVectors
from atlas.memory.vectors import Floats, Ints, NumpyVectors, Vectors
from atlas.protocols import Embedder
from atlas.records import View, Window

INDEXES = ("auto", "exact", "chroma")
CHROMA_ABOVE = 1_000_000
"""Step windows above which ``auto`` uses Chroma, where it is installed: the vectors would fill gigabytes of memory."""

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
        index: ``exact`` compares with every vector; ``auto`` estimates first where there are many, then rescores the
            best exactly, and goes over to Chroma where the vectors would not fit in memory; ``chroma`` always uses it.
        keys: what is compared, among goal, plan, thought, observation and action.
        weights: of the keys within their average; 1 where not given.
        window: how many steps to show before and after the best one.
        """
        if index not in INDEXES:
            raise ConfigError(f"there is no index {index!r}: choose one of {', '.join(INDEXES)}")
        if window < 0:
            raise ConfigError(f"window must be 0 or more steps, not {window}")
        self.window = window
        self._weights = check_keys(keys, weights or {})
        self._index_kind = index
        self._embedder = load_embedder(embedder) if isinstance(embedder, str) else embedder
        self.database = path if isinstance(path, Database) else Database(str(path))
        self.path = self.database.path
        self._owned = self.database is not path
        self._texts = TextVectors(self.database, self._embedder)
        self._same = Same(self.database)
        self._embedding = threading.Lock()
        self._close_index: Callable[[], None] = lambda: None
        self._forget()

    def _forget(self) -> None:
        """Begin anew, to read the file from its first item."""
        self._close_index()
        self._undone = self.database.undone
        self._stamp: object = None
        self._head = 0
        self._demos: list[Demonstration] = []
        self._ids: list[str] = []
        self._places: dict[str, int] = {}
        self._shown: list[bool] = []
        self._hidden: Ints = np.empty(0, np.intp)
        self._by_task: dict[str, list[int]] = {}
        self._index: Index | None = None
        self._close_index = lambda: None

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
        demos = list(demos)
        for demo in demos:
            if not demo.success:
                raise StoreError(
                    f"the demonstration {demo.id} of task {demo.task_id} did not succeed: a memory takes only successes"
                )
        vetted = [vet(demo, status=status) for demo in demos]
        by, why = _provenance(demos)
        with self.database.transaction():
            due = self._same.due(vetted, apart=apart)
            said = [reason or why, *_counted(due.repeated)]
            if any(found.status == "quarantined" for found in vetted):
                new = {write.id for write in due.writes if write.only_new}
                bad = [found for found in vetted if found.status == "quarantined" and found.item.id in new]
                said += [f"{found.item.id} quarantined: {found.reason}" for found in bad]
            done = self.database.write(due.writes, author=author or by, reason="; ".join(filter(None, said)))
        return sum(new for new, write in zip(done, due.writes, strict=True) if write.only_new)

    def find(self, demo: Demonstration) -> Demonstration | None:
        """What the memory has in use that says what ``demo`` does, as it is kept; None where there is none."""
        item = vet(demo).item
        with self.database.transaction():
            return self._same.twin(item, "admitted").demo

    @property
    def embedder(self) -> Embedder:
        """What its texts are embedded by, for what is kept beside it in the same file."""
        return self._embedder

    def close(self) -> None:
        self._close_index()
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
        return MemoryView(self, count=count)

    def subset(self, ids: Iterable[str]) -> MemoryView:
        """A read-only view of some demonstrations."""
        return MemoryView(self, ids=frozenset(ids))

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
            "index": self._index_kind,
            "weights": self._weights,
            "window": self.window,
        }

    def warm(self, progress: Progress | None = None) -> None:
        """Load and embed everything now; ``progress(done, of)`` counts the texts that had to be embedded."""
        self._refresh(progress)

    # --- index --------------------------------------------------------------------------------------------------------

    def _refresh(self, progress: Progress | None = None) -> Snapshot:
        """The index as it is now, with all that any process has added, removed or brought back."""
        with self.database.embedding(self._embedding):
            while True:
                with self.database.turn():
                    if self._undone != self.database.undone:
                        self._forget()
                    stamp = self.database.stamp()
                    if self._index is not None and stamp == self._stamp:
                        return self._index.snapshot()
                    head, undone = self._head, self._undone
                    rows = self.database.rows("demonstration", head)
                    new = [row for row in rows if row.id not in self._places]
                    known = [row for row in rows if row.id in self._places]
                # Others have their turn while this reads and embeds.
                demos = [parsed(row, Demonstration, self.path) for row in new]
                counted = [(row.id, parsed(row, Demonstration, self.path)) for row in known]
                vectors = self._embedded(demos, progress)
                with self.database.turn():
                    if (head, undone) != (self._head, self.database.undone):
                        continue
                    if self._index is None:
                        self._index = Index(self._weights, self._tables(sum(len(demo.steps) for demo in demos)))
                    if demos:
                        # Hidden ones too: places are in insertion order for ever, and some will be brought back.
                        self._index.append(demos, vectors)
                        self._remember(demos, [row.id for row in new])
                    self._recount(counted)
                    self._show(rows)
                    self._stamp = stamp
                    return self._index.snapshot()

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
            self._demos.append(demo)
            self._ids.append(demo_id)
            self._shown.append(False)
            self._places[demo_id] = place
            for task in demo.tasks:
                self._by_task.setdefault(task, []).append(place)

    def _recount(self, demos: Iterable[tuple[str, Demonstration]]) -> None:
        """Demonstrations that were read before and are counted anew."""
        for demo_id, demo in demos:
            place = self._places[demo_id]
            before, self._demos[place] = self._demos[place].tasks, demo
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

    def _tables(self, steps: int) -> Callable[[str], Vectors]:
        """How to make the table of a key, for a memory of so many steps."""
        dim = self._embedder.dim
        if self._index_kind == "exact":
            return lambda key: NumpyVectors(dim, project_above=None)
        if self._index_kind == "chroma" or steps > CHROMA_ABOVE:
            from atlas.memory import chroma

            if self._index_kind == "chroma" or chroma.installed():
                client = chroma.ChromaFolder(self.database.backend.file)
                self._close_index = client.close
                return lambda key: client.table(self._embedder.name, key)
        return lambda key: NumpyVectors(dim)

    def _blocked(self, task_id: str, ids: frozenset[str] | None) -> Ints:
        """Places that may not be returned: the task's own, hidden ones, and those outside a subset."""
        own = np.concatenate([np.array(self._by_task.get(task_id, []), np.intp), self._hidden])
        if ids is None:
            return own
        outside = np.ones(len(self._ids), bool)
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

    def _query(self, texts: Mapping[str, str]) -> dict[str, Floats]:
        vectors = self._embedder.embed(list(texts.values()))
        return dict(zip(texts, vectors, strict=True))


def _provenance(demos: Sequence[Demonstration]) -> tuple[str, str]:
    """(author, reason) of demonstrations that are added without saying."""
    traces = {f"trace:{demo.source.run}/{demo.source.episode}" for demo in demos if demo.source.episode}
    if len(traces) == 1 and all(demo.source.episode for demo in demos):
        return traces.pop(), f"succeeded at: {' '.join(demos[0].goal.split())[:80]}"
    return "rule:given", f"{len(demos)} demonstration{'s' if len(demos) != 1 else ''} given"


def _counted(repeated: Sequence[Demonstration]) -> list[str]:
    """What the log says of demonstrations that were there."""
    if len(repeated) == 1:
        return [f"seen {repeated[0].seen} times"]
    return [f"{len(repeated)} of them seen before"] if repeated else []
