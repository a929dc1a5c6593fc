"""Items are erased: not as a version that can be gone back to, but from every version there is.

That something was erased, when, by whom and why stays in the log, as a version; what it said does not, nor do the
embeddings of its texts. An item that others gave as well stays, without those that are gone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from atlas.errors import StoreError
from atlas.jsontext import read_json
from atlas.memory.backend import KINDS, TABLES, Changed, Item, Kind, Movable, Row
from atlas.memory.cues import plain
from atlas.memory.database import Database
from atlas.memory.demonstration import Demonstration
from atlas.memory.history import CORRECTED_OUTCOMES
from atlas.memory.pamphlet import Entry
from atlas.memory.saved import forget_saved
from atlas.memory.texts import text_hash
from atlas.record import Record
from atlas.records import DemoStep

_PART = 500
ERASED_REASON = "what it said was erased"
_SAID = re.compile(r"\b([0-9a-f]{12,16}) quarantined: .+?(?=; [0-9a-f]{12,16} quarantined: |$)", re.DOTALL)
"""What a reason says of one item, as it is written where items are taken in."""


class Erased(Record):
    """What was erased from a memory, or would be."""

    memory: str
    demonstrations: tuple[str, ...] = ()
    """Ids."""
    entries: tuple[str, ...] = ()
    fewer: tuple[str, ...] = ()
    """Items that stay as others gave them too, and name the episodes no more."""
    outcomes: int = 0
    trials: int = 0
    notes: int = 0
    """That agents kept for themselves."""
    version: int | None = None
    """The version that says so."""

    @property
    def something(self) -> bool:
        return bool(self.demonstrations or self.entries or self.fewer or self.outcomes or self.trials or self.notes)


def blank(kind: Kind) -> str:
    """The record in the place of one that was erased."""
    if kind == "demonstration":
        return Demonstration(
            task_id="", goal="", steps=(DemoStep(observation="", action="", thought=""),), success=True
        ).model_dump_json()
    return Entry(cue="erased", action="erased").model_dump_json()


def erase(
    database: Database,
    episodes: Collection[tuple[str, str]],
    containing: re.Pattern[str] | None = None,
    *,
    author: str,
    reason: str,
    dry: bool = False,
) -> Erased:
    """Erase what came of ``episodes`` ((run, episode)), and whatever a text that ``containing`` finds stands in.

    An entry goes where its words are of one of these episodes, which is the first that it names; where only some that
    agreed with it are, it stays. Raises FrozenMemory, and StoreError for a database that nothing can be taken out of.
    """
    if not isinstance(database.backend, Movable):
        raise StoreError(f"nothing can be erased from {database.path}: its database lets no row be replaced")
    eraser = _Eraser(database, database.backend, frozenset(episodes), containing)
    if dry:
        with database.reading():
            return eraser.found()
    overwrite = getattr(database.backend, "overwriting", None)
    if overwrite is not None:
        overwrite()
    made = database.whole(lambda: eraser.run(author, reason))
    forget = getattr(database.backend, "forget", None)
    if made.something:
        forget_saved(database)
        if forget is not None:
            forget()
    return made


class _Eraser:
    def __init__(
        self,
        database: Database,
        backend: Movable,
        episodes: frozenset[tuple[str, str]],
        containing: re.Pattern[str] | None,
    ) -> None:
        self._database = database
        self._backend = backend
        self._episodes = episodes
        self._ids = {episode for _, episode in episodes}
        self._needle = containing

    def found(self) -> Erased:
        """What is to go."""
        self._gone: list[Item] = []
        self._less: list[tuple[Item, str]] = []
        past: dict[tuple[str, str], list[Changed]] = {}
        for change in self._backend.changes():
            if change.replaced is not None:
                past.setdefault((change.kind, change.id), []).append(change)
        self._past = past
        for kind in KINDS:
            for item in self._backend.items(kind):
                records = [item.record, *(change.replaced or "" for change in past.get((kind, item.id), ()))]
                if any(map(self._holds, records)):
                    self._gone.append(item)
                elif any(map(self._names, records)):
                    left = self._without(kind, item.record)
                    if left is None:
                        self._gone.append(item)
                    else:
                        self._less.append((item, left))
        self._outcomes = [row for row in self._rows("outcomes") if row[1] in self._ids or self._holds(row[2])]
        gone = {item.id for item in self._gone if item.kind == "entry"}
        self._trials = [row for row in self._rows("trials") if row[0] in gone or row[1] in self._ids]
        self._notes = [row for row in self._rows("notes") if any(self._holds(str(value)) for value in row[1:4])]
        return Erased(
            memory=self._database.path,
            demonstrations=tuple(item.id for item in self._gone if item.kind == "demonstration"),
            entries=tuple(item.id for item in self._gone if item.kind == "entry"),
            fewer=tuple(item.id for item, _ in self._less),
            outcomes=len(self._outcomes),
            trials=len(self._trials),
            notes=len(self._notes),
        )

    def run(self, author: str, reason: str) -> Erased:
        with self._database.transaction():
            found = self.found()
            if not found.something:
                return found
            # Others who have the memory open hear of it as of any other version.
            number = self._database.new_version(author, reason)
            for item in self._gone:
                record = blank(item.kind)
                self._backend.put(Item(0, item.kind, item.id, "absent", record, number), item.status, None)
            for item, left in self._less:
                self._backend.put(Item(0, item.kind, item.id, item.status, left, number), item.status, None)
            self._changes(number)
            self._versions()
            self._forget("outcomes", self._outcomes)
            if self._outcomes:
                # Who has read them reads them again.
                self._backend.set_fact(CORRECTED_OUTCOMES, str(int(self._backend.fact(CORRECTED_OUTCOMES) or 0) + 1))
            self._forget("trials", self._trials)
            self._forget("notes", self._notes)
            self._vectors()
            return found.model_copy(update={"version": number})

    def _changes(self, number: int) -> None:
        """What versions of before did to what is gone is told by the new one alone; what they replaced of the rest
        names nobody who is gone."""
        gone = {(item.kind, item.id) for item in self._gone}
        less = {(item.kind, item.id) for item, _ in self._less}
        made: list[Row] = []
        for version, kind, name, before, after, replaced in self._rows("changes"):
            if (kind, name) in gone:
                if version == number:
                    made.append((version, kind, name, "absent", "absent", None))
                continue
            if (kind, name) in less and replaced is not None:
                replaced = self._without(kind, replaced) or self._anonymous(kind, replaced)
            made.append((version, kind, name, before, after, replaced))
        self._backend.replace("changes", None, None, made)

    def _versions(self) -> None:
        """Reasons quote what was taken in."""
        gone = {item.id for item in self._gone}
        authors = {f"trace:{name}/{episode}" for run, episode in self._episodes for name in (run, run or "-")}
        for number, when, author, reason, action in self._rows("versions"):
            new = _SAID.sub(lambda said: f"{said[1]} erased" if said[1] in gone else said[0], reason)
            if self._holds(new) or (author in authors and new not in ("distilled", "")):
                new = ERASED_REASON
            said = ERASED_REASON if self._holds(author) else author
            if (new, said) != (reason, author):
                said = author if said == author else f"rule:{ERASED_REASON}"
                self._backend.replace("versions", (number - 1,), (number,), [(number, when, said, new, action)])

    def _vectors(self) -> None:
        """Embeddings of texts that are nowhere any more."""
        gone = set(_hashes(item.record for item in self._gone))
        gone.update(_hashes(row[2] for row in self._outcomes))
        gone.update(_hashes(c.replaced or "" for i in self._gone for c in self._past.get((i.kind, i.id), ())))
        kept = (item.record for kind in KINDS for item in self._backend.items(kind))
        gone.difference_update(_hashes(kept))
        gone.difference_update(_hashes(row[2] for row in self._rows("outcomes")))
        self._forget("vectors", [row for row in self._rows("vectors") if row[1] in gone])

    def _forget(self, table: str, rows: Sequence[Row]) -> None:
        keys = {row[: len(TABLES[table].key)] for row in rows}
        if keys:
            size = len(TABLES[table].key)
            left = [row for row in self._rows(table) if row[:size] not in keys]
            self._backend.replace(table, None, None, left)

    def _rows(self, table: str) -> Iterator[Row]:
        last: Row | None = None
        while part := self._backend.dump(table, last, _PART):
            yield from part
            last = part[-1][: len(TABLES[table].key)]

    # --- records ------------------------------------------------------------------------------------------------------

    def _holds(self, text: str) -> bool:
        return self._needle is not None and self._needle.search(text) is not None

    def _names(self, record: str) -> bool:
        return any(episode in record for episode in self._ids)

    def _without(self, kind: str, record: str) -> str | None:
        """The record without the episodes; None where it is of them."""
        if kind == "entry":
            return self._entry(Entry.model_validate_json(record))
        demo: Demonstration | None = Demonstration.model_validate_json(record)
        for run, episode in self._episodes:
            if demo is not None and episode in demo.episodes:
                demo = demo.without(run, episode)
        return None if demo is None else demo.model_dump_json()

    def _entry(self, entry: Entry) -> str | None:
        left = tuple(origin for origin in entry.origins if (origin.run, origin.episode) not in self._episodes)
        fewer = len(entry.origins) - len(left)
        # Its words are those of the first.
        if fewer and (not left or left[0] != entry.origins[0] or entry.support <= fewer):
            return None
        return entry.model_copy(update={"origins": left, "support": entry.support - fewer}).model_dump_json()

    def _anonymous(self, kind: str, record: str) -> str:
        """A record of before, when only those who are gone had given it: as it is, and nobody named."""
        fields = read_json(record)
        if kind == "entry":
            return Entry.model_validate({**fields, "origins": (), "support": 1}).model_dump_json()
        return Demonstration.model_validate({**fields, "source": {}, "repeats": (), "seen": 1}).model_dump_json()


def _hashes(records: Iterator[str] | Sequence[str]) -> Iterator[str]:
    """Of all texts in records, as they are embedded."""
    for record in records:
        try:
            todo = [read_json(record)]
        except ValueError:
            continue
        while todo:
            value = todo.pop()
            if isinstance(value, dict):
                todo.extend(value.values())
            elif isinstance(value, list):
                todo.extend(value)
            elif isinstance(value, str):
                yield text_hash(value)
                yield text_hash(plain(value))
