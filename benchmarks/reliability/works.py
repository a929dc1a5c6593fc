"""What is killed: commands that write, each with what it needs first, and what there is when it has done its work."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from atlas.benchmarks.perf.remembering import demonstration
from atlas.benchmarks.reliability import plan
from atlas.benchmarks.reliability.children import command
from atlas.memory import Memory
from atlas.memory.copying import digest
from atlas.memory.database import Database
from atlas.records import total
from atlas.traces import Run
from atlas.traces.place import LOGS, place_of

TEACHER_TASKS = 6
_HASH = ("--embedder", "hash")
BENCH = (*"bench alfworld --split homes --n 2 --demos 2 --concurrency 2".split(), *_HASH, "-o", "run")
"""A run of generated homes with every way to act and to learn. Nothing in it is drawn but by seeds, so that two runs
of it are equal."""
ARMS = "icd,cascade,online,atlas"


class Wrong(Exception):
    """What there is, is not what there has to be."""


@dataclass(frozen=True)
class Work:
    """One command. It stands in a folder of its own, a copy of what ``prepare`` made."""

    name: str
    words: Callable[[Path], Sequence[str]]
    """The words of the command, in a folder. The same ones go on after a kill, with whatever the command says of it."""
    outcome: Callable[[Path], Any]
    """All that it left which is to be equal; raises Wrong where something is lost, doubled or half."""
    prepare: Callable[[Path], object] = lambda folder: None
    between: Callable[[Path], object] = lambda folder: None
    """Looks at what a kill left before anything goes on; raises Wrong."""
    loads: tuple[str, ...] = ()
    """What is imported before the fork."""
    needs: tuple[str, ...] = ()
    """Modules without which it cannot be measured."""
    codes: tuple[int, ...] = (0,)
    """How it ends where it has done its work."""
    place: Callable[[], Any] = nullcontext
    """Opens what is not in the folder: a schema on a server. Its URL stands in the folder's file ``place``."""

    def work(self, folder: Path) -> Callable[[], None]:
        return command(self.words(folder))


# --- runs -------------------------------------------------------------------------------------------------------------


def played(folder: str | Path) -> list[tuple[Any, ...]]:
    """(arm, task, seed, score, steps, dollars) of each result of the run; raises Wrong for one that is there twice, or
    has lost a step."""
    run = Run(folder)
    results = run.results()
    rows = sorted((e.arm, e.task.id, e.seed, e.score, e.steps, dollars(total(e.spend).dollars)) for e in results)
    if len({row[:3] for row in rows}) != len(rows):
        raise Wrong("an episode has two results")
    if lost := sum(e.lost for e in run.episodes()):
        raise Wrong(f"{lost} steps are lost")
    for stored in run.episodes():
        if stored.result is not None and len(stored.steps) != stored.result.steps:
            raise Wrong(f"an episode of {stored.result.steps} steps has {len(stored.steps)} in the trace")
    return rows


def dollars(value: float | None) -> float | None:
    """To a thousandth of a millionth: sums in another order differ by less."""
    return None if value is None else round(value, 9)


def held(place: str | Path) -> list[tuple[str, str]]:
    """(id, status) of all that a memory holds; raises Wrong where its versions are not whole."""
    with closing(Database(str(place))) as database:
        numbers = [version.number for version in database.versions()]
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            raise Wrong("the versions of the memory have gaps")
        now: dict[str, str] = {}
        for version in sorted(database.versions(), key=lambda one: one.number):
            for change in database.version(version.number)[1]:
                if change.before.status != now.get(change.id, "absent"):
                    raise Wrong(f"version {version.number} of the memory is half a write")
                now[change.id] = change.after.status
        return sorted(now.items())


def _run_left(folder: Path) -> list[Any]:
    place = (folder / "place").read_text(encoding="utf-8")
    memories = sorted((folder / "run").glob("*.sqlite"))
    return [played(folder / "run"), *([held(place)] if place else []), *map(held, memories)]


def _readable(folder: Path) -> None:
    if (folder / "run" / "run.json").exists():
        played(folder / "run")


def _bench(folder: Path) -> Sequence[str]:
    place = (folder / "place").read_text(encoding="utf-8")
    return [*BENCH, "--arms", ARMS, *(["--memory", place] if place else [])]


