"""One connection to a SQLite file: transactions, errors in words, and what makes writes survive.

Write-ahead log with full synchronisation: what was acknowledged survives a killed process and a power cut, and many
processes may read and write at once. Every sqlite3 error leaves here as a StoreError.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atlas.errors import StoreError

BUSY_SECONDS = 60.0
CACHED = (2_000, 100_000)
"""Kilobytes of a file that its connection keeps in memory, by its size when it is opened: at least what SQLite keeps by
itself, and at most."""


def cached(size: int) -> int:
    """Kilobytes to keep of a file of ``size`` bytes: a hundredth, which is what leads to the rows. A search reads some
    fifty of them, anywhere in the file."""
    least, most = CACHED
    return max(least, min(size // 100_000, most))


class Connection:
    """Shared by the threads of a process, which take turns."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = None if path == ":memory:" else Path(path)
        self._errors = _InWords(path)
        self._lock = threading.RLock()
        self._depth = 0
        self.read_only = False
        """Whether its file, or the folder around it, cannot be written: it is used as it is."""
        self._place: tuple[int, int] | None = None
        """Which file it is, of those that may come to stand at its path; None until it is there."""
        if path != ":memory:":
            self._check_folder()
        try:
            self._open(path)
        except StoreError as error:
            if self.file is None or not self.file.is_file() or _name(error.__cause__) not in _CLOSED:
                raise
            self._open_to_read(self.file)
        self._place = self._found()

    def _open(self, path: str, *, uri: bool = False) -> None:
        with self._errors:
            # Autocommit: transactions are opened explicitly, and IMMEDIATE, so that no reader has to be promoted.
            self._db = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=uri
            )
        # A file that cannot be written opens all the same.
        self.read_only = self.file is not None and self.file.is_file() and not os.access(self.file, os.W_OK)
        try:
            with self._errors:
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _open_to_read(self, file: Path) -> None:
        """Open a memory in a folder that cannot be written, where the files that readers share cannot be made."""
        log = file.with_name(f"{file.name}-wal")
        # What is in the log alone would be left out, without a word.
        if log.is_file() and log.stat().st_size:
            raise StoreError(
                f"the memory {file} cannot be read where nothing can be written, as its newest versions are in "
                f"{log.name}: open it once where it can be written ('atlas memory log'), and copy it then"
            )
        self._open(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        self.read_only = True

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query. What writes is for the inside of a :meth:`transaction` alone."""
        with self._lock, self._errors:
            if not self._depth and not statement.lstrip().upper().startswith(("SELECT", "WITH", "PRAGMA")):
                raise RuntimeError("a statement that writes belongs inside a transaction")
            return self._db.execute(statement, parameters).fetchall()

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """As :meth:`execute` for many rows of parameters."""
        with self._lock, self._errors:
            if not self._depth:
                raise RuntimeError("a statement that writes belongs inside a transaction")
            self._db.executemany(statement, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens at once or, if an exception leaves it, not at all. May be nested.

        Raises StoreError where the file at its path is another one by now: what is written to one that was deleted is
        acknowledged, and lost."""
        with self._begun("BEGIN IMMEDIATE"):
            if self._depth == 1 and self.gone:
                raise StoreError(
                    f"the memory {self.path} was deleted, moved or replaced while it was open, so that nothing more "
                    "can be written to it: open it anew, and stop what uses it before you replace it"
                )
            yield

    @property
    def gone(self) -> bool:
        """Whether the file that was opened is not the one at its path any more: it can be read as it was."""
        return self._place is not None and self._found() != self._place

    def _found(self) -> tuple[int, int] | None:
        """The file that stands at its path; None where there is none."""
        if self.file is None:
            return None
        try:
            there = os.stat(self.file)
        except OSError:
            return None
        return there.st_dev, there.st_ino

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All queries inside see the file as it was at the first of them."""
        with self._begun("BEGIN"):
            yield

    @contextmanager
    def _begun(self, begin: str) -> Iterator[None]:
        with self._lock, self._errors:
            name = f"nested_{self._depth}" if self._depth else ""
            self._db.execute(f"SAVEPOINT {name}" if name else begin)
            self._depth += 1
            try:
                yield
                self._db.execute(f"RELEASE {name}" if name else "COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute(f"ROLLBACK TO {name}" if name else "ROLLBACK")
                    if name:
                        self._db.execute(f"RELEASE {name}")
                raise
            finally:
                self._depth -= 1

    def stamp(self) -> tuple[int, int]:
        """Changes when this or another connection writes; a few microseconds to read."""
        with self._lock:
            return self._one("PRAGMA data_version"), self._db.total_changes

    def overwriting(self) -> None:
        """From here on what is deleted is overwritten in the file, and not only marked as free."""
        self.execute("PRAGMA secure_delete = ON")

    def forget(self) -> None:
        """Leave nothing in the log beside the file of what was overwritten, where nobody reads it just now."""
        if not self.read_only:
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _one(self, query: str, parameters: Sequence[object] = ()) -> int:
        found = self.execute(query, parameters)
        if not found or type(found[0][0]) is not int:
            raise StoreError(f"{self.path} is damaged ({query!r} finds no number): restore a copy of the file")
        return int(found[0][0])

    def _prepare(self) -> None:
        """Called once when connected: the file has to be what the class expects, or becomes so."""
        if self.read_only:
            return
        deadline = time.monotonic() + BUSY_SECONDS
        # Changing the journal mode does not wait for other connections as every other statement does.
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self._db.execute("PRAGMA synchronous = FULL")
        size = self._one("PRAGMA page_count") * self._one("PRAGMA page_size")
        self._db.execute(f"PRAGMA cache_size = -{cached(size)}")

    def _check_folder(self) -> None:
        path = Path(self.path)
        if path.is_dir():
            raise StoreError(
                f"{path} is a folder, and a memory is a file: name a file in it, such as {path / 'memory.sqlite'}"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the memory {path} cannot be written ({error.strerror}): choose a path in a folder that can be written"
            ) from error


class _InWords:
    """Around all that is done with a connection: what a file or its state makes sqlite3 raise is a StoreError."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            self._tell(error)

    def _tell(self, error: sqlite3.Error) -> None:
        if isinstance(error, sqlite3.OperationalError):
            if "malformed" in str(error) or _name(error) in _DAMAGED:
                raise StoreError(self._corrupt(error)) from error
            raise StoreError(
                f"the memory {self._path} cannot be opened or written ({error}): check the path, its permissions, the "
                "free space and the limit on the size of a file (ulimit -f)"
            ) from error
        if isinstance(error, sqlite3.ProgrammingError):
            if "closed database" in str(error):
                raise StoreError(f"the memory {self._path} was closed: open it again") from error
        elif isinstance(error, sqlite3.DatabaseError):
            raise StoreError(self._corrupt(error)) from error

    def _corrupt(self, error: Exception) -> str:
        return f"{self._path} is not an atlas memory ({error}): move it away or restore a copy"


_CLOSED = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_READONLY_CANTINIT", "SQLITE_READONLY_DIRECTORY")
"""What SQLite says where it may not make the files of its log."""
_DAMAGED = ("SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_DATA", "SQLITE_IOERR_CORRUPTFS")
"""Faults of input and output that are of the file, not of the room for it."""


def _name(error: BaseException | None) -> str:
    # Errors of the module itself have no name.
    return str(getattr(error, "sqlite_errorname", ""))
