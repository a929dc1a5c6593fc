"""``atlas data excytin import``: the download and the recorded subset into SQLite and MySQL, whatever goes wrong."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import lzma
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.benchmarks.excytin.data import SUBSET, label
from atlas.benchmarks.excytin.importing.download import CsvTable, incident_folders, tables
from atlas.benchmarks.excytin.importing.loadfile import Unended, rows
from atlas.benchmarks.excytin.importing.source import Manifest
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine
from atlas.cli import main
from atlas.errors import DataError
from tests.excytin_fixtures import write_folder

pytest.importorskip("sqlglot", reason="the extra excytin is not installed")

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


# --- what comes of it -------------------------------------------------------------------------------------------------


def test_the_download_becomes_a_database_that_the_engine_opens(tmp_path: Path) -> None:
    run(write_download(tmp_path / "in"), "-o", tmp_path / "out", "--verify")
    path = tmp_path / "out" / "db" / "incident_7.sqlite"
    assert content(path) == EXPECTED
    engine = SqliteEngine(path)
    assert engine.query("SHOW TABLES") == [("SecurityAlert",), ("SigninLogs",)]
    assert engine.query("SELECT User FROM SigninLogs WHERE User LIKE 'NINA%'") == [("nina@example.com",)]
    assert [row[1] for row in engine.query("DESCRIBE SigninLogs")] == ["text", "text", "text"]
    engine.close()
    assert label(7, tmp_path / "out") == ""
    manifest = Manifest.model_validate_json(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert [(t.name, t.rows) for t in manifest.tables] == [("SecurityAlert", 2), ("SigninLogs", 2)]
    assert not list((tmp_path / "out" / "db").glob("*.partial*"))


def pack_gz(folder: Path) -> Path:
    for path in folder.rglob("[!.]*.csv"):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


def pack_xz(folder: Path) -> Path:
    for path in folder.rglob("[!.]*.csv"):
        path.with_name(path.name + ".xz").write_bytes(lzma.compress(path.read_bytes()))
        path.unlink()
    return folder


def archive(folder: Path, kind: str) -> Path:
    path = folder.parent / f"data_anonymized.tar.{kind}".removesuffix(".")
    with tarfile.open(path, f"w:{kind}") as packed:  # type: ignore[call-overload]
        packed.add(folder, "data_anonymized")
    return path


@pytest.mark.parametrize(
    "packed",
    [pack_gz, pack_xz, lambda f: archive(f, "gz"), lambda f: archive(f, "xz"), lambda f: archive(f, "")],
    ids=["csv.gz", "csv.xz", "tar.gz", "tar.xz", "tar"],
)
def test_packed_downloads_give_the_same_rows(tmp_path: Path, packed: Callable[[Path], Path]) -> None:
    run(packed(write_download(tmp_path / "in")), "-o", tmp_path / "out", "--incident", 7)
    assert content(tmp_path / "out" / "db" / "incident_7.sqlite") == EXPECTED
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["db"]


def test_parts_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = write_download(tmp_path) / "incidents" / "incident_7" / "SecurityAlert"
    for number in range(12):
        (folder / f"SecurityAlert_{number}.csv").write_text(f"Name❖Entities\n{number}❖\n", encoding="utf-8")
    table = next(t for t in tables(folder.parent) if t.name == "SecurityAlert")
    assert [row[0] for row in table.rows(lambda _: None)] == [str(number) for number in range(12)]


def test_the_folder_may_be_any_of_those_around_the_incidents(tmp_path: Path) -> None:
    folder = write_download(tmp_path / "data_anonymized")
    for place in (tmp_path, folder, folder / "incidents", folder / "incidents" / "incident_7"):
        assert list(incident_folders(place)) == [7], place


def test_the_recorded_subset_is_imported_and_stays_labelled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(write_folder(tmp_path / "in"), "-o", tmp_path / "out", "--verify")
    shown = capsys.readouterr()
    assert SUBSET in shown.out and SUBSET in shown.err
    path = tmp_path / "out" / "db" / "incident_7.sqlite"
    assert Manifest.model_validate_json(path.with_suffix(".json").read_text()).label == SUBSET
    assert label(7, tmp_path / "out") == SUBSET
    assert "LAQueryLogs" not in content(path)
    assert len(content(path)["SigninLogs"]) == 3
    commands = tmp_path / "commands"
    commands.write_text("execute[SELECT COUNT(*) FROM SigninLogs]\n")
    main(["play", "excytin", "--incident", "7", "--data", str(tmp_path / "out"), "--commands", str(commands)])
    played = capsys.readouterr()
    assert "[(3,)]" in played.out and SUBSET in played.out


def test_questions_are_copied_beside_the_databases(tmp_path: Path, fails: Callable[..., str]) -> None:
    source = write_download(tmp_path / "in")
    run(source, "-o", tmp_path / "out", "--questions", write_folder(tmp_path / "questions"))
    assert (tmp_path / "out" / "questions" / "test").is_dir()
    assert "holds no questions" in fails(source, "-o", tmp_path / "out", "--questions", tmp_path)


# --- as MySQL reads it ------------------------------------------------------------------------------------------------


def read(text: str, chunk: int = 1 << 16) -> list[list[str | None]]:
    return [fields for _, fields in rows(io.StringIO(text, newline="\n"), chunk)]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("C:\\Windows\\System32", ["C:WindowsSystem32"]),
        ('"{""Directory"":""C:\\\\Windows""}"', ['{"Directory":"C:\\Windows"}']),
        # JSON within JSON, as in AlertEvidence: the recorded rows of the full database have it like this.
        ('"{\\""tags\\"":\\""[\\\\\\""a\\\\\\""]\\""}"', ['{""tags"":""[\\""a\\""]""}']),
        ('""❖"a"', ["", "a"]),
        ('"a ""b"" c"❖d', ['a "b" c', "d"]),
        ('a "b"❖c', ['a "b"', "c"]),
        ('\\N❖NULL❖"NULL"❖❖\\n', [None, None, "NULL", "", "\n"]),
    ],
)
def test_escapes_are_read_as_the_benchmarks_loader_reads_them(line: str, fields: list[str | None]) -> None:
    for ending in ("\n", ""):
        assert read(line + ending) == read(line + ending, chunk=1) == [fields]


cells = st.text(st.characters(exclude_characters="\\", exclude_categories=["Cs"]), max_size=8).filter("NULL".__ne__)


@given(st.lists(st.lists(cells, min_size=2, max_size=3), min_size=1, max_size=5), st.sampled_from([1, 3, 1 << 16]))
def test_what_csv_writers_write_without_escapes_comes_back(table: list[list[str]], chunk: int) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter="❖", lineterminator="\n").writerows(table)
    assert read(file.getvalue(), chunk) == table


@given(st.text('"\\❖\nNab', max_size=30), st.integers(1, 8))
def test_the_size_of_chunks_makes_no_difference(text: str, chunk: int) -> None:
    def outcome(size: int) -> object:
        try:
            return read(text, size)
        except Unended as error:
            return error.args

    assert outcome(chunk) == outcome(1 << 16)


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
    name = f"atlas_test_import_{os.getpid()}"
    yield f"{server}/{name}"
    asked(server, f"DROP DATABASE IF EXISTS `{name}`")
    asked(server, f"DROP DATABASE IF EXISTS `atlas_importing_{name}`")


def asked(url: str, sql: str) -> tuple[tuple[Any, ...], ...]:
    from atlas.benchmarks.excytin.mysql_engine import connect

    with closing(connect(url, database=False)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return tuple(cursor.fetchall())


def test_load_data_of_a_real_server_reads_the_same(server: str, tmp_path: Path) -> None:
    """Whatever is between the separators: where each row has three fields, the server has the same rows."""
    from urllib.parse import unquote, urlsplit

    import pymysql

    parts = urlsplit(server)
    path = tmp_path / "table.csv"
    compared = 0
    with closing(
        pymysql.connect(
            host=str(parts.hostname),
            port=parts.port or 3306,
            user=unquote(parts.username or "root"),
            password=unquote(parts.password or ""),
            charset="utf8mb4",
            local_infile=True,
            autocommit=True,
        )
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("SET sql_mode = ''")
        cursor.execute("CREATE DATABASE IF NOT EXISTS atlas_test_load CHARACTER SET utf8mb4")
        cursor.execute("CREATE TEMPORARY TABLE atlas_test_load.t (a TEXT, b TEXT, c TEXT)")

        part = st.sampled_from(["a", "\\\\", "NULL", "\\n", "N", "é", "\\N", '\\"', "\\0", "\\a", "\\❖", ' "x'])
        plain = st.lists(part, max_size=4).map("".join)
        inner = st.lists(st.one_of(part, st.sampled_from(["❖", "\n"])), max_size=4).map("".join)
        field = st.one_of(plain, plain.map('"{}"'.format), inner.map(lambda s: '"' + s.replace('"', '""') + '"'))
        line = st.tuples(field, field, field).map("❖".join)

        @settings(max_examples=200, deadline=None, database=None)
        @given(st.lists(line, min_size=1, max_size=3).map("\n".join), st.sampled_from(["\n", "\n", ""]))
        def compare(text: str, ending: str) -> None:
            nonlocal compared
            try:
                mine = read(text + ending)
            except Unended:
                return
            if any(len(fields) != 3 for fields in mine):
                return
            path.write_text(text + ending, encoding="utf-8", newline="")
            cursor.execute("DELETE FROM atlas_test_load.t")
            cursor.execute(
                f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE atlas_test_load.t CHARACTER SET utf8mb4 "
                "FIELDS TERMINATED BY '❖' ENCLOSED BY '\"' LINES TERMINATED BY '\\n'"
            )
            cursor.execute("SELECT * FROM atlas_test_load.t")
            compared += 1
            assert [list(row) for row in cursor.fetchall()] == mine

        try:
            compare()
        except pymysql.err.OperationalError as refused:
            pytest.skip(f"the server takes no LOAD DATA LOCAL: {refused}")
        finally:
            cursor.execute("DROP DATABASE atlas_test_load")
    assert compared > 50


def test_mysql_holds_the_same_rows_as_sqlite(tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_download(tmp_path / "in")
    run(source, "-o", tmp_path / "out", "--json")
    run(source, "--mysql", database, "--json", "--verify")
    run(source, "--mysql", database, "--json", "--verify")
    files, first, again = map(json.loads, capsys.readouterr().out.splitlines())
    assert files["tables"] == first["tables"] == again["tables"]
    assert (first["loaded"], again["loaded"]) == (2, 0)
    name = database.rpartition("/")[2]
    assert asked(database, f"SELECT * FROM {name}.SecurityAlert") == tuple(EXPECTED["SecurityAlert"])
    assert asked(database, "SHOW DATABASES LIKE 'atlas\\_importing\\_" + name + "'") == ()


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


def killed(*arguments: object) -> None:
    """Run an import and kill it without warning while the large table is being read."""
    command = [sys.executable, "-c", "from atlas.cli import main; main()", "data", "excytin", "import"]
    process = subprocess.Popen([*command, *map(str, arguments)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "SigninLogs" in line:
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()


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
    from urllib.parse import urlsplit

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


def test_a_table_without_meta_has_the_columns_of_its_header(tmp_path: Path) -> None:
    path = tmp_path / "T.csv"
    path.write_bytes("\ufeffa❖b\n1❖2\n".encode())
    table = CsvTable(name="T", parts=(path,), meta=None)
    assert table.columns == ("a", "b")
    assert list(table.rows(lambda _: None)) == [["1", "2"]]
