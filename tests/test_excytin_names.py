"""Two incidents side by side on one server: a statement names its own tables alone, whatever the account may read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atlas.benchmarks.excytin.engine import SqlError
from atlas.benchmarks.excytin.load_mysql import drop, load
from atlas.errors import DataError
from tests.excytin_fixtures import PEAK, write_database
from tests.test_excytin_sqlite import refused

pytest.importorskip("pymysql", reason="the extra mysql is not installed")
pytest.importorskip("sqlglot", reason="the extra excytin is not installed")

from atlas.benchmarks.excytin.mysql_engine import MysqlEngine, connect
from atlas.benchmarks.excytin.mysql_names import Names
from atlas.benchmarks.excytin.sqltext import check, pieces

SERVER = os.environ.get("ATLAS_MYSQL", "mysql://root@127.0.0.1:3306/")
OWN, OTHER = f"atlas_own_{os.getpid()}", f"atlas_other_{os.getpid()}"
BUSY = (
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 900) "
    "SELECT COUNT(*) FROM t a, t b, t c, t d WHERE a.n <> d.n"
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        connect(SERVER, timeout=2, database=False).close()
    except DataError as absent:
        pytest.skip(f"no MySQL or MariaDB: {absent}")
    path = write_database(tmp_path_factory.mktemp("excytin") / "incident.sqlite")
    other = load(path, SERVER, OTHER)
    with closing(connect(other)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE Hoard (secret TEXT)")
        cursor.execute("INSERT INTO Hoard VALUES ('gold')")
        cursor.execute("CREATE FUNCTION told() RETURNS TEXT RETURN (SELECT secret FROM Hoard)")
    yield load(path, SERVER, OWN)
    drop(SERVER, OWN)
    drop(SERVER, OTHER)


@pytest.fixture
def engine(url: str) -> Iterator[MysqlEngine]:
    found = MysqlEngine(url, time_limit=1)
    yield found
    found.close()


ELSEWHERE = [
    "SELECT secret FROM {other}.Hoard",
    "SELECT secret FROM `{other}`.`Hoard`",
    "SELECT secret FROM {other} . Hoard h",
    "SELECT secret FROM {other}\t.\nHoard",
    "SELECT * FROM SigninLogs, {other}.Hoard",
    "SELECT * FROM SigninLogs JOIN {other}.Hoard ON 1 = 1",
    "SELECT * FROM SigninLogs STRAIGHT_JOIN {other}.Hoard",
    "SELECT * FROM (SigninLogs, {other}.Hoard)",
    "SELECT (SELECT secret FROM {other}.Hoard)",
    "SELECT 1 FROM SigninLogs WHERE EXISTS (SELECT 1 FROM {other}.Hoard)",
    "SELECT 1 UNION SELECT secret FROM {other}.Hoard",
    "(SELECT 1) UNION ALL (SELECT secret FROM {other}.Hoard)",
    "WITH x AS (SELECT secret FROM {other}.Hoard) SELECT * FROM x",
    "WITH {other} AS (SELECT 1) SELECT * FROM {other}.Hoard",
    "WITH Hoard AS (SELECT 1) SELECT secret FROM {other}.Hoard",
    "SELECT * FROM SigninLogs AS {other}, {other}.Hoard",
    "SELECT 1 --1 FROM {other}.Hoard",
    "SELECT 1 --1, secret FROM {other}.Hoard",
    "SELECT 1 -`-1 FROM {other}.Hoard",
    "SELECT 1 /`*!50000 , secret FROM {other}.Hoard */",
    "SELECT 1 AS x\x0bFROM\x0b{other}.Hoard",
    "SELECT 1 AS x\x0cFROM\x0c{other}.Hoard",
    "SELECT 1 AS x FROM\u00a0{other}.Hoard",
    "SELECT @a := (SELECT secret FROM {other}.Hoard)",
    "SELECT {other}.told()",
    "SELECT `{other}` . told ( )",
    "SELECT * FROM {{oj {other}.Hoard LEFT JOIN SigninLogs ON 1 = 1}}",
    "TABLE {other}.Hoard",
    "SELECT 1 FROM SigninLogs WHERE 'x' IN (TABLE {other}.Hoard)",
    "EXPLAIN SELECT * FROM {other}.Hoard",
    "EXPLAIN FORMAT=JSON SELECT * FROM {other}.Hoard",
    "EXPLAIN {other}.Hoard",
    "DESCRIBE {other}.Hoard",
    "DESC {other}.Hoard secret",
    "SHOW TABLES FROM {other}",
    "SHOW FULL TABLES IN {other}",
    "SHOW TABLES IN {other} LIKE '%'",
    "SHOW TABLES WHERE (SELECT secret FROM {other}.Hoard) = 'gold'",
    "SHOW COLUMNS FROM Hoard FROM {other}",
    "SHOW COLUMNS FROM {other}.Hoard",
    "SHOW INDEX FROM Hoard IN {other}",
    "SHOW CREATE TABLE {other}.Hoard",
    "SHOW TABLE STATUS FROM {other}",
    "SHOW CREATE DATABASE {other}",
    "SHOW PROCESSLIST",
    "SELECT INFO FROM information_schema.processlist",
    "SELECT * FROM information_schema.user_privileges",
    "SELECT * FROM information_schema.innodb_sys_tables",
    "SELECT table_name FROM mysql.innodb_table_stats",
    "SELECT LASTVAL({other}.s)",
    "SELECT NEXT VALUE FOR {other}.s",
]


@pytest.mark.parametrize("sql", ELSEWHERE)
def test_other_databases_are_out_of_reach(engine: MysqlEngine, sql: str) -> None:
    told = refused(engine, sql.format(other=OTHER))
    assert "gold" not in told and "Error: " in told
    assert engine.query("SELECT COUNT(*) FROM SigninLogs") == [(3,)]


@pytest.mark.parametrize("sql", ["SELECT * FROM {}.Hoard", "DESCRIBE {}.Hoard", "SHOW TABLES FROM {}"])
def test_whether_there_is_another_database_is_not_told(engine: MysqlEngine, sql: str) -> None:
    there, absent = (refused(engine, sql.format(name)) for name in (OTHER, "atlas_none"))
    assert there.replace(OTHER, "X") == absent.replace("atlas_none", "X") == "ProgrammingError: Unknown database 'X'"


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'Hoard'", [(0,)]),
        ("SELECT COUNT(*) FROM information_schema.TABLES t WHERE t.table_schema <> 'env_monitor_db'", [(0,)]),
        ("SELECT COUNT(*) FROM INFORMATION_SCHEMA.COLUMNS WHERE column_name = 'secret'", [(0,)]),
        ("SELECT columns.table_name FROM information_schema.columns WHERE column_name = 'Entities'", None),
        ("SELECT table_name FROM information_schema.tables WHERE table_schema = 'env_monitor_db' ORDER BY 1", None),
        ("SELECT schema_name FROM information_schema.schemata ORDER BY 1", None),
        ("SHOW DATABASES", None),
    ],
)
def test_the_schema_tells_of_this_database_alone(engine: MysqlEngine, sql: str, rows: list[object] | None) -> None:
    found = engine.query(sql)
    assert found == rows if rows is not None else found
    assert not any(OTHER in str(cell) or OWN in str(cell) for row in found for cell in row)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT s.IPAddress FROM env_monitor_db.SigninLogs s WHERE s.UserPrincipalName LIKE '%nina%'",
        "SELECT env_monitor_db.SigninLogs.IPAddress FROM SigninLogs",
        "SELECT a.IPAddress, b.AlertName\nFROM SigninLogs a\r\n\tJOIN SecurityAlert b ON 1 = 1 -- why\nWHERE 1",
        "WITH x AS (SELECT * FROM SigninLogs) SELECT x.IPAddress FROM x",
        "SELECT y.n FROM (SELECT COUNT(*) AS n FROM SigninLogs) y",
        "SELECT 1 - -1, 3--1, '--', '/* x */', 'a.b', \"x.y\", 1.5 FROM DUAL;",
        "SELECT COUNT(*) FROM SigninLogs WHERE UserPrincipalName = 'atlas.Hoard' OR IPAddress LIKE '%{{x}}%'",
        "SELECT j.a FROM JSON_TABLE('[1, 2]', '$[*]' COLUMNS (a INT PATH '$')) j",
        "SELECT GROUP_CONCAT(DISTINCT IPAddress ORDER BY IPAddress SEPARATOR ', ') FROM SigninLogs",
        "EXPLAIN SELECT * FROM SigninLogs",
        "EXPLAIN SigninLogs",
        "DESCRIBE env_monitor_db.SigninLogs",
        "DESC SigninLogs 'IP%';",
        "SHOW TABLES FROM env_monitor_db",
        "SHOW TABLES WHERE Tables_in_env_monitor_db LIKE '%Alert%'",
        "SHOW FULL TABLES LIKE '%Alert%'",
        "SHOW COLUMNS FROM SigninLogs IN env_monitor_db LIKE 'ip%'",
        "SHOW FULL COLUMNS FROM env_monitor_db.SigninLogs",
        "SHOW INDEX FROM SigninLogs",
        "SHOW CREATE TABLE SigninLogs",
        "SHOW WARNINGS",
    ],
)
def test_what_is_its_own_is_read(engine: MysqlEngine, sql: str) -> None:
    found = engine.query(sql)
    assert found or sql in ("SHOW INDEX FROM SigninLogs", "SHOW WARNINGS") or "COUNT" in sql


@pytest.mark.parametrize(
    "sql",
    ["SELECT 'a' FROM SigninLogs", "SELECT IPAddress FROM env_monitor_db.SigninLogs", "SHOW COLUMNS FROM SigninLogs"],
)
def test_names_may_differ_in_case_where_the_server_says_so(sql: str) -> None:
    names = Names("own", ["signinlogs"], frozenset({"alertinfo"}), cased=False)
    parts = pieces(sql)
    assert "SigninLogs" in (names.statement(parts, check(parts)) or "")
    with pytest.raises(SqlError, match="doesn't exist"):
        Names("own", ["signinlogs"], frozenset()).statement(parts, check(parts))


def test_layers_hide_tables_from_the_schema_too(url: str) -> None:
    engine = MysqlEngine(url, layer="log")
    asked = "SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'SecurityAlert'"
    assert engine.query(asked) == [(0,)]
    engine.close()


# --- the same bounds as on SQLite -------------------------------------------------------------------------------------

MEMORY = f"""{PEAK}
import sys
from atlas.benchmarks.excytin.engine import SqlError
from atlas.benchmarks.excytin.mysql_engine import MysqlEngine

