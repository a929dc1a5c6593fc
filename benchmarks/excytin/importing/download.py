"""The benchmark's own download: ``incidents/incident_N`` with ``Table.csv`` and ``Table.meta``, or folders of parts.

A large table is a folder ``Table`` with ``Table_0.csv``, ``Table_1.csv``... and a ``.meta`` for the first of them at
least. A ``.meta`` is a JSON object, column -> type, in the order of the columns; every column becomes text, as in the
benchmark. Without a ``.meta`` the header names the columns. Files may be packed with gzip or xz.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

from atlas.benchmarks.excytin.importing.loadfile import CHUNK, Unended, rows
from atlas.benchmarks.excytin.importing.source import LEFT_OUT, Fields, Watch
from atlas.errors import DataError
from atlas.jsontext import read_json

_INCIDENT = re.compile(r"incident_(\d+)")
_PACKED = (".gz", ".xz")
_DAMAGED = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class CsvTable:
    """A table of the download."""

    name: str
    parts: tuple[Path, ...]
    meta: Path | None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """By the ``.meta``, else by the header of the first part. DataError: neither can be read, or they differ."""
        header = self._header(self.parts[0])
        if self.meta is None:
            return header
        try:
            types = read_json(self.meta.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.meta} cannot be read as JSON ({error}): get it again") from error
        if not isinstance(types, dict) or not types:
            raise DataError(f"{self.meta} is no object of columns and their types: get it again")
        if tuple(types) != header:
            odd = sorted(set(types) ^ set(header))
            told = f"they differ in {', '.join(odd[:5])}" if odd else "their order differs"
            raise DataError(f"{self.parts[0]} has other columns than {self.meta.name} ({told}): get them again")
        return header

    @cached_property
    def signature(self) -> str:
        files = [*self.parts, *([self.meta] if self.meta else [])]
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]

    def rows(self, watch: Watch) -> Iterator[Fields]:
        for part in self.parts:
            if self._header(part) != self.columns:
                raise DataError(
                    f"{part} has other columns than {self.parts[0].name}: get the parts of one table together"
                )
            yield from self._rows_of(part, watch)

    def _rows_of(self, part: Path, watch: Watch) -> Iterator[Fields]:
        width = len(self.columns)
        with ExitStack() as opened:
            try:
                text = _opened(part, opened, watch)
                text.readline()
                for line, fields in rows(text):
                    if len(fields) != width:
                        raise DataError(
                            f"{part}, line {line + 1}: {width} fields expected, {len(fields)} found: "
                            "get the file again, or mend that line"
                        )
                    yield fields
            except Unended as error:
                raise DataError(
                    f"{part} ends within the row that begins on line {error.args[0] + 1}: it is truncated, get it again"
                ) from error
            except (UnicodeDecodeError, OSError, *_DAMAGED) as error:
                raise _told(part, error) from error

    def _header(self, part: Path) -> tuple[str, ...]:
        with ExitStack() as opened:
            try:
                line = _opened(part, opened, lambda _: None).readline(CHUNK)
                first = next(rows(io.StringIO(line, newline="\n")), (1, []))[1]
            except Unended as error:
                raise DataError(f"{part} has no header: get it again") from error
            except (UnicodeDecodeError, OSError, *_DAMAGED) as error:
                raise _told(part, error) from error
        if not first or not all(first):
            raise DataError(f"{part} has no header: get it again")
        return tuple(str(name) for name in first)


def _told(part: Path, error: Exception) -> DataError:
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"{part} is not UTF-8 ({error.reason}): get it again")
    if isinstance(error, _DAMAGED):
        return DataError(f"{part} is truncated or corrupt ({error}): get it again")
    return DataError(f"{part} cannot be read ({getattr(error, 'strerror', None) or error}): is it there?")


class _Watched(io.RawIOBase):
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, watch: Watch) -> None:
        self._file, self._watch = file, watch

    def readable(self) -> bool:
        return True

    def readinto(self, into: object) -> int:
        view = memoryview(into)  # type: ignore[arg-type]
        read = self._file.read(len(view))
        view[: len(read)] = read
        self._watch(len(read))
        return len(read)


def _opened(part: Path, opened: ExitStack, watch: Watch) -> io.TextIOWrapper:
    """The file's text, unpacked; ``watch`` counts unpacked bytes."""
    file: BinaryIO = opened.enter_context(part.open("rb"))
    if part.suffix == ".gz":
        file = cast(BinaryIO, opened.enter_context(gzip.GzipFile(fileobj=file)))
    elif part.suffix == ".xz":
        file = cast(BinaryIO, opened.enter_context(lzma.LZMAFile(file)))  # noqa: SIM115
    buffered = io.BufferedReader(_Watched(file, watch), 1 << 20)
    return opened.enter_context(io.TextIOWrapper(buffered, encoding="utf-8-sig", newline="\n"))


