"""Runs on a PostgreSQL server: what is promised of a folder holds there, and across machines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.cli import main
from atlas.copying.nearest import Nearest
from atlas.errors import AtlasError, ConfigError, StoreError
from atlas.evaluators.rules import OutcomeJudge
from atlas.records import Stop, Usage, total
from atlas.testing import ScriptedModel
from atlas.testing.runs import MadeUpArm, write_run
from atlas.traces import Run, RunWriter, server_connection
from atlas.traces.claims import Claims
from atlas.traces.copying import copy
from atlas.traces.place import Place, log_hash, place_of, values
from atlas.traces.reader import Results
from atlas.traces.server import ServerRun
from tests.postgres_server import as_user, ask, drop, fresh, others, schema, with_password
from tests.waiting import until

FEW = {"student": MadeUpArm(3, 0.5, steps=3)}
APPENDER = """
import sys
from atlas.traces import RunWriter
with RunWriter(sys.argv[1]) as writer:
    for number in range(int(sys.argv[2])):
        writer._trace.append([b'{"n":%d,"from":"%s"}' % (number, sys.argv[3].encode())], ends=number % 50 == 0)
        print(number, flush=True)
"""


@pytest.fixture
def url() -> Iterator[str]:
    made = fresh()
    yield f"{made}&run=desk"
    drop(made)


@pytest.fixture(params=["folder", "server"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A run that is not there yet, in a folder and on a server."""
    if request.param == "folder":
        yield str(tmp_path / "run")
    else:
        made = fresh()
        yield f"{made}&run=run"
        drop(made)


def start(code: str, *words: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(atlas.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, *words]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)


def nothing() -> Usage:
    return Usage()


# --- in a folder and on a server --------------------------------------------------------------------------------------


def test_what_is_written_is_read_and_resumed_with_the_same_settings_alone(where: str) -> None:
    write_run(where, FEW, settings={"n": 3})
    run = Run(where)
    episodes = run.episodes()
    assert run.name == "run" and run.settings == {"n": 3} and len(run.results()) == 3
    assert [len(e.steps) for e in episodes] == [e.result.steps for e in episodes if e.result] and not episodes[0].lost
    assert episodes[1].steps[1].decision.prompt.history, "prompts are restored from what was before"
    with pytest.raises(ConfigError, match=r"was made with other settings \(n\)"):
        RunWriter(where, {"n": 4})
    with RunWriter(where, {"n": 3}, {"permitted": ["m"]}):
        pass
    assert Run(where).about["permitted"] == ["m"]


def test_who_follows_sees_each_result_once(where: str) -> None:
    with RunWriter(where):
        results = Results(where)
        assert results.new() == []
    write_run(where, FEW, settings={})
    assert len(results.new()) == 3 and results.new() == []
    tail = place_of(where).log("notes.jsonl").tail()
    place_of(where).log("notes.jsonl").append(b'{"a": 1}', b'{"b": 2}')
    assert len(list(tail.lines())) == 2 and list(tail.lines()) == []
    assert [value for _, value in values(place_of(where).log("notes.jsonl"))] == [{"a": 1}, {"b": 2}]


def test_claims_exclude_each_other_and_one_ledger_is_of_all(where: str) -> None:
    RunWriter(where).close()
    key = ("arm", "task \ud800\0", 0)
    with Claims(where, lambda: Usage(calls=1, completion_tokens=7, dollars=0.5)) as one:
        with Claims(where, nothing) as other:
            assert one.claim(key) and not other.claim(key) and other.claim("another")
            one.release(key)
            assert other.claim(key) and not one.claim(key)
            one.post(1.0, 10)
            other.post(0.25, 5)
            assert one.total() == other.total() == (1.75, 22)
        assert one.claim(key), "what was claimed is free when its owner goes"
        assert one.total() == (1.75, 22), "and what it used stays"
        one.post(None, 11)
        assert one.total() == (None, 23)
    with Claims(where, lambda: Usage(calls=1, completion_tokens=100, dollars=9.0)) as later:
        assert later.total() == (9.0, 100), "the trace knows of more"


async def test_two_benches_share_a_run_and_play_each_episode_once(where: str) -> None:
    options = BenchOptions(split=HOMES, arms=("student", "online"), n=2, demos=0, embedder="hash", max_steps=3)
    cast = Cast(student=Nearest(), teacher=ScriptedExpert())
    both = [Bench(suite=Alfworld(), cast=cast, options=replace(options), folder=where) for _ in range(2)]
    one, other = await asyncio.gather(*(bench.run() for bench in both))
    assert {e.id for e in one} == {e.id for e in other} and len(one) == 4 == len(Run(where).episodes())
    assert both[0].unplayed == 0 and len(await both[0].run()) == 4, "and a resumed one plays none again"


