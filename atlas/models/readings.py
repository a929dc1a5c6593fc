"""How a local model reads prompts best, as far as it was tried: a small table beside the names that the user gave.

``atlas models tune`` writes it, :func:`atlas.models.load` and ``atlas bench`` read it where nothing else is said.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationError

from atlas.errors import DataError, StoreError
from atlas.named import meaning, names_file
from atlas.records import BARE, Form, Rank, Record


class Tried(Record):
    """A way of reading, and how often the action was right."""

    form: Form = BARE
    rank: Rank = "sum"
    remind: bool = False
    k: int = 1
    """Demonstrations for an episode."""
    good: int = 0
    states: int = 0

    @property
    def words(self) -> str:
        """In one line."""
        shown = f"{self.k} demonstration{'s' * (self.k != 1)} an episode" if self.k else "no demonstrations"
        return f"form {self.form}, rank {self.rank}, {shown}{', reminded' if self.remind else ''}"

    @property
    def options(self) -> dict[str, str]:
        """As they follow a model's name."""
        return {"form": self.form, "rank": self.rank, **({"remind": "yes"} if self.remind else {})}


class Reading(Record):
    """What was tried for a model, and what was best."""

    best: Tried
    tried: tuple[Tried, ...] = ()
    split: str = ""
    """Where the states are from."""


class Readings(Record):
    """The file."""

    models: dict[str, Reading] = Field(default_factory=dict)


def readings_file() -> Path:
    """Beside the names."""
    return names_file().with_name("readings.json")


def readings() -> dict[str, Reading]:
    """By model. Raises DataError where the file is damaged."""
    path = readings_file()
    try:
        return dict(Readings.model_validate_json(path.read_text(encoding="utf-8")).models)
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{path} cannot be read as what 'atlas models tune' found: remove it, and tune again"
        ) from error


def reading_of(spec: str) -> Reading | None:
    """That of a model, whatever options follow its name, or of what a name stands for; None where none was tried."""
    found = readings()
    if not found:
        return None
    name = canonical(spec)
    if name not in found and (given := meaning(name)) is not None:
        name = canonical(given.model)
    return found.get(name)


def keep(spec: str, reading: Reading) -> Path:
    """Write down what was found for a model. Raises StoreError where it cannot be."""
    path = readings_file()
    content = Readings(models={**readings(), canonical(spec): reading})
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(content.model_dump_json(indent=1), encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror or error}): make room there, or set ATLAS_CONFIG to a folder "
            "that can be"
        ) from error
    return path


def canonical(spec: str) -> str:
    """A model's name without options; a path is absolute, so that it means the same from everywhere."""
    bare = spec.partition("?")[0]
    kind, mark, rest = bare.partition(":")
    here = Path(rest).expanduser()
    return f"{kind}:{here.resolve()}" if mark and kind in ("hf", "gguf") and here.exists() else bare
