"""A generated incident as a SQLite file and a file of questions: written as a stream, put in place in one move."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from random import Random

from pydantic import Field, ValidationError

from atlas.assets import cache_dir
from atlas.benchmarks.excytin.data import Question
from atlas.benchmarks.excytin.incidents.activity import activity
from atlas.benchmarks.excytin.incidents.alert_rows import Row, attack_rows
from atlas.benchmarks.excytin.incidents.attacks import attack, company
from atlas.benchmarks.excytin.incidents.names import Namer, Split, begin, stamp
from atlas.benchmarks.excytin.incidents.noise import inventory, noise
from atlas.benchmarks.excytin.incidents.questions import as_file, questions
from atlas.benchmarks.excytin.incidents.records import Attack, Company, shapes, tables
from atlas.errors import ConfigError, DataError
from atlas.records import Record, content_hash

FIRST = 10_000
"""Generated incidents are numbered from here on; the benchmark's numbers are smaller."""
PER_SPLIT = 50
"""Incidents of a split that one seed gives."""
ROWS = 5_000
QUESTIONS = 20
LABEL = "generated"
"""Said of generated incidents wherever their rows are shown."""
_BATCH = 2_000
_DECOYS = (4, 8)
"""Other attacks on the company, whose alerts stand beside those of the incident."""
Progress = Callable[[int, int], None]
"""Called with rows written so far, and rows in all (about)."""


class Spec(Record):
    """All that determines a generated incident."""

    split: Split
    index: int = Field(ge=0, lt=PER_SPLIT)
    seed: int = Field(default=0, ge=0)
    rows: int = Field(default=ROWS, ge=0)
    """Rows of background noise."""
    questions: int = Field(default=QUESTIONS, ge=1)
    """Questions at most, of each split."""

    @property
    def number(self) -> int:
        """The incident's number: test incidents follow the train incidents of their seed."""
        return FIRST + 2 * PER_SPLIT * self.seed + (PER_SPLIT if self.split == "test" else 0) + self.index

    @staticmethod
    def of(number: int, rows: int = ROWS, questions: int = QUESTIONS) -> Spec:
        """The incident of that number. ConfigError: it is not one of the generated ones."""
        seed, place = divmod(number - FIRST, 2 * PER_SPLIT)
        if seed < 0:
            raise ConfigError(
                f"there is no generated incident {number}: test incidents are {FIRST + PER_SPLIT}, "
                f"{FIRST + PER_SPLIT + 1}..., train incidents {FIRST}, {FIRST + 1}...; others need --data FOLDER"
            )
        split: Split = "test" if place >= PER_SPLIT else "train"
        return Spec(split=split, index=place % PER_SPLIT, seed=seed, rows=rows, questions=questions)


class Incident(Record):
    """A generated incident on disk."""

    spec: Spec
    database: Path
    questions: tuple[Question, ...]


def incident(spec: Spec, progress: Progress = lambda done, of: None) -> Incident:
    """The incident from the cache, where it is written first if need be. DataError: the cache cannot be written."""
    name = f"incident_{spec.number}-{content_hash([spec.model_dump(), _version()], 12)}"
    folder = cache_dir() / "excytin" / "generated" / name
    try:
        if not (folder / "questions.json").is_file():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".write-") as aside:
                made = Path(aside) / name
                made.mkdir()
                _write(spec, made, progress)
                _settle(made, folder)
        rows = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
        asked = tuple(Question.model_validate(row) for row in rows)
    except OSError as error:
        raise DataError(
            f"incident {spec.number} cannot be written into {folder.parent} ({error.strerror or error}): "
            "make room there, or set ATLAS_CACHE to a folder that can be written"
        ) from error
    except (sqlite3.Error, ValueError, ValidationError) as error:
        raise DataError(f"the generated incident in {folder} is damaged ({error}): delete this folder") from error
    return Incident(spec=spec, database=folder / "incident.sqlite", questions=asked)


def export(specs: Iterable[Spec], folder: Path, progress: Progress = lambda done, of: None) -> None:
    """Write incidents into a folder laid out like the benchmark's data, for ``--data FOLDER``."""
    try:
        (folder / "db").mkdir(parents=True, exist_ok=True)
        for spec in specs:
            made = incident(spec, progress)
            for split in ("train", "test"):
                path = folder / "questions" / split / f"incident_{spec.number}_generated.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(as_file(made.questions, split), encoding="utf-8")
            shutil.copyfile(made.database, folder / "db" / f"incident_{spec.number}.sqlite")
            told = json.dumps({"incident": spec.number, "label": LABEL})
            (folder / "db" / f"incident_{spec.number}.json").write_text(told, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error.strerror or error}): choose another folder") from error


