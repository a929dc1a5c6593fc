"""``atlas data excytin import``: the benchmark's log tables into SQLite files or a MySQL server."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from atlas.cli.output import as_written
from atlas.cli.stopping import goes_on
from atlas.errors import ConfigError, DataError
from atlas.redact import scrub

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.importing.run import Outcome, Progress, Reader, Target
    from atlas.benchmarks.excytin.importing.source import Source


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for db/incident_N.sqlite, for --data. [default: excytin]",
)
@click.option("--mysql", metavar="URL", help="Server instead of files: mysql://user:password@host:port/[database].")
@click.option("--incident", "incidents", type=int, multiple=True, help="Only this one; may be given again.")
@click.option("--questions", type=click.Path(path_type=Path), help="Folder with questions/, copied beside db/.")
@click.option("--verify", is_flag=True, help="Read everything back and compare rows and checksums.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per incident, a line each.")
def import_command(
    folder: Path,
    out: Path | None,
    mysql: str | None,
    incidents: tuple[int, ...],
    questions: Path | None,
    verify: bool,
    as_json: bool,
) -> None:
    """Import the tables in FOLDER: the benchmark's download (incidents/incident_N, or its archive), or recorded rows.

    A table is imported whole or not at all; the same command again goes on after the last whole table.
    """
    if mysql is not None and (out is not None or questions is not None):
        raise ConfigError("tables go to SQLite files or to a server: give -o and --questions, or --mysql, not both")
    if mysql is None:
        out = out or Path("excytin")
        _check_own(out)
    place, unpacked = _unpacked(folder, out, incidents)
    # All of them are looked at before anything is imported.
    found = list(_sources(place, incidents))
    if mysql is not None and len(found) > 1 and urlsplit(mysql).path.strip("/"):
        raise ConfigError(
            f"the URL names one database, and there are {len(found)} incidents: choose one with --incident, or leave "
            "the name away and each gets a database of its own"
        )
    for number, sources, label, kind in found:
        with closing(_target(out, mysql, number)) as target, goes_on(kept="whole tables are kept"):
            outcome = _imported(number, sources, target, label, kind)
            if verify:
                click.echo(f"incident {number}: reading back {outcome.manifest.rows:,} rows", err=True)
                target.verify(outcome.manifest)
            reader = target.reader()
        with as_written():
            _report(outcome, reader, verified=verify, as_json=as_json)
    if out is not None:
        _copy_questions(questions or place, out, required=questions is not None)
    if unpacked is not None:
        shutil.rmtree(unpacked, ignore_errors=True)


def _check_own(out: Path) -> None:
    """Raises ConfigError where ``out`` holds other things than data of the benchmark, StoreError where nothing can be
    written."""
    from atlas.folders import check_writable

    if out.is_dir():
        names = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        if strange := [name for name in names if name not in _OWN and not name.startswith("unpacked-")]:
            raise ConfigError(f"{out} holds {strange[0]}, which no import wrote: choose another folder with -o")
    check_writable(out)


_OWN = ("db", "questions", "incidents", "README.md")
"""What a folder of the benchmark's data holds."""


def _unpacked(folder: Path, out: Path | None, incidents: tuple[int, ...]) -> tuple[Path, Path | None]:
    """The folder to read, and what is to be removed when all of it is imported."""
    from atlas.assets import cache_dir
    from atlas.benchmarks.excytin.importing.archive import is_archive, unpack

    if not is_archive(folder):
        if not folder.is_dir():
            raise DataError(f"there is no folder and no tar archive {folder}: name the download, or what it unpacks to")
        return folder, None
    files, size = 0, 0

    def told(more: int) -> None:
        nonlocal files, size
        files, size = files + 1, size + more
        if sys.stderr.isatty():
            click.echo(f"\runpacking {files:,} files, {size / 1e6:,.0f} MB", nl=False, err=True)

    place = unpack(folder, out or cache_dir() / "excytin", incidents, told)
    if files:
        click.echo(f"\runpacked {files:,} files, {size / 1e6:,.0f} MB", err=True)
    return place, place


