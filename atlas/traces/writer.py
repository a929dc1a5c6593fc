"""Writing traces: append-only, one line per event, safe to kill at any moment.

A line is written by one ``write`` to a file opened for appending, under a lock, so several processes may share a run.
A line that a killed process left unfinished is closed before the next one is written; readers skip it. What has
been written survives the process at once. It is forced to the disk (fsync) about once a second and on closing, so a
power cut (not a killed process) can lose the newest second: a thousand episodes that end together would otherwise wait
for the disk in turn.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atlas
from atlas.errors import ConfigError, StoreError
from atlas.folders import check_named, check_writable
from atlas.records import Episode, Prompt, Step, Task, content_hash
from atlas.redact import Cleaner
from atlas.traces.encode import encoded, step_line
from atlas.traces.events import Event, kind_of
from atlas.traces.format import READS, SCHEMA, pack_prompt

MANIFEST = "run.json"
TRACE = "trace.jsonl"
SYNC_EVERY = 1.0
"""Seconds between two fsyncs of a trace that is being written."""


_NOTHING = Prompt()


class RunWriter:
    """The recorder of one run: a folder with ``run.json`` (what the run is) and ``trace.jsonl`` (what happened)."""

    def __init__(
        self, folder: str | Path, manifest: dict[str, Any] | None = None, about: dict[str, Any] | None = None
    ) -> None:
        """``manifest`` determines the results: a run is resumed only with the same. ``about`` is shown beside it
        (the command that was typed, say) and compared with nothing; it stays that of the first command, but for its
        ``permitted``, the models whose words may be trained on: names that a resumed run adds are added."""
        self.folder = Path(folder)
        self.name = self.folder.name
        self._lock = threading.Lock()
        self._before: dict[str, Prompt] = {}
        self._texts: set[str] = set()
        self._synced = time.monotonic()
        self._end = -1
        """Size of the file after the last line that was written here."""
        check_named(self.folder)
        _check_own(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.folder / TRACE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                # Locked, so that of two processes that begin the same run one writes the manifest and one checks it.
                with _locked(self._file):
                    self._open_manifest(manifest or {}, about or {})
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise StoreError(
                f"the run folder {self.folder} cannot be written ({error.strerror}): choose another with -o"
            ) from error

    def _open_manifest(self, manifest: dict[str, Any], about: dict[str, Any]) -> None:
        path = self.folder / MANIFEST
        clean = Cleaner(halves=True)
        # The hash is of what is kept: that of a password could be guessed at. Older runs have the hash of all.
        kept, about = clean.value(manifest), clean.value(about)
        # Before anything is recorded settings may still change: a mistake in a first command does not use up its name.
        if path.exists() and os.fstat(self._file).st_size:
            found = read_manifest(path)
            if found["config"] not in (content_hash(kept), content_hash(manifest), _as_before(kept, found["settings"])):
                raise ConfigError(
                    f"the run {self.folder} was made with other settings ({_differing(found['settings'], manifest)}): "
                    "resume it with the same ones, or start a new run with -o"
                )
            added = _with_permitted(found, about)
            if added is not None or found["schema"] != SCHEMA:
                # From here on it holds lines that an older atlas would misread.
                _replace(path, {**(added or found), "schema": SCHEMA})
            return
        content = {
            "schema": SCHEMA,
            "atlas": atlas.__version__,
            "created": time.time(),
            "config": content_hash(kept),
            "settings": kept,
            "about": about,
        }
        if path.exists():
            # Others may have opened the run for the same, and recorded nothing yet: what they permit stays.
            with contextlib.suppress(StoreError):
                found = read_manifest(path)
                earlier = found.get("about") or {}
                if found["config"] == content["config"] and isinstance(earlier.get("permitted"), list):
                    content = _with_permitted(content, earlier) or content
        _replace(path, content)

    def start(self, episode_id: str, arm: str, task: Task, seed: int, config: str) -> None:
        self._write(
            encoded(
                {
                    "type": "start",
                    "episode": episode_id,
                    "arm": arm,
                    "task": task.model_dump(exclude={"instructions"}),
                    "seed": seed,
                    "config": config,
                    "time": time.time(),
                }
            )
        )

    def step(self, episode_id: str, step: Step) -> None:
        prompt = step.decision.prompt
        packed, texts = pack_prompt(prompt, self._before.get(episode_id, _NOTHING))
        line = step_line(episode_id, step, packed)
        if texts.keys() <= self._texts:
            self._write(line)
        else:
            new = {key: text for key, text in texts.items() if key not in self._texts}
            # Texts stand before the step that refers to them, and are known once they are written.
            self._write(*(encoded({"type": "text", "hash": key, "text": text}) for key, text in new.items()), line)
            self._texts.update(new)
        self._before[episode_id] = prompt

    def end(self, episode: Episode) -> None:
        self._before.pop(episode.id, None)
        self._write(encoded({"type": "end", **episode.model_dump(mode="json", exclude={"task": {"instructions"}})}))

    def tell(self, event: Event) -> None:
        """Write what has changed besides episodes, after the one that brought it about."""
        self._write(encoded({"type": kind_of(event), **event.model_dump(mode="json")}))

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it was written; a disk that fails now must not keep the file open
            os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, *lines: bytes) -> None:
        line = b"\n".join(lines) + b"\n"
        try:
            with self._lock:
                fcntl.flock(self._file, fcntl.LOCK_EX)
                try:
                    self._append(line)
                finally:
                    fcntl.flock(self._file, fcntl.LOCK_UN)
                if (now := time.monotonic()) - self._synced >= SYNC_EVERY:
                    self._synced = now
                    os.fsync(self._file)
        except OSError as error:
            raise StoreError(
                f"the trace in {self.folder} cannot be written ({error.strerror}): free disk space"
            ) from error

    def _append(self, line: bytes) -> None:
        size = os.lseek(self._file, 0, os.SEEK_END)
        # What this writer wrote last is whole; what others wrote may have been cut off.
        if size and size != self._end and os.pread(self._file, 1, size - 1) != b"\n":
            line = b"\n" + line
        self._end = -1
        written = os.write(self._file, line)
        while written < len(line):
            written += os.write(self._file, line[written:])
        self._end = size + written


def _as_before(settings: dict[str, Any], earlier: dict[str, Any]) -> str:
    """The hash of ``settings`` for a build that did not have those yet which are empty and not among ``earlier``."""
    return content_hash({name: value for name, value in settings.items() if name in earlier or not _empty(value)})


def _empty(value: Any) -> bool:
    """Whether a setting says nothing. A number says something, 0 too."""
    return value is None or value is False or (isinstance(value, str | list | tuple | dict) and not value)


def _differing(first: dict[str, Any], second: dict[str, Any]) -> str:
    """The names of the settings that differ; their values may be anything, a key among them."""
    missing = object()
    names = [
        name
        for name in {**first, **second}
        if first.get(name, missing) != second.get(name, missing) and (name in first or not _empty(second[name]))
    ]
    return ", ".join(names) or "the same ones by name"


def check_run_folder(folder: Path) -> None:
    """Raises ConfigError where ``folder`` is no place for a run, StoreError where nothing can be written there."""
    check_named(folder)
    _check_own(folder)
    check_writable(folder)


def _check_own(folder: Path) -> None:
    """Raises ConfigError where ``folder`` holds other things than a run: they would be mixed up, or written over."""
    if not folder.is_dir():
        return
    path = folder / MANIFEST
    if path.exists():
        try:
            own = {"schema", "config", "settings"} <= json.loads(path.read_text(encoding="utf-8")).keys()
        except (OSError, ValueError, AttributeError):
            # Damage to a run is told of where its manifest is read.
            own = (folder / TRACE).exists()
        if not own:
            raise ConfigError(f"{path} is of another program: choose another folder with -o")
        return
    begun = {TRACE} if (folder / TRACE).is_file() and not (folder / TRACE).stat().st_size else set()
    names = {p.name for p in folder.iterdir() if not p.name.startswith(".")} - begun
    if (strange := min((name for name in names if not _BEFORE.fullmatch(name)), default=None)) is not None:
        raise ConfigError(f"{folder} holds {strange} and no run: choose another folder with -o")


_BEFORE = re.compile(r"run\.tmp|.+\.(?:sqlite|db)(?:-wal|-shm|-journal)?")
"""What may be in a run's folder before its manifest: what another process has just begun, and a memory."""


