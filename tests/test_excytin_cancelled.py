"""Episodes that are cancelled while the database works: the query ends, the connection is closed, the process lives."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atlas.benchmarks.excytin.data import Question
from atlas.benchmarks.excytin.engine import Engine, Row
from atlas.benchmarks.excytin.env import IncidentEnv
from atlas.benchmarks.excytin.judge import RuleJudge
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine
from atlas.errors import DataError
from tests.excytin_fixtures import write_database
from tests.waiting import meanwhile

pytest.importorskip("sqlglot", reason="the extra excytin is not installed")

SERVER = os.environ.get("ATLAS_MYSQL", "mysql://root@127.0.0.1:3306/")
ENDLESS = "SELECT COUNT(*) FROM " + ", ".join(f"DeviceProcessEvents {name}" for name in "abcd")
"""Hours of work over the rows of :func:`busy`, and no more than a moment between two looks at the clock."""


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """An incident with rows enough for a query that does not end by itself."""
    path = write_database(tmp_path / "incident.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        rows = [("2024-07-18 11:29:00", f"host-{n}", str(n), "x") for n in range(1_500)]
        connection.executemany('INSERT INTO "DeviceProcessEvents" VALUES (?, ?, ?, ?)', rows)
        connection.commit()
    return path


@pytest.fixture
def url(busy: Path) -> Iterator[str]:
    pytest.importorskip("pymysql", reason="the extra mysql is not installed")
    from atlas.benchmarks.excytin.load_mysql import drop, load
    from atlas.benchmarks.excytin.mysql_engine import connect

    try:
        connect(SERVER, timeout=2, database=False).close()
    except DataError as absent:
        pytest.skip(f"no MySQL or MariaDB: {absent}")
    name = f"atlas_cancelled_{os.getpid()}"
    yield load(busy, SERVER, name)
    drop(SERVER, name)


def environment(engine: Callable[[], Engine]) -> IncidentEnv:
    question = Question(incident=7, split="test", number=0, context="", question="Which address?", answer="1.2.3.4")
    return IncidentEnv(question, engine, RuleJudge())


PROGRAM = """
import asyncio, sys
from atlas.loop import Rollout
from atlas.policies import Solo
from atlas.testing import ScriptedModel
from tests.test_excytin_cancelled import ENDLESS, environment

opened = []

def engine():
    if sys.argv[1].startswith("mysql:"):
        from atlas.benchmarks.excytin.mysql_engine import MysqlEngine
        opened.append(MysqlEngine(sys.argv[1], time_limit=3600))
    else:
        from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine
        opened.append(SqliteEngine(sys.argv[1], time_limit=3600))
    return opened[-1]

async def main():
    model = ScriptedModel(lambda ask: f"Action: execute[{ENDLESS}]")
    episodes = [asyncio.create_task(Rollout(environment(engine), Solo(model)).play()) for _ in range(12)]
    while not opened:
        await asyncio.sleep(0.02)
    await asyncio.sleep(1.0)
    for episode in episodes:
        episode.cancel()
    done = await asyncio.gather(*episodes, return_exceptions=True)
    print([type(one).__name__ for one in done] == ["CancelledError"] * 12)

asyncio.run(main())
print("alive")
"""


def survives(where: str) -> None:
    """In a process of its own: a dead interpreter fails the test and not the tests."""
    made = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM, where],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parent.parent,
    )
    assert (made.returncode, made.stdout) == (0, "True\nalive\n"), made.stderr[-2000:]
    assert "Traceback" not in made.stderr and "never retrieved" not in made.stderr, made.stderr


def test_episodes_are_cancelled_in_the_middle_of_a_query(busy: Path) -> None:
    survives(str(busy))


def test_episodes_on_a_server_are_cancelled_in_the_middle_of_a_query(url: str) -> None:
    from atlas.benchmarks.excytin.mysql_engine import connect

    survives(url)
    other = connect(url)
    with other.cursor() as cursor:
        cursor.execute("SELECT info FROM information_schema.processlist WHERE info LIKE 'SELECT COUNT(*) FROM Device%'")
        assert not cursor.fetchall(), "a query goes on at the server"
    other.close()


def closed_meanwhile(engine: Engine) -> BaseException:
    """What a query raises that is closed under it from another thread."""
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            engine.query(ENDLESS)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    time.sleep(0.3)
    engine.close()
    thread.join(60)
    assert not thread.is_alive()
    return raised[0]


def test_closing_ends_the_query_and_waits_for_it(busy: Path) -> None:
    engine = SqliteEngine(busy, time_limit=3600)
    error = closed_meanwhile(engine)
    assert isinstance(error, DataError) and "was closed" in str(error)
    engine.close()
    with pytest.raises(DataError, match="was closed"):
        engine.query("SELECT 1")


@pytest.mark.parametrize("reachable", [True, False])
def test_closing_ends_the_query_at_the_server(url: str, reachable: bool) -> None:
    from atlas.benchmarks.excytin.mysql_engine import MysqlEngine

    engine = MysqlEngine(url, time_limit=3)
    if not reachable:
        engine._url = "mysql://nobody@127.0.0.1:1/x"
    error = closed_meanwhile(engine)
    assert isinstance(error, DataError) and "was closed" in str(error)
    engine.close()
    with pytest.raises(DataError, match="was closed"):
        engine.query("SELECT 1")


class Slow:
    """An engine that takes its time to open; it tells whether it was closed."""

    def __init__(self, opening: threading.Event, let: threading.Event) -> None:
        opening.set()
        let.wait(60)
        self.closed = threading.Event()

    def query(self, sql: str) -> list[Row]:
        return []

    def close(self) -> None:
        self.closed.set()


async def test_a_database_that_opens_after_the_end_is_closed_too() -> None:
    opened: list[Slow] = []
    opening, let = threading.Event(), threading.Event()

    def engine() -> Slow:
        opened.append(Slow(opening, let))
        return opened[0]

    env = environment(engine)
    task = asyncio.create_task(env.open())
    assert await meanwhile(opening.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await env.close()
    let.set()
    assert await meanwhile(lambda: opened and opened[0].closed.is_set())