def test_lines_of_two_processes_are_each_there_once_and_whole(where: str) -> None:
    RunWriter(where).close()
    both = [start(APPENDER, where, "60", name) for name in ("ann", "bob")]
    assert [process.communicate(timeout=300) and process.returncode for process in both] == [0, 0]
    found = Counter((value["from"], value["n"]) for _, value in values(place_of(where).log("trace.jsonl")))
    assert len(found) == 120 and set(found.values()) == {1}


def test_nothing_acknowledged_is_lost_when_a_writer_is_killed(where: str) -> None:
    RunWriter(where).close()
    process = start(APPENDER, where, "100000", "ann")
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    said = [int(line) for line in process.communicate()[0].splitlines()]
    found = [value["n"] for _, value in values(place_of(where).log("trace.jsonl"))]
    assert found == list(range(len(found))) and len(found) >= max(said, default=19) + 1


# --- on a server ------------------------------------------------------------------------------------------------------


def test_a_connection_that_breaks_at_any_moment_doubles_and_loses_nothing(url: str) -> None:
    with RunWriter(url) as writer:
        stop = threading.Event()

        def breaks() -> None:
            done, pause = 0, 0.02
            # Later where nothing was written since the last time: a slow machine would come to nothing else.
            while not stop.wait(pause):
                done, pause = len(wrote), 0.02 if len(wrote) > done else 2 * pause
                for pid in others(url.partition("&run=")[0]):
                    ask("SELECT pg_terminate_backend(%s)", pid)

        breaking = threading.Thread(target=breaks)
        wrote: list[int] = []
        breaking.start()
        failed = 0
        while len(wrote) < 150:
            try:
                writer._trace.append([b'{"n":%d}' % len(wrote)], ends=len(wrote) % 3 == 0)
                wrote.append(len(wrote))
            except StoreError:
                # Cut off twice in one statement: said so, and the next one finds out what became of it.
                failed += 1
                found = [value["n"] for _, value in values(place_of(url).log("trace.jsonl"))]
                wrote = list(range(len(found)))
        stop.set()
        breaking.join()
    found = [value["n"] for _, value in values(place_of(url).log("trace.jsonl"))]
    assert found == list(range(150)), failed


def test_what_was_a_killed_process_s_is_taken_over_and_it_may_not_come_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "GRACE", 2.0)
    RunWriter(url).close()
    away, other = place_of(url), place_of(url)
    assert isinstance(away, ServerRun)
    gone, claims = Claims(away), Claims(other)
    assert gone.claim("an episode") and not claims.claim("an episode")
    connection = away.connection()
    connection._stop.set()  # no word of it any more
    connection._db.close()
    assert not claims.claim("an episode"), "it was there a moment ago"
    assert until(lambda: claims.claim("an episode"))
    with pytest.raises(StoreError, match="another process has taken over what this one was at"):
        away.log("trace.jsonl").append(b"{}")
    gone.close()
    claims.close()
    assert list(place_of(url).log("trace.jsonl").lines()) == []


@pytest.mark.slow
def test_a_process_that_is_killed_in_mid_run_costs_its_episodes_alone(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "GRACE", 0.4)
    code = """
import sys
from pathlib import Path
from typing import Any
from tests.shared_player import bench
bench(sys.argv[1], {"arms": ["teacher"], "n": 3, "seconds": 0.1}, Path(sys.argv[2]))
"""
    bill = tmp_path / "bill"
    killed = start(code, url, str(bill))
    while not bill.exists():
        assert killed.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    from tests.shared_player import bench

    bench(url, {"arms": ["teacher"], "n": 3, "seconds": 0.001}, bill)
    run = Run(url)
    results = run.results()
    assert len(results) == 3 and all(e.stop is Stop.DONE for e in results)
    steps = Counter((e.id, step.index) for e in run.episodes() for step in e.steps)
    assert set(steps.values()) == {1}
    paid = total(s for e in run.episodes() for s in e.spend).calls
    assert 0 <= len(bill.read_text().splitlines()) - paid <= 1, "but for the call that was under way"