engine = MysqlEngine(sys.argv[1], time_limit=60)
try:
    print(len(engine.query(sys.argv[2])))
except SqlError as error:
    print(error)
print(engine.query("SELECT 1"))
print(peak())
"""
LONG = (
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 900) SELECT REPEAT('a', 1500000) FROM t"
)
WIDE = "SELECT " + ", ".join(["REPEAT('a', 16000000)"] * 30)


@pytest.mark.parametrize("sql", [LONG, WIDE])
def test_a_result_that_would_fill_the_memory_fills_none(url: str, sql: str) -> None:
    """It is given up where it outgrows the bound, and not read to its end: neither row by row nor within one row."""
    made = subprocess.run([sys.executable, "-c", MEMORY, url, sql], capture_output=True, text=True, timeout=600)
    told, rows, size = made.stdout.splitlines()
    assert "The result is too large" in told and rows == "[(1,)]", made.stderr
    assert not made.stderr and int(size) < 600, "megabytes"


def test_a_query_that_the_server_does_not_end_is_given_up(url: str) -> None:
    engine = MysqlEngine(url, time_limit=0.5)
    engine._ask("SET SESSION max_statement_time = 0")
    began = time.monotonic()
    assert "execution time exceeded" in refused(engine, BUSY)
    assert time.monotonic() - began < 60
    assert engine.query("SELECT COUNT(*) FROM SigninLogs") == [(3,)]
    with closing(connect(url)) as other, other.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'WITH RECURSIVE t(n)%'")
        assert cursor.fetchone() == (0,), "it goes on at the server"
    engine.close()


INTERRUPTED = """
import sys, time
from tests.test_excytin_names import BUSY
from atlas.benchmarks.excytin.mysql_engine import MysqlEngine

engine = MysqlEngine(sys.argv[1], time_limit=60)
print("asking", flush=True)
try:
    engine.query(BUSY)
except KeyboardInterrupt:
    print(engine.query("SELECT COUNT(*) FROM information_schema.tables"))
"""


def test_control_c_is_heard_in_the_middle_of_a_query(url: str) -> None:
    program = [sys.executable, "-c", INTERRUPTED, url]
    root = Path(__file__).parent.parent
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None and process.stdout.readline() == "asking\n"
        time.sleep(1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "[(3,)]\n"
    assert time.monotonic() - began < 60


def test_a_runaway_query_is_interrupted(engine: MysqlEngine) -> None:
    began = time.monotonic()
    assert "execution time exceeded" in refused(engine, BUSY)
    assert time.monotonic() - began < 60
    assert engine.query("SELECT 1") == [(1,)]