@contextlib.contextmanager
def _locked(file: int) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _replace(path: Path, content: dict[str, Any]) -> None:
    """Write a manifest whole or not at all. To be called under the trace's lock."""
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _with_permitted(manifest: dict[str, Any], about: dict[str, Any]) -> dict[str, Any] | None:
    """``manifest`` with the names that ``about`` permits besides; None where it has them already."""
    known = manifest.get("about") or {}
    before = known.get("permitted") or []
    if isinstance(before, str):
        raise ConfigError(
            "the run's 'permitted' fact is no list of model names: write it in run.json as [\"provider/model\", ...]"
        )
    new = [name for name in about.get("permitted") or () if name not in before]
    return {**manifest, "about": {**known, "permitted": [*before, *new]}} if new else None


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of a ``run.json``, checked."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is not a readable run manifest: {error}") from error
    if not isinstance(content, dict) or content.get("schema") not in READS:
        found = content.get("schema") if isinstance(content, dict) else None
        raise StoreError(
            f"{path} has trace schema {found}, this atlas reads {SCHEMA} and older: use the atlas that wrote it"
        )
    if not isinstance(content.get("settings"), dict) or not {"created", "config"} <= content.keys():
        raise StoreError(f"{path} is no complete run manifest: restore it, or start a new run with -o")
    return content
