"""Where the benchmark's questions and rows are, and which there are.

A folder holds ``questions/train`` and ``questions/test``, one JSON file an incident, and ``db/incident_N.sqlite.xz``:
the rows that logged runs against the full database brought to light, and no others. What ``atlas data excytin import``
made goes before it: ``db/incident_N.sqlite``, with a manifest ``db/incident_N.json`` that says which rows it holds.
The folder is the one a caller names, else ``excytin`` below ``ATLAS_DATA``, else ``shared/data/excytin`` beside a
checkout of this repository.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from atlas.assets import cache_dir
from atlas.errors import ConfigError, DataError
from atlas.jsontext import read_json
from atlas.records import Record

SPLITS = ("train", "test")
SUBSET = "recorded subset, not comparable with the leaderboard"
"""Said wherever something from ``db/incident_N.sqlite.xz`` is shown."""
UNKNOWN = "rows of unknown origin, not comparable with the leaderboard"
"""Said of a database that has no manifest."""
_NUMBER = re.compile(r"incident_(\d+)")


class Question(Record):
    """A question about an incident, with its golden answer. Alerts and entities are nodes of the incident's graph."""

    incident: int
    split: str
    number: int
    """Zero-based, in the order of the file."""
    context: str
    question: str
    answer: str
    solution: tuple[str, ...] = ()
    start_alert: int | None = None
    end_alert: int | None = None
    start_entities: tuple[int, ...] = ()
    end_entities: tuple[int, ...] = ()
    shortest_alert_path: tuple[int, ...] = Field(default=())

    @field_validator("context", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """Two train questions on incident 134 have a report in place of text: shown as Python writes it."""
        return str(value) if isinstance(value, dict) else value

    @property
    def id(self) -> str:
        return f"incident_{self.incident}/{self.split}/{self.number}"

    @property
    def text(self) -> str:
        """What the agent is asked."""
        return f"{self.context} {self.question}".strip()


def folder(data: Path | str | None = None) -> Path:
    """The data folder. DataError where there is none, or the named one holds neither questions nor rows."""
    for place, named in _places(data):
        for found in (place, place / "excytin"):
            if (found / "questions").is_dir() or (found / "db").is_dir():
                return found
        if named:
            raise DataError(
                f"{place} holds neither questions/ nor db/: "
                "name the folder with ExCyTIn-Bench's questions and databases"
            )
    raise DataError(
        "ExCyTIn-Bench's data is not on this machine: name its folder with --data, or set ATLAS_DATA to the folder "
        "that holds excytin/"
    )


def _places(data: Path | str | None) -> Iterator[tuple[Path, bool]]:
    if data is not None:
        yield Path(data).expanduser(), True
        return
    if shared := os.environ.get("ATLAS_DATA"):
        yield Path(shared).expanduser(), False
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        yield checkout.parent / "shared" / "data", False


def incidents(data: Path | str | None = None) -> list[int]:
    """The incidents whose rows are there, by number."""
    place = folder(data) / "db"
    found = [*place.glob("incident_*.sqlite"), *place.glob("incident_*.sqlite.xz")]
    return sorted({int(match[1]) for path in found if (match := _NUMBER.match(path.name))})


def questions(incident: int, split: str = "test", data: Path | str | None = None) -> list[Question]:
    """The questions of an incident, in the benchmark's order.

    Raises:
        ConfigError: there is no such split.
        DataError: the incident has no questions there, or their file is damaged.
    """
    if split not in SPLITS:
        raise ConfigError(f"ExCyTIn has no split {split!r}: use one of {', '.join(SPLITS)}")
    place = folder(data) / "questions" / split
    paths = sorted(place.glob(f"incident_{incident}_*.json"))
    if not paths:
        there = sorted({int(m[1]) for p in place.glob("incident_*.json") if (m := _NUMBER.match(p.name))})
        raise DataError(f"there are no {split} questions on incident {incident} in {place}: {_choose(there)}")
    try:
        rows = read_json(paths[0].read_text(encoding="utf-8"))
        return [Question(incident=incident, split=split, number=n, **row) for n, row in enumerate(rows)]
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise DataError(f"{paths[0]} is no file of questions, or is truncated: fetch it again") from error


def database(incident: int, data: Path | str | None = None) -> Path:
    """The incident's SQLite file, unpacked into the cache if need be; :func:`label` says which rows it holds.

    Raises:
        DataError: there is no such incident, or its archive is truncated, or the cache cannot be written.
    """
    place = folder(data)
    if (imported := place / "db" / f"incident_{incident}.sqlite").is_file():
        return imported
    archive = place / "db" / f"incident_{incident}.sqlite.xz"
    if not archive.is_file():
        raise DataError(f"there is no database of incident {incident} in {place / 'db'}: {_choose(incidents(place))}")
    return unpacked(archive)


def unpacked(archive: Path) -> Path:
    """The SQLite file of an ``incident_N.sqlite.xz``, in the cache.

    Raises:
        DataError: the archive is truncated, or the cache cannot be written.
    """
    try:
        target = cache_dir() / "excytin" / _key(archive) / archive.name.removesuffix(".xz")
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            _unpack(archive, target)
    except (lzma.LZMAError, EOFError, sqlite3.DatabaseError) as error:
        raise DataError(f"{archive} is truncated or corrupt ({error}): fetch it again") from error
    except OSError as error:
        raise DataError(
            f"{archive} cannot be unpacked into {cache_dir()} ({error.strerror or error}): "
            "make room there, or set ATLAS_CACHE to a folder that can be written"
        ) from error
    return target


def label(incident: int, data: Path | str | None = None) -> str:
    """What is said of the incident's rows wherever they are shown; empty where they are the benchmark's full logs.

    Raises:
        DataError: there is a manifest that cannot be read.
    """
    place = folder(data) / "db"
    path = place / f"incident_{incident}.json"
    if not path.is_file():
        return UNKNOWN if (place / f"incident_{incident}.sqlite").is_file() else SUBSET
    try:
        return str(read_json(path.read_text(encoding="utf-8"))["label"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no manifest of an import ({error!r}): import the incident again") from error


def _key(archive: Path) -> str:
    return hashlib.sha256(archive.read_bytes()).hexdigest()[:12]


def _unpack(archive: Path, target: Path) -> None:
    """Unpack aside, check, and put in place in one move: no half of a database is ever found."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as aside:
        path = Path(aside) / target.name
        with lzma.open(archive) as packed, path.open("wb") as file:
            shutil.copyfileobj(packed, file)
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        os.replace(path, target)


def _choose(there: list[int]) -> str:
    return f"choose one of {', '.join(map(str, there))}" if there else "nothing is there"
