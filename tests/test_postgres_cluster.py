"""A PostgreSQL server of the test's own, with passwords and restarts, where its programs are installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from atlas.cli import main
from atlas.errors import StoreError
from atlas.memory import Memory
from atlas.memory.backend import ConnectionLost
from atlas.memory.postgres import PostgresBackend
from atlas.memory.postgres_connection import ENDS
from atlas.traces import RunWriter
from atlas.traces.claims import Claims
from atlas.traces.place import place_of, values
from tests.memory_fixtures import demo

PASSWORD = "correct-horse-battery"


class Cluster:
    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self.programs, self.folder, self.port = programs, folder, port
        self.url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres?schema=desk"

    def ctl(self, *words: str) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        command = [self.programs / "pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-w", "-o", options]
        run(*map(str, command), *words)

    def crash(self) -> None:
        """As when the machine's power goes."""
        self.ctl("stop", "-m", "immediate")


def run(*command: str) -> None:
    """As the user that the server's programs run as: they refuse root."""
    demote = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    subprocess.run([*demote, *command], check=True, capture_output=True, cwd="/", timeout=600)


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    """On a connection of its own, as another program would."""
    import psycopg

    with psycopg.connect(url.split("?")[0], autocommit=True) as connection:
        found = connection.execute(statement)
        return found.fetchall() if found.description else []


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    found = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        *map(Path, filter(None, [shutil.which("initdb")])),
    ]
    if not found:
        pytest.skip("the programs of a PostgreSQL server (initdb) are not installed")
    folder = Path(tempfile.mkdtemp(prefix="atlas-pg-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Cluster(found[-1].parent, folder, port)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(secret, "postgres", "postgres")
        initdb = [str(made.programs / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "scram-sha-256"]
        run(*initdb, f"--pwfile={secret}", "-E", "UTF8", "--locale=C")
        made.ctl("start")
    except (OSError, LookupError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"no PostgreSQL server of its own can be started here: {error}")
    yield made
    made.ctl("stop", "-m", "immediate")
    shutil.rmtree(folder, ignore_errors=True)


def test_a_wrong_password_is_one_sentence_and_no_password_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", "/nonexistent")
    for url in (cluster.url.replace(PASSWORD, "wrong-horse-battery"), cluster.url.replace(f":{PASSWORD}", "")):
        with pytest.raises(StoreError, match="does not take the password of its user") as error:
            Memory(url, "hash")
        assert "horse" not in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(SystemExit):
        main(["memory", "ls", cluster.url.replace(PASSWORD, "wrong-horse-battery")])
    said = "".join(capfd.readouterr())
    assert "PGPASSWORD" in said and "horse" not in said
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with Memory(cluster.url.replace(f":{PASSWORD}", ""), "hash") as memory:
        assert memory.add(demo(1))


@pytest.mark.parametrize("crash", [False, True])
def test_a_server_that_is_restarted_in_mid_run_loses_and_doubles_nothing(cluster: Cluster, crash: bool) -> None:
    url = cluster.url.replace("desk", f"restarted_{int(crash)}")
    told: list[str] = []
    stop = threading.Event()
    added: list[list[int]] = [[], [], []]

    def add(part: int) -> None:
        with Memory(url, "hash") as memory:
            while not stop.is_set():
                number = 10_000 * part + len(added[part])
                try:
                    assert memory.add(demo(number)), "each is new"
                except StoreError as error:
                    told.append(str(error))
                    return
                added[part].append(number)

    writers = [threading.Thread(target=add, args=(part,)) for part in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(2):
        before = sum(map(len, added))
        while sum(map(len, added)) < before + 6:
            time.sleep(0.05)
        if crash:
            cluster.crash()
            cluster.ctl("start")
        else:
            cluster.ctl("restart", "-m", "fast")
    each = [len(part) for part in added]
    while any(len(part) < count + 2 for part, count in zip(added, each, strict=True)) and not told:
        time.sleep(0.05)
    stop.set()
    for writer in writers:
        writer.join()
    assert not told
    with Memory(url, "hash") as memory:
        there = sorted(int(one.task_id.removeprefix("task-")) for one in memory.demonstrations.all())
        assert there == sorted(number for part in added for number in part)
        assert [logged.version.number for logged in memory.log()] == list(range(1, len(there) + 1))


def test_a_commit_that_a_crash_undid_is_not_taken_for_the_one_that_got_its_number(cluster: Cluster) -> None:
    """What has not reached the disk is forgotten, and its number is given out again."""
    url = cluster.url.replace("desk", "number")
    with Memory(url, "hash") as memory, Memory(url, "hash") as other:
        assert memory.add(demo(1)) and other.add(demo(2))
        database = memory.database
        with pytest.raises(ConnectionLost, match="of which nothing was written"), database.transaction():
            connection = database.backend
            assert isinstance(connection, PostgresBackend)
            connection.set_fact("a", "b")
            number = connection._transaction
            cluster.crash()
            cluster.ctl("start")
            assert other.add(demo(3))
            assert ask(url, f"SELECT pg_xact_status('{number}')") == [("committed",)], "by the other one"
        assert memory.add(demo(4)), "and it goes on"
        with Memory(url, "hash") as third:
            assert third.database.backend.fact("a") is None
            assert len(third.demonstrations.all()) == 4


@pytest.mark.parametrize("since", [0, ENDS - 1, ENDS])
def test_a_commit_whose_answer_was_lost_is_known_though_others_have_written_since(cluster: Cluster, since: int) -> None:
    import psycopg

    url = cluster.url.replace("desk", f"answer_{since}")
    with Memory(url, "hash") as memory, Memory(url, "hash") as other:
        mine, theirs = memory.database.backend, other.database.backend
        assert isinstance(mine, PostgresBackend)
        sent, lost = mine._sent, []

        def lose(statements: str) -> list[tuple[Any, ...]]:
            found = sent(statements)
            if "; COMMIT" in statements and not lost:
                lost.append(statements)
                mine._db.close()
                for number in range(since):
                    with theirs.transaction():
                        theirs.set_fact("number", str(number))
                raise psycopg.OperationalError("the connection is lost")
            return found

        mine._sent = lose  # type: ignore[method-assign]
        unknown = pytest.raises(StoreError, match="whether it was made is not known: look at it with 'atlas memory log")
        with unknown if since == ENDS else nullcontext(), memory.database.transaction():
            mine.add_outcome("episode", "{}")
        assert lost
        assert other.database.backend.outcome("episode") == "{}"


def test_a_table_of_an_earlier_build_gets_the_column_of_the_marks(cluster: Cluster) -> None:
    url = cluster.url.replace("desk", "earlier")
    with Memory(url, "hash") as memory, RunWriter(f"{url}&run=r"):
        assert memory.add(demo(1))
    for table in ("memory", "run_store"):
        ask(url, f"ALTER TABLE earlier.{table} DROP COLUMN ended; UPDATE earlier.{table} SET schema_version = 1")
    with Memory(url, "hash") as memory, RunWriter(f"{url}&run=r"):
        assert memory.add(demo(2))
    with Memory(url, "hash") as memory:
        assert len(memory.demonstrations.all()) == 2
    assert ask(url, "SELECT m.schema_version, r.schema_version FROM earlier.memory m, earlier.run_store r") == [(2, 2)]
    ask(url, "ALTER TABLE earlier.memory DROP COLUMN ended; UPDATE earlier.memory SET schema_version = 1")
    ask(url, f"CREATE ROLE clerk LOGIN PASSWORD '{PASSWORD}'")
    ask(url, "GRANT USAGE ON SCHEMA earlier TO clerk")
    ask(url, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA earlier TO clerk")
    with Memory(url.replace("//postgres:", "//clerk:"), "hash") as memory:
        assert len(memory.demonstrations.all()) == 2, "who reads needs no marks"
        with pytest.raises(StoreError, match="only their owner may add: write to it once as that user"):
            memory.add(demo(3))
    with Memory(url, "hash") as memory:
        assert memory.add(demo(3))


def test_a_run_outlives_its_server_and_nothing_of_it_is_there_twice(cluster: Cluster) -> None:
    url = f"{cluster.url}&run=desk"
    done: list[int] = []
    with RunWriter(url) as writer, Claims(writer.place) as claims:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                writer._trace.append([b'{"n":%d}' % len(done)], ends=len(done) % 40 == 0)
                done.append(len(done))

        assert claims.claim("mine")
        writing = threading.Thread(target=write)
        writing.start()
        for how in (lambda: cluster.ctl("restart", "-m", "fast"), lambda: (cluster.crash(), cluster.ctl("start"))):
            began = len(done)
            while len(done) < began + 60:
                time.sleep(0.01)
            how()
            after = len(done)
            while len(done) < after + 20:
                time.sleep(0.01)
        stop.set()
        writing.join()
        with Claims(url) as other:
            assert not other.claim("mine"), "what was claimed is claimed after a crash as well"
    found = [value["n"] for _, value in values(place_of(url).log("trace.jsonl"))]
    assert found == list(range(len(done)))
