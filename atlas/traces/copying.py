"""A run from a folder to a server, back, or to another place of its kind: line by line as it is.

It may be cut off at any moment. What is there of a half copy is compared and not written again; until all of it is
there, and has the same hash as the source, nobody reads or writes it. A log only grows, so a copy that was finished is
brought up to its source by the same command.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice

from atlas.errors import StoreError
from atlas.records import Record, content_hash
from atlas.traces.claims import Claims
from atlas.traces.format import END
from atlas.traces.open_state import OpenState
from atlas.traces.place import LOGS, Log, Manifest, Place
from atlas.traces.reader import Run

_PART = 500
"""Lines that are written at once."""

Seen = Callable[[int, int], None]


class Copied(Record):
    """What came of a copy."""

    source: str
    target: str
    lines: dict[str, int]
    """By log, all of them."""
    written: int
    """Lines that were not there already."""
    open: int = 0
    """Open episodes of which a server knows more than the trace, and now the copy too."""
    sha256: str
    """Of the manifest and every line; the same for the same run wherever it is."""


def copy(source: Place, target: Place, seen: Seen = lambda done, of: None) -> Copied:
    """Make ``target`` what ``source`` is, or finish a copy that was cut off, or that the source has outgrown.

    Raises StoreError where ``target`` is anything else, and where what was written is not what was read.
    """
    if source.path == target.path:
        raise StoreError(f"{source.path} is source and target: name another place for the copy")
    manifest = source.manifest()
    identity = content_hash([manifest["created"], manifest["config"]])
    there, becomes = target.found()
    own = content_hash([there["created"], there["config"]]) if there is not None else None
    if (becomes or own or identity) != identity:
        raise StoreError(f"{target.path} holds another run than {source.path}: name a place that is not there yet")
    # Read first: what the trace knows more of than this is found there by who goes on with them.
    standing = source.open_states()
    of = sum(sum(1 for _ in source.log(name).lines()) for name in LOGS)
    if becomes is None and there is None:
        target.begin(manifest, identity)
    with Claims(target) as claims:
        if not claims.claim_of_the_living("copy"):
            raise StoreError(f"another process copies to {target.path} now: wait until it is done")
        lines: dict[str, int] = {}
        over: set[str] = set()
        whole, wrote, done = hashlib.sha256(), 0, 0
        for name in LOGS:
            log = _Copy(source.log(name), target.log(name), lambda: target.begin(manifest, identity))
            added = log.run(partial(_seen, seen, done, of))
            lines[name], wrote, done = log.count, wrote + added, done + log.count
            over |= log.over
            whole.update(f"{name} {log.hash.hexdigest()}\n".encode())
        if standing and over:
            # One that has ended meanwhile is open no more; one that was open again after an end still is.
            still = source.open_states()
            standing = {id: state for id, state in standing.items() if id in still or id not in over}
        if kept := standing or target.open_states():
            target.begin(manifest, identity)
            _keep_open(source, target, standing)
        if _differ(manifest, there) or wrote or becomes or there is None or kept:
            target.finish(manifest)
    whole.update(json.dumps(manifest, sort_keys=True).encode())
    return Copied(
        source=source.path,
        target=target.path,
        lines={name: count for name, count in lines.items() if count},
        written=wrote,
        open=len(standing),
        sha256=whole.hexdigest(),
    )


def _keep_open(source: Place, target: Place, standing: Mapping[str, OpenState]) -> None:
    """What a server knows of its open episodes beyond the trace is known there, too."""
    stored = {one.id: one for one in Run(source).episodes(among=standing.__contains__)} if standing else {}
    known = {id: state for id, state in standing.items() if id in stored}
    target.keep_open(known, stored)
    if target.open_states().keys() != known.keys():
        raise StoreError(f"{target.path} does not hold the open episodes of {source.path}: do it again")


class _Copy:
    """One log. ``begins`` is called before anything is written."""

    def __init__(self, source: Log, target: Log, begins: Callable[[], None]) -> None:
        self.source = source
        self.target = target
        self.begins = begins
        self.hash = hashlib.sha256()
        """Of all lines that were read."""
        self.count = 0
        self.over: set[str] = set()
        """Episodes whose end is among the lines."""

    def run(self, seen: Callable[[int], None]) -> int:
        """How many lines were written."""
        here = (line for _, _, line in self.source.lines() if line.endswith(b"\n"))
        there = hashlib.sha256()
        self.target.mend()
        for number, _, line in self.target.lines():
            own = next(here, None)
            if own != line:
                raise StoreError(
                    f"line {number} of {self.target.path} is another than in {self.source.path}: name a place that is "
                    "not there yet"
                )
            self._read(line)
            there.update(line)
            if number % _PART == 0:
                seen(self.count)
        wrote = 0
        while part := list(islice(here, _PART)):
            if not wrote:
                self.begins()
            self.target.append(*(line[:-1] for line in part))
            for line in part:
                self._read(line)
            wrote += len(part)
            seen(self.count)
        if wrote:
            there = hashlib.sha256()
            for _, _, line in self.target.lines():
                there.update(line)
        if there.digest() != self.hash.digest():
            raise StoreError(
                f"{self.target.path} does not hold what was read from {self.source.path}: name a place that is not "
                "there yet"
            )
        return wrote

    def _read(self, line: bytes) -> None:
        self.hash.update(line)
        self.count += 1
        if (end := END.match(line)) is not None:
            self.over.add(end[1].decode())


def _seen(seen: Seen, before: int, of: int, more: int) -> None:
    seen(before + more, of)


def _differ(manifest: Manifest, there: Manifest | None) -> bool:
    """Whether more is permitted, or it is of a newer schema, than when it was copied."""
    return there is not None and manifest != there
