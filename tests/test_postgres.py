"""A memory on a PostgreSQL server: what is shown of its URL, many processes, broken connections, what it refuses."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atlas
from atlas.cli import main
from atlas.errors import ConfigError, FrozenMemory, MissingExtra, StoreError
from atlas.memory import Memory, postgres, postgres_connection
from atlas.memory.backend import Note, told
from atlas.memory.database import Database, Write
from atlas.memory.postgres_driver import keepable, kept
from atlas.memory.postgres_url import read
from atlas.record import content_hash
from atlas.testing import ScriptedModel
from tests.memory_fixtures import demo, spawn
from tests.postgres_server import as_user, ask, base, drop, fresh, others, schema, server, with_password
from tests.waiting import until

# --- the URL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:s3cret-word@db.example:6543/desk?schema=team", "postgresql://ann@db.example:6543/desk?schema=team"),
        ("postgres://ann@db/desk", "postgresql://ann@db/desk"),
        ("postgresql://ann:s3cret-word@a:1,b:2/desk?sslmode=require", "postgresql://ann@a:1,b:2/desk?sslmode=require"),
        ("postgresql:///desk?host=/run/pg&password=s3cret-word", "postgresql:///desk?host=/run/pg"),
        ("postgresql://db?user=ann&sslpassword=s3cret-word", "postgresql://db/?user=ann"),
    ],
)  # fmt: skip
def test_a_url_is_told_without_its_password(url: str, shown: str) -> None:
    assert told(url) == shown == told(shown)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cret@word@db/desk",
        "postgresql://ann:s3cret/word@db/desk",
        "postgresql://ann:s3cret#word@db/desk",
        "postgresql://ann:s3cret?word@db/desk",
        "postgresql://ann:s3cret-word@db/desk?schema=a&schema=b",
        "postgresql://ann:s3cret-word@db/desk?s3cret-word",
        "postgresql://ann:s3cret-word@db/desk?schema=pg_mine",
        'postgresql://ann:s3cret-word@db/desk?schema=a"b',
        "postgresql://ann:s3cret%zzword@127.0.0.1:1/desk",
        "postgresql://ann:s3cret-word@127.0.0.1:1/desk?nonsense=1",
        "postgresqll://ann:s3cret-word@db/desk",
        "postgresql://ann:s3cret-word@127.0.0.1:1/desk",
    ],
)
def test_whatever_is_wrong_with_a_url_its_password_is_not_shown(url: str) -> None:
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    with pytest.raises((ConfigError, StoreError)) as error:
        Memory(url, "hash")
    seen: BaseException | None = error.value
    while seen is not None:
        assert "s3cret" not in str(seen) and "zzword" not in str(seen)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    assert "\n" not in str(error.value)


@given(st.text(max_size=20))
def test_a_password_of_whatever_letters_is_taken_and_not_shown(password: str) -> None:
    place = read(f"ann:{quote(password, safe='')}@db/desk")
    assert place.path == "postgresql://ann@db/desk" and place.secrets == ((password,) if password else ())


@given(st.text(alphabet=st.sampled_from("\0\ue00001ab"), max_size=8))
def test_every_text_comes_back(text: str) -> None:
    assert kept(keepable(text)) == text and "\0" not in str(keepable(text))


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.fixture
def url() -> Iterator[str]:
    made = fresh()
    yield made
    drop(made)


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with Memory(url, "hash") as opened:
        yield opened


def test_texts_of_any_kind_are_kept_as_they_are(memory: Memory) -> None:
    odd = "a\0b\ue000c ü 🜁 'quoted' %s {s}"
    memory.database.write([Write("entry", odd, None, json.dumps({"odd": odd}))], author="person:a\0", reason=odd)
    backend = memory.database.backend
    with backend.transaction():
        backend.set_fact(odd, odd)
        backend.set_key("entry", odd, odd)
        backend.set_learned(odd, 3)
        backend.put_note(Note((odd,), odd, json.dumps(odd)))
    assert backend.fact(odd) == odd and backend.keys("entry") == {odd: odd} and backend.learned(odd) == 3
    assert [i.id for i in memory.database.find("a\0b\ue000")] == [odd] and memory.log()[0].version.reason == odd
    assert backend.notes((odd,)) == [Note((odd,), odd, json.dumps(odd))]


def test_two_memories_are_in_one_database(url: str, memory: Memory) -> None:
    other = fresh()
    try:
        with Memory(other, "hash") as second:
            memory.add(demo(1))
            assert len(memory) == 1 and len(second) == 0 and memory.database.id != second.database.id
    finally:
        drop(other)


def test_a_place_without_a_memory_is_not_made_by_looking(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["memory", "ls", url])
    assert "there is no memory at postgresql://" in capsys.readouterr().err
    assert not ask("SELECT 1 FROM pg_namespace WHERE nspname = %s", schema(url))


# --- many processes ---------------------------------------------------------------------------------------------------

ADD = """
import sys
from atlas.memory import Memory
from atlas.record import content_hash
from atlas.testing import ScriptedModel
from tests.memory_fixtures import demo
first, count = int(sys.argv[2]), int(sys.argv[3])
with Memory(sys.argv[1], "hash") as memory:
    print("ready", flush=True)
    sys.stdin.readline() if sys.argv[4:] else None
    for number in range(first, first + count):
        print("added", number, memory.add(demo(number)), flush=True)
