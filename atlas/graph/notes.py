"""What an agent keeps for itself in a LangGraph store: any JSON object, under any namespace but the memory's own.

A note is its owner's data. It is given back as it was put, is never shown to a model by atlas, and has no versions. A
frozen memory takes none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import GetOp, Item, PutOp, SearchItem, SearchOp, get_text_at_path

from atlas.errors import DataError
from atlas.graph.matching import fits
from atlas.memory import rows
from atlas.memory.backend import Note
from atlas.memory.memory import Memory
from atlas.memory.texts import TextVectors

Namespace = tuple[str, ...]


class Notes:
    """The notes of a memory."""

    def __init__(self, memory: Memory, fields: Sequence[str]) -> None:
        """``fields``: of a value, which are compared with a query where a note does not say; ``$`` is all of it."""
        self._database = memory.database
        self._texts = TextVectors(memory.database, memory.embedder)
        self._fields = tuple(fields)

    def get(self, op: GetOp) -> Item | None:
        note = self._database.backend.note(op.namespace, op.key)
        if note is None or not _lasts(note, time.time()):
            return None
        if op.refresh_ttl:
            self._refresh([note])
        value, created, updated = self._value(note), _moment(note.created), _moment(note.updated)
        return Item(value=value, key=note.key, namespace=note.namespace, created_at=created, updated_at=updated)

    def search(self, op: SearchOp) -> list[tuple[SearchItem, Note]]:
        """All that fit: with a query the likest first, and last what is not compared; else in order of first put."""
        now = time.time()
        found = [note for note in self._database.backend.notes(op.namespace_prefix) if _lasts(note, now)]
        fitting = [(note, value) for note in found if fits(value := self._value(note), op.filter or {})]
        scores = self._scores(op.query, fitting) if op.query else [None] * len(fitting)
        items = [
            (SearchItem(note.namespace, note.key, value, _moment(note.created), _moment(note.updated), score), note)
            for (note, value), score in zip(fitting, scores, strict=True)
        ]
        return sorted(items, key=lambda item: _rank(item[0].score)) if op.query else items

    def used(self, notes: Iterable[Note]) -> None:
        """These were given out by a search that refreshes."""
        self._refresh([note for note in notes if note.ttl is not None])

    def namespaces(self) -> list[Namespace]:
        return self._database.backend.namespaces(time.time())

    def put(self, op: PutOp) -> None:
        """Keep a value, or delete what is there. Needs a transaction."""
        backend, now = self._database.backend, time.time()
        backend.drop_expired(now)
        if op.value is None:
            backend.drop_note(op.namespace, op.key)
            return
        if not all(type(label) is str for label in op.namespace) or type(op.key) is not str:
            raise DataError(f"a note is put under a namespace of texts and a key, not {(*op.namespace, op.key)!r}")
        before = backend.note(op.namespace, op.key)
        ttl = None if op.ttl is None else op.ttl * 60
        backend.put_note(
            Note(
                op.namespace,
                op.key,
                _text(op.value, op.key),
                None if op.index is None else json.dumps(op.index or []),
                ttl,
                None if ttl is None else now + ttl,
                before.created if before else now,
                now,
            )
        )

    # --- parts --------------------------------------------------------------------------------------------------------

    def _refresh(self, notes: Sequence[Note]) -> None:
        """These were used, and stay as long again."""
        if not any(note.ttl is not None for note in notes) or self._database.frozen():
            return
        with self._database.transaction():
            for old in notes:
                note = self._database.backend.note(old.namespace, old.key)
                if note is not None and note.ttl is not None:
                    self._database.backend.put_note(note._replace(expires=time.time() + note.ttl))

    def _value(self, note: Note) -> dict[str, Any]:
        try:
            value = json.loads(note.value)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise rows.wrong("notes", self._database.path, (note.namespace, note.key, note.value))
        return value

    def _scores(self, query: str, found: Sequence[tuple[Note, dict[str, Any]]]) -> list[float | None]:
        """How like the query each is, by the likest of its fields; None where none is compared."""
        texts: list[str] = []
        of: list[int] = []
        for place, (note, value) in enumerate(found):
            fields = self._fields if note.fields is None else json.loads(note.fields)
            said = [text for field in fields for text in get_text_at_path(value, field)]
            texts += map(_clean, said)
            of += [place] * len(said)
        scores: list[float | None] = [None] * len(found)
        if not texts:
            return scores
        distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        vectors = self._texts.embed(list(distinct))
        # The query is not kept: it is asked once.
        likeness = vectors @ self._texts.embedder.embed([_clean(query)])[0]
        for place, text in zip(of, texts, strict=True):
            score, best = float(likeness[distinct[text]]), scores[place]
            scores[place] = score if best is None else max(best, score)
        return scores


def _clean(text: str) -> str:
    """As embedders take it: any text that JSON may hold, but halves of characters."""
    return text.encode("utf-8", "replace").decode()


def _rank(score: float | None) -> float:
    return float("inf") if score is None else -score


def _lasts(note: Note, now: float) -> bool:
    return note.expires is None or note.expires > now


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _text(value: Any, key: str) -> str:
    """As JSON, where that holds it. Raises DataError where it does not."""
    try:
        _check_names(value)
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"the value put under {key!r} is no JSON ({error}): put texts, numbers, lists and objects"
        ) from error


def _check_names(value: Any) -> None:
    """JSON would write a number as a text where it names something, and give back another value."""
    if isinstance(value, dict):
        for name, part in value.items():
            if type(name) is not str:
                raise TypeError(f"{name!r} names a part of it, which only a text may")
            _check_names(part)
    elif isinstance(value, list | tuple):
        for part in value:
            _check_names(part)
