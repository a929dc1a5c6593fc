"""The engine on a real server: MariaDB or MySQL at ATLAS_MYSQL, or with root and no password on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.benchmarks.excytin.engine import SqlError
from atlas.benchmarks.excytin.load_mysql import drop, load
from atlas.benchmarks.excytin.mysql_engine import MysqlEngine, connect
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine
from atlas.errors import AtlasError, ConfigError, DataError
from tests.excytin_fixtures import write_database
from tests.test_excytin_sqlite import BREAKOUTS, refused

pytest.importorskip("pymysql", reason="the extra mysql is not installed")
pytest.importorskip("sqlglot", reason="the extra excytin is not installed")

SERVER = os.environ.get("ATLAS_MYSQL", "mysql://root@127.0.0.1:3306/")
NAME = f"atlas_test_{os.getpid()}"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_database(tmp_path_factory.mktemp("excytin") / "incident.sqlite")


@pytest.fixture(scope="module")
def url(path: Path) -> Iterator[str]:
    try:
        connect(SERVER, timeout=2, database=False).close()
    except DataError as absent:
        pytest.skip(f"no MySQL or MariaDB: {absent}")
    yield load(path, SERVER, NAME)
    drop(SERVER, NAME)


@pytest.fixture
def engine(url: str) -> Iterator[MysqlEngine]:
    found = MysqlEngine(url, time_limit=1)
    yield found
    found.close()


@pytest.mark.parametrize("sql", BREAKOUTS)
def test_nothing_but_reading(engine: MysqlEngine, sql: str) -> None:
    assert "Error: " in refused(engine, sql)
    assert engine.query("SELECT COUNT(*) FROM SigninLogs") == [(3,)]
    assert engine.query("SELECT 1") == [(1,)]


def test_the_session_is_read_only_where_the_text_was_not_judged(engine: MysqlEngine) -> None:
    for sql in ("DELETE FROM SigninLogs", "CREATE TABLE x (a INT)"):
        with pytest.raises(SqlError, match="READ ONLY"):
            engine._ask(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM SigninLogs",
        "SELECT COUNT(*) FROM env_monitor_db.SigninLogs WHERE UserPrincipalName LIKE 'NINA%'",
        "SELECT DISTINCT DATE(TimeGenerated) FROM SigninLogs",
        "SELECT AlertName FROM SecurityAlert WHERE AlertName LIKE '%100\\%'",
        "SELECT COUNT(*) FROM SigninLogs WHERE ResultType > 9",
        "SELECT SUBSTRING_INDEX('a.b.c', '.', -2), TIMESTAMPDIFF(HOUR, '2024-01-01', '2024-01-02 05:00:00')",
        "SELECT STR_TO_DATE('17/07/2024', '%d/%m/%Y'), DATE_SUB('2024-03-31', INTERVAL 1 MONTH)",
        "SELECT AlertName FROM SecurityAlert WHERE AlertName REGEXP '^mal'",
        "SELECT JSON_UNQUOTE(JSON_EXTRACT(Entities, '$[0].Address')) FROM SecurityAlert LIMIT 1",
        "SHOW TABLES",
        "SHOW TABLES LIKE '%alert%'",
        "USE env_monitor_db",
        "SELECT DATABASE()",
    ],
)
def test_both_engines_return_the_same(engine: MysqlEngine, path: Path, sql: str) -> None:
    embedded = SqliteEngine(path)
    assert embedded.query(sql) == list(engine.query(sql))
    embedded.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT Nope FROM SigninLogs",
        "SELECT * FROM SigninLogs WHERE Nope = 1",
        "SELECT * FROM Nope",
        "SELECT TOP 5 * FROM SigninLogs",
        "SELECT * FROM SigninLogs] LIMIT 1",
        "I will query",
        "DROP TABLE SigninLogs",
    ],
)
def test_both_engines_complain_in_the_same_words(engine: MysqlEngine, path: Path, sql: str) -> None:
    embedded = SqliteEngine(path)
    assert refused(embedded, sql) == refused(engine, sql)
    embedded.close()


def test_layers_hide_tables(url: str) -> None:
    engine = MysqlEngine(url, layer="log")
    assert ("SecurityAlert",) not in engine.query("SHOW TABLES")
    assert "another layer" in refused(engine, "SELECT * FROM SecurityAlert")
    engine.close()


def test_a_server_that_is_gone_in_mid_run_is_no_observation(url: str) -> None:
    engine = MysqlEngine(url)
    other = connect(url)
    with other.cursor() as cursor:
        cursor.execute(f"KILL {engine._connection.thread_id()}")
    other.close()
    for _ in range(2):
        with pytest.raises(DataError, match="server is gone"):
            engine.query("SELECT 1")
    engine.close()


@pytest.mark.parametrize("wrong", ["", "127.0.0.1", "mysql://", "sqlite:///x", "mysql://host:port/x", "mysql://host/"])
def test_urls_that_are_none(wrong: str) -> None:
    with pytest.raises(ConfigError, match="mysql://user:password@host:port/database"):
        MysqlEngine(wrong)


def test_nobodys_database_is_overwritten(path: Path) -> None:
    for name in ("mysql", "test", "atlas_`x"):
        with pytest.raises(AtlasError, match="atlas_"):
            load(path, SERVER, name)


def test_a_refused_connection_is_one_sentence() -> None:
    with pytest.raises(DataError, match=r"127\.0\.0\.1:1 refuses the connection"):
        MysqlEngine("mysql://nobody@127.0.0.1:1/x")