def _sources(folder: Path, incidents: tuple[int, ...]) -> Iterator[tuple[int, Sequence[Source], str, str]]:
    """By incident: its tables, the label they carry, and the kind of source."""
    from atlas.benchmarks.excytin import data
    from atlas.benchmarks.excytin.importing import download, recorded

    found = download.incident_folders(folder)
    if found:
        for number in _chosen(folder, incidents, list(found)):
            expected = download.schema_tables(found[number].parent, number)
            yield number, download.tables(found[number], expected), "", "download"
        return
    archives = {int(p.name.split("_")[1].split(".")[0]): p for p in folder.glob("db/incident_*.sqlite.xz")}
    if not archives:
        raise DataError(
            f"{folder} holds neither incidents/incident_N nor db/incident_N.sqlite.xz: name the folder of the download"
        )
    for number in _chosen(folder, incidents, sorted(archives)):
        path = data.unpacked(archives[number])
        # The cache names the folder of an unpacked file by the hash of its archive.
        yield number, recorded.tables(path, path.parent.name), data.SUBSET, "recorded subset"


def _chosen(folder: Path, wanted: tuple[int, ...], there: list[int]) -> list[int]:
    for number in wanted:
        if number not in there:
            raise DataError(
                f"there is no incident {number} in {folder}: choose one of {', '.join(map(str, there)) or 'none'}"
            )
    return list(dict.fromkeys(wanted)) or there


def _target(out: Path | None, mysql: str | None, incident: int) -> Target:
    from atlas.benchmarks.excytin.importing.to_mysql import MysqlTarget
    from atlas.benchmarks.excytin.importing.to_sqlite import SqliteTarget

    return MysqlTarget(mysql, incident) if mysql is not None else SqliteTarget(out or Path(), incident)


def _imported(number: int, sources: Sequence[Source], target: Target, label: str, kind: str) -> Outcome:
    from atlas.benchmarks.excytin.importing.run import import_incident

    if label:
        click.echo(f"incident {number}: {label}", err=True)
    return import_incident(number, sources, target, label=label, kind=kind, show=_Line(number))


class _Line:
    """A line on stderr for each table; on a terminal it moves while the table is read."""

    def __init__(self, incident: int) -> None:
        self._head = f"incident {incident}"
        self._next = 0.0

    def __call__(self, at: Progress) -> None:
        moving = sys.stderr.isatty()
        if at.rows is None and ((not moving and at.seconds < 10) or time.monotonic() < self._next):
            return
        self._next = time.monotonic() + (0.2 if moving else 10)
        rows = "" if at.rows is None else f"{at.rows:,} rows, "
        speed = f"{at.read / 1e6:,.1f} MB at {at.megabytes_a_second:,.1f} MB/s"
        line = f"{self._head} [{at.number}/{at.of}] {at.table}: {rows}{speed}"
        click.echo(f"\r{line:<100}" if moving else line, nl=at.rows is not None or not moving, err=True)


def _report(outcome: Outcome, reader: Reader | None, *, verified: bool, as_json: bool) -> None:
    manifest = outcome.manifest
    if as_json:
        click.echo(
            json.dumps(
                {
                    "target": scrub(outcome.target),
                    "loaded": outcome.loaded,
                    "megabytes": round(outcome.read / 1e6, 3),
                    "seconds": round(outcome.seconds, 3),
                    "verified": verified,
                    **({"reader": asdict(reader)} if reader is not None else {}),
                    **manifest.model_dump(),
                }
            )
        )
        return
    label = f" ({manifest.label})" if manifest.label else ""
    held = f"{len(manifest.tables)} tables, {manifest.rows:,} rows in {scrub(outcome.target)}{label}"
    speed = f", {outcome.read / 1e6:,.1f} MB in {outcome.seconds:,.1f} s" if outcome.loaded else ""
    checked = "; read back, all as imported" if verified else ""
    click.echo(f"incident {manifest.incident}: {held}; {outcome.loaded} loaded now{speed}{checked}")
    if reader is not None:
        _tell(reader)


def _tell(reader: Reader) -> None:
    if reader.url:
        click.echo(
            f"  agents read it by --mysql {reader.url}\n"
            f"  (the account {reader.name} can read these tables alone; its password is told this once)"
        )
    elif reader.refused:
        click.echo(
            f"  no account was made that can read these tables alone ({reader.refused}): let an administrator run\n"
            f"  {reader.mend}",
            err=True,
        )
    else:
        click.echo(
            f"  the account {reader.name} can read these tables alone; its password was told when it was made "
            "(for a new one drop the account, and run this again)"
        )


def _copy_questions(source: Path, out: Path, *, required: bool) -> None:
    """The questions beside the databases, so that one folder is all that --data needs."""
    found = sorted((source / "questions").glob("*/incident_*.json"))
    if not found and required:
        raise DataError(f"{source} holds no questions/SPLIT/incident_N_*.json: name the folder that holds questions/")
    for path in found:
        place = out / "questions" / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
