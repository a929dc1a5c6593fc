"""The process in which an agent's SQL runs: requests on its standard input, answers on its standard output.

It limits itself: its memory is bounded by the system, and so is the time that a query may compute, should whoever
started it be gone. What it is asked by :mod:`workers` it believes; what it answers is read there as nothing but rows.
"""

from __future__ import annotations

import gc
import math
import os
import pickle
import resource
import signal
import struct
import sys
from contextlib import suppress
from io import BytesIO
from typing import BinaryIO, NamedTuple

from atlas.benchmarks.excytin.engine import SqlError, too_large
from atlas.benchmarks.excytin.layers import Layer
from atlas.errors import DataError

MEMORY_LIMIT = 2 * 1024**3
"""Bytes that the process may map, its own code included."""
HEAD = struct.Struct(">Q")
"""Before each message: its length."""
READY, ROWS, DONE, REFUSED, FAILED = range(5)
"""What an answer is: begun, some rows, no more rows, an error for the agent, an error for the user."""
_DATABASES = 4
"""Incidents that are kept open."""
_LATER = 5
"""Seconds of computing beyond a query's limit, by which whoever asked has ended this process if it is there."""


class Request(NamedTuple):
    """A statement, and on what."""

    path: str
    layer: Layer
    time_limit: float
    sql: str


def packed(message: object) -> bytes:
    """A message as it travels."""
    body = BytesIO()
    pickler = pickle.Pickler(body, pickle.HIGHEST_PROTOCOL)
    # Nothing in it is there twice, or within itself: not looking for that halves the time.
    pickler.fast = True
    pickler.dump(message)
    return HEAD.pack(body.tell()) + body.getvalue()


def main() -> None:
    """Answer until the other end is closed."""
    # The terminal's Ctrl-C is for who asked, and it ends this process where that is wanted.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints is no answer.
    os.dup2(2, 1)
    _bound(resource.RLIMIT_AS, MEMORY_LIMIT)
    _bound(resource.RLIMIT_CORE, 0)
    # Loaded before the first query, whose time they would take.
    import regex  # noqa: F401

    from atlas.benchmarks.excytin.emulated import translation  # noqa: F401

    # What is there now stays: it need not be looked through whenever rows are made.
    gc.freeze()
    _send(answers, (READY,))
    served = _Served()
    while head := sys.stdin.buffer.read(HEAD.size):
        request = Request(*pickle.loads(sys.stdin.buffer.read(*HEAD.unpack(head))))
        used = time_used()
        _bound(resource.RLIMIT_CPU, math.ceil(used + request.time_limit) + _LATER)
        try:
            served.answer(request, answers)
        except MemoryError:
            error: SqlError | DataError = too_large()
        except RecursionError:
            error = SqlError("DatabaseError", "Thread stack overrun: the statement is nested too deeply")
        except (SqlError, DataError) as raised:
            error = raised
        else:
            _send(answers, (DONE,))
            continue
        _send(answers, (REFUSED if isinstance(error, SqlError) else FAILED, str(error)))


def time_used() -> float:
    """Seconds that this process has computed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class _Served:
    """The databases that were asked for last."""

    def __init__(self) -> None:
        from atlas.benchmarks.excytin.sqlite_engine import Database

        self._open = Database
        self._databases: dict[tuple[object, ...], Database] = {}

    def answer(self, request: Request, answers: BinaryIO) -> None:
        try:
            about = os.stat(request.path)
        except OSError as error:
            raise DataError(f"{request.path} is gone ({error.strerror}): unpack or import it again") from error
        # A file that took the place of another is another database.
        key = request.path, request.layer, about.st_ino, about.st_mtime_ns
        database = self._databases.pop(key, None) or self._open(request.path, layer=request.layer)
        self._databases[key] = database
        if len(self._databases) > _DATABASES:
            self._databases.pop(next(iter(self._databases))).close()
        for rows in database.batches(request.sql, request.time_limit):
            _send(answers, (ROWS, rows))


def _bound(what: int, limit: int) -> None:
    hard = resource.getrlimit(what)[1]
    # A system that does not know the limit, or a lower one that was set before, changes nothing.
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _send(answers: BinaryIO, message: object) -> None:
    try:
        answers.write(packed(message))
        answers.flush()
    except BrokenPipeError:
        # Nobody waits for it any more.
        os._exit(0)
