"""The agents' SQL in a process of its own: ended at its limits, deaf to nothing, and no slower for it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest

from atlas.benchmarks.excytin.engine import DataError
from atlas.benchmarks.excytin.observe import observation
from atlas.benchmarks.excytin.sqlite_engine import Database, SqliteEngine
from atlas.benchmarks.excytin.workers import Worker, Workers
from tests.excytin_fixtures import PEAK, write_database
from tests.test_excytin_sqlite import refused
from tests.waiting import meanwhile, until

pytest.importorskip("sqlglot", reason="the extra excytin is not installed")

NATIVE = "SELECT REPEAT('a', 1200000) LIKE CONCAT('%_', REPEAT('a', 600000), 'b%')"
"""Some seconds within one call of a function that SQLite brings: no instruction of its machine passes meanwhile."""
LONG = (
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 2000) SELECT REPEAT('a', 1500000) FROM t"
)
"""3 GB, of which a thousand rows are half."""
WIDE = "SELECT " + ", ".join(["REPEAT('a', 9999999)"] * 300)
"""3 GB in one row."""
EMPTY = (
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 90000) SELECT "
    + ", ".join(["''"] * 1_000)
    + " FROM t"
)
"""Cells without a character, 90 million."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_database(tmp_path_factory.mktemp("excytin") / "incident.sqlite")


@pytest.fixture
def engine(path: Path) -> Iterator[SqliteEngine]:
    found = SqliteEngine(path, time_limit=60)
    yield found
    found.close()


def test_a_function_that_looks_at_no_clock_is_ended_at_the_limit(engine: SqliteEngine) -> None:
    engine.query("SELECT 1")
    engine._time_limit = 1
    ticks: list[float] = []
    over = threading.Event()

    def tick() -> None:
        while not over.wait(0.01):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.monotonic()
    assert refused(engine, NATIVE).endswith("maximum statement execution time exceeded")
    ended = time.monotonic()
    over.set()
    thread.join()
    assert sum(began < at < ended for at in ticks) > 5, "other threads run meanwhile"
    engine._time_limit = 60
    assert engine.query("SELECT COUNT(*) FROM SigninLogs") == [(3,)], "the next query is another one's"


PROGRAM = """
import sys
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine

engine = SqliteEngine(sys.argv[1], time_limit=600)
print(engine.query("SELECT 1"), flush=True)
engine.query(sys.argv[2])
"""


def children(parent: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    return [int(word) for word in found.split()]


def gone(pid: int) -> bool:
    def is_gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    return until(is_gone)


def test_control_c_is_heard_in_the_middle_of_a_query(path: Path) -> None:
    program = [sys.executable, "-c", PROGRAM, str(path), NATIVE]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "[(1,)]\n"
        time.sleep(0.5)
        (worker,) = children(process.pid)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=300)
    assert "KeyboardInterrupt" in told and gone(worker)


