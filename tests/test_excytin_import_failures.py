"""``atlas data excytin import`` when something goes wrong: bad files, kills, a server that drops the connection."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import lzma
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.excytin_downloads import EXPECTED, SERVER, SIGNINS, archive, asked, content, run, write_download
from tests.excytin_downloads import database as database
from tests.excytin_downloads import fails as fails
from tests.excytin_downloads import server as server
from tests.excytin_fixtures import write_folder

# --- what goes wrong --------------------------------------------------------------------------------------------------


def edit(name: str, text: str | bytes) -> Callable[[Path], object]:
    """Put ``text`` in a file of the incident; an empty one removes it."""

    def change(folder: Path) -> object:
        path = folder / "incidents" / "incident_7" / name
        if not text:
            return path.unlink()
        return path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text, encoding="utf-8")

    return change


def schema(folder: Path) -> None:
    named = {"tables_per_incident": {"7": ["SigninLogs", "SecurityAlert", "AuditLogs", "LAQueryLogs"]}}
    (folder / "schema.json").write_text(json.dumps(named))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit("SigninLogs.csv", ""), "SigninLogs.csv is missing"),
        (edit("SecurityAlert/SecurityAlert_0.csv", ""), "lacks SecurityAlert_0.csv"),
        (schema, "lacks AuditLogs, which the schema names"),
        (edit("SigninLogs.csv", SIGNINS + "a❖b\n"), "SigninLogs.csv, line 4: 3 fields expected, 2 found"),
        (edit("SigninLogs.csv", SIGNINS + "a❖b❖c❖d"), "SigninLogs.csv, line 4: 3 fields expected, 4 found"),
        (edit("SigninLogs.csv", SIGNINS + 'a❖b❖"c'), "ends within the row that begins on line 4"),
        (edit("SigninLogs.csv", SIGNINS.encode() + b"\xff\xfe"), "is not UTF-8"),
        (edit("SigninLogs.csv", "a❖b❖c\n"), "has other columns than SigninLogs.meta"),
        (edit("SecurityAlert/SecurityAlert_1.csv", "Name❖X\n"), "has other columns than SecurityAlert_0.csv"),
        (edit("SigninLogs.meta", "{"), "cannot be read as JSON"),
        (edit("SigninLogs.csv", "\n"), "has no header"),
    ],
)
def test_a_bad_download_is_a_sentence_and_no_half_table(
    tmp_path: Path, fails: Callable[..., str], change: Callable[[Path], object], said: str
) -> None:
    folder = write_download(tmp_path / "in")
    change(folder)
    assert said in fails(folder, "-o", tmp_path / "out")
    assert not (tmp_path / "out" / "db" / "incident_7.sqlite").exists()
    partial = tmp_path / "out" / "db" / "incident_7.partial"
    assert not partial.exists() or "SigninLogs" not in content(partial)


def test_truncated_files_and_archives(tmp_path: Path, fails: Callable[..., str]) -> None:
    folder = write_download(tmp_path / "in")
    whole = archive(folder, "gz").read_bytes()
    for name, data in {
        "cut.tar.gz": whole[: len(whole) // 2],
        "cut.tar": gzip.decompress(whole)[:-10240],
        "none.tar.xz": b"",
        "text.tar": b"this is no archive" * 100,
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert "truncated or corrupt" in fails(path, "-o", tmp_path / "out")
        assert not list((tmp_path / "out").glob("unpacked*")) and not list((tmp_path / "out").glob("db/*"))
    packed = folder / "incidents" / "incident_7" / "SigninLogs.csv.xz"
    packed.write_bytes(lzma.compress(SIGNINS.encode())[:-20])
    (folder / "incidents" / "incident_7" / "SigninLogs.csv").unlink()
    assert "truncated or corrupt" in fails(folder, "-o", tmp_path / "out")


def test_wrong_calls(tmp_path: Path, fails: Callable[..., str]) -> None:
    folder = write_download(tmp_path / "in")
    assert "not both" in fails(folder, "-o", tmp_path / "out", "--mysql", SERVER)
    assert "there is no incident 8 in" in fails(folder, "-o", tmp_path / "out", "--incident", 8)
    assert "choose one of 7" in fails(write_folder(tmp_path / "recorded"), "-o", tmp_path / "out", "--incident", 5)
    (tmp_path / "empty").mkdir()
    assert "holds neither incidents/incident_N nor db/" in fails(tmp_path / "empty", "-o", tmp_path / "out")
    assert "there is no folder" in fails(tmp_path / "nowhere", "-o", tmp_path / "out")
    assert "refuses the connection" in fails(folder, "--mysql", "mysql://root@127.0.0.1:1/x")


def test_one_database_takes_one_incident(tmp_path: Path, database: str, fails: Callable[..., str]) -> None:
    folder = write_download(write_download(tmp_path / "in"), incident=8)
    assert "choose one with --incident" in fails(folder, "--mysql", database)


def test_nobodys_tables_are_overwritten(tmp_path: Path, database: str, fails: Callable[..., str]) -> None:
    name = database.rpartition("/")[2]
    asked(SERVER, f"CREATE DATABASE {name}")
    asked(SERVER, f"CREATE TABLE {name}.SigninLogs (mine INT)")
    assert "holds tables that no import made (SigninLogs)" in fails(write_download(tmp_path), "--mysql", database)
    assert asked(SERVER, f"SHOW TABLES FROM {name}") == (("SigninLogs",),)


def test_without_a_place_it_goes_into_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(write_download(tmp_path / "in"))
    assert (tmp_path / "excytin" / "db" / "incident_7.sqlite").is_file()


def test_an_archive_cannot_write_outside(tmp_path: Path, fails: Callable[..., str]) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as packed:
        member = tarfile.TarInfo("incidents/incident_7/T/../../../../evil.csv")
        member.size = 4
        packed.addfile(member, io.BytesIO(b"a\nb\n"))
    assert "incidents/incident_N" in fails(path, "-o", tmp_path / "out")
    assert not list(tmp_path.rglob("evil.csv"))


def test_a_changed_row_is_found_by_verify(tmp_path: Path, fails: Callable[..., str]) -> None:
    source = write_download(tmp_path / "in")
    run(source, "-o", tmp_path / "out")
    with closing(sqlite3.connect(tmp_path / "out" / "db" / "incident_7.sqlite")) as connection:
        connection.execute("UPDATE SigninLogs SET User = 'eve' WHERE User = 'omar'")
        connection.commit()
    assert "has other rows in table SigninLogs" in fails(source, "-o", tmp_path / "out", "--verify")


def test_only_what_changed_is_imported_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_download(tmp_path / "in")
    run(source, "-o", tmp_path / "out", "--json")
    run(source, "-o", tmp_path / "out", "--json")
    edit("SigninLogs.csv", SIGNINS + "x❖y❖z\n")(source)
    run(source, "-o", tmp_path / "out", "--json", "--verify")
    first, again, changed = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["loaded"], again["loaded"]) == (2, 0)
    assert [t["rows"] for t in changed["tables"]] == [2, 3]
    assert content(tmp_path / "out" / "db" / "incident_7.sqlite")["SigninLogs"][-1] == ("x", "y", "z")


# --- killed and cut off -----------------------------------------------------------------------------------------------


def write_large(folder: Path, lines: int = 100_000) -> Path:
    """The small download with a table that takes a while, last in order."""
    write_download(folder)
    path = folder / "incidents" / "incident_7" / "Zeta.csv"
    path.write_text("a❖b\n" + "".join(f'{n}❖"{{""n"": {n}}}"\n' for n in range(lines)), encoding="utf-8")
    return folder


DIES = """
import os, signal
from atlas.benchmarks.excytin.importing.download import CsvTable
from atlas.cli import main

