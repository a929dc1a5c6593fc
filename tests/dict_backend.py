"""A whole memory database in one small module, to show that it takes no more: plain dicts, shared by name."""

from __future__ import annotations

import copy
import threading
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from atlas.memory.backend import Changed, Count, Item, Kind, Note, Status, Version
from atlas.memory.uplift import Trial


class Tables:
    """What a database server would hold."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.written = 0
        self.items: dict[tuple[str, str], Item] = {}
        self.changes: dict[tuple[int, str, str], Changed] = {}
        self.versions: list[Version] = []
        self.facts = {"id": uuid.uuid4().hex[:12]}
        self.vectors: dict[tuple[str, str], bytes] = {}
        self.outcomes: dict[str, str] = {}
        self.trials: dict[tuple[str, str], Trial] = {}
        self.learned: dict[str, int] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.notes: dict[tuple[tuple[str, ...], str], Note] = {}


SERVER: dict[str, Tables] = {}


class DictBackend:
    file: Path | None = None

    def __init__(self, name: str) -> None:
        self.path = f"dict://{name}"
        self._all = SERVER.setdefault(name, Tables())

    def close(self) -> None:
        pass

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._all.lock:
            before = {
                name: copy.copy(value) for name, value in vars(self._all).items() if name not in ("lock", "written")
            }
            try:
                yield
            except BaseException:
                vars(self._all).update(before)
                raise
            finally:
                self._all.written += 1

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._all.lock:
            yield

    def stamp(self) -> object:
        return self._all.written

    def item(self, kind: Kind, item_id: str) -> Item | None:
        return self._all.items.get((kind, item_id))

    def items(self, kind: Kind, after: int = 0) -> list[Item]:
        return sorted(item for item in self._all.items.values() if item.kind == kind and item.version > after)

    def beginning(self, text: str) -> list[Item]:
        return sorted(item for item in self._all.items.values() if item.id.startswith(text))

    def count(self, kind: Kind, statuses: Collection[Status]) -> int:
        return sum(item.kind == kind and item.status in statuses for item in self._all.items.values())

    def put(self, item: Item, before: Status, replaced: str | None) -> None:
        self._all.written += 1
        there = self._all.items.get((item.kind, item.id))
        self._all.items[item.kind, item.id] = item._replace(seq=there.seq if there else len(self._all.items) + 1)
        key = (item.version, item.kind, item.id)
        old = self._all.changes.get(key)
        if old is not None:
            before, replaced = old.before, replaced if old.replaced is None else old.replaced
        self._all.changes[key] = Changed(item.version, item.kind, item.id, before, item.status, replaced)

    def new_version(self, author: str, reason: str, action: str) -> int:
        self._all.versions.append(Version(self.head() + 1, time.time(), author, reason, action))
        return self.head()

    def head(self) -> int:
        return len(self._all.versions)

    def version(self, number: int) -> Version | None:
        return self._all.versions[number - 1] if 0 < number <= self.head() else None

    def versions(self, after: int = 0, action: str = "") -> list[Version]:
        return [version for version in self._all.versions[after:] if version.action.startswith(action)]

    def changes(self, after: int = 0, upto: int | None = None, item: tuple[Kind, str] | None = None) -> list[Changed]:
        upto = self.head() if upto is None else upto
        found = [c for c in self._all.changes.values() if after < c.version <= upto and item in (None, (c.kind, c.id))]
        return sorted(found, key=lambda change: change.version)

    def counts(self) -> list[Count]:
        said = Counter((c.version, c.before, c.after, c.replaced is not None) for c in self._all.changes.values())
        return sorted((Count(*what, n) for what, n in said.items()), key=lambda c: (c.version, -c.items))

    def times(self, kind: Kind) -> dict[str, tuple[float, float]]:
        found: dict[str, tuple[float, float]] = {}
        for change in self.changes():
            now = self._all.versions[change.version - 1].time
            if change.kind == kind:
                found[change.id] = (found.get(change.id, (now, now))[0], now)
        return found

    def fact(self, name: str) -> str | None:
        return self._all.facts.get(name)

    def set_fact(self, name: str, value: str | None) -> None:
        self._all.facts.pop(name, None)
        if value is not None:
            self._all.facts[name] = value

    def vectors(self, embedder: str, hashes: Sequence[str]) -> dict[str, bytes]:
        there = self._all.vectors
        return {text: there[embedder, text] for text in hashes if (embedder, text) in there}

    def put_vectors(self, embedder: str, rows: Iterable[tuple[str, bytes]]) -> None:
        for text, vector in rows:
            self._all.vectors.setdefault((embedder, text), vector)

    def outcomes(self, after: int = 0) -> list[tuple[int, str]]:
        return list(enumerate(self._all.outcomes.values(), 1))[after:]

    def outcome_count(self) -> int:
        return len(self._all.outcomes)

    def add_outcome(self, episode: str, record: str) -> bool:
        self._all.written += 1
        new = episode not in self._all.outcomes
        self._all.outcomes.setdefault(episode, record)
        return new

    def outcome(self, episode: str) -> str | None:
        return self._all.outcomes.get(episode)

    def set_outcome(self, episode: str, record: str) -> None:
        self._all.written += 1
        self._all.outcomes[episode] = record

    def trials(self, entry: str) -> list[Trial]:
        found = [trial for trial in self._all.trials.values() if trial.entry == entry]
        return sorted(found, key=lambda trial: (trial.started, trial.episode))

    def tried(self) -> list[str]:
        return sorted({trial.entry for trial in self._all.trials.values()})

    def put_trials(self, trials: Iterable[Trial]) -> None:
        self._all.trials.update({(trial.entry, trial.episode): trial for trial in trials})

    def learned(self, source: str) -> int | None:
        return self._all.learned.get(source)

    def set_learned(self, source: str, version: int) -> None:
        self._all.learned[source] = version

    def keys(self, kind: Kind) -> dict[str, str]:
        return {key: item_id for (of, key), item_id in self._all.keys.items() if of == kind}

    def keyed(self, kind: Kind, key: str) -> str | None:
        return self._all.keys.get((kind, key))

    def set_key(self, kind: Kind, key: str, item_id: str) -> None:
        self._all.keys[kind, key] = item_id

    def note(self, namespace: tuple[str, ...], key: str) -> Note | None:
        return self._all.notes.get((namespace, key))

    def notes(self, within: tuple[str, ...] = ()) -> list[Note]:
        return [note for note in list(self._all.notes.values()) if note.namespace[: len(within)] == within]

    def namespaces(self, now: float) -> list[tuple[str, ...]]:
        lasting = [note for note in self.notes() if note.expires is None or note.expires > now]
        return list(dict.fromkeys(note.namespace for note in lasting))

    def put_note(self, note: Note) -> None:
        self._all.written += 1
        self._all.notes[note.namespace, note.key] = note

    def drop_note(self, namespace: tuple[str, ...], key: str) -> None:
        self._all.notes.pop((namespace, key), None)

    def drop_expired(self, now: float) -> None:
        for note in self.notes():
            if note.expires is not None and note.expires <= now:
                del self._all.notes[note.namespace, note.key]