def incident_folders(folder: Path) -> dict[int, Path]:
    """The incidents of a download by number; ``folder`` is any of the folders around them, or one of them."""
    for place in (folder, folder / "incidents", folder / "data_anonymized" / "incidents"):
        found = {int(m[1]): p for p in place.glob("incident_*") if p.is_dir() and (m := _INCIDENT.fullmatch(p.name))}
        if found:
            return dict(sorted(found.items()))
    own = _INCIDENT.fullmatch(folder.resolve().name)
    return {int(own[1]): folder} if own and folder.is_dir() else {}


def tables(folder: Path, expected: tuple[str, ...] = ()) -> list[CsvTable]:
    """The tables of an incident's folder, but for those that the benchmark never loads.

    Args:
        folder: ``incident_N``.
        expected: tables that have to be there, by a schema.

    Raises:
        DataError: a ``.meta``, a numbering of parts or the schema names a file that is not there; or there is nothing.
    """
    found: dict[str, CsvTable] = {}
    metas: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):  # also ._Table.csv, which macOS leaves in archives
            continue
        if path.is_dir():
            if path.name not in LEFT_OUT and (table := _parts(path)):
                found[table.name] = table
        elif path.suffix == ".meta":
            metas[path.stem] = path
        elif name := _csv_name(path):
            found[name] = CsvTable(name=name, parts=(path,), meta=None)
    for name, meta in metas.items():
        if name in LEFT_OUT:
            continue
        if name not in found:
            raise DataError(f"{meta} describes the table {name}, but {folder / name}.csv is missing: get it again")
        if found[name].meta is None:
            found[name] = CsvTable(name=name, parts=found[name].parts, meta=meta)
    missing = sorted(set(expected) - set(found) - LEFT_OUT)
    if missing:
        raise DataError(f"{folder} lacks {_listed(missing)}, which the schema names: get the whole folder again")
    if not found:
        raise DataError(f"{folder} holds no table (Table.csv, or a folder of parts): name a folder of the download")
    return [found[name] for name in sorted(found) if name not in LEFT_OUT]


def schema_tables(folder: Path, incident: int) -> tuple[str, ...]:
    """The tables that a ``schema.json`` beside the incidents names for one of them; none without such a file."""
    for place in (folder, folder.parent, folder.parent.parent):
        path = place / "schema.json"
        if path.is_file():
            try:
                named = read_json(path.read_text(encoding="utf-8"))["tables_per_incident"].get(str(incident), ())
                return tuple(map(str, named))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{path} has no tables_per_incident ({error!r}): mend or remove it") from error
    return ()


def _parts(folder: Path) -> CsvTable | None:
    """A folder of parts as one table; None where it holds none."""
    name = folder.name
    numbered: dict[int, Path] = {}
    metas: dict[int, Path] = {}
    for path in folder.iterdir():
        numbers = re.fullmatch(rf"{re.escape(name)}(?:_(\d+))?", (_csv_name(path) or path.stem))
        if path.name.startswith(".") or not numbers:
            continue
        number = int(numbers[1] or 0)
        if path.suffix == ".meta":
            metas[number] = path
        elif _csv_name(path):
            numbered[number] = path
    if not numbered and not metas:
        return None
    last = max([*numbered, *metas])
    missing = [f"{name}_{i}.csv" for i in range(min([*numbered, *metas]), last + 1) if i not in numbered]
    if missing:
        raise DataError(f"{folder} lacks {_listed(missing)}: get the whole folder again")
    meta = metas[min(metas)] if metas else None
    return CsvTable(name=name, parts=tuple(numbered[i] for i in sorted(numbered)), meta=meta)


def _csv_name(path: Path) -> str | None:
    """The table of ``Table.csv``, ``Table.csv.gz`` or ``Table.csv.xz``."""
    name = path.name.removesuffix(path.suffix) if path.suffix in _PACKED else path.name
    return name.removesuffix(".csv") if name.endswith(".csv") else None


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