# --- memories ---------------------------------------------------------------------------------------------------------


def _filled(folder: Path, count: int = 60) -> None:
    with Memory(folder / "from.sqlite", "hash") as memory:
        memory.demonstrations.add_many([demonstration(number, True) for number in range(count)])
        memory.demonstrations.warm()


def _to_copy(folder: Path) -> None:
    _done(folder, [*BENCH, "--n", "12", "--arms", "teacher,icd"])


def _run_copy(folder: Path) -> str:
    """Where the run is copied to: a run on the server of ``place``, or a folder."""
    place = (folder / "place").read_text(encoding="utf-8")
    return f"{place}&run=copied" if place else str(folder / "copied")


def _run_copied(folder: Path) -> list[Any]:
    both = [place_of(str(folder / "run")), place_of(_run_copy(folder))]
    source, target = ([[line for *_, line in place.log(name).lines()] for name in LOGS] for place in both)
    if source != target:
        raise Wrong("the copy is not what was copied")
    return played(_run_copy(folder))


def _exported(folder: Path) -> None:
    _filled(folder)
    _done(folder, ["memory", "export", "from.sqlite", "memory.yaml"])


def _copied(folder: Path) -> str:
    with (
        closing(Database(str(folder / "to.sqlite"))) as target,
        closing(Database(str(folder / "from.sqlite"))) as source,
    ):
        both: list[Any] = [source.backend, target.backend]
        one, other = map(digest, both)
        if one != other:
            raise Wrong("the copy is not what was copied")
        return other


def _distilled(folder: Path) -> list[Any]:
    with Memory(folder / "to.sqlite", "hash") as memory:
        support = sorted((entry.id, entry.support) for entry in memory.entries.all())
    return [held(folder / "to.sqlite"), support]


# --- files ------------------------------------------------------------------------------------------------------------


def _files(folder: Path, without: Sequence[str] = ()) -> dict[str, str]:
    """The hash of every file in a folder; of a manifest without the facts that no two have in common."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name in ("manifest.json", "student.json") and without:
                content = json.loads(data)
                data = json.dumps({k: v for k, v in content.items() if k not in without}, sort_keys=True).encode()
            found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def _export_whole(folder: Path) -> None:
    out = folder / "out"
    if out.exists():
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        for name, said in manifest.get("files", {}).items():
            if (
                isinstance(said, dict)
                and "sha256" in said
                and hashlib.sha256((out / name).read_bytes()).hexdigest() != said["sha256"]
            ):
                raise Wrong(f"an export that is half: {name}")


def _ran(folder: Path) -> None:
    _done(folder, [*BENCH, "--arms", "teacher,icd"])


def _download(folder: Path) -> None:
    """An incident in the benchmark's layout, made up: tables of some thousand rows, one of them in parts."""
    place = folder / "download" / "incidents" / "incident_7"
    chance = Random(7)
    for table in ("SigninLogs", "DeviceEvents", "SecurityAlert", "EmailEvents"):
        parts = 3 if table == "SecurityAlert" else 1
        where = place / table if parts > 1 else place
        where.mkdir(parents=True, exist_ok=True)
        for part in range(parts):
            name = f"{table}_{part}" if parts > 1 else table
            rows = [f"2024-07-{1 + i % 28:02}❖user{chance.randrange(500)}❖{chance.random()}" for i in range(8_000)]
            (where / f"{name}.csv").write_text("\n".join(["TimeGenerated❖User❖Said", *rows, ""]), encoding="utf-8")
            types = {"TimeGenerated": "datetime", "User": "string", "Said": "string"}
            (where / f"{name}.meta").write_text(json.dumps(types), encoding="utf-8")


def _imported(folder: Path) -> dict[str, str]:
    path = folder / "excytin" / "db" / "incident_7.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
        if raw.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise Wrong("the imported file is damaged")
        names = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {
            name: hashlib.sha256(repr(raw.execute(f'SELECT * FROM "{name}"').fetchall()).encode()).hexdigest()
            for name in names
        }


def _clerk(folder: Path) -> None:
    _done(folder, ["models", "add", "alias", "clerk", "nearest"])