def test_every_command_reads_it_and_no_password_is_told_or_kept(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given, password = with_password(url, "not-to-be-told")
    monkeypatch.setattr("sys.argv", ["atlas", "bench", "-o", given])
    main(["bench", "alfworld", "--arms", "student,icd", "--n", "2", "--demos", "3", "--embedder", "hash", "-o", given])
    assert "Run: postgresql://" in capsys.readouterr().out
    episode = Run(given).results()[-1].id
    main(["traces", "show", given])
    main(["traces", "show", given, episode])
    main(["traces", "ls", given.partition("&run=")[0], "--json"])
    listed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert listed["name"] == "desk" and listed["folder"] == Run(given).path and listed["episodes"] == 7
    for words in (
        ["report", given, "-o", "page.html"],
        ["export", given, "--format", "rows", "-o", "rows"],
        ["score", given, episode, "0.5"],
        ["regrade", given, "--judge", "outcome"],
        ["memory", "distil", given, "--embedder", "hash"],
        ["trust", "audit", given],
        ["traces", "check", given],
    ):
        main(words)
    assert "What the memory has learned" in Path("page.html").read_text()
    for words in (["train", "student", given], ["play", "alfworld", "-o", given], ["demo", "-o", given]):
        with pytest.raises(SystemExit):
            main([*words])
    said = capsys.readouterr()
    kept = ask(f"SELECT string_agg(manifest, ' ') FROM \"{schema(url.partition('&run=')[0])}\".runs")[0][0]
    files = "".join(p.read_text(errors="replace") for p in tmp_path.rglob("*") if p.is_file())
    assert password not in said.out + said.err + kept + files
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith("postgresql")]
    drop(f"schema={schema_of(Run(given))}")


def schema_of(run: Run) -> str:
    """Of the memory that belongs to it."""
    return run.place.memory("memory").rpartition("schema=")[2]


def test_an_agent_is_budgeted_judged_and_gone_on_with(url: str) -> None:
    memory = url.partition("&run=")[0]
    for number in range(2):
        with (
            atlas.Agent(
                ScriptedModel("yes"), run=url, memory=memory, embedder="hash", run_budget=atlas.Budget(tokens=10_000)
            ) as agent,
            agent.episode(goal="say yes") as episode,
        ):
            episode.client.chat.completions.create(model="x", messages=[{"role": "user", "content": "say yes"}])
            episode.score(1.0)
        assert len(Run(url).results()) == number + 1
        assert agent.place is not None and agent.folder is None
    used = total(s for e in Run(url).results() for s in e.spend).tokens
    with Claims(url, nothing) as claims:
        assert claims.total()[1] == used > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda url: url.replace("run=desk", "run=other"), "there is no run postgresql://"),
        (lambda url: url.replace("run=desk", "run=a/b"), "names no run"),
        (lambda url: url.partition("&run=")[0], "names no run"),
        (lambda url: url.replace("127.0.0.1", "127.0.0.1:1").replace(":5432", ""), "cannot be reached"),
    ],
)
def test_what_is_wrong_with_a_url_is_one_sentence(url: str, change: object, sentence: str) -> None:
    RunWriter(url).close()
    assert callable(change)
    with pytest.raises(AtlasError, match=sentence):
        Run(change(url))


