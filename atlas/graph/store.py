"""The memory as a LangGraph store: agents keep values of their own, and put what is learned through its checks.

Two namespaces are the memory's: ``("demonstrations",)`` and ``("pamphlets",)``. A value there is the record as JSON
(:class:`atlas.memory.Demonstration`, :class:`atlas.memory.pamphlet.Entry`). What is put is cleaned and vetted, is a
version like any other with its author, and is refused when the memory is frozen. What is quarantined is kept and logged
with its reason, and not given out. All other namespaces are the agents' (:mod:`atlas.graph.notes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)
from pydantic import ValidationError

from atlas.errors import DataError
from atlas.graph.matching import check, fits, matches
from atlas.graph.notes import Notes
from atlas.memory.database import Item as Stored
from atlas.memory.database import Kind, Write, parsed
from atlas.memory.demonstration import Demonstration
from atlas.memory.memory import Memory
from atlas.memory.pamphlet import Entry
from atlas.memory.safety import vet
from atlas.records import Task, View

Namespace = tuple[str, ...]

DEMONSTRATIONS: Namespace = ("demonstrations",)
PAMPHLETS: Namespace = ("pamphlets",)
_KINDS: dict[Namespace, Kind] = {DEMONSTRATIONS: "demonstration", PAMPHLETS: "entry"}
_TOKENS = 100_000
"""A budget that a search for entries does not reach: its limit counts items."""


class MemoryStore(BaseStore):
    """A LangGraph store over a memory.

    The ids of what the memory has learned are content hashes; an item that was put under another key is found by that
    key as well. It does not expire, and what of it is compared with a query is the memory's own affair.
    """

    supports_ttl = True

    def __init__(
        self,
        memory: Memory,
        *,
        author: str = "import:langgraph",
        fields: Sequence[str] = ("$",),
        ttl: TTLConfig | None = None,
    ) -> None:
        """
        memory: which its owner closes.
        author: who the log of versions names, as :meth:`atlas.memory.database.Database.write` takes it.
        fields: of agents' own values, which a query is compared with where ``put(index=...)`` names none; paths as
            LangGraph has them, ``$`` is the whole value.
        ttl: LangGraph's defaults for how long agents' own values stay. What has expired is never given out.
        """
        self._demonstrations = memory.demonstrations
        self._pamphlets = memory.entries
        self._database = memory.database
        self._author = author
        self._notes = Notes(memory, fields)
        self.ttl_config = ttl

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """What is read is as it was before; then all that is put is written, or nothing. Of what is put under one key
        the last counts."""
        asked = list(ops)
        puts = {(op.namespace, op.key): op for op in asked if isinstance(op, PutOp)}
        results = [None if isinstance(op, PutOp) else self._read(op) for op in asked]
        if puts:
            with self._database.transaction():
                for op in puts.values():
                    self._put(op)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await asyncio.to_thread(self.batch, list(ops))

    def _read(self, op: Op) -> Result:
        match op:
            case GetOp():
                return self._get(op.namespace, op.key) if op.namespace in _KINDS else self._notes.get(op)
            case SearchOp():
                return self._search(op)
            case ListNamespacesOp():
                return self._namespaces(op)
        raise ValueError(f"a store does not know the operation {op!r}: use LangGraph's own")

    # --- reading ------------------------------------------------------------------------------------------------------

    def _get(self, namespace: Namespace, key: str) -> Item | None:
        kind = _KINDS[namespace]
        stored = self._database.get(kind, self._id(kind, key))
        if stored is None or not stored.searched:
            return None
        created, updated = self._times(kind)[stored.id]
        return Item(value=_value(stored), key=key, namespace=namespace, created_at=created, updated_at=updated)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        check(op.filter or {})
        found = [(item, None) for item in self._learned(op)]
        all_found = [*found, *self._notes.search(op)]
        if op.query:
            all_found.sort(key=lambda pair: float("inf") if pair[0].score is None else -pair[0].score)
        given = all_found[op.offset : op.offset + op.limit]
        if op.refresh_ttl:
            self._notes.used(note for _, note in given if note is not None)
        return [item for item, _ in given]

    def _learned(self, op: SearchOp) -> list[SearchItem]:
        """What the memory has learned, of what a search asks for."""
        found: list[SearchItem] = []
        for namespace, kind in _KINDS.items():
            if namespace[: len(op.namespace_prefix)] != op.namespace_prefix:
                continue
            rows = {stored.id: stored for stored in self._database.rows(kind) if stored.searched}
            times, keys = self._times(kind), self._names(kind)
            ranked = self._ranked(kind, op.query) if op.query and rows else dict.fromkeys(rows)
            for item_id, score in ranked.items():
                if item_id in rows and fits(value := _value(rows[item_id]), op.filter or {}):
                    for key in keys.get(item_id, [item_id]):
                        found.append(SearchItem(namespace, key, value, *times[item_id], score=score))
        return found

    def _ranked(self, kind: Kind, query: str) -> dict[str, float | None]:
        """Ids and scores, the likest first. Scores of the two kinds are not on one scale."""
        # A task that nothing comes from: what people write comes from "", and would be withheld as its own.
        view = View(task=Task(id="langgraph", goal=query), opening=query)
        if kind == "demonstration":
            windows = self._demonstrations.search(view, max(1, len(self._demonstrations)))
            return {window.demo_id: window.score for window in windows}
        return {guidance.id: guidance.score for guidance in self._pamphlets.search(view, _TOKENS)}

    def _namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        there = [namespace for namespace, kind in _KINDS.items() if self._database.count(kind)]
        there += self._notes.namespaces()
        kept = [ns for ns in there if all(matches(condition, ns) for condition in op.match_conditions or ())]
        cut = {ns if op.max_depth is None else ns[: op.max_depth] for ns in kept}
        return sorted(cut)[op.offset : op.offset + op.limit]

    # --- writing ------------------------------------------------------------------------------------------------------

    def _put(self, op: PutOp) -> None:
        """Needs a transaction."""
        kind = _KINDS.get(op.namespace)
        if kind is None:
            self._notes.put(op)
            return
        if op.ttl is not None and op.ttl != (self.ttl_config or {}).get("default_ttl"):
            raise DataError(f"what is put into {op.namespace} is learned and does not expire: leave ttl out")
        with self._database.transaction():
            before = self._id(kind, op.key)
            if op.value is None:
                now, reason = "", f"deleted under the key {op.key}"
            else:
                now, reason = (
                    self._add(kind, _record(kind, op.key, op.value), op.key),
                    f"replaced under the key {op.key}",
                )
            if now or self._database.get(kind, before):
                self._database.backend.set_key(kind, op.key, now)
            # Another key may hold the same content, and then it stays there.
            if before and before != now and before not in self._names(kind):
                self._remove(kind, before, reason)

    def _bring_back(self, kind: Kind, item_id: str, key: str) -> None:
        """Undo a deletion of this store; what a person or a rule removed stays so."""
        version, change = self._database.history(kind, item_id)[-1]
        if version.author == self._author:
            write = Write(kind, item_id, change.before.status)
            self._database.write([write], author=self._author, reason=f"put again under the key {key}")

    def _add(self, kind: Kind, record: Demonstration | Entry, key: str) -> str:
        """Put ``record`` into its memory; the id under which it is there."""
        vetted = vet(record)
        said = vetted.item
        there = self._database.get(kind, said.id)
        if there is not None:
            if there.searched and there.id not in self._names(kind):
                self._database.backend.set_key(kind, there.id, there.id)  # it was learned, and is known by its id
            if there.status == "removed" and vetted.status != "quarantined":
                self._bring_back(kind, there.id, key)
                return there.id
        if isinstance(record, Demonstration):
            # Each key has its own task, also where two say the same.
            reason = f"put under the key {key}"
            self._demonstrations.add(record, status="trial", author=self._author, reason=reason, apart=True)
            return said.id if isinstance(said, Demonstration) else record.id
        added = self._pamphlets.add_many([record], author=self._author, reason=f"put under the key {key}")
        held = (*added.new, *added.merged, *added.quarantined)
        return held[0] if held else said.id if isinstance(said, Entry) else record.id

    def _remove(self, kind: Kind, item_id: str, reason: str) -> None:
        stored = self._database.get(kind, item_id)
        if stored is not None and stored.searched:
            self._database.write([Write(kind, item_id, "removed")], author=self._author, reason=reason)

    # --- keys and times -----------------------------------------------------------------------------------------------

    def _id(self, kind: Kind, key: str) -> str:
        found = self._database.backend.keyed(kind, key)
        return key if found is None else found

    def _names(self, kind: Kind) -> dict[str, list[str]]:
        """The keys of each item that was put under one."""
        names: dict[str, list[str]] = {}
        for key, item_id in sorted(self._database.backend.keys(kind).items()):
            names.setdefault(item_id, []).append(key)
        names.pop("", None)
        return names

    def _times(self, kind: Kind) -> dict[str, tuple[datetime, datetime]]:
        """When each item was made and last changed."""
        times = self._database.backend.times(kind).items()
        return {name: (datetime.fromtimestamp(a, UTC), datetime.fromtimestamp(z, UTC)) for name, (a, z) in times}


def _value(stored: Stored) -> dict[str, Any]:
    model = Demonstration if stored.kind == "demonstration" else Entry
    return parsed(stored, model, "the memory of this store").model_dump(mode="json")


def _record(kind: Kind, key: str, value: Mapping[str, Any]) -> Demonstration | Entry:
    try:
        return (Demonstration if kind == "demonstration" else Entry).model_validate(dict(value))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "value"
        raise DataError(f"the value put under {key!r} is no {kind}: {field}: {first['msg']}") from error