"""


def numbers(memory: Memory) -> list[int]:
    return sorted(int(one.task_id.removeprefix("task-")) for one in memory.demonstrations.all())


def gapless(memory: Memory) -> bool:
    """Whether versions and places are numbered as they are on a file, and each version did one thing."""
    versions = [logged.version.number for logged in memory.log()]
    seqs = [item.seq for item in memory.database.rows("demonstration")]
    return versions == list(range(1, len(versions) + 1)) and seqs == list(range(1, len(seqs) + 1))


def test_eight_processes_add_at_once_and_nothing_is_lost(url: str) -> None:
    added = [spawn(ADD, url, 20 * part, 20) for part in range(8)]
    assert [process.wait(300) for process in added] == [0] * 8
    with Memory(url, "hash") as memory:
        assert numbers(memory) == list(range(160)) and gapless(memory)
        assert len(memory.log()) == 160


def test_processes_killed_in_mid_write_lose_nothing_that_was_acknowledged(url: str, memory: Memory) -> None:
    processes = [spawn(ADD, url, 1_000 * part, 900) for part in range(3)]
    said = []
    for process, seconds in zip(processes, (0.2, 0.5, 0.8), strict=True):
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        first = process.stdout.readline()
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        lines = [first, *process.stdout.read().splitlines()]
        said += [line.split() for line in lines if line.strip().endswith(("True", "False"))]
        process.wait()
    acknowledged = {int(number) for _, number, new in said if new == "True"}
    # At most one more of each is there: killed between the commit and the word of it.
    there = set(numbers(memory))
    assert acknowledged and acknowledged <= there and len(there - acknowledged) <= 3 and gapless(memory)
    assert memory.add(demo(5_000)), "nobody holds the turn that a killed process had"


# --- connections that break -------------------------------------------------------------------------------------------


def cut(url: str) -> int:
    """Break every connection to the memory, as an administrator does."""
    found = others(url)
    for pid in found:
        ask("SELECT pg_terminate_backend(%s, 5000)", pid)
    return len(found)


def test_an_idle_connection_that_broke_is_made_anew(url: str, memory: Memory) -> None:
    memory.add(demo(1))
    assert cut(url) == 1
    assert len(memory) == 1
    assert cut(url) == 1
    assert memory.add(demo(2)) and numbers(memory) == [1, 2]


def test_a_connection_that_breaks_before_the_first_write_is_made_anew_in_mid_transaction(
    url: str, memory: Memory
) -> None:
    memory.add(demo(1))
    with memory.database.transaction():
        assert len(memory) == 1
        assert cut(url) == 1
        assert memory.add(demo(2))
    with memory.database.reading():
        assert len(memory) == 2
        assert cut(url) == 1
        assert len(memory) == 2
    assert numbers(memory) == [1, 2] and gapless(memory)


def test_a_transaction_is_not_gone_on_with_where_others_wrote_meanwhile(url: str, memory: Memory) -> None:
    memory.add(demo(1))
    again = pytest.raises(StoreError, match="nothing was written: do it again")
    with Memory(url, "hash") as other, again, memory.database.reading():
        assert len(memory) == 1
        (pid,) = [pid for pid in others(url) if pid == memory.database.backend._db.info.backend_pid]
        ask("SELECT pg_terminate_backend(%s, 5000)", pid)
        other.add(demo(2))
        len(memory)
    assert len(memory) == 2


def test_what_was_written_in_a_transaction_that_broke_is_undone_and_said(url: str, memory: Memory) -> None:
    memory.add(demo(1))
    said = "broke in the middle of something, of which nothing was written: do it again"
    with pytest.raises(StoreError, match=said), memory.database.transaction():
        memory.add(demo(2))
        cut(url)
        memory.add(demo(3))
    assert numbers(memory) == [1] and memory.add(demo(2)) and gapless(memory)


def test_a_commit_whose_answer_was_lost_is_asked_for(url: str, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = memory.database.backend
    sent = backend._sent

    def commits_and_breaks(statements: str) -> list[tuple[Any, ...]]:
        found = sent(statements)
        if statements.endswith("COMMIT") and "UPDATE" in statements:
            monkeypatch.setattr(backend, "_sent", sent)
            cut(url)
            return sent("SELECT 1")
        return found

    def breaks_and_commits(statements: str) -> list[tuple[Any, ...]]:
        if statements.endswith("COMMIT") and "UPDATE" in statements:
            monkeypatch.setattr(backend, "_sent", sent)
            cut(url)
        return sent(statements)

    for number, breaks in enumerate((commits_and_breaks, breaks_and_commits), 1):
        monkeypatch.setattr(backend, "_sent", breaks)
        assert memory.add(demo(number)), "once, whether the commit came through or was done again"
        assert numbers(memory) == list(range(1, number + 1)) and gapless(memory)


def test_connections_are_dropped_while_many_write_and_nothing_is_lost_or_doubled(url: str, memory: Memory) -> None:
    told_of: list[str] = []
    added: list[int] = []

    def add(first: int) -> None:
        with Memory(url, "hash") as mine:
            for number in range(first, first + 60):
                try:
                    assert mine.add(demo(number))
                    added.append(number)
                except StoreError as error:
                    told_of.append(str(error))

    writers = [threading.Thread(target=add, args=(100 * part,)) for part in range(4)]
    for writer in writers:
        writer.start()
    cuts, rng = 0, random.Random(5)
    while any(writer.is_alive() for writer in writers):
        if open_ones := others(url):
            ask("SELECT pg_terminate_backend(%s)", rng.choice(open_ones))
            cuts += 1
            # A slow machine would come to nothing else than to connect again.
            enough = len(added) + 4
            until(lambda: len(added) >= enough or not any(writer.is_alive() for writer in writers))  # noqa: B023
        time.sleep(0.05)
    assert cuts > 4 and not told_of
    assert numbers(memory) == [100 * part + n for part in range(4) for n in range(60)] and gapless(memory)


def test_a_memory_that_was_closed_says_so(memory: Memory) -> None:
    memory.database.close()
    with pytest.raises(StoreError, match="was closed: open it again"):
        memory.add(demo(1))


# --- what it refuses --------------------------------------------------------------------------------------------------


def one_sentence(error: pytest.ExceptionInfo[StoreError]) -> str:
    assert "\n" not in str(error.value) and "Traceback" not in str(error.value)
    return str(error.value)


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    with pytest.raises(StoreError, match="cannot be reached") as error:
        Memory("postgresql://ann@127.0.0.1:1/desk", "hash")
    assert "check the address" in one_sentence(error)


def test_a_database_that_is_not_there() -> None:
    where = base().split("?")[0].rsplit("/", 1)[0] + "/no_such_database"
    server()
    with pytest.raises(StoreError, match="no such database") as error:
        Memory(where, "hash")
    assert "createdb" in one_sentence(error)


def test_an_old_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "OLDEST", 99)
    with pytest.raises(StoreError, match=r"is on PostgreSQL \d+, and a memory needs 99 or newer: upgrade the server"):
        Memory(url, "hash")


def test_a_newer_schema_and_another_programs_tables(url: str, memory: Memory) -> None:
    ask(f'UPDATE "{schema(url)}".memory SET schema_version = 99')
    with pytest.raises(StoreError, match=r"written by a newer atlas \(schema 99, this one reads 2\)"):
        Memory(url, "hash")
    ask(f"UPDATE \"{schema(url)}\".memory SET schema_version = 2, application = 'another'")
    with pytest.raises(StoreError, match="another program's"):
        Memory(url, "hash")
    drop(url)
    ask(f'CREATE SCHEMA "{schema(url)}"')
    ask(f'CREATE TABLE "{schema(url)}".invoices (n int)')
    with pytest.raises(StoreError, match=r"holds another program's tables: name another with \?schema=NAME"):
        Memory(url, "hash")


def test_a_schema_that_was_dropped_meanwhile(url: str, memory: Memory) -> None:
    memory.add(demo(1))
    drop(url)
    with pytest.raises(StoreError, match="is damaged") as error:
        memory.add(demo(2))
    one_sentence(error)


def test_a_user_who_may_only_read(url: str, memory: Memory) -> None:
    memory.add(demo(1))
    reader = f"reader_{schema(url)}"
    name = schema(url)
    ask(f"CREATE ROLE {reader} LOGIN PASSWORD 'only-reads'")
    theirs = as_user(url, f"{reader}:only-reads")
    try:
        with pytest.raises(StoreError, match=r"permission denied.*grant") as error:
            Memory(theirs, "hash")
        one_sentence(error)
        ask(f'GRANT USAGE ON SCHEMA "{name}" TO {reader}')
        ask(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{name}" TO {reader}')
        with Memory(theirs, "hash") as opened:
            assert len(opened) == 1 and opened.frozen is not None
            with pytest.raises(FrozenMemory, match="the rights of its user there, let nothing be written"):
                opened.add(demo(2))
        with pytest.raises(StoreError, match="cannot be used so") as error:
            Memory(f"{theirs}_new", "hash")
        one_sentence(error)
    finally:
        ask(f"DROP OWNED BY {reader}")
        ask(f"DROP ROLE {reader}")


def test_a_database_that_is_read_only(url: str, memory: Memory) -> None:
    memory.add(demo(1))
    asked = f"{url}&options=-c%20default_transaction_read_only%3Don"
    with Memory(asked, "hash") as opened:
        assert numbers(opened) == [1]
        with pytest.raises(FrozenMemory):
            opened.add(demo(2))
    with pytest.raises(StoreError, match=r"there is no memory at .*, and its server lets none be made"):
        Memory(asked.replace(schema(url), f"{schema(url)}_new"), "hash")


def test_a_writer_who_keeps_its_turn(url: str, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = postgres_connection._TURN
    assert "lock_timeout = '60s'" in turn
    monkeypatch.setattr(postgres_connection, "_TURN", turn.replace("60s", "300ms"))
    with Memory(url, "hash") as other, other.database.transaction():
        other.add(demo(1))
        with pytest.raises(StoreError, match="has been written by another process for 60 s") as error:
            memory.add(demo(2))
        one_sentence(error)
    assert memory.add(demo(2)) and numbers(memory) == [1, 2]


def test_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"\[postgres\]"):
        Database("postgresql://ann@127.0.0.1:1/desk")


def test_a_database_of_another_encoding(url: str) -> None:
    name = f"latin_{schema(url)}"
    ask(f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    try:
        with pytest.raises(StoreError, match="keeps texts as LATIN1") as error:
            Memory(base().split("?")[0].rsplit("/", 1)[0] + f"/{name}", "hash")
        one_sentence(error)
    finally:
        ask(f"DROP DATABASE {name} WITH (FORCE)")


def test_opening_writes_nothing(url: str, memory: Memory) -> None:
    before = memory.database.stamp()
    with closing(Database(url)) as other:
        assert other.count("demonstration") == 0
    assert memory.database.stamp() == before


def test_a_run_keeps_no_password(url: str, tmp_path: Path) -> None:
    given, password = with_password(url, "never-kept-anywhere")
    student = ScriptedModel("yes", name="student")
    with atlas.Agent(student, memory=given, embedder="hash", run=tmp_path / "run") as agent:
        with agent.episode(goal="say yes") as episode:
            episode.client.chat.completions.create(model="x", messages=[{"role": "user", "content": "say yes"}])
            episode.score(1.0)
        assert len(agent.memory) == 1
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert password not in written and told(url) in written


def test_check_looks_at_a_memory_on_a_server(url: str, memory: Memory) -> None:
    from atlas.memory.check import check

    memory.add(demo(1))
    memory.add(demo(2))
    assert check(url).damages == () and check(url).counts == {"demonstration": 2, "entry": 0, "versions": 2}
    broken = demo(2).model_dump_json().replace("put", "pot")
    backend = memory.database.backend
    with memory.database.transaction():
        item = backend.item("demonstration", demo(2).id)
        assert item is not None
        backend.put(item._replace(record=broken), item.status, None)
    (damage,) = check(url).damages
    assert damage.kind == "altered" and demo(2).id in damage.said


def test_the_tables_on_a_server_are_those_of_this_schema() -> None:
    """A change of them is a new SCHEMA_VERSION, and a way from this one to it."""
    from atlas.memory import postgres_schema
    from atlas.traces import server_schema

    assert (postgres_schema.SCHEMA_VERSION, content_hash(postgres_schema.MADE)) == (2, "17f80bd1c36e26a6")
    assert (server_schema.SCHEMA_VERSION, content_hash(server_schema.MADE)) == (2, "154d2bb3b2b4c4d0")
