"""The embedded engine: MySQL's language over SQLite, MySQL's errors, and no way to anything but rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from atlas.benchmarks.excytin.engine import SqlError
from atlas.benchmarks.excytin.sqlite_engine import Database, SqliteEngine
from atlas.errors import DataError
from tests.excytin_fixtures import TABLES, write_database

pytest.importorskip("sqlglot", reason="the extra excytin is not installed")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_database(tmp_path_factory.mktemp("excytin") / "incident.sqlite")


@pytest.fixture(scope="module")
def engine(path: Path) -> Iterator[SqliteEngine]:
    found = SqliteEngine(path, time_limit=1)
    yield found
    found.close()


def refused(engine: Any, sql: str) -> str:
    with pytest.raises(SqlError) as error:
        engine.query(sql)
    return str(error.value)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT COUNT(*) FROM SigninLogs WHERE UserPrincipalName = 'nina@example.com'", [(2,)]),
        ("SELECT COUNT(*) FROM env_monitor_db.SigninLogs WHERE userprincipalname LIKE 'NINA%'", [(2,)]),
        ("SELECT env_monitor_db.SigninLogs.IPAddress FROM SigninLogs LIMIT 1", [("1.2.3.4",)]),
        ("SELECT AlertName FROM SecurityAlert WHERE AlertName LIKE '%100\\%'", [("Malware 100%",)]),
        ("SELECT DeviceName FROM DeviceProcessEvents WHERE ProcessCommandLine LIKE '%C:\\\\\\\\Win%'", [("host-1",)]),
        ("SELECT DeviceName FROM DeviceProcessEvents WHERE ProcessId = 1332.0 # why", [("host-1",)]),
        ("SELECT COUNT(*) FROM SigninLogs WHERE ResultType > 9", [(1,)]),
        ("SELECT COUNT(*) FROM SigninLogs WHERE LOWER(UserPrincipalName) = 'OMAR@example.com'", [(1,)]),
        ('SELECT AlertName FROM SecurityAlert WHERE AlertName = "malware 100%" -- double quotes', [("Malware 100%",)]),
        ("SELECT DISTINCT DATE(TimeGenerated) FROM SigninLogs", [(date(2024, 7, 17),)]),
        ("SELECT TimeGenerated FROM DeviceProcessEvents WHERE DATE(TimeGenerated) = '2024-07-18'", None),
        ("SELECT STR_TO_DATE('17/07/2024 09:08', '%d/%m/%Y %H:%i')", [(datetime(2024, 7, 17, 9, 8),)]),
        ("SELECT SUBSTRING_INDEX('a.b.c', '.', 2), SUBSTRING_INDEX('a.b.c', '.', -1)", [("a.b", "c")]),
        ("SELECT TIMESTAMPDIFF(MINUTE, '2024-01-01 10:00:00', '2024-01-01 11:30:59')", [(90,)]),
        ("SELECT TIMESTAMPDIFF(MONTH, '2024-01-31', '2024-02-29')", [(0,)]),
        ("SELECT DATE_SUB('2024-03-31', INTERVAL 1 MONTH), '2024-01-01 00:00:00' + INTERVAL 2 HOUR", None),
        ("SELECT COUNT(*) FROM SecurityAlert WHERE AlertName REGEXP '^mal|ENTIT'", [(2,)]),
        ("SELECT JSON_UNQUOTE(JSON_EXTRACT(Entities, '$[0].Address')) FROM SecurityAlert LIMIT 1", [("1.2.3.4",)]),
        ("SELECT Entities->>'$.Name' FROM SecurityAlert WHERE AlertName LIKE 'Malware%'", [("evil.exe",)]),
        ("SELECT JSON_CONTAINS('{\"a\": [1, 2]}', '2', '$.a'), JSON_CONTAINS('[1]', '3')", [(1, 0)]),
        ("SELECT CONCAT('a', NULL), LEFT('abc', 2), IF(1 > 2, 'x', 'y'), IFNULL(NULL, 3)", [(None, "ab", "y", 3)]),
        ("(SELECT 1) UNION (SELECT 2)", [(1,), (2,)]),
        ("SHOW TABLES", [("DeviceProcessEvents",), ("SecurityAlert",), ("SigninLogs",)]),
        ("show tables like '%Alert%'", [("SecurityAlert",)]),
        ("DESCRIBE SecurityAlert", [(c, "text", "YES", "", None, "") for c in TABLES["SecurityAlert"]]),
        ("SHOW COLUMNS FROM SigninLogs LIKE 'ip%'", [("IPAddress", "text", "YES", "", None, "")]),
        ("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()", [(3,)]),
        ("SELECT table_name FROM INFORMATION_SCHEMA.COLUMNS WHERE column_name = 'ipaddress'", [("SigninLogs",)]),
        ("SELECT table_name FROM information_schema.tables WHERE table_name LIKE '%alert%'", []),
        ("SELECT table_name FROM information_schema.tables WHERE table_name LIKE '%Al_rt%'", [("SecurityAlert",)]),
        ("USE env_monitor_db", []),
    ],
)
def test_queries_mean_what_mysql_means(engine: SqliteEngine, sql: str, rows: list[tuple[Any, ...]] | None) -> None:
    found = engine.query(sql)
    assert found == rows if rows is not None else found


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT Nope FROM SigninLogs", "ProgrammingError: Unknown column 'Nope' in 'field list'"),
        ("SELECT * FROM SigninLogs WHERE Nope = 1", "ProgrammingError: Unknown column 'Nope' in 'where clause'"),
        ("SELECT * FROM SigninLogs ORDER BY Nope", "ProgrammingError: Unknown column 'Nope' in 'order clause'"),
        ("SELECT * FROM signinlogs", "ProgrammingError: Table 'env_monitor_db.signinlogs' doesn't exist"),
        ("DESCRIBE Users", "ProgrammingError: Table 'env_monitor_db.Users' doesn't exist"),
        ("SELECT * FROM LAQueryLogs", "ProgrammingError: Table 'env_monitor_db.LAQueryLogs' doesn't exist"),
        ("SELECT TOP 5 * FROM SigninLogs", "use near '5 * FROM SigninLogs' at line 1"),
        ("SELECT *\nFROM SigninLogs] LIMIT 1", "use near '] LIMIT 1' at line 2"),
        ("I will query", "use near 'I will query' at line 1"),
        ("", "use near '' at line 1"),
        ("SELECT 'open", "right syntax to use near ''open' at line 1"),
        ("SELECT FOO(1)", "ProgrammingError: FUNCTION env_monitor_db.FOO does not exist"),
        ("SELECT JSON_EXTRACT(Entities, '$.a') FROM SecurityAlert", "DataError: Invalid JSON text in argument 1"),
        (
            "SELECT DISTINCT IPAddress FROM SigninLogs ORDER BY TimeGenerated",
            "DatabaseError: Expression #1 of ORDER BY clause is not in SELECT list, references column "
            "'env_monitor_db.SigninLogs.TimeGenerated' which is not in SELECT list; this is incompatible with DISTINCT",
        ),
    ],
)
def test_errors_read_as_mysqls(engine: SqliteEngine, sql: str, told: str) -> None:
    assert told in refused(engine, sql)


BREAKOUTS = [
    "DROP TABLE SigninLogs",
    "DELETE FROM SigninLogs",
    "INSERT INTO SigninLogs VALUES (1)",
    "WITH x AS (SELECT 1) DELETE FROM SigninLogs",
    "CREATE TABLE x (a TEXT)",
    "SELECT 1; DROP TABLE SigninLogs",
    "ATTACH DATABASE '/tmp/x' AS x",
    "PRAGMA query_only = OFF",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM pragma_table_info('SigninLogs')",
    "SELECT * FROM sqlite_master",
    "SELECT load_extension('x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('/tmp/x', 'y')",
    "SELECT LOAD_FILE('/etc/passwd')",
    "SELECT * FROM SigninLogs INTO OUTFILE '/tmp/x'",
    "SELECT 1 /*!INTO OUTFILE '/tmp/x' */",
    "SELECT 1 /*M!50701 INTO OUTFILE '/tmp/x' */",
    "SELECT 1 --\x01 '\n INTO OUTFILE '/tmp/x' #'",
    "SELECT 1 AS `'` INTO OUTFILE '/tmp/x' #'`",
    "SELECT * FROM SigninLogs FOR UPDATE",
    "SET SESSION TRANSACTION READ WRITE",
    "COMMIT",
    "SELECT User FROM mysql.user",
    "SELECT @@datadir",
    "SHOW GRANTS",
    "SELECT SLEEP(30)",
    "SELECT BENCHMARK(100000000000, MD5('a'))",
]


@pytest.mark.parametrize("sql", BREAKOUTS)
def test_nothing_but_reading(engine: SqliteEngine, path: Path, sql: str) -> None:
    before = path.read_bytes()
    assert "Error: " in refused(engine, sql)
    assert path.read_bytes() == before
    assert engine.query("SELECT COUNT(*) FROM SigninLogs") == [(3,)]


@pytest.mark.parametrize("sql", ["ATTACH DATABASE ':memory:' AS x", "PRAGMA query_only = OFF", "SELECT printf('x')"])
def test_the_authorizer_holds_where_the_text_was_not_judged(path: Path, sql: str) -> None:
    with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|too many attached|prohibited"):
        Database(path)._connection.execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT COUNT(*) FROM t",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n FROM t) SELECT n FROM t WHERE n > 1",
    ],
)
def test_a_runaway_query_is_interrupted(path: Path, sql: str) -> None:
    engine = SqliteEngine(path, time_limit=0.2)
    assert refused(engine, sql).endswith("interrupted, maximum statement execution time exceeded")
    engine._time_limit = 60
    assert engine.query("SELECT 1") == [(1,)]
    engine.close()


def test_a_runaway_pattern_is_interrupted(path: Path) -> None:
    engine = SqliteEngine(path, time_limit=0.2)
    assert "interrupted" in refused(engine, f"SELECT '{'a' * 60}b' REGEXP '^(a|aa)+$'")
    engine.close()


def test_a_result_that_would_fill_the_memory_is_refused(path: Path) -> None:
    engine = SqliteEngine(path, time_limit=30)
    rows = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 200000) SELECT n FROM t"
    assert "too large" in refused(engine, rows)
    engine.close()


def test_layers_hide_tables(path: Path) -> None:
    engine = SqliteEngine(path, layer="log")
    assert ("SecurityAlert",) not in engine.query("SHOW TABLES")
    assert "doesn't exist" in refused(engine, "SELECT * FROM SecurityAlert")
    assert engine.query("SELECT 1 FROM information_schema.tables WHERE table_name = 'SecurityAlert'") == []
    engine.close()


def test_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_text("no database " * 100)
    for path in (tmp_path / "x.sqlite", tmp_path / "gone.sqlite"):
        with pytest.raises(DataError, match=r"\.sqlite is no incident database"):
            SqliteEngine(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=40)
    | st.text(alphabet="SELECT*FROM ignLogs('\"`;[]/*!-#\\%,1=", max_size=40).map("SELECT ".__add__)
)
@example("SELECT ((((((((((1")
@example("SELECT '\\")
def test_any_text_gives_rows_or_an_error_an_agent_can_read(engine: SqliteEngine, text: str) -> None:
    try:
        assert isinstance(engine.query(text), list)
    except SqlError as error:
        assert "Error: " in str(error)
