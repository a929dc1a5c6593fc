"""The formats by name: what one record is, whether it is for training, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from atlas.export import atif, chat, otel
from atlas.export.folder import Folder
from atlas.export.preference import canonical_action, pairs
from atlas.export.rows import Row, stripped
from atlas.export.whole import Whole

Rendered = tuple[str, dict[str, Any]]
"""The canonical action that a record is about, and the record."""


class Sink(Protocol):
    """Takes records and writes them to files of the folder, by part (``train``, ``holdout``)."""

    def add(self, part: str, name: str, record: dict[str, Any]) -> str:
        """Write one record; returns the file it went to. ``name`` tells episodes apart."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Format:
    """One of the formats."""

    what: str
    unit: Literal["step", "pair", "episode"]
    sink: Callable[[Folder], Sink]
    steps: Callable[[Row, Collection[str]], Iterator[Rendered]] | None = None
    whole: Callable[[Whole], dict[str, Any]] | None = None
    trains: bool = False
    """Whether it is for training: what is not permitted, and duplicates, are then left out."""
    keeps_episodes: bool = False
    """Whether steps that are left out stay as context where others of their episode are exported."""
    finish: Callable[[dict[str, Any]], dict[str, Any]] = lambda record: record
    """What is done with a record last, when secrets have been taken out."""
    says: Callable[[dict[str, Any]], Any] = lambda record: record
    """What of a record tells whether two are equal."""
    columns: tuple[str, ...] = ()
    """Of formats for TRL: the columns, which a dataset card names."""
    successful: bool = False
    """Whether it is made of successful episodes unless something else is asked for."""


class JsonLines:
    """One JSON object a line, a file for each part."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def add(self, part: str, name: str, record: dict[str, Any]) -> str:
        file = f"{part}.jsonl"
        self._folder.write(file, encoded(record) + b"\n")
        return file

    def close(self) -> None: ...


class JsonFiles:
    """One JSON file for each record, in a subfolder for each part."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def add(self, part: str, name: str, record: dict[str, Any]) -> str:
        safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
        file = f"{part}/{safe}.json"
        self._folder.whole(file, encoded(record) + b"\n")
        return file

    def close(self) -> None: ...


def encoded(record: Any) -> bytes:
    """A record as JSON: the same bytes for the same content."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def _parquet(folder: Folder) -> Sink:
    from atlas.export.parquet import Parquet

    return Parquet(folder)


def _rows(row: Row, without: Collection[str]) -> Iterator[Rendered]:
    shown = row.model_copy(update={"prompt": stripped(row.prompt, without)}) if without else row
    action = canonical_action(row)
    yield f"{action}\nescalated" if row.escalated else action, shown.model_dump(mode="json", exclude_defaults=True)


def _said(record: dict[str, Any]) -> Any:
    """A step at which the teacher was asked says more than the same step where nobody was in doubt."""
    return [record["prompt"], record["completion"], record.get("escalated", False)]


def _one(render: Callable[[Row, Collection[str]], dict[str, Any]]) -> Callable[..., Iterator[Rendered]]:
    def steps(row: Row, without: Collection[str]) -> Iterator[Rendered]:
        if row.action:
            yield canonical_action(row), render(row, without)

    return steps


def _pairs(render: Callable[..., dict[str, Any]]) -> Callable[..., Iterator[Rendered]]:
    def steps(row: Row, without: Collection[str]) -> Iterator[Rendered]:
        for pair in pairs(row):
            yield pair.key, render(row, pair, without)

    return steps


FORMATS: dict[str, Format] = {
    "rows": Format(
        "all that is known of each step, for atlas train",
        "step",
        JsonLines,
        _rows,
        trains=True,
        keeps_episodes=True,
        says=_said,
    ),
    "openai-sft": Format(
        "OpenAI's supervised fine-tuning", "step", JsonLines, _one(chat.openai_sft), trains=True, successful=True
    ),
    "trl-sft": Format(
        "prompt and completion for TRL's SFTTrainer",
        "step",
        JsonLines,
        _one(chat.trl_sft),
        trains=True,
        columns=("prompt", "completion", "tools"),
        successful=True,
    ),
    "openai-preference": Format(
        "OpenAI's preference fine-tuning", "pair", JsonLines, _pairs(chat.openai_preference), trains=True
    ),
    "trl-preference": Format(
        "chosen and rejected for TRL's DPOTrainer",
        "pair",
        JsonLines,
        _pairs(chat.trl_preference),
        trains=True,
        columns=("prompt", "chosen", "rejected", "tools"),
    ),
    "atif": Format(f"agent trajectories, {atif.VERSION}", "episode", JsonFiles, whole=atif.trajectory),
    "otel-json": Format(
        "OpenTelemetry GenAI spans as OTLP/JSON, a line per episode",
        "episode",
        JsonLines,
        whole=otel.request,
        finish=otel.finished,
    ),
    "parquet": Format("a flat table of steps, for analysis", "step", _parquet, _rows),
}
