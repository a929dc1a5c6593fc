"""Calls of tools while a model makes them: each is told piece by piece, one after the other, and once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from atlas.records import ToolCall
from atlas.wire.opaque import OF_CALLS, put_together


@dataclass
class Heard:
    """A call, as far as it was made."""

    id: str
    name: str
    kind: Literal["function", "custom"] = "function"
    written: str = ""
    """Its arguments so far, or its text where it is a custom tool's."""
    more: dict[str, Any] = field(default_factory=dict)
    """Fields of its own: what its provider signs or marks it with."""
    told: int = 0
    """How many characters were told."""
    begun: bool = False
    over: bool = False

    @property
    def made(self) -> ToolCall:
        return ToolCall(id=self.id, name=self.name, arguments=self.written, kind=self.kind)


Move = tuple[str, Heard, str]
"""``begin``, ``write`` or ``end``, of which call, and the piece that is written."""


class Calling:
    """For an API that tells one thing after the other. A provider may write several calls at once: what is not the
    first's is held back until that one is whole, which a finished JSON object is. Free text never says that it is
    whole: what comes after it waits for the end. So does a call that ``begins`` does not want to begin.

    ``shown`` is what of a call is told so far, where that is not what was written.
    """

    def __init__(self, begins: Callable[[Heard], bool], shown: Callable[[Heard], str] | None = None) -> None:
        self._begins = begins
        self._shown = shown or _written
        self._calls: dict[int, Heard] = {}
        self._now = 0
        self._held = False

    def hold(self) -> None:
        """Tell no call before the end, but for the one that is begun."""
        self._held = True

    def heard(self, pieces: Sequence[Mapping[str, Any]]) -> Iterator[Move]:
        """What can be told after these pieces of calls."""
        for piece in pieces:
            made = piece.get("function") or piece.get("custom") or {}
            place = piece["index"]
            call = self._calls.get(place)
            if call is None:
                kind: Literal["function", "custom"] = "custom" if piece.get("type") == "custom" else "function"
                call = self._calls[place] = Heard(str(piece.get("id") or ""), str(made.get("name") or ""), kind)
            call.name = call.name or str(made.get("name") or "")
            call.written += str(made.get("arguments") or made.get("input") or "")
            put_together(call.more, {name: value for name, value in piece.items() if name not in OF_CALLS})
        while self._now in self._calls:
            call = self._calls[self._now]
            if not call.begun and (self._held or not call.id or not call.name or not self._begins(call)):
                return
            yield from self._tell(call)
            if self._now + 1 not in self._calls or call.kind == "custom" or not _whole(call.written):
                return
            yield from self._end(call)

    @property
    def marks(self) -> dict[str, dict[str, Any]]:
        """The fields of their own that calls have so far, by their ids: of those that are begun, and of the next."""
        return {call.id: call.more for place, call in self._calls.items() if call.more and place <= self._now}

    def rest(self, calls: Sequence[ToolCall]) -> Iterator[Move | ToolCall]:
        """What is left to tell of ``calls``, which is all that were made: a call that was not begun as it is."""
        begun = {call.id: call for call in self._calls.values() if call.begun}
        for call in begun.values():
            if not call.over:
                told, heard = self._shown(call)[: call.told], call.written
                call.written = next((c.arguments for c in calls if c.id == call.id), heard)
                if not self._shown(call).startswith(told):
                    call.written = heard
                yield from self._tell(call)
                yield from self._end(call)
        for made_call in calls:
            if made_call.id not in begun:
                yield made_call

    def _tell(self, call: Heard) -> Iterator[Move]:
        if not call.begun:
            call.begun = True
            yield "begin", call, ""
        shown = self._shown(call)
        if new := shown[call.told :]:
            call.told = len(shown)
            yield "write", call, new

    def _end(self, call: Heard) -> Iterator[Move]:
        call.over = True
        self._now += 1
        yield "end", call, ""


def _written(call: Heard) -> str:
    return call.written


def _whole(written: str) -> bool:
    try:
        return isinstance(json.loads(written), dict)
    except (ValueError, RecursionError):
        return False
