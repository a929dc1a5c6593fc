"""What a run comes to in a line, kept beside its trace: a list of runs takes as long as there are runs, however many
episodes they have.

It is derived and never trusted: it says of which files it is, and has a hash. Where the trace has changed since, the
run is read. Nothing is kept of a run that has lost lines, which readers tell of, of a small one, which is read at once,
and on a server.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from atlas.folders import write_whole
from atlas.record import Record
from atlas.records import total
from atlas.stats import Interval
from atlas.traces.account import arm_rows
from atlas.traces.folder_prune import SUMMARY
from atlas.traces.open_log import OPEN
from atlas.traces.reader import Run, StoredEpisode
from atlas.traces.segment_log import TraceLog

KEPT_ABOVE = 1_000_000
"""Bytes of a trace from which its summary is kept."""
_BUILD = 1
"""Raised when a summary is to be made anew, as it says something else."""


class ArmSummary(Record):
    """An arm in the list of runs."""

    arm: str
    episodes: int
    success: Interval


class Summary(Record):
    """A run in the list of runs."""

    arms: tuple[ArmSummary, ...]
    """In order of first appearance, without interrupted episodes and earlier attempts."""
    open: int
    """Episodes without an end."""
    dollars: float | None
    """Of all that it has used; None where some of it has no known price."""


class _Kept(Record):
    build: int
    of: tuple[tuple[int, int, str], ...]
    """The files of the trace, see :data:`atlas.traces.index_file.Mark`, and that of what open episodes have used."""
    summary: Summary


def summary_of(run: Run) -> Summary:
    """That of ``run``, as it is kept or as its episodes tell. Raises StoreError where these are damaged."""
    trace = run._trace
    if not isinstance(trace, TraceLog):
        return _made(run)
    # Before it is read: what is written meanwhile makes it another one.
    of = tuple((size, time, end.hex()) for size, time, end in trace.mark())
    path = run.folder / SUMMARY
    with suppress(OSError):
        found = os.stat(run.folder / OPEN)
        of = (*of, (found.st_size, found.st_mtime_ns, str(found.st_ino)))
    kept = _read(path)
    if kept is not None and kept.build == _BUILD and kept.of == of:
        return kept.summary
    made = _made(run)
    if run.whole and sum(size for size, _, _ in of) >= KEPT_ABOVE:
        _write(path, _Kept(build=_BUILD, of=of, summary=made))
    return made


def recheck(run: Run, episodes: Sequence[StoredEpisode]) -> None:
    """Remove what is kept of ``run`` where ``episodes``, read from all of its trace, say something else: files may have
    changed and look as they did."""
    if not isinstance(run._trace, TraceLog):
        return
    path = run.folder / SUMMARY
    kept = _read(path)
    if kept is not None and not (run.whole and kept.summary == _of(run, episodes)):
        with suppress(OSError):
            path.unlink()


def _made(run: Run) -> Summary:
    return _of(run, run.episodes())


def _of(run: Run, episodes: Sequence[StoredEpisode]) -> Summary:
    gone = run.pruned()
    rows = arm_rows(e.result for e in episodes if e.result is not None and not e.retried)
    return Summary(
        arms=tuple(ArmSummary(arm=row.arm, episodes=row.episodes, success=row.success) for row in rows),
        open=sum(e.result is None for e in episodes),
        dollars=total([*(s for e in episodes for s in e.spend), *(gone.spend if gone else ())]).dollars,
    )


def _read(path: Path) -> _Kept | None:
    try:
        said, _, body = path.read_text(encoding="utf-8").partition("\n")
        return _Kept.model_validate_json(body) if said == _hashed(body) else None
    except (OSError, ValueError):
        return None


def _write(path: Path, kept: _Kept) -> None:
    body = kept.model_dump_json()
    with suppress(OSError):  # who may read a run need not be who may write it
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            # Not while the run is pruned: what goes from it must not be counted again.
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
            write_whole(path, f"{_hashed(body)}\n{body}")
        finally:
            os.close(folder)


def _hashed(body: str) -> str:
    return blake2b(body.encode(), digest_size=16).hexdigest()
