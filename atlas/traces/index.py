"""The index of a part of a trace: what a reader wants of it, without its steps.

It holds the lines that tell of whole episodes (how they began and ended, what followed), and where each episode's steps
and the texts they refer to are. Of what is still written it is made anew each time; that of a closed segment is kept
beside it (:mod:`atlas.traces.index_file`).
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pydantic_core import from_json

from atlas.jsontext import read_json
from atlas.traces.format import STEP, TEXT

_EPISODE = re.compile(rb'\{"type":"(?:start","episode|end","id)":"([^"\\]+)"')
_RETRIES = re.compile(rb'"retries":"([^"\\]+)"')
_OTHERS = re.compile(rb'\{"type":"(?:supervised|learned)"')

Among = Callable[[str], bool]


class _Shape(msgspec.Struct):
    """What every step's line has, to be sure that it is whole: its parts are gone over, and not made into anything."""

    index: int
    decision: msgspec.Raw
    outcome: msgspec.Raw


_SHAPE = msgspec.json.Decoder(_Shape)


@dataclass
class StepLines:
    """Where the lines of an episode's steps are."""

    places: array[int] = field(default_factory=lambda: array("q"))
    indexes: array[int] = field(default_factory=lambda: array("q"))
    """Which steps these lines are; some twice where one was written twice."""
    retrieved: bool = False
    """Whether any of them was shown demonstrations, or entries of pamphlets."""

    def since(self, place: int) -> StepLines:
        """Those from ``place`` on."""
        if not self.places or self.places[0] >= place:
            return self
        kept = [i for i, where in enumerate(self.places) if where >= place]
        places, indexes = (array("q", (of[i] for i in kept)) for of in (self.places, self.indexes))
        return StepLines(places, indexes, self.retrieved)


@dataclass
class Index:
    """What is known of a part of a trace. Numbers and places are counted from where the part begins."""

    lines: int = 0
    """All that there are."""
    numbers: array[int] = field(default_factory=lambda: array("q"))
    places: array[int] = field(default_factory=lambda: array("q"))
    """Of the lines that are told, neither steps nor texts."""
    packed: bytes = b""
    """These lines, where they are kept packed: see :meth:`told_packed`."""
    steps: dict[str, StepLines] = field(default_factory=dict)
    """By episode, in the order of their first steps here."""
    texts: dict[str, str | int] = field(default_factory=dict)
    """By hash: the text, or where its line is."""
    before: tuple[int, int] = (0, 0)
    """Lines and bytes of the trace before this part."""
    whole: int = 0
    """Where the last line that has its end ends, where the lines were read."""
    _told: list[bytes] = field(default_factory=list)

    def told(self) -> Iterator[tuple[int, bytes]]:
        """(number in the trace, line) of what is neither a step nor a text."""
        lines = zlib.decompress(self.packed).split(b"\n") if self.packed else self._told
        for number, line in zip(self.numbers, lines, strict=False):
            yield self.before[0] + number, line

    def told_packed(self) -> bytes:
        """The lines that are told, as they are kept."""
        return self.packed or zlib.compress(b"\n".join(self._told), 3)

    def take(self, number: int, place: int, line: bytes, *, keep: bool) -> None:
        """Take in a line; ``keep`` the text of one that has one, or remember where it is."""
        self.lines = number
        if line.endswith(b"\n"):
            self.whole = place + len(line)
        step = STEP.match(line)
        if step is not None:
            index = step_index(line)
            if index is not None:
                found = self.steps.setdefault(step[1].decode(errors="replace"), StepLines())
                found.places.append(place)
                found.indexes.append(index)
                # Quotes within texts are escaped, so this stands nowhere but in a decision.
                found.retrieved = found.retrieved or b'"retrieved":[{' in line or b'"guidance":[{' in line
        elif TEXT.match(line) is not None:
            event = parsed(line)
            if event is not None and isinstance(text := event.get("text"), str):
                self.texts[event["hash"]] = text if keep else place
            elif event is not None:
                self._tell(number, place, line)
        else:
            self._tell(number, place, line)

    def _tell(self, number: int, place: int, line: bytes) -> None:
        self.numbers.append(number)
        self.places.append(place)
        self._told.append(line.rstrip(b"\n"))


def index_of(lines: Iterable[tuple[int, int, bytes]], *, keep: bool = True) -> Index:
    """The index of ``lines``: (number from 1, place, line)."""
    made = Index()
    for number, place, line in lines:
        made.take(number, place, line, keep=keep)
    return made


def step_index(line: bytes) -> int | None:
    """Which step of its episode the line of one is; None where it is not whole, or it would keep all others from being
    read."""
    try:
        index = _SHAPE.decode(line).index
        line.decode(errors="surrogatepass")
    except ValueError:
        # Half a surrogate pair is no error to whoever wrote it.
        event = parsed(line)
        if event is None or not {"index", "decision", "outcome"} <= event.keys():
            return None
        index = int(event["index"])
    return index if -(2**63) <= index < 2**63 else None


def parsed(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None for a line cut off by a kill, or that has no end yet because it is being written."""
    try:
        event = from_json(line)
    except ValueError:
        # It is quick, and knows no half surrogate pairs.
        try:
            event = read_json(line)
        except ValueError:
            return None
    return event if isinstance(event, dict) else None


def concerns(line: bytes, among: Among | None) -> bool:
    """Whether a line that is told has to do with an episode ``among`` some: all may, where None."""
    if _OTHERS.match(line) is not None:
        return False
    if among is None or (episode := _EPISODE.match(line)) is None or among(episode[1].decode(errors="replace")):
        return True
    again = _RETRIES.search(line)
    return again is not None and among(again[1].decode(errors="replace"))
