"""The conversations of a tenant's open episodes, beside its run: a server that is started again finds them there.

Of what was said there are digests alone. Nothing is forced to the disk: a power cut loses what a power cut loses, and
such a conversation begins an episode anew.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.jsontext import read_json

log = logging.getLogger("atlas.serve")

NAME = "talks.jsonl"
_MOMENTS = 256
"""Moments of an episode that are found again."""
_EPISODES = 1000
"""Episodes that are found again: the newest."""


@dataclass
class Left:
    """An episode that was open when its server stopped."""

    name: str
    """As its calls named it; empty where they did not."""
    started: float
    """Unix time."""
    moments: list[bytes] = field(default_factory=list)
    """Its conversation as far as it was at some moment, the newest last: digests of :mod:`atlas.serve.talks`."""


class KeptTalks:
    """Writes them, and has read those of before. Several servers may write one file; who is not alone with it when it
    begins finds nothing there, since what is open may be open elsewhere."""

    def __init__(self, folder: Path, owner: str) -> None:
        """``owner`` is the tenant's name: nothing of another's is found."""
        self._path = folder / NAME
        self._owner = owner
        self._file: int | None = None
        self._broken = False
        self.alone = False
        """Whether no other server had the file open when this one began: then what was left is this one's."""
        self.left: OrderedDict[str, Left] = OrderedDict()
        if self._path.exists():
            self._open()

    def begun(self, id: str, name: str, started: float) -> None:
        self._open()
        self._write({"e": id, "n": name, "t": started})

    def said(self, id: str, moment: bytes) -> None:
        """The conversation is there now."""
        self._write({"e": id, "m": moment.hex()})

    def over(self, id: str) -> None:
        """It has ended, and nothing goes on from it."""
        self._write({"e": id, "over": True})

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> None:
        if self._file is not None or self._broken:
            return
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(self._file, fcntl.LOCK_SH)
                return
            self.alone = True
            self._read(self._file)
            fcntl.flock(self._file, fcntl.LOCK_SH)
        except OSError as error:
            self._fail(error)

    def _read(self, file: int) -> None:
        """Take what is there, and leave in the file what may still be gone on with, of all tenants."""
        open_: OrderedDict[tuple[str, str], Left] = OrderedDict()
        with open(self._path, "rb") as whole:
            for line in whole:
                _take(line, open_)
        while len(open_) > _EPISODES:
            open_.popitem(last=False)
        self.left = OrderedDict((id, left) for (owner, id), left in open_.items() if owner == self._owner)
        lines = [line for (owner, id), left in open_.items() for line in _lines(owner, id, left)]
        os.ftruncate(file, 0)
        _append(file, b"".join(map(_encoded, lines)))

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            _append(self._file, _encoded({"o": self._owner, **line}))
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Calls are answered all the same."""
        self._broken = True
        self.close()
        log.warning(
            "%s cannot be written (%s): conversations are not found again when this server is started anew",
            self._path,
            error.strerror,
        )


def _take(line: bytes, open_: OrderedDict[tuple[str, str], Left]) -> None:
    try:
        told = read_json(line)
        key = str(told["o"]), str(told["e"])
        if "t" in told:
            open_[key] = Left(str(told.get("n") or ""), float(told["t"]))
        elif told.get("over"):
            open_.pop(key, None)
        elif key in open_:
            left = open_[key]
            left.moments = [*left.moments[1 - _MOMENTS :], bytes.fromhex(told["m"])]
            open_.move_to_end(key)
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # a line that a kill cut off


def _lines(owner: str, id: str, left: Left) -> Iterator[dict[str, Any]]:
    yield {"o": owner, "e": id, "n": left.name, "t": left.started}
    for moment in left.moments:
        yield {"o": owner, "e": id, "m": moment.hex()}


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _append(file: int, lines: bytes) -> None:
    written = os.write(file, lines)
    while written < len(lines):
        written += os.write(file, lines[written:])
