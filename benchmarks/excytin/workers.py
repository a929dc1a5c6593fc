"""Processes for the agents' SQL, seen from where the agents are: started when needed, ended at a query's limit.

A function inside a query, SQLite's own or one of ours, runs on however long its values are and hears nothing meanwhile;
a process can always be ended. They are started as programs, not forked: a process with threads is not safely forked.
"""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from io import BytesIO
from typing import Any

from atlas.benchmarks.excytin.engine import Row, SqlError, lost, too_slow
from atlas.benchmarks.excytin.worker import DONE, HEAD, READY, REFUSED, ROWS, Request, packed
from atlas.errors import DataError

GRACE = 0.5
"""Seconds beyond its limit after which the process of a query is ended that did not look at the clock itself."""
KEPT = 8
"""Idle processes that are kept for the next query."""
_START = 60.0
"""Seconds a process has to begin."""
_CHUNK = 1 << 20
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from atlas.benchmarks.excytin.worker import main; main()"
_PASSED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
"""Of the environment: the keys of models have no business where the agents' SQL runs."""
_PLAIN = frozenset({("datetime", "date"), ("datetime", "datetime"), ("datetime", "timedelta"), ("decimal", "Decimal")})


class _Plain(pickle.Unpickler):
    """Reads values of rows and nothing that would run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"{module}.{name} is no value of a row")
        return super().find_class(module, name)


class Worker:
    """One process. Asked by one thread at a time; killed from any."""

    def __init__(self) -> None:
        self.usable = True
        """Whether it waits for a request: neither dead nor in the middle of one."""
        self._owner = os.getpid()
        self._begun = False
        self._received = bytearray()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", _PROGRAM, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={name: os.environ[name] for name in _PASSED if name in os.environ},
                start_new_session=True,
            )
        except OSError as error:
            raise DataError(f"no process for queries can be started ({error}): free memory or processes") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._waiting = select.poll()
        self._waiting.register(self._out, select.POLLIN)

    @property
    def alive(self) -> bool:
        return self.usable and self._owner == os.getpid() and self._process.poll() is None

    def ask(self, request: Request) -> list[Row]:
        """The rows of one statement.

        Raises:
            SqlError: it is refused, or ran into a limit.
            DataError: the file cannot be read, or no process can be started.
        """
        self.usable = False
        if not self._begun:
            self._begin()
        try:
            self._in.write(packed(tuple(request)))
        except BrokenPipeError as error:
            raise lost() from error
        until = time.monotonic() + request.time_limit + GRACE
        rows: list[Row] = []
        while True:
            kind, *said = self._next(until)
            if kind == ROWS:
                rows += said[0]
                continue
            self.usable = True
            if kind == DONE:
                return rows
            if kind == REFUSED:
                name, _, message = said[0].partition(": ")
                raise SqlError(name, message)
            raise DataError(said[0])

    def kill(self) -> None:
        """End it whatever it is at."""
        self.usable = False
        with suppress(ProcessLookupError):
            self._process.kill()

    def end(self) -> None:
        """Kill it and wait until it is gone; in a fork of the process that started it, only let go of it."""
        if self._owner == os.getpid():
            self.kill()
            self._process.wait()
        self._in.close()
        self._out.close()

    def _begin(self) -> None:
        try:
            kind, *_ = self._next(time.monotonic() + _START)
        except SqlError as error:
            raise DataError(
                "the process for queries did not start: see what it says on standard error, or free memory"
            ) from error
        self._begun = kind == READY

    def _next(self, until: float) -> tuple[Any, ...]:
        """The next message. SqlError: none has come in time, or the process has ended."""
        while len(self._received) < HEAD.size or len(self._received) < HEAD.size + self._length():
            left = until - time.monotonic()
            if left <= 0 or not self._waiting.poll(1000 * left):
                self.kill()
                raise too_slow()
            more = os.read(self._out.fileno(), _CHUNK)
            if not more:
                raise lost()
            self._received += more
        end = HEAD.size + self._length()
        message: tuple[Any, ...] = _Plain(BytesIO(self._received[HEAD.size : end])).load()
        del self._received[:end]
        return message

    def _length(self) -> int:
        length: int = HEAD.unpack_from(self._received)[0]
        return length


class Workers:
    """Idle processes, for whichever engine asks next. Used from any thread; ended with the program at the latest."""

    def __init__(self) -> None:
        # A list takes and gives in one move: there is no lock that a fork could find held.
        self._idle: list[Worker] = []
        self._closed = False
        weakref.finalize(self, _end, self._idle)

    def take(self) -> Worker:
        """One that waits, or a new one."""
        with suppress(IndexError):
            while True:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
                worker.end()
        return Worker()

    def give(self, worker: Worker) -> None:
        """Back from who took it; it is ended where it is of no more use."""
        if worker.alive and not self._closed and len(self._idle) < KEPT:
            self._idle.append(worker)
        else:
            worker.end()
        if self._closed:
            _end(self._idle)

    def close(self) -> None:
        """End those that wait; others are ended when they are given back."""
        self._closed = True
        _end(self._idle)


def _end(idle: list[Worker]) -> None:
    with suppress(IndexError):
        while True:
            idle.pop().end()
