"""Names that a user gives to models: for a trained student, or for a role that one model has now and another later.

They are kept in one small file, so that a name means the same in every command and program of this user.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from atlas.errors import ConfigError, DataError
from atlas.records import Record

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*", re.IGNORECASE)


class Meaning(Record):
    """What a name stands for."""

    model: str
    """As :func:`atlas.models.load` takes it; paths are absolute."""
    since: float
    """Unix time."""
    why: str = ""
    price: str = ""
    """Dollars per million tokens, as ``atlas.models.parse_price`` reads it; empty for what is known of the model."""
    trust: dict[str, Any] | None = None
    """A :class:`atlas.trust.Trust` for a cascade around it; None is unanimity."""


class Named(Record):
    """A name, and what it stood for before, newest last."""

    now: Meaning
    before: tuple[Meaning, ...] = ()


class Names(Record):
    """The file."""

    names: dict[str, Named] = Field(default_factory=dict)


def names_file() -> Path:
    """``$ATLAS_CONFIG/models.json``, else the platform's configuration folder for atlas."""
    if chosen := os.environ.get("ATLAS_CONFIG"):
        return Path(chosen).expanduser() / "models.json"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "atlas" / "models.json"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "atlas" / "models.json"


def names() -> dict[str, Named]:
    """All names. Raises DataError where the file is damaged."""
    path = names_file()
    try:
        return dict(Names.model_validate_json(path.read_text(encoding="utf-8")).names)
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} cannot be read as a list of model names: mend or remove it") from error


def meaning(name: str) -> Meaning | None:
    """What ``name`` stands for now; None where nobody named it."""
    found = names().get(name)
    return None if found is None else found.now


def give(
    name: str,
    model: str,
    *,
    why: str = "",
    price: str = "",
    trust: dict[str, Any] | None = None,
    new: bool = False,
) -> Named:
    """Let ``name`` stand for ``model``, at ``price``; what it stood for is kept for :func:`undo`.

    ``new`` refuses a name that is taken. Raises ConfigError for a name that cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be the name of a model: use letters, digits, '.', '_' and '-'")
    with _writing() as known:
        before = known.get(name)
        if before is not None and new:
            raise ConfigError(
                f"the name {name!r} stands for {before.now.model}: choose another, or 'atlas models remove {name}' it"
            )
        past = (*before.before, before.now) if before is not None else ()
        known[name] = Named(now=Meaning(model=model, since=time.time(), why=why, price=price, trust=trust), before=past)
        return known[name]


def undo(name: str) -> Named:
    """Let ``name`` stand for what it stood for before. Raises ConfigError where there is nothing to go back to."""
    with _writing() as known:
        found = known.get(name)
        if found is None:
            raise ConfigError(f"there is no model named {name!r}: 'atlas models ls' lists those there are")
        if not found.before:
            raise ConfigError(f"{name!r} has always stood for {found.now.model}: there is nothing to go back to")
        known[name] = Named(now=found.before[-1], before=found.before[:-1])
        return known[name]


def remove(name: str) -> None:
    """Forget a name; the model stays where it is."""
    with _writing() as known:
        if known.pop(name, None) is None:
            raise ConfigError(f"there is no model named {name!r}: 'atlas models ls' lists those there are")


def local_spec(path: Path) -> str:
    """What the student at ``path`` is loaded by. Raises DataError where there is none."""
    place = path.expanduser().resolve()
    if place.suffix == ".gguf" and place.is_file():
        return f"gguf:{place}"
    if (place / "vocabulary.json").is_file() and (place / "weights.safetensors").is_file():
        return f"scratch:{place}"
    if (place / "config.json").is_file():
        return f"hf:{place}"
    raise DataError(f"{path} holds no model: give a folder that 'atlas train' or transformers wrote, or a .gguf file")


@contextmanager
def _writing() -> Iterator[dict[str, Named]]:
    """The names, to be changed within the block and then written in one move; other writers wait."""
    path = names_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = names()
            yield known
            partial = path.with_suffix(".tmp")
            partial.write_text(Names(names=known).model_dump_json(indent=2) + "\n", encoding="utf-8")
            partial.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}): set ATLAS_CONFIG to a folder that can"
        ) from error
