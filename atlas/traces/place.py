"""Where a run is: the seam between what writes and reads a run and what holds it, a folder or a PostgreSQL server.

All that is known of a run is its manifest and its logs: lines that are appended and never changed. Writer, readers and
what is kept beside a trace are written against :class:`Place` and know neither files nor SQL.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from atlas.errors import ConfigError, StoreError
from atlas.given import check_path, has, shown
from atlas.jsontext import read_json
from atlas.records import Usage

if TYPE_CHECKING:
    from atlas.traces.heads import Head, Times
    from atlas.traces.index import Index
    from atlas.traces.open_state import OpenState
    from atlas.traces.reader import StoredEpisode
    from atlas.traces.totals import Names, Totals

MANIFEST = "run.json"
TRACE = "trace.jsonl"
_URL = re.compile(r"postgres(?:ql)?://(.*)", re.DOTALL)

Manifest = dict[str, Any]
Decides = Callable[[Callable[[], Manifest] | None, bool], Manifest | None]
"""Given what reads the manifest that is there (None where there is none) and whether anything is recorded: the manifest
to be kept, None for the one that is there."""


class Tail(Protocol):
    """What is appended to a log, by any process, from some moment on."""

    def lines(self) -> Iterator[bytes]:
        """The whole lines that have come since the last call. After a server was lost some may come again."""
        ...


class Part(Protocol):
    """A part of a trace, of which only that is read which is asked for."""

    @property
    def before(self) -> tuple[int, int]:
        """Lines and bytes of the trace before it."""
        ...

    @property
    def head(self) -> Head: ...

    def index(self) -> Index: ...

    def times(self) -> Mapping[str, Times]:
        """What it tells of the beginnings of episodes."""
        ...

    def texts(self) -> Mapping[str, str | int]:
        """Those of its index."""
        ...

    def totals(self) -> tuple[Totals, Names] | None:
        """What its episodes used; None where a line of it is damaged, or has a number that no sum takes."""
        ...


class Log(Protocol):
    """Lines in the order in which they were appended."""

    path: str
    """What it is called, in errors."""

    def append(self, *lines: bytes, lasting: bool = True) -> None:
        """Append lines (without their ends) in one piece, exactly once; they survive whatever is lost afterwards, but
        for the power where they are not ``lasting``. Raises StoreError where that cannot be done."""
        ...

    def lines(self) -> Iterator[tuple[int, int, bytes]]:
        """(number from 1, place, line) of all; a reader of a file may see one that was cut off. None where there is no
        log."""
        ...

    def at(self, places: Sequence[int]) -> Iterator[bytes]:
        """The lines at places that :meth:`lines` told."""
        ...

    def mend(self) -> None:
        """Cut off a line that a kill left unfinished. Nobody else writes."""
        ...

    def indexes(self) -> Iterator[Index]:
        """What readers of a trace want of it, part by part, in order."""
        ...

    def parts(self) -> list[Part]:
        """The parts of a trace, in order, for who does not want all of them."""
        ...

    def damaged(self) -> list[str]:
        """What is wrong with what should never change again, reading all of it."""
        ...

    def tail(self, *, whole: bool = False, told: bool = False) -> Tail:
        """From now on, or from the beginning where ``whole``. ``told``: steps and the texts that they refer to may be
        left out, where that is less to read."""
        ...


def late(path: object) -> StoreError:
    """What is to be recorded in a run that this process has closed."""
    return StoreError(
        f"the run {path} was closed before this was recorded: end its episodes first, then close its agent or writer"
    )


class Trace(Protocol):
    """A trace that is open for writing."""

    def append(self, lines: Sequence[bytes], *, ends: bool) -> None:
        """As :meth:`Log.append`. It survives this process at once; a machine that loses its power may lose the newest
        second of what is not ``ends``: the end of an episode, or what came of it."""
        ...

    def close(self) -> None: ...


class Held(Protocol):
    """What one process of a run tells the others: see :class:`atlas.traces.claims.Claims`."""

    @property
    def lag(self) -> float:
        """Seconds that a process may be gone, at the most, while what it had claimed is not free yet."""
        ...

    def claim(self, key: object) -> bool: ...

    def release(self, key: object) -> None: ...

    def post(self, dollars: float | None, tokens: int) -> None: ...

    def total(self) -> tuple[float | None, int]: ...

    def close(self) -> None: ...


class Alone(Protocol):
    """A run that nobody else writes."""

    def rewrite(self, drops: Mapping[str, Sequence[int]], added: Sequence[bytes], manifest: Manifest) -> None:
        """Take the lines at these places, by log, out of it, and the responses that clients may go on from, append
        ``added`` to the trace, and give it ``manifest``: all at once, or not at all. Raises StoreError where that
        cannot be done."""
        ...


@runtime_checkable
class Place(Protocol):
    """Where one run is."""

    name: str
    path: str
    """For people and commands: without a password."""

    def manifest(self) -> Manifest:
        """Raises StoreError where there is no run, or none that this atlas reads."""
        ...

    def open(self, decide: Decides) -> Trace:
        """The trace, for writing, once the manifest is as ``decide`` says. One process at a time decides."""
        ...

    def log(self, name: str) -> Log: ...

    def held(self, spent: Callable[[], Usage] | None) -> Held: ...

    def alone(self) -> AbstractContextManager[Alone]:
        """The run, while nobody writes it. Raises StoreError where another process does."""
        ...

    def memory(self, name: str) -> str:
        """Where a memory is that belongs to the run: a path, or a URL."""
        ...

    def unended(self) -> Mapping[str, Iterable[Any]]:
        """What open episodes of servers have used by now, by id, in the rows that a trace has: their newest answers are
        in no trace yet. Of those that are over it may be there, too."""
        ...

    def beside(self) -> Iterator[tuple[str, bytes]]:
        """Texts that are kept beside the logs, each with the id of its episode: empty for responses that clients may go
        on from, of which nobody knows the episode."""
        ...

    def open_states(self) -> Mapping[str, OpenState]:
        """What is known of open episodes beyond the trace, by id."""
        ...

    def keep_open(self, those: Mapping[str, OpenState], episodes: Mapping[str, StoredEpisode]) -> None:
        """Know that of open episodes, and nothing else. ``episodes`` are they as the trace has them."""
        ...

    def found(self) -> tuple[Manifest | None, str | None]:
        """What is there, also where it is half: the manifest, and what a half copy is to become."""
        ...

    def begin(self, manifest: Manifest, becomes: str) -> None:
        """It is a half copy from here on, which nobody reads or writes."""
        ...

    def finish(self, manifest: Manifest) -> None:
        """It is a run, with that manifest."""
        ...

    def folder(self) -> Path:
        """The folder, for what is kept in files. Raises ConfigError where there is none."""
        ...


LOGS = ("due.jsonl", "calls.jsonl", "verdicts.jsonl", "lessons.jsonl", TRACE)
"""All that a run holds, besides its manifest; what refers to others first."""


def is_server(where: object) -> bool:
    """Whether ``where`` is the URL of a run on a server."""
    return isinstance(where, str) and _URL.fullmatch(where) is not None


def place_of(where: str | Path | Place) -> Place:
    """The place at a path or a URL. Nothing is opened yet. Raises ConfigError for a URL that names no run."""
    if isinstance(where, str | Path):
        check_path("the run", where)
        found = _URL.fullmatch(where) if isinstance(where, str) else None
        if found is not None:
            from atlas.traces.server import ServerRun

            return ServerRun(found[1])
        from atlas.traces.folder import FolderRun

        return FolderRun(Path(where))
    if not has(where, "manifest", "open", "log"):
        raise ConfigError(f"a run is at a path or a URL, not at {shown(where)}: name its folder")
    return where


def below(root: str | Path) -> list[Place]:
    """The places of the runs below a folder, or in the schema of a URL that names no run."""
    if isinstance(root, str) and (found := _URL.fullmatch(root)) is not None:
        from atlas.traces.server import runs_in

        return [*runs_in(found[1])]
    return [place_of(path.parent) for path in sorted(Path(root).glob(f"**/{MANIFEST}"))]


def told(where: str | Path) -> str:
    """``where`` as it may be shown: a URL without its password."""
    if isinstance(where, str) and (found := _URL.fullmatch(where)) is not None:
        from atlas.memory.postgres_url import read

        return read(found[1]).path
    return str(where)


def values(log: Log) -> Iterator[tuple[int, Any]]:
    """The line numbers, from 1, and values of all whole lines. A line that a kill cut off is left out."""
    for number, _, line in log.lines():
        try:
            yield number, read_json(line)
        except ValueError:
            continue


def news(tail: Tail) -> list[dict[str, Any]]:
    """The records in the lines that have come."""
    found = []
    for line in tail.lines():
        try:
            found.append(read_json(line))
        except ValueError:
            continue
    return [value for value in found if isinstance(value, dict)]


def log_hash(log: Log) -> str | None:
    """SHA-256 of a log, the same wherever it is held; None for one without lines."""
    found, some = hashlib.sha256(), False
    for _, _, line in log.lines():
        found.update(line)
        some = True
    return found.hexdigest() if some else None


def checked(content: Any, path: str) -> Manifest:
    """The content of a manifest, whoever wrote it. Raises StoreError."""
    from atlas.errors import StoreError
    from atlas.traces.format import READS

    if not isinstance(content, dict) or content.get("schema") not in READS:
        found = content.get("schema") if isinstance(content, dict) else None
        raise StoreError(
            f"{path} has trace schema {found}, this atlas reads {READS[-1]} and older: use the atlas that wrote it"
        )
    if not isinstance(content.get("settings"), dict) or not {"created", "config"} <= content.keys():
        raise StoreError(f"{path} is no complete run manifest: restore it, or begin a new run")
    return content


def written(manifest: Manifest) -> str:
    """A manifest as it is kept."""
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
