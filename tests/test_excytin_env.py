"""ExCyTIn's data folder, the environment, and ``atlas play excytin``."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from atlas.benchmarks.excytin.data import SUBSET, database, folder, incidents, questions
from atlas.benchmarks.excytin.env import IncidentEnv
from atlas.benchmarks.excytin.judge import RuleJudge
from atlas.benchmarks.excytin.replay import main as replay
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine
from atlas.cli import main
from atlas.errors import ConfigError, DataError
from tests.excytin_fixtures import write_folder

pytest.importorskip("sqlglot", reason="the extra excytin is not installed")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "cache"))
    return write_folder(tmp_path / "excytin")


@pytest.fixture
def environment(data: Path) -> Callable[..., IncidentEnv]:
    def make(**options: int) -> IncidentEnv:
        question = questions(7, "test", data)[0]
        return IncidentEnv(question, lambda: SqliteEngine(database(7, data)), RuleJudge(), label=SUBSET, **options)

    return make


# --- data -------------------------------------------------------------------------------------------------------------


def test_questions_and_rows_are_found(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = questions(7, "test", data)
    assert [q.id for q in asked] == ["incident_7/test/0", "incident_7/test/1"]
    assert asked[0].text == "Somebody signed in from an odd address. Which address was it?"
    assert incidents(data) == [7]
    monkeypatch.setenv("ATLAS_DATA", str(data.parent))
    assert folder() == data


def test_an_archive_is_unpacked_once(data: Path) -> None:
    path = database(7, data)
    written = path.stat().st_mtime_ns
    assert database(7, data) == path and path.stat().st_mtime_ns == written
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_truncated_archive_leaves_nothing_behind(data: Path, tmp_path: Path, share: float) -> None:
    archive = data / "db" / "incident_7.sqlite.xz"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"incident_7\.sqlite\.xz is truncated or corrupt"):
        SqliteEngine(database(7, data))
    assert not list((tmp_path / "cache").rglob("*.sqlite"))


def test_an_archive_of_something_else(data: Path) -> None:
    (data / "db" / "incident_7.sqlite.xz").write_bytes(lzma.compress(b"no database" * 1000))
    with pytest.raises(DataError, match="truncated or corrupt"):
        database(7, data)


def test_what_is_not_there_is_said_with_what_is(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"incident 8.*choose one of 7"):
        database(8, data)
    with pytest.raises(DataError, match=r"incident 8.*choose one of 7"):
        questions(8, "test", data)
    with pytest.raises(ConfigError, match="'tests'"):
        questions(7, "tests", data)
    with pytest.raises(DataError, match="neither questions/ nor db/"):
        folder(tmp_path / "nowhere")
    path = next((data / "questions" / "test").iterdir())
    path.write_text(path.read_text()[:-10])
    with pytest.raises(DataError, match="truncated"):
        questions(7, "test", data)


# --- environment ------------------------------------------------------------------------------------------------------


async def test_an_investigation(environment: Callable[..., IncidentEnv]) -> None:
    env = environment()
    opening = await env.open()
    assert opening.text == env.question.text and (opening.score, opening.done) == (0, False)
    seen = await env.step("execute[SELECT `IPAddress` FROM SigninLogs LIMIT 1; DROP TABLE SigninLogs]")
    assert seen.text == "[('1.2.3.4',)]"
    assert (await env.step("execute[SELECT x]")).text.startswith("ProgrammingError: Unknown column 'x'")
    end = await env.step("submit[It was 1.2.3.4.]")
    assert (end.score, end.done) == (1, True)
    assert SUBSET in env.task.family
    await env.close()
    with pytest.raises(DataError, match="single-use"):
        await env.open()


async def test_the_wrong_answer_and_no_answer_score_nothing(environment: Callable[..., IncidentEnv]) -> None:
    wrong = environment()
    await wrong.open()
    end = await wrong.step("submit[9.9.9.9]")
    assert (end.score, end.done) == (0, True)
    assert (await wrong.step("submit[1.2.3.4]")).score == 0, "an answer is given once"
    silent = environment(max_steps=3)
    await silent.open()
    states = [await silent.step("execute[SELECT 1]") for _ in range(3)]
    assert [(s.score, s.done) for s in states] == [(0, False), (0, False), (0, True)]
    for env in (wrong, silent):
        await env.close()


# --- atlas play excytin -----------------------------------------------------------------------------------------------


def test_play_shows_one_state_per_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = tmp_path / "commands"
    commands.write_text('execute[SHOW TABLES]\n{"action": "execute[SELECT 1;]"}\n\nsubmit[1.2.3.4]\n')
    arguments = ["play", "excytin", "--incident", "7", "--data", str(data), "--commands", str(commands)]
    main([*arguments, "--json"])
    out, err = capsys.readouterr()
    states = [json.loads(line) for line in out.splitlines()]
    assert [list(s) for s in states] == [["action", "observation", "admissible", "score", "done"]] * 4
    assert [s["action"] for s in states] == [None, "execute[SHOW TABLES]", "execute[SELECT 1;]", "submit[1.2.3.4]"]
    assert states[2]["observation"] == "[(1,)]"
    assert [(s["score"], s["done"]) for s in states] == [(0, False)] * 3 + [(1, True)]
    assert SUBSET in err
    main([*arguments, "--question", "1"])
    assert f"Score: 0.0 ({SUBSET})" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--incident", "8"], "choose one of 7"),
        (["--incident", "7", "--question", "2"], "has 2 test questions"),
        (["--incident", "7", "--commands", "gone.txt"], "gone.txt"),
        (["--incident", "7", "--mysql", "mysql://nobody@127.0.0.1:1/x"], "refuses the connection"),
        (["--incident", "7", "--mysql", "127.0.0.1"], "mysql://user:password@host:port/database"),
    ],
)
def test_mistakes_are_one_sentence(data: Path, more: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["play", "excytin", "--data", str(data), *more])
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if SUBSET not in line]
    assert (stop.value.code, out, len(lines)) == (2, "", 1) and told in err


# --- replay -----------------------------------------------------------------------------------------------------------


def test_replay_counts_what_ends_as_recorded(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [
        ("Thought: hm\nAction: execute[SELECT IPAddress FROM SigninLogs;]", "[('1.2.3.4',), ('and more',)]"),
        (
            "Thought: hm\nAction: execute[SELECT Nope FROM SigninLogs]",
            "ProgrammingError: Unknown column 'Nope' in 'field list'",
        ),
        ("Thought: hm\nAction: execute[SELECT 1]", "ProgrammingError: something else"),
        ("Thought: hm\nAction: execute[SHOW TABLES]", "[]"),
    ]
    messages = [{"role": "user", "content": "?"}]
    for reply, seen in turns:
        messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": seen}]
    (data / "traces" / "a-model").mkdir(parents=True)
    path = data / "traces" / "a-model" / "agent_incident_7.json.xz"
    path.write_bytes(lzma.compress(json.dumps([{"trials": {"0": {"messages": messages}}}]).encode()))
    replay(["--data", str(data), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["data"] == SUBSET
    assert {k: told["all"][k] for k in ("queries", "same_status", "failed", "same_error")} == {
        "queries": 3,
        "same_status": 2,
        "failed": 1,
        "same_error": 1,
    }
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SystemExit) as stop:
        replay(["--data", str(data)])
    assert stop.value.code == 2 and "not a whole file" in capsys.readouterr().err


def test_official_rows_answer_the_first_steps_of_the_recorded_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path))
    try:
        place = folder()
        database(38, place)
    except DataError as missing:
        pytest.skip(str(missing))
    if not (place / "traces").is_dir():
        pytest.skip(f"{place} holds no recorded runs")
    replay(["--data", str(place), "--limit", "40", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["all"]["share_same_status"] >= 0.99
