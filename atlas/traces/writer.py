"""Writing traces: append-only, one line per event, safe to kill at any moment.

Several processes may share a run. What has been written survives the process at once, and a power cut of the machine
that holds the run can lose the newest second of it: see :class:`atlas.traces.place.Trace`.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import atlas
from atlas.errors import ConfigError, StoreError
from atlas.records import Episode, Prompt, Step, Task, content_hash
from atlas.redact import Cleaner
from atlas.traces.encode import encoded, step_line
from atlas.traces.events import Event, kind_of
from atlas.traces.folder import check_run_folder as check_run_folder
from atlas.traces.folder import read_manifest as read_manifest
from atlas.traces.format import SCHEMA, pack_prompt
from atlas.traces.place import MANIFEST as MANIFEST
from atlas.traces.place import TRACE as TRACE
from atlas.traces.place import Manifest, Place, place_of

_NOTHING = Prompt()


class Lines(ABC):
    """A recorder that makes the lines of a trace; where they go is for those that derive from it to say."""

    def __init__(self, texts: set[str] | None = None) -> None:
        """``texts`` are the hashes of those that stand in the trace, which are not repeated; others are added."""
        self._before: dict[str, Prompt] = {}
        self._texts = set() if texts is None else texts

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
        self._write(
            encoded({"type": "end", **episode.model_dump(mode="json", exclude={"task": {"instructions"}})}), ends=True
        )

    def forget(self, episode_id: str) -> None:
        """Others may have written steps of an episode: the next one is told without reference to the one before."""
        self._before.pop(episode_id, None)

    def tell(self, event: Event) -> None:
        """Write what has changed besides episodes, after the one that brought it about."""
        self._write(encoded({"type": kind_of(event), **event.model_dump(mode="json")}), ends=True)

    @abstractmethod
    def _write(self, *lines: bytes, ends: bool = False) -> None:
        """Lines that belong together, in this order; whether something has come to its end with them."""


class RunWriter(Lines):
    """The recorder of one run: a folder with ``run.json`` (what the run is) and ``trace.jsonl`` (what happened)."""

    def __init__(
        self, folder: str | Path | Place, manifest: dict[str, Any] | None = None, about: dict[str, Any] | None = None
    ) -> None:
        """``manifest`` determines the results: a run is resumed only with the same. ``about`` is shown beside it
        (the command that was typed, say) and compared with nothing; it stays that of the first command, but for its
        ``permitted``, the models whose words may be trained on: names that a resumed run adds are added."""
        self.place = place_of(folder)
        self.name = self.place.name
        super().__init__()
        self._trace = self.place.open(lambda there, begun: self._manifest(there, begun, manifest or {}, about or {}))

    @property
    def folder(self) -> Path:
        """Raises ConfigError for a run on a server."""
        return self.place.folder()

    def _manifest(
        self,
        there: Callable[[], Manifest] | None,
        begun: bool,
        manifest: dict[str, Any],
        about: dict[str, Any],
    ) -> Manifest | None:
        clean = Cleaner(halves=True)
        # The hash is of what is kept: that of a password could be guessed at. Older runs have the hash of all.
        kept, about = clean.value(manifest), clean.value(about)
        # Before anything is recorded settings may still change: a mistake in a first command does not use up its name.
        if there is not None and begun:
            found = there()
            if found["config"] not in (content_hash(kept), content_hash(manifest), _as_before(kept, found["settings"])):
                raise ConfigError(
                    f"the run {self.place.path} was made with other settings "
                    f"({_differing(found['settings'], manifest)}): resume it with the same ones, or name another place "
                    "for a new run"
                )
            added = _with_permitted(found, about)
            # From here on it holds lines that an older atlas would misread.
            return (
                {**(added or found), "schema": max(SCHEMA, found["schema"])}
                if added or found["schema"] < SCHEMA
                else None
            )
        content = {
            "schema": SCHEMA,
            "atlas": atlas.__version__,
            "created": time.time(),
            "config": content_hash(kept),
            "settings": kept,
            "about": about,
        }
        if there is not None:
            # Others may have opened the run for the same, and recorded nothing yet: what they permit stays.
            with contextlib.suppress(StoreError):
                found = there()
                earlier = found.get("about") or {}
                if found["config"] == content["config"] and isinstance(earlier.get("permitted"), list):
                    content = _with_permitted(content, earlier) or content
        return content

    def close(self) -> None:
        self._trace.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, lines: Sequence[bytes], *, ends: bool) -> None:
        """Write lines that a recorder elsewhere has made, all at once; ``ends`` where an episode ends with them."""
        if lines:
            self._write(*lines, ends=ends)

    def _write(self, *lines: bytes, ends: bool = False) -> None:
        self._trace.append(lines, ends=ends)


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