def test_no_process_outlives_the_program_that_asks(path: Path) -> None:
    program = [sys.executable, "-c", PROGRAM + "\nsys.stdin.read()", str(path), "SELECT 2"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "[(1,)]\n"
        (worker,) = children(process.pid)
        limits = Path(f"/proc/{worker}/limits")
        if limits.exists():
            # What computes when the program is killed hears nothing of it: the system ends it, at 600 s and a few.
            assert "Max cpu time              60" in limits.read_text()
        process.kill()
    assert gone(worker)


MEMORY = f"""{PEAK}
import sys
from atlas.benchmarks.excytin.engine import SqlError
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine

engine = SqliteEngine(sys.argv[1], time_limit=3600)
try:
    engine.query(sys.argv[2])
except SqlError as error:
    print(error)
print(engine.query("SELECT 1"))
engine.close()
print(peak())
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("sql", [LONG, WIDE, EMPTY])
def test_a_result_that_would_fill_the_memory_fills_none(path: Path, sql: str) -> None:
    made = subprocess.run([sys.executable, "-c", MEMORY, str(path), sql], capture_output=True, text=True, timeout=600)
    told, rows, asking, asked = made.stdout.splitlines()
    assert "The result is too large" in told and rows == "[(1,)]", made.stderr
    assert int(asking) < 900 and int(asked) < 2100, "megabytes"


def test_values_are_what_they_were(path: Path, engine: SqliteEngine) -> None:
    sql = (
        "SELECT NULL, 1, 1.5, 'é', DATE('2024-07-17'), STR_TO_DATE('17/07/2024 09:08', '%d/%m/%Y %H:%i'), "
        "CAST('x' AS BINARY)"
    )
    (row,) = engine.query(sql)
    assert row[:6] == (None, 1, 1.5, "é", date(2024, 7, 17), datetime(2024, 7, 17, 9, 8))
    many = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5000) SELECT n, 'x' FROM t"
    assert engine.query(many) == Database(path).query(many) == [(n, "x") for n in range(1, 5001)]


def test_engines_that_follow_each_other_share_a_process(path: Path) -> None:
    workers = Workers()
    for _ in range(3):
        engine = SqliteEngine(path, workers=workers)
        assert engine.query("SELECT COUNT(*) FROM SigninLogs") == [(3,)]
        engine.close()
    log = SqliteEngine(path, layer="log", workers=workers)
    assert "doesn't exist" in refused(log, "SELECT * FROM SecurityAlert")
    worker = workers.take()
    assert worker.alive and not workers._idle
    workers.give(worker)
    workers.close()
    assert not worker.alive
    assert log.query("SELECT 1") == [(1,)], "one of its own, ended at once"
    assert not workers._idle


def test_a_process_that_died_while_it_waited_is_replaced(path: Path) -> None:
    workers = Workers()
    engine = SqliteEngine(path, workers=workers)
    engine.query("SELECT 1")
    workers._idle[0]._process.kill()
    workers._idle[0]._process.wait()
    assert engine.query("SELECT 1") == [(1,)]
    engine.close()
    workers.close()


def test_a_process_that_dies_at_a_query_costs_the_query(path: Path) -> None:
    workers = Workers()
    engine = SqliteEngine(path, time_limit=3600, workers=workers)
    assert engine.query("SELECT 1") == [(1,)]  # it has begun, however busy the machine is
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(refused(engine, NATIVE)))
    thread.start()
    assert until(lambda: engine._running)
    time.sleep(1)
    assert engine._running is not None
    os.kill(engine._running._process.pid, signal.SIGSEGV)
    thread.join(60)
    assert found == ["OperationalError: Lost connection to MySQL server during query"]
    assert engine.query("SELECT 1") == [(1,)]
    engine.close()
    workers.close()


def test_a_program_that_cannot_be_started_is_one_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SqliteEngine(path)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(DataError, match="no process for queries can be started"):
        engine.query("SELECT 1")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DataError, match="did not start"):
        engine.query("SELECT 1")
    engine.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_asks_a_process_of_its_own(path: Path) -> None:
    program = (
        "import os, sys\n"
        "from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine\n"
        "engine = SqliteEngine(sys.argv[1])\n"
        "engine.query('SELECT 1')\n"
        "child = os.fork()\n"
        "for n in range(200):\n"
        "    assert engine.query(f'SELECT {n}, {child > 0}') == [(n, child > 0)]\n"
        "if not child:\n"
        "    engine.close()\n"
        "    os._exit(0)\n"
        "print(os.waitpid(child, 0)[1], engine.query('SELECT 3'))\n"
    )
    made = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=300)
    assert made.stdout == "0 [(3,)]\n", made.stderr


def test_the_process_gets_no_keys(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    worker = Worker()
    worker._begin()
    environ = Path(f"/proc/{worker._process.pid}/environ")
    if not environ.exists():
        pytest.skip("no /proc here")
    assert b"sk-secret" not in environ.read_bytes()
    worker.end()


def test_what_answers_is_read_as_rows_and_nothing_that_runs(path: Path) -> None:
    import pickle
    from io import BytesIO

    from atlas.benchmarks.excytin.workers import _Plain

    with pytest.raises(pickle.UnpicklingError, match=r"posix\.system is no value"):
        _Plain(BytesIO(pickle.dumps(os.system))).load()


def test_a_process_of_its_own_costs_a_query_milliseconds(path: Path, engine: SqliteEngine) -> None:
    def least(asked: SqliteEngine | Database) -> float:
        taken = []
        for _ in range(50):
            began = time.perf_counter()
            asked.query("SELECT * FROM SigninLogs WHERE UserPrincipalName LIKE '%nina%'")
            taken.append(time.perf_counter() - began)
        return min(taken)

    assert least(engine) - least(Database(path)) < 0.05, (
        "half a millisecond on a quiet machine; starting one takes 0.3 s"
    )


def test_a_table_of_another_layer_is_read_under_no_name(path: Path) -> None:
    engine = SqliteEngine(path, layer="log")
    told = refused(
        engine, "SELECT AlertName FROM SecurityAlert UNION SELECT 1 FROM (WITH SecurityAlert AS (SELECT 1) SELECT 1) x"
    )
    assert "denied" in told or "doesn't exist" in told
    engine.close()


def test_a_long_result_is_not_printed_to_be_cut() -> None:
    printed: list[int] = []

    class Cell(str):
        def __repr__(self) -> str:
            printed.append(len(self))
            return super().__repr__()

    rows = [(Cell("x" * 20_000),)] * 5_000
    assert observation(rows).startswith("Retrieved 5000 entries. Displaying first 15 entries.\n[('xxx")
    assert len(printed) == 15


async def test_cancelled_episodes_leave_no_process(path: Path) -> None:
    engine = SqliteEngine(path, time_limit=3600)
    task = asyncio.create_task(asyncio.to_thread(engine.query, NATIVE))
    assert await meanwhile(lambda: engine._running)
    await asyncio.sleep(1)
    assert engine._running is not None
    pid = engine._running._process.pid
    await asyncio.to_thread(engine.close)
    with pytest.raises(DataError, match="was closed"):
        await task
    assert gone(pid)