def story(spec: Spec) -> tuple[Company, Attack, list[Attack], Random]:
    """The company, the incident's attack, and the others: everything but the noise, whose randomness comes last."""
    rng = Random(f"excytin/{spec.split}/{spec.seed}/{spec.index}")
    namer = Namer(spec.split, rng)
    size = min(200, max(60, spec.rows // 100))
    within = company(namer, people=size, computers=size)
    kinds = list(shapes())
    # Every shape comes up equally often, in an order of the seed's own.
    Random(f"shapes/{spec.split}/{spec.seed}").shuffle(kinds)
    start = begin(rng)
    number = rng.randint(200, 900)
    main = _drawn(kinds[spec.index % len(kinds)], within, namer, number, start)
    others = []
    for _ in range(rng.randint(*_DECOYS)):
        number += rng.randint(1, 4)
        others.append(_drawn(rng.choice(kinds), within, namer, number, start + timedelta(hours=rng.randint(-90, 90))))
    return within, main, others, rng


def _drawn(kind: str, within: Company, namer: Namer, number: int, start: datetime) -> Attack:
    return attack(kind, shapes()[kind], within, namer, number, start)


def rows(spec: Spec) -> Iterator[Row]:
    """All rows of the incident, the attacks' among the noise at random places, in order of time."""
    within, main, others, rng = story(spec)
    traces: list[Row] = []
    for one in [main, *others]:
        traces += attack_rows(one, within, rng)
        for alert in one.alerts:
            traces += activity(alert, within, rng)
        # Servers are part of attacks only; like every computer they are in the inventory.
        hosts = {entity.fields["device"]: entity for alert in one.alerts for entity in alert.of("host")}
        seen = stamp(one.alerts[0].time)
        traces += [
            ("DeviceInfo", inventory(host, within, rng, seen))
            for host in hosts.values()
            if host not in within.computers
        ]
    traces.sort(key=lambda row: row[1]["TimeGenerated"])
    places = sorted(rng.randrange(spec.rows + 1) for _ in traces)
    at = 0
    for number, row in enumerate(noise(within, spec.rows, main.alerts[0].time, rng)):
        while at < len(traces) and places[at] <= number:
            yield traces[at]
            at += 1
        yield row
    yield from traces[at:]


def _write(spec: Spec, folder: Path, progress: Progress) -> None:
    _, main, _, _ = story(spec)
    write_rows(folder / "incident.sqlite", rows(spec), progress, spec.rows)
    found = questions(main, spec.number, spec.questions, Random(f"questions/{spec.split}/{spec.seed}/{spec.index}"))
    text = json.dumps([question.model_dump(mode="json") for question in found])
    (folder / "questions.json").write_text(text, encoding="utf-8")


def write_rows(path: Path, found: Iterable[Row], progress: Progress, of: int) -> None:
    """A SQLite file of all tables, filled from a stream of which no more than a few thousand rows are held."""
    columns = tables()
    waiting: dict[str, list[tuple[str, ...]]] = {name: [] for name in columns}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        for name, fields in columns.items():
            connection.execute(f"CREATE TABLE {name} ({', '.join(f'{one} TEXT COLLATE NOCASE' for one in fields)})")
        connection.execute("BEGIN")

        def flush(name: str) -> None:
            marks = ", ".join("?" * len(columns[name]))
            connection.executemany(f"INSERT INTO {name} VALUES ({marks})", waiting[name])
            waiting[name].clear()

        for done, (name, row) in enumerate(found, 1):
            get = row.get
            waiting[name].append(tuple([get(column, "") for column in columns[name]]))
            if len(waiting[name]) >= _BATCH:
                flush(name)
            if done % _BATCH == 0:
                progress(min(done, of), of)
        for name in columns:
            flush(name)
        connection.execute("COMMIT")
    progress(of, of)


def _settle(made: Path, folder: Path) -> None:
    """Put a finished folder in place; another process may have been quicker, with the same content."""
    try:
        os.replace(made, folder)
    except OSError:
        if not (folder / "questions.json").is_file():
            raise


@cache
def _version() -> str:
    """Changes with every change of the generator, so that no cache is older than the code."""
    place = resources.files("atlas.benchmarks.excytin")
    digest = sha256()
    texts = [*place.joinpath("incidents").iterdir(), *place.joinpath("resources").iterdir()]
    for file in sorted(texts, key=lambda one: one.name):
        if file.name.endswith((".py", ".toml")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
