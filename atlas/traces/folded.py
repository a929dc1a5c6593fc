"""What somebody makes of a run's results, one after the other, kept beside the closed segments that hold them: the next
one to begin goes on from there, and reads the rest.

It is derived and never trusted: it says of which segments it is, and has a hash. Where anything does not fit, all is
read. On a server, and in one file, nothing is kept.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from atlas.errors import StoreError
from atlas.jsontext import read_json
from atlas.records import Episode
from atlas.traces.folder import FolderRun
from atlas.traces.place import Place
from atlas.traces.reader import Results
from atlas.traces.segment_log import TraceLog, TraceTail
from atlas.traces.segments import FOLDED

_BUILD = 1
"""Raised when a state is to be made anew, as what makes it has changed."""


class Folded:
    """The results of the run at ``place``, for who makes ``what`` of them, in a way that ``how`` tells all of."""

    def __init__(self, place: Place, what: str, how: Any) -> None:
        # A damaged line is told of where the run is read.
        self._results = Results(place, damaged=True)
        self._how = read_json(json.dumps([_BUILD, what, how]))
        self._path: Path | None = None
        tail = self._results.tail
        if isinstance(place, FolderRun) and isinstance(tail, TraceTail):
            self._tail, self._log = tail, tail.log
            name = blake2b(json.dumps(what).encode(), digest_size=6).hexdigest()
            self._path = place.folder() / f"{name}{FOLDED}"
        self._kept = 0
        """The state that is kept is of all segments up to this one."""

    def restored(self, take: Callable[[Any], None]) -> None:
        """Where something was kept, ``take`` it (a ValueError, TypeError or KeyError says that it is none), and read no
        result again that it was made of."""
        if self._path is None:
            return
        with suppress(OSError, StoreError, ValueError, TypeError, KeyError):
            begin, body = self._path.read_bytes().split(b"\n", 1)
            kept = read_json(body) if begin == _hashed(body) else {}
            number = int(kept["segment"])
            if kept["how"] == self._how and kept["of"] == _marks(self._log, number):
                take(kept["state"])
                self._kept = number
                self._tail.begin_behind(number)

    def new(self, state: Callable[[], Any]) -> Iterator[Episode]:
        """As :meth:`atlas.traces.reader.Results.new`, one after the other. ``state`` tells what was made of those that
        were taken so far, in JSON."""
        for episode in self._results.each():
            self._keep(state)
            yield episode
        self._keep(state)

    def _keep(self, state: Callable[[], Any]) -> None:
        """Keep it where another segment has been read to its end."""
        if self._path is None or self._tail.segment - 1 <= self._kept:
            return
        self._kept = self._tail.segment - 1
        partial = self._path.with_name(f".{self._path.name}.writing-{os.getpid()}")
        with suppress(OSError, StoreError):
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                # Not while the run is pruned, nor behind it: what goes from it must not come back here.
                fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
                of = _marks(self._log, self._kept)
                if self._log.unchanged(self._kept):
                    kept = {"how": self._how, "segment": self._kept, "of": of, "state": state()}
                    body = json.dumps(kept).encode()
                    partial.write_bytes(_hashed(body) + b"\n" + body)
                    partial.replace(self._path)
            finally:
                partial.unlink(missing_ok=True)
                os.close(folder)


def _marks(log: TraceLog, number: int) -> list[Any]:
    """What tells the segments up to that one."""
    return [[number, size, mtime, end.hex()] for number, (size, mtime, end) in log.marks(number)]


def _hashed(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()
