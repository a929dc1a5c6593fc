"""``atlas data excytin import``: the download and the recorded subset into SQLite and MySQL."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.benchmarks.excytin.data import SUBSET, label
from atlas.benchmarks.excytin.importing.download import CsvTable, incident_folders, tables
from atlas.benchmarks.excytin.importing.loadfile import Unended, rows
from atlas.benchmarks.excytin.importing.source import Manifest
from atlas.benchmarks.excytin.importing.to_mysql import label_of
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine
from atlas.cli import main
from tests.excytin_downloads import EXPECTED, archive, asked, content, run, write_download
from tests.excytin_downloads import database as database
from tests.excytin_downloads import fails as fails
from tests.excytin_downloads import server as server
from tests.excytin_fixtures import write_folder

pytest.importorskip("sqlglot", reason="the extra excytin is not installed")


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


def test_load_data_of_a_real_server_reads_the_same(server: str, tmp_path: Path) -> None:
    """Whatever is between the separators: where each row has three fields, the server has the same rows."""

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


def test_the_account_that_is_made_reads_this_database_alone(
    tmp_path: Path, database: str, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlas.benchmarks.excytin.mysql_engine import MysqlEngine

    source = write_download(tmp_path / "in")
    run(source, "--mysql", database)
    told = capsys.readouterr().out
    url = told.partition("--mysql ")[2].split()[0]
    name = database.rpartition("/")[2]
    assert urlsplit(url).username == f"{name}_reader" and urlsplit(url).path == f"/{name}"
    engine = MysqlEngine(url)
    assert engine.query("SELECT COUNT(*) FROM SigninLogs") == [(2,)]
    assert label_of(url) == ""
    engine.close()
    # Named alike but for what _ stands for in a GRANT, as the databases of incidents 1 and 10 might be.
    alike = name.replace("_", "x", 1)
    asked(server, f"CREATE DATABASE `{alike}`")
    try:
        asked(server, f"CREATE TABLE `{alike}`.Hoard (secret TEXT)")
        for sql in (
            f"SELECT * FROM `{alike}`.Hoard",
            "SELECT User FROM mysql.user",
            f"DELETE FROM `{name}`.SigninLogs",
            f"CREATE TABLE `{name}`.t (a TEXT)",
        ):
            with pytest.raises(Exception, match="denied"):
                asked(url, sql)
        assert {row[0] for row in asked(url, "SHOW DATABASES")} <= {name, "information_schema"}
    finally:
        asked(server, f"DROP DATABASE `{alike}`")
    # Whoever uses the account goes on: its password is not changed by another import.
    run(source, "--mysql", database, "--json")
    again = json.loads(capsys.readouterr().out)["reader"]
    assert again == {"name": f"{name}_reader", "url": "", "refused": "", "mend": ""}
    MysqlEngine(url).close()


def test_an_account_that_may_make_no_accounts_is_told_what_to_ask_for(
    tmp_path: Path, database: str, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = database.rpartition("/")[2]
    asked(server, f"CREATE USER '{name}_maker'@'%' IDENTIFIED BY 'aA1-x'")
    try:
        asked(server, f"GRANT ALL ON *.* TO '{name}_maker'@'%'")
        asked(server, f"REVOKE CREATE USER ON *.* FROM '{name}_maker'@'%'")
        place = database.partition("://")[2].rpartition("@")[2]
        run(write_download(tmp_path / "in"), "--mysql", f"mysql://{name}_maker:aA1-x@{place}")
        out, err = capsys.readouterr()
        assert "2 tables" in out and "_reader" not in out
        escaped = name.replace("_", "\\_")
        assert "no account was made" in err and f"GRANT SELECT ON `{escaped}`.* TO '{name}_reader'@'%';" in err
    finally:
        asked(server, f"DROP USER '{name}_maker'")


def test_a_table_without_meta_has_the_columns_of_its_header(tmp_path: Path) -> None:
    path = tmp_path / "T.csv"
    path.write_bytes("\ufeffa❖b\n1❖2\n".encode())
    table = CsvTable(name="T", parts=(path,), meta=None)
    assert table.columns == ("a", "b")
    assert list(table.rows(lambda _: None)) == [["1", "2"]]
