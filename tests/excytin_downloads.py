"""Small downloads of ExCyTIn-Bench, imports that have to fail, and a server to import into."""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from atlas.cli import main
from atlas.errors import DataError

SERVER = os.environ.get("ATLAS_MYSQL", "mysql://root@127.0.0.1:3306/")
SIGNINS = "TimeGenerated❖User❖Location\n2024-07-17❖nina@example.com❖\n2024-07-18❖omar❖NULL\n"
ALERTS = ("Name❖Entities\nfirst❖{}\n", 'Name❖Entities\nsecond❖"[{""ip"": ""1.2.3.4""},\n{}]"\n')


def write_download(folder: Path, incident: int = 7) -> Path:
    """One incident in the benchmark's layout: a table in one file, one in parts, and what is never loaded."""
    place = folder / "incidents" / f"incident_{incident}"
    (place / "SecurityAlert").mkdir(parents=True)
    types = {"TimeGenerated": "datetime", "User": "string", "Location": "dynamic"}
    (place / "SigninLogs.csv").write_text(SIGNINS, encoding="utf-8")
    (place / "SigninLogs.meta").write_text(json.dumps(types), encoding="utf-8")
    for number, text in enumerate(ALERTS):
        (place / "SecurityAlert" / f"SecurityAlert_{number}.csv").write_text(text, encoding="utf-8")
    (place / "SecurityAlert" / "SecurityAlert_0.meta").write_text('{"Name": "string", "Entities": "dynamic"}')
    (place / "LAQueryLogs.csv").write_text("QueryText\nnever\n", encoding="utf-8")
    (place / "AzureDiagnostics").mkdir()
    (place / "AzureDiagnostics" / "AzureDiagnostics_0.csv").write_text("a\nnever\n", encoding="utf-8")
    (place / "._SigninLogs.csv").write_bytes(b"\x00\x05\x16\x07")
    return folder


def run(*arguments: object) -> None:
    main(["data", "excytin", "import", *map(str, arguments)])


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """An import that has to fail with exit code 2, and its one sentence."""

    def check(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            run(*arguments)
        said = capsys.readouterr().err.splitlines()[-1]
        assert stop.value.code == 2
        assert said.startswith("atlas: ") and "Traceback" not in said
        return said

    return check


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        names = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}


EXPECTED = {
    "SecurityAlert": [("first", "{}"), ("second", '[{"ip": "1.2.3.4"},\n{}]')],
    "SigninLogs": [("2024-07-17", "nina@example.com", ""), ("2024-07-18", "omar", None)],
}


def archive(folder: Path, kind: str) -> Path:
    path = folder.parent / f"data_anonymized.tar.{kind}".removesuffix(".")
    with tarfile.open(path, f"w:{kind}") as packed:  # type: ignore[call-overload]
        packed.add(folder, "data_anonymized")
    return path


@pytest.fixture(scope="module")
def server() -> str:
    pytest.importorskip("pymysql", reason="the extra mysql is not installed")
    from atlas.benchmarks.excytin.mysql_engine import connect

    try:
        connect(SERVER, timeout=2, database=False).close()
    except DataError as absent:
        pytest.skip(f"no MySQL or MariaDB: {absent}")
    return SERVER.rstrip("/")


@pytest.fixture
def database(server: str) -> Iterator[str]:
    """The URL of a database that is not there yet; removed afterwards."""
    name = f"atlas_import_{os.getpid()}"
    yield f"{server}/{name}"
    asked(server, f"DROP DATABASE IF EXISTS `{name}`")
    asked(server, f"DROP DATABASE IF EXISTS `atlas_importing_{name}`")
    asked(server, f"DROP USER IF EXISTS '{name}_reader'")


def asked(url: str, sql: str) -> tuple[tuple[Any, ...], ...]:
    from atlas.benchmarks.excytin.mysql_engine import connect

    with closing(connect(url, database=False)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return tuple(cursor.fetchall())