def _promoted(folder: Path) -> list[Any]:
    models = [path.read_text(encoding="utf-8") for path in sorted((folder / "config").rglob("*")) if path.is_file()]
    return [played(folder / "run"), [text.replace(str(folder), "") for text in models]]


def _trains(folder: Path) -> Sequence[str]:
    words = "train sft-success --data run --base scratch:tiny --threads 1 --batch-tokens 512 --epochs 4 -o student"
    return [*words.split(), *(["--resume"] if (folder / "student.training.pt").exists() else [])]


def _trained(folder: Path) -> dict[str, str]:
    return {name: said for name, said in _files(folder / "student").items() if not name.endswith(".json")}


def _done(folder: Path, words: Sequence[str]) -> None:
    from atlas.benchmarks.reliability.children import run

    run(command(words), folder, folder.with_suffix(".said"))


BENCHES = ("atlas.cli.bench", "atlas.benchmarks.alfworld.suite", "atlas.benchmarks.arms", "atlas.copying.nearest")

WORKS: tuple[Work, ...] = (
    Work(name="run", words=_bench, outcome=_run_left, between=_readable, loads=BENCHES),
    Work(
        name="run, memory on PostgreSQL",
        words=_bench,
        outcome=_run_left,
        between=_readable,
        loads=(*BENCHES, "psycopg", "atlas.memory.postgres"),
        needs=("psycopg",),
        place=plan.schema,
    ),
    Work(
        name="memory import",
        words=lambda folder: ["memory", "import", "to.sqlite", "memory.yaml"],
        prepare=_exported,
        outcome=lambda folder: held(folder / "to.sqlite"),
        loads=("atlas.cli.memory_transfer",),
    ),
    Work(
        name="memory copy",
        words=lambda folder: ["memory", "copy", "from.sqlite", "to.sqlite"],
        prepare=partial(_filled, count=200),
        outcome=_copied,
        loads=("atlas.cli.memory_copy",),
    ),
    Work(
        name="traces copy",
        words=lambda folder: ["traces", "copy", "run", _run_copy(folder)],
        prepare=_to_copy,
        outcome=_run_copied,
        loads=("atlas.cli.traces_copy", "atlas.traces.copying"),
    ),
    Work(
        name="traces copy, to PostgreSQL",
        words=lambda folder: ["traces", "copy", "run", _run_copy(folder)],
        prepare=_to_copy,
        outcome=_run_copied,
        loads=("atlas.cli.traces_copy", "atlas.traces.copying", "psycopg", "atlas.traces.server"),
        needs=("psycopg",),
        place=plan.schema,
    ),
    Work(
        name="memory distil",
        words=lambda folder: ["memory", "distil", "run", "--into", "to.sqlite", "--concurrency", "1", *_HASH],
        prepare=_ran,
        outcome=_distilled,
        loads=("atlas.cli.memory_distil",),
    ),
    Work(
        name="export",
        words=lambda folder: ["export", "run", "--format", "rows", "-o", "out"],
        prepare=_ran,
        between=_export_whole,
        outcome=lambda folder: _files(folder / "out", ("created", "exported", "time")),
        loads=("atlas.cli.export",),
    ),
    Work(
        name="train",
        words=_trains,
        prepare=_ran,
        outcome=_trained,
        loads=("atlas.cli.train", "torch"),
        needs=("torch",),
    ),
    Work(
        name="promote",
        words=lambda folder: ["promote", "clerk", "scripted:alfworld", "--n", "2", "-o", "run"],
        prepare=_clerk,
        outcome=_promoted,
        codes=(0, 1),  # 1: not promoted
        loads=(*BENCHES, "atlas.cli.promote"),
    ),
    Work(
        name="data excytin import",
        words=lambda folder: ["data", "excytin", "import", "download", "-o", "excytin"],
        prepare=_download,
        outcome=_imported,
        loads=("atlas.cli.data_excytin",),
    ),
)


def copied(template: Path, to: Path, place: str | None) -> Path:
    """A folder of a work's own."""
    shutil.copytree(template, to)
    (to / "place").write_text(place or "", encoding="utf-8")
    return to
