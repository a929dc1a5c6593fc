"""The events of a streamed response of OpenAI's Responses API: as pieces of a chat completion, and put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from atlas.models.answers import Unreadable
from atlas.models.responses import (
    BETWEEN,
    CALLS,
    Failed,
    Places,
    call_of,
    from_responses,
    summary_of,
    text_of,
    thought_of,
)

Delta = dict[str, Any]

_WRITTEN = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "reasoning_content",
    "response.function_call_arguments.delta": "function",
    "response.custom_tool_call_input.delta": "custom",
}
"""Events that hold a piece of a text, and what of a chat completion that is."""
_FIELDS = {kind: written for kind, written in CALLS.values()}
_ENDS = ("response.completed", "response.incomplete", "response.failed")


class Events:
    """One response. Whatever a server tells in the end alone is a piece then: all pieces together are the answer."""

    def __init__(self) -> None:
        self.over = False
        """Whether the last event was there."""
        self._last: Mapping[str, Any] = {}
        self._done: dict[int, Mapping[str, Any]] = {}
        """Items by their places in the output."""
        self._seen: dict[int, int] = {}
        """How many of an answer's items came before each of them."""
        self._places = Places()
        self._calls: dict[int, int] = {}
        """The number of each call."""
        self._told: dict[tuple[str, int], str] = {}
        """What was told of each text, by what it is and the place of its item."""
        self._parts: dict[int, int] = {}
        """The part of each summary that was told last."""

    def add(self, event: Any) -> Iterator[Delta]:
        """Take an event; the pieces in it. Raises Failed where it says that the model did, and Unreadable."""
        try:
            yield from self._heard(_object(event))
        except (AttributeError, TypeError):
            raise Unreadable from None

    def _heard(self, event: Mapping[str, Any]) -> Iterator[Delta]:
        kind = str(event.get("type"))
        if kind == "error":
            raise Failed(event)
        if kind in _ENDS:
            self.over, self._last = True, _object(event.get("response"))
            if kind == "response.failed":
                raise Failed(self._last.get("error"), self._last.get("usage"))
            return
        if kind in _WRITTEN:
            place, piece = _number(event.get("output_index")), _text(event.get("delta"))
            if _WRITTEN[kind] == "reasoning_content":
                part = _number(event.get("summary_index", 0))
                piece = BETWEEN * max(0, part - self._parts.get(place, 0)) + piece
                self._parts[place] = part
            yield from self._write(_WRITTEN[kind], place, piece)
        elif kind == "response.output_item.added":
            yield from self._begin(_number(event.get("output_index")), _object(event.get("item")))
        elif kind == "response.output_item.done":
            yield from self._end(_number(event.get("output_index")), _object(event.get("item")))

    def whole(self) -> dict[str, Any]:
        """The chat completion. Raises ConnectionError where the last event is missing: the answer may be half of one.
        An item is taken as it was when it was told: its encrypted text may be another in the last event."""
        if not self.over:
            raise ConnectionError("the stream ended before its response did")
        given = self._last.get("output") or []
        output = [self._done.get(place, item) for place, item in enumerate(given)]
        return from_responses({**self._last, "output": output or [self._done[place] for place in sorted(self._done)]})

    def _begin(self, place: int, item: Mapping[str, Any]) -> Iterator[Delta]:
        if place in self._seen:
            return
        self._seen[place] = self._places.before
        self._places.next(item)
        if item.get("type") == "message" and item.get("phase"):
            yield {"phase": _text(item["phase"])}
        call = call_of(item)
        if call is not None:
            kind = call["type"]
            self._calls[place] = len(self._calls)
            named = {"name": _text(call[kind]["name"]), _FIELDS[kind]: ""}
            yield {"tool_calls": [{"index": self._calls[place], "id": _text(call["id"]), "type": kind, kind: named}]}

    def _write(self, what: str, place: int, piece: str) -> Iterator[Delta]:
        if not piece:
            return
        before = self._told.get((what, place), "")
        self._told[what, place] = before + piece
        if what in _FIELDS:
            if place not in self._calls:
                raise Unreadable
            yield {"tool_calls": [{"index": self._calls[place], what: {_FIELDS[what]: piece}}]}
            return
        if not before and any(told == what for told, other in self._told if other != place):
            piece = BETWEEN + piece
        yield {what: piece}

    def _end(self, place: int, item: Mapping[str, Any]) -> Iterator[Delta]:
        """An item is done: what was not told of it."""
        yield from self._begin(place, item)
        self._done[place] = item
        if item.get("type") == "message":
            yield from self._rest("content", place, text_of(item, "output_text", "text"))
            yield from self._rest("refusal", place, text_of(item, "refusal", "refusal"))
        elif item.get("type") == "reasoning":
            yield from self._rest("reasoning_content", place, summary_of(item))
            yield {"reasoning_items": [thought_of(item, self._seen[place])]}
        elif (call := call_of(item)) is not None:
            kind = call["type"]
            yield from self._rest(kind, place, _text(call[kind][_FIELDS[kind]]))

    def _rest(self, what: str, place: int, whole: str) -> Iterator[Delta]:
        told = self._told.get((what, place), "")
        if whole.startswith(told):
            yield from self._write(what, place, whole[len(told) :])


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Unreadable
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str | None):
        raise Unreadable
    return value or ""


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise Unreadable
    return value