def test_a_user_who_may_only_read_reads_and_writes_nothing(url: str) -> None:
    write_run(url, FEW)
    name = schema(url.partition("&run=")[0])
    ask(f"DROP ROLE IF EXISTS {name}_r")
    ask(f"CREATE ROLE {name}_r LOGIN PASSWORD 'only-to-read'")
    ask(f'GRANT USAGE ON SCHEMA "{name}" TO {name}_r')
    ask(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{name}" TO {name}_r')
    try:
        reader = as_user(url, f"{name}_r:only-to-read")
        assert len(Run(reader).results()) == 3
        with pytest.raises(StoreError, match=r"cannot be used so .*permission denied") as error:
            RunWriter(reader, Run(url).settings)
        assert "only-to-read" not in str(error.value)
    finally:
        ask(f"DROP OWNED BY {name}_r")
        ask(f"DROP ROLE {name}_r")


@pytest.mark.parametrize("at_once", [1, 4])
def test_tables_of_an_earlier_atlas_get_their_marks_from_who_writes_first(url: str, at_once: int) -> None:
    write_run(url, FEW)
    table = f'"{schema(url.partition("&run=")[0])}".run_store'
    ask(f"ALTER TABLE {table} DROP COLUMN ended; UPDATE {table} SET schema_version = 1")
    runs = [place_of(url) for _ in range(at_once)]
    assert all(len(Run(run).results()) == 3 for run in runs)
    assert ask(f"SELECT schema_version FROM {table}") == [(1,)], "who reads changes nothing"
    with ThreadPoolExecutor() as pool:
        taken = list(pool.map(claims_and_posts, runs))
    assert taken == [7] * at_once and ask(f"SELECT schema_version FROM {table}") == [(2,)]


def claims_and_posts(run: Place) -> int:
    with Claims(run, lambda: Usage(prompt_tokens=7)) as claims:
        return claims.total()[1]


def test_tables_of_a_newer_atlas_an_older_server_and_other_tables_are_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(url, FEW)
    name = schema(url.partition("&run=")[0])
    ask(f'UPDATE "{name}".run_store SET schema_version = 9')
    with pytest.raises(StoreError, match=r"newer atlas \(runs of schema 9, this one reads 2\): upgrade"):
        Run(url)
    monkeypatch.setattr(server_connection, "OLDEST", 99)
    with pytest.raises(StoreError, match="and a run needs 99 or newer"):
        Run(url)
    monkeypatch.undo()
    ask(f'DROP SCHEMA "{name}" CASCADE')
    ask(f'CREATE SCHEMA "{name}"')
    ask(f'CREATE TABLE "{name}".theirs (x int)')
    with pytest.raises(StoreError, match="holds another program's tables"):
        RunWriter(url)


def test_a_memory_and_runs_share_a_schema_whichever_is_first(url: str) -> None:
    memory = url.partition("&run=")[0]
    RunWriter(url).close()
    with atlas.Memory(memory, "hash") as made:
        assert len(made) == 0
    RunWriter(f"{memory}&run=second").close()
    assert log_hash(place_of(url).log("trace.jsonl")) is None
    with pytest.raises(ConfigError, match="names a run, and a memory is asked for"):
        atlas.Memory(url, "hash")


# --- from one place to another ----------------------------------------------------------------------------------------

COPIER = """
import sys
from atlas.traces import copying
from atlas.traces.place import place_of
copying._PART = 4
copying.copy(place_of(sys.argv[1]), place_of(sys.argv[2]), lambda done, of: print(done, flush=True))
"""


def test_a_copy_goes_there_and_back_and_grows_with_its_source(url: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", FEW)
    (tmp_path / "run" / "verdicts.jsonl").write_bytes(b'{"schema_version": 1, "torn\n{"whole": 1}\n{"cut off')
    there, back = place_of(url), place_of(tmp_path / "back")
    first = copy(place_of(tmp_path / "run"), there)
    assert first.written == sum(first.lines.values()) and first.lines["verdicts.jsonl"] == 2
    again = copy(place_of(tmp_path / "run"), there)
    assert again.written == 0 and again.sha256 == first.sha256
    assert copy(there, back).sha256 == first.sha256
    assert (tmp_path / "back" / "trace.jsonl").read_bytes() == (tmp_path / "run" / "trace.jsonl").read_bytes()
    assert (tmp_path / "back" / "run.json").read_bytes() == (tmp_path / "run" / "run.json").read_bytes()
    write_run(tmp_path / "run", {"teacher": MadeUpArm(1, 1.0, steps=2)}, seed=1)
    grown = copy(place_of(tmp_path / "run"), there)
    assert 0 < grown.written < sum(grown.lines.values()) and len(Run(url).results()) == 4
    with pytest.raises(StoreError, match=r"line \d+ of trace.jsonl of postgresql.* is another than in"):
        write_run(url, {"theirs": MadeUpArm(1, 1.0, steps=2)}, seed=2)
        copy(place_of(tmp_path / "run"), there)
    write_run(tmp_path / "other", FEW, settings={"n": 1})
    with pytest.raises(StoreError, match="holds another run than"):
        copy(place_of(tmp_path / "other"), there)
    with pytest.raises(StoreError, match="is source and target"):
        copy(there, place_of(url))


@pytest.mark.parametrize("to_server", [True, False])
def test_a_copy_that_is_killed_is_nobody_s_and_is_finished_by_the_same_command(
    url: str, tmp_path: Path, to_server: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "GRACE", 0.4)
    source, target = (str(tmp_path / "run"), url) if to_server else (url, str(tmp_path / "run"))
    write_run(source, {"student": MadeUpArm(12, 0.5, steps=6)})
    copying = start(COPIER, source, target)
    assert copying.stdout is not None
    for _ in range(3):
        copying.stdout.readline()
    copying.send_signal(signal.SIGKILL)
    copying.communicate()
    for refused in (lambda: Run(target), lambda: RunWriter(target)):
        with pytest.raises(AtlasError, match="is a half copy"):
            refused()
    # The one that was killed is missed by a server after a while, for which the same command waits.
    made = copy(place_of(source), place_of(target))
    assert 0 < made.written < sum(made.lines.values())
    assert log_hash(place_of(target).log("trace.jsonl")) == log_hash(place_of(source).log("trace.jsonl"))
    assert len(Run(target).results()) == 12


def test_a_copy_is_refused_while_another_process_is_at_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "GRACE", 0.4)
    write_run(tmp_path / "run", {"student": MadeUpArm(4, 0.5, steps=2)})
    source = place_of(tmp_path / "run")
    for target in (url, str(tmp_path / "to")):
        copy(source, place_of(target))
        with Claims(target) as other:
            assert other.claim("copy")
            with pytest.raises(StoreError, match=r"another process copies to .* now: wait until it is done"):
                copy(source, place_of(target))
        copy(source, place_of(target))


# --- a run that was closed --------------------------------------------------------------------------------------------


def test_a_closed_writer_records_nothing_more(where: str) -> None:
    place = place_of(where)
    first, other = RunWriter(place), RunWriter(place)
    first.take([b'{"n":1}'], ends=True)
    for _ in range(2):
        first.close()
    with pytest.raises(StoreError, match="was closed before this was recorded: end its episodes first"):
        first.take([b'{"n":2}'], ends=True)
    other.take([b'{"n":3}'], ends=True)
    other.close()
    assert [line for _, line in values(place.log("trace.jsonl"))] == [{"n": 1}, {"n": 3}]
    assert "server" not in type(place).__module__ or not others(where)


def test_claims_that_are_closed_claim_and_post_nothing(where: str, tmp_path: Path) -> None:
    with RunWriter(where) as writer:
        place = writer.place
        claims = Claims(place, nothing)
        assert claims.claim("a")
        claims.close()
        # Its file's number may be another file's by now.
        with (tmp_path / "other").open("w+b") as file:
            for late in (lambda: claims.claim("b"), lambda: claims.post(1.0, 1), claims.total):
                with pytest.raises(StoreError, match="was closed before this was recorded"):
                    late()
            claims.release("a")
            assert file.read() == b""
        with Claims(place, nothing) as again:
            assert again.claim("a") and again.claim("b") and again.total() == (0.0, 0)


# --- the graph of an episode's phases ---------------------------------------------------------------------------------


async def test_checkpoints_of_a_graph_are_where_its_run_is(where: str) -> None:
    pytest.importorskip("langgraph.checkpoint.postgres.aio", reason="needs the extra langgraph-postgres")
    from atlas.graph import Context, Journal, advance, checkpoints, episode_graph
    from tests.test_graph import Room, opener

    model = opener()
    looked: list[Any] = []

    class Fails(OutcomeJudge):
        async def judge(self, case: Any, desk: Any, opinions: Any = ()) -> Any:
            looked.append(case)
            raise StoreError("the process is killed here")

    def context(writer: RunWriter, **more: Any) -> Context:
        journal = Journal(writer.place, "alone")
        return Context(recorder=writer, policy=atlas.Solo(model), environment=Room, journal=journal, **more)

    with RunWriter(where) as writer:
        async with checkpoints(writer.place) as saver:
            with pytest.raises(ExceptionGroup):
                await advance(episode_graph(saver), context(writer, judge=Fails()), arm="alone", task="t1")
            thread = {"configurable": {"thread_id": f"{writer.name}/alone/t1/0"}}
            assert (await saver.aget_tuple(thread)) is not None
        async with checkpoints(writer.place) as saver:
            state = await advance(episode_graph(saver), context(writer), arm="alone", task="t1")
    assert state["episode"]["success"] is True and len(looked) == 1
    assert len(model.asks) == 1 and len(Run(where).results()) == 1, "the attempt is not made again"
    if "postgresql" in where:
        drop(f"schema={place_of(where).memory('checkpoints').rpartition('schema=')[2]}")
        with pytest.raises(StoreError, match="cannot be reached"):
            async with checkpoints(where.replace(":5432", ":1")):
                pass
