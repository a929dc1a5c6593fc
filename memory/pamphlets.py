"""The memory of pamphlets: take in what was distilled, find the entries that fit the present step.

The entries lie in the same file, under the same versions, as the demonstrations.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from atlas.errors import ConfigError, StoreError
from atlas.given import check_records, check_text, check_whole, shown, whole
from atlas.memory.cues import plain
from atlas.memory.database import Database, Item, Write, check_place, parsed
from atlas.memory.embed import embedder_of
from atlas.memory.indexes import check_index, chroma_tables, tell_once
from atlas.memory.merge import SAME_ACTION, SAME_CUE, Signature, join, signature, surplus
from atlas.memory.pamphlet import Entry
from atlas.memory.part import MOST, check_view
from atlas.memory.retrieve import Ranking, Shelf, chosen
from atlas.memory.safety import vet
from atlas.memory.texts import TextVectors, embedded, text_hash
from atlas.memory.vectors import Buffer, Floats, IndexGone, Ints, inner
from atlas.protocols import Embedder
from atlas.records import STUDENT, TEACHER, Guidance, View

if TYPE_CHECKING:
    from atlas.memory.chroma import ChromaVectors

CAP = 1_000
"""Entries that a memory keeps at most, where not told otherwise."""

Embed = Callable[[Sequence[str]], Floats]


class Added(NamedTuple):
    """What became of the entries that were put into a memory: ids."""

    new: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    """Entries that were there and gained support, each once."""
    quarantined: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    """Entries that left because the memory was full."""


class PamphletStore:
    """Entries in one memory. Any number of processes may add and search at once; what one changes, the others
    find at their next search.

    Entries enter on trial, or quarantined with their reason where they are suspicious. What says the same as an entry
    that is there becomes part of it (:mod:`atlas.memory.merge`), and there are never more than ``cap`` of them.
    """

    def __init__(
        self,
        path: str | Path | Database,
        embedder: Embedder | str = "minilm",
        *,
        cap: int = CAP,
        audience: str = "",
        index: str = "auto",
    ) -> None:
        """
        path: as :class:`atlas.memory.database.Database` takes it, or a database that is open, which its owner closes.
        embedder: an object, or a name for :func:`atlas.memory.embed.load_embedder`; loaded at the first use.
        cap: entries kept at most; quarantined and removed ones are not counted.
        audience: only entries for ``student`` or ``teacher`` are found; for both where empty.
        index: as :class:`DemonstrationStore` has it. There are never so many entries that any but Chroma's makes a
            difference: it names the 512 cues that are most like a moment, and only those are compared by likeness.
        """
        check_index(index)
        if not whole(cap) or cap < 1:
            raise ConfigError(f"a memory of pamphlets keeps at least 1 entry, not {shown(cap)}")
        if audience not in ("", STUDENT, TEACHER):
            raise ConfigError(f"entries are for {STUDENT} or {TEACHER}, and not for {shown(audience)}: leave it empty")
        check_place(path)
        self.cap = cap
        self.audience = audience
        self._embedder = embedder_of(embedder)
        self.database = path if isinstance(path, Database) else Database(str(path))
        self.path = self.database.path
        self._owned = self.database is not path
        self._texts = TextVectors(self.database, self._embedder)
        self._embedding = threading.Lock()
        self._stamp: object = None
        self._undone = self.database.undone
        self._head = 0
        self._index_kind = index
        self._cues: ChromaVectors | None = None
        self._items: dict[str, tuple[Item, Entry]] = {}
        self._shelf: Shelf | None = None
        self._vectors: dict[str, Floats] = {}

    # --- writing ------------------------------------------------------------------------------------------------------

    def add_many(self, entries: Iterable[Entry], *, author: str, reason: str) -> Added:
        """Take in entries as one version of the memory, all or none.

        author and reason: for the log of versions, as :meth:`Database.write` takes them. Entries that a person removed
        or that were quarantined stay so when they are learned again. Raises StoreError when the memory is frozen.
        """
        given = check_records("what a memory takes", entries, Entry, "give Entry(cue=..., action=...)")
        check_text("the reason of a change", reason, "say why in words")
        return self.database.whole(lambda: self._add(given, author, reason))

    def _add(self, entries: Sequence[Entry], author: str, reason: str) -> Added:
        with self.database.transaction():
            self._refresh()
            taken = _Taken({key: (item, entry) for key, (item, entry) in self._items.items() if item.searched})
            reasons: list[str] = []
            for entry in entries:
                self._take(entry, taken, reasons)
            gone = self._make_room(taken)
            why = "; ".join(dict.fromkeys([reason, *reasons]))
            self.database.write(taken.writes(gone), author=author, reason=why)
        merged = tuple(key for key in taken.changed if key not in taken.new and key not in gone)
        new = tuple(key for key in taken.new if key not in gone)
        return Added(new, merged, tuple(taken.quarantined), tuple(key for key in gone if key not in taken.new))

    def learn(self, source: str, entries: Iterable[Entry], *, distiller: str = "") -> Added | None:
        """Take in what ``distiller`` made of an episode, once: None where this was learned from ``source``
        (``RUN/EPISODE``) before."""
        check_text("what entries are learned from", source, "give RUN/EPISODE")
        given = check_records("what a memory takes", entries, Entry, "give Entry(cue=..., action=...)")
        return self.database.whole(lambda: self._learn(source, given, distiller))

    def _learn(self, source: str, entries: Sequence[Entry], distiller: str) -> Added | None:
        with self.database.transaction():
            if self.has_learned(source, distiller=distiller):
                return None
            added = self.add_many(entries, author=f"trace:{source}", reason="distilled")
            self.database.backend.set_learned(_learned(source, distiller), self.database.head())
            return added

    def has_learned(self, source: str, *, distiller: str = "") -> bool:
        """Whether what ``source`` taught was taken in, and no rollback has undone that since."""
        with self.database.reading():
            version = self.database.backend.learned(_learned(source, distiller))
            return version is not None and not self.database.rolled_back(version)

    def _take(self, entry: Entry, taken: _Taken, reasons: list[str]) -> None:
        if entry.id in taken.entries:
            taken.join(entry.id, entry)
            return
        # Where it was learned is never shown.
        vetted = vet(entry.model_copy(update={"origins": ()}))
        entry = vetted.item.model_copy(update={"origins": entry.origins})
        known = self._items.get(entry.id)
        if known is not None and not known[0].searched and known[0].status != "absent":
            return
        if vetted.status == "quarantined":
            taken.quarantined[entry.id] = entry
            reasons.append(f"{entry.id} quarantined: {vetted.reason}")
            return
        # Cleaning may have made it one that is there.
        same = entry.id if entry.id in taken.entries else self._same(entry, taken)
        if same is None:
            taken.add(entry, self._embed)
        else:
            taken.join(same, entry)

    def _same(self, entry: Entry, taken: _Taken) -> str | None:
        """The id of an entry that says the same in other words: the likest, then the first by id."""
        group = taken.group(entry, self._embed)
        if not group.keys:
            return None
        cue, action = self._embed([plain(entry.cue), entry.action])
        cues, actions = inner(group.cues.view(), cue), inner(group.actions.view(), action)
        likeness = np.round(cues + actions, 5)
        near = np.flatnonzero((cues >= SAME_CUE) & (actions >= SAME_ACTION)).tolist()
        found = [(-float(likeness[place]), group.keys[place]) for place in near]
        return min(found)[1] if found else None

    def _make_room(self, taken: _Taken) -> list[str]:
        now = self.database.head() + 1
        rows = [
            (
                key,
                self._items[key][0].status if key in self._items else "trial",
                entry.support,
                now if key in taken.changed else self._items[key][0].version,
            )
            for key, entry in taken.entries.items()
        ]
        return surplus(rows, self.cap)

    def close(self) -> None:
        if self._owned:
            self.database.close()

    def __enter__(self) -> PamphletStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.database.count("entry")

    def get(self, entry_id: str) -> Entry:
        """Whatever its status. Raises StoreError for an id that is not there."""
        item = self.database.get("entry", entry_id)
        if item is None:
            raise StoreError(f"there is no entry {entry_id} in {self.path}: list them with 'atlas memory ls'")
        return parsed(item, Entry, self.path)

    def all(self) -> list[Entry]:
        """Every entry on trial or admitted, in insertion order."""
        with self.database.turn():
            self._refresh()
            return [entry for item, entry in self._items.values() if item.searched]

    def search(self, view: View, tokens: int) -> list[Guidance]:
        """The entries that fit the view's next step, best first; shown together they take at most ``tokens``.

        Never one that is quarantined, and never one that was learned from the view's own task alone.
        """
        check_view(view)
        check_whole("what entries may take, in tokens,", tokens, 0, MOST)
        shelf = self._current()
        texts = shelf.texts(view)
        ranking = Ranking(view, texts, embedded(self._embedder, list(texts.values())) if texts else None)
        try:
            found = shelf.ranked(ranking)
        except IndexGone as gone:
            self._give_up(gone)
            found = self._current().ranked(ranking)
        return chosen(found, tokens)

    def warm(self) -> None:
        """Embed all cues, and fill the index of them, now."""
        self._current()

    def config(self) -> dict[str, object]:
        """What determines retrieval, besides the entries themselves."""
        return {"embedder": self._embedder.name, "cap": self.cap, "audience": self.audience or "both"}

    def part(self, audience: str) -> PamphletStore:
        """The same memory, of which only the entries for ``audience`` are found."""
        return PamphletStore(self.database, self._embedder, cap=self.cap, audience=audience, index=self._index_kind)

    # --- index --------------------------------------------------------------------------------------------------------

    def _current(self) -> Shelf:
        with self.database.embedding(self._embedding):
            with self.database.turn():
                self._refresh()
                if self._shelf is not None:
                    return self._shelf
                head, undone = self._head, self._undone
                found = [
                    (key, entry)
                    for key, (item, entry) in self._items.items()
                    if item.searched and self.audience in ("", entry.audience)
                ]
            # Others have their turn while this embeds.
            vectors = self._embed([plain(entry.cue) for _, entry in found])
            shelf = Shelf(found, vectors, self._nearest([plain(entry.cue) for _, entry in found], vectors))
            with self.database.turn():
                if (head, undone) == (self._head, self._undone):
                    self._shelf = shelf
            return shelf

    def _nearest(self, cues: list[str], vectors: Floats) -> Callable[[Floats], Ints] | None:
        """What names the places of the cues most like a vector; None where all are compared."""
        try:
            if self._cues is None:
                tables = chroma_tables(self._index_kind, self.database)
                if tables is None:
                    return None
                self._cues = tables.table(self._embedder, "cue")
            table = self._cues
            vector_of = dict(zip(cues, vectors, strict=True))
            if new := table.lacks(cues):
                table.append(new, np.stack([vector_of[cue] for cue in new]))
        except IndexGone as gone:
            self._give_up(gone)
            return None
        places: dict[str, list[int]] = {}
        for place, cue in enumerate(cues):
            places.setdefault(text_hash(cue), []).append(place)
        return lambda vector: np.array([p for name in table.nearest(vector) for p in places.get(name, ())], np.intp)

    def _give_up(self, gone: IndexGone) -> None:
        """Go on without an index outside of the memory."""
        with self.database.turn():
            tell_once(self.database, gone)
            self._index_kind, self._cues, self._shelf = "auto", None, None

    def _refresh(self) -> None:
        """Take over what any process has changed since the last look. To be called in a turn."""
        if self._undone != self.database.undone:
            self._stamp, self._head, self._shelf, self._undone = None, 0, None, self.database.undone
            self._items.clear()
        stamp = self.database.stamp()
        if stamp == self._stamp:
            return
        for item in self.database.rows("entry", self._head):
            self._items[item.id] = (item, parsed(item, Entry, self.path))
            self._head = max(self._head, item.version)
            self._shelf = None
        self._stamp = stamp

    def _embed(self, texts: Sequence[str]) -> Floats:
        """``(len(texts), dim)``; what was embedded before is remembered. Several threads may be at it at once."""
        known = self._vectors
        found = {text: known[text] for text in texts if text in known}
        unknown = list(dict.fromkeys(text for text in texts if text not in found))
        if unknown:
            found.update(zip(unknown, self._texts.embed(unknown), strict=True))
            if len(known) > 8 * self.cap:
                known = self._vectors = {}
            known.update(found)
        return np.stack([found[t] for t in texts]) if texts else np.empty((0, self._embedder.dim), np.float32)


def _learned(source: str, distiller: str) -> str:
    return f"{source} {distiller}".strip()


class _Group:
    """Entries of one signature, with the embeddings of their cues and actions."""

    def __init__(self, dim: int) -> None:
        self.keys: list[str] = []
        self.cues, self.actions = Buffer(np.float32, dim), Buffer(np.float32, dim)

    def extend(self, keys: Sequence[str], entries: Sequence[Entry], embed: Embed) -> None:
        self.keys += keys
        self.cues.extend(embed([plain(entry.cue) for entry in entries]))
        self.actions.extend(embed([entry.action for entry in entries]))


class _Taken:
    """The entries that may reach a prompt, as they will be after a write."""

    def __init__(self, known: dict[str, tuple[Item, Entry]]) -> None:
        self.entries = {key: entry for key, (_, entry) in known.items()}
        self.new: dict[str, None] = {}
        self.changed: dict[str, None] = {}
        self.quarantined: dict[str, Entry] = {}
        self._signed: dict[Signature, list[str]] | None = None
        self._groups: dict[Signature, _Group] = {}

    def add(self, entry: Entry, embed: Embed) -> None:
        self.group(entry, embed).extend([entry.id], [entry], embed)
        self.entries[entry.id] = entry
        self.new[entry.id] = self.changed[entry.id] = None

    def group(self, entry: Entry, embed: Embed) -> _Group:
        """The entries that ``entry`` may be merged with."""
        if self._signed is None:
            self._signed = {}
            for key, known in self.entries.items():
                self._signed.setdefault(signature(known), []).append(key)
        sign = signature(entry)
        if sign not in self._groups:
            keys = self._signed.get(sign, [])
            self._groups[sign] = _Group(embed([entry.action]).shape[1])
            self._groups[sign].extend(keys, [self.entries[key] for key in keys], embed)
        return self._groups[sign]

    def join(self, key: str, entry: Entry) -> None:
        joined = join(self.entries[key], entry)
        if joined is not self.entries[key]:
            self.entries[key] = joined
            self.changed[key] = None

    def writes(self, gone: Sequence[str]) -> list[Write]:
        left = set(gone)
        made = [
            Write("entry", key, "trial" if key in self.new else None, self.entries[key].model_dump_json())
            for key in self.changed
            if key not in left
        ]
        made += [Write("entry", key, "quarantined", e.model_dump_json()) for key, e in self.quarantined.items()]
        # Absent, not removed: what left for want of room may be learned again.
        return made + [Write("entry", key, "absent") for key in gone if key not in self.new]