whole = CsvTable.rows

def rows(self, watch):
    for number, row in enumerate(whole(self, watch)):
        if number == 60_000:
            os.kill(os.getpid(), signal.SIGKILL)
        yield row

CsvTable.rows = rows
main()
"""


def killed(*arguments: object) -> None:
    """Run an import that is killed without warning while the large table is being read."""
    command = [sys.executable, "-c", DIES, "data", "excytin", "import", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL and "SigninLogs" in done.stderr, done.stderr


def test_a_killed_import_goes_on_after_the_last_whole_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_large(tmp_path / "in")
    killed(source, "-o", tmp_path / "out")
    assert not (tmp_path / "out" / "db" / "incident_7.sqlite").exists()
    held = content(tmp_path / "out" / "db" / "incident_7.partial")
    assert {name: held[name] for name in EXPECTED} == EXPECTED
    assert not held.get("Zeta")
    run(source, "-o", tmp_path / "out", "--json", "--verify")
    report = json.loads(capsys.readouterr().out)
    assert report["loaded"] == 1 and report["verified"]
    assert [t["rows"] for t in report["tables"]] == [2, 2, 100_000]
    assert sorted(p.name for p in (tmp_path / "out" / "db").iterdir()) == ["incident_7.json", "incident_7.sqlite"]


def test_a_killed_import_leaves_no_half_table_on_a_server(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_large(tmp_path / "in")
    killed(source, "--mysql", database)
    name = database.rpartition("/")[2]
    assert asked(database, f"SHOW TABLES FROM {name}") == (("SecurityAlert",), ("SigninLogs",))
    run(source, "--mysql", database, "--json", "--verify")
    report = json.loads(capsys.readouterr().out)
    assert report["loaded"] == 1
    assert asked(database, f"SELECT COUNT(*) FROM {name}.Zeta") == ((100_000,),)


class Cutting:
    """A proxy before the server that drops the connection after so many bytes to it."""

    def __init__(self, host: str, port: int, after: int) -> None:
        self._to, self._left = (host, port), after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._to)
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._left -= len(data) if counted else 0
                if self._left < 0:
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()


def test_a_server_that_drops_the_connection_in_mid_run(
    tmp_path: Path, database: str, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:

    source = write_large(tmp_path / "in", lines=20_000)
    parts = urlsplit(database)
    name = parts.path.strip("/")
    with closing(Cutting(str(parts.hostname), parts.port or 3306, after=300_000)) as proxy:
        said = fails(source, "--mysql", f"mysql://{parts.username}@127.0.0.1:{proxy.port}/{name}")
    assert "dropped the connection while table Zeta was imported" in said
    assert "run the same command again" in said
    assert asked(database, f"SHOW TABLES FROM {name}") == (("SecurityAlert",), ("SigninLogs",))
    run(source, "--mysql", database, "--json", "--verify")
    assert json.loads(capsys.readouterr().out)["loaded"] == 1
