"""Every command and API that takes a memory takes the URL of one on a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import atlas
from atlas.benchmarks.options import BenchOptions
from atlas.cli import main
from atlas.cli.agent_options import AgentOptions, shared
from atlas.cli.memory import command as memory_command
from atlas.errors import ConfigError
from atlas.memory import Memory
from atlas.memory.backend import told
from atlas.memory.pamphlet import Entry
from atlas.testing import ScriptedModel
from atlas.traces import Run
from tests import test_reranking as reranking
from tests.memory_fixtures import ME, demo
from tests.postgres_server import drop, fresh, with_password
from tests.test_agent_options import LOOP, MINE, served
from tests.test_cli_memory import Says
from tests.test_compression import OWN, demonstration

HOT = Entry(cue="an apple is to be heated", action="use the microwave in the kitchen", effect="it is hot")


@pytest.fixture
def url() -> Iterator[str]:
    made = fresh()
    yield made
    drop(made)


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Says:
    def run(*words: str) -> str:
        capsys.readouterr()
        main(list(words))
        return capsys.readouterr().out

    return run


def test_every_command_of_atlas_memory(url: str, tmp_path: Path, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Memory(url, "hash") as memory:
        memory.add(demo(1))
        memory.add(demo(2))
        memory.entries.add_many([HOT], author=ME, reason="known")
        one = memory.demonstrations.all()[0].id
    says("bench", "alfworld", "--arms", "icd", "--n", "1", "--demos", "3", "--embedder", "hash", "-o", "run")
    copied = fresh()
    walked = {
        "ls": says("memory", "ls", url),
        "show": says("memory", "show", url, one[:8]),
        "log": says("memory", "log", url),
        "diff": says("memory", "diff", url, "1"),
        "quarantine": says("memory", "quarantine", url, one[:8], "--reason", "no"),
        "admit": says("memory", "admit", url, one[:8]),
        "remove": says("memory", "remove", url, one[:8]),
        "rollback": says("memory", "rollback", url, "3"),
        "freeze": says("memory", "freeze", url) + says("memory", "freeze", url, "--off"),
        "export": says("memory", "export", url, "all.yaml") + says("memory", "export", url, "a", "--format", "skills"),
        "import": says("memory", "import", url, "all.yaml"),
        "distil": says("memory", "distil", "run", "--into", url, "--embedder", "hash", "--json"),
        "judge": says("memory", "judge", url),
        "check": says("memory", "check", url),
        "map": says("memory", "map", url),
        "reindex": says("memory", "reindex", url, "--embedder", "hash"),
        "copy": says("memory", "copy", url, copied, "--json"),
    }  # fmt: skip
    drop(copied)
    assert set(walked) == set(memory_command.commands) - {"compressor", "reranker"}, "of which the next tests are"
    assert HOT.cue in walked["ls"] and "versions" in walked["copy"] and "1 added" in walked["log"]
    assert json.loads(walked["distil"])["memory"] == told(url)
    with Memory(url, "hash") as memory:
        assert len(memory) == 2 and len(memory.entries) >= 1 and memory.frozen is None


def test_a_compressor_is_learned_from_it(url: str, tmp_path: Path, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    with Memory(url, "hash") as memory:
        memory.demonstrations.add_many([demonstration(number) for number in range(8)])
    words = ["memory", "compressor", url, "--student", "python:own.py:student", "--states", "8", "--embedder", "hash"]
    assert "Learned from 8 states" in says(*words, "-o", "c.json") and Path("c.json").exists()


def test_a_reranker_is_learned_from_it(url: str, tmp_path: Path, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(reranking.OWN)
    with Memory(url, "hash") as memory:
        memory.demonstrations.add_many([reranking.demonstration(number) for number in range(24)])
    words = ["memory", "reranker", url, "--student", "python:own.py:student", "--states", "8", "--embedder", "hash"]
    assert "Learned from 8 states" in says(*words, "-o", "r.json") and Path("r.json").exists()


def test_a_bench_adds_to_it_and_is_resumed(url: str, tmp_path: Path, says: Says) -> None:
    given, password = with_password(url, "not-to-be-kept")
    out = str(tmp_path / "out")
    words = ["bench", "alfworld", "--arms", "icd", "--n", "1", "--demos", "3", "--embedder", "hash", "-o", out]
    said = says(*words, "--memory", given)
    assert "icd" in said and Run(out).settings["memory"] == told(url)
    with Memory(url, "hash") as memory:
        assert 0 < len(memory) <= 3
        head = memory.database.head()
    assert "icd" in says(*words, "--memory", url)
    with Memory(url, "hash") as memory:
        assert memory.database.head() == head
    assert password not in "".join(p.read_text(errors="replace") for p in Path(out).rglob("*") if p.is_file())
    assert BenchOptions(memory=Path("m.sqlite")).settings(guided=False)["memory"] == str(Path("m.sqlite").resolve())


def test_an_agent_a_command_a_server_a_late_score_and_a_report(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    given = ["--student", "python:mine.py:right", "--memory", url, "--embedder", "hash"]
    main(["run", *given, "--run", "one", "--score", "false", "--", sys.executable, "-c", LOOP])
    (first,) = Run("one").results()
    with Memory(url, "hash") as memory:
        assert len(memory.outcomes) == 1 and len(memory) == 0
    main(["score", "one", first.id[:6], "1", "--memory", url, "--embedder", "hash"])
    main(["report", "one", "-o", "page.html", "--memory", url])
    assert "versions since this run began" in Path("page.html").read_text()
    with served(*given, "--run", "two") as where:
        import openai

        client = openai.OpenAI(base_url=f"{where}/v1", api_key="x")
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    assert Run("two").about["memory"] == told(url)
    with atlas.Agent(ScriptedModel("yes"), memory=url, embedder="hash") as agent:
        with agent.episode(goal="say yes") as episode:
            episode.client.chat.completions.create(model="x", messages=[{"role": "user", "content": "say yes"}])
            episode.score(1.0)
        assert len(agent.memory) == 2, "what the command did, and this"
    with pytest.raises(ConfigError, match="tenants ann and bob share postgresql://"):
        shared({"ann": AgentOptions(memory=url), "bob": AgentOptions(memory=url.replace("postgresql:", "postgres:"))})
    capfd.readouterr()


async def test_it_is_tools_of_mcp(url: str) -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from tests.test_mcp import NOTE, called, connected

    async with connected(url, "--create") as client:
        await called(client, "learn", note=NOTE, reason="it opened")
    with Memory(url, "hash") as memory:
        assert len(memory.entries) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["memory", "log"],
        ["mcp"],
        ["promote", "clerk", "nearest", "--memory"],
    ],
)
def test_where_there_is_none_it_is_said_and_none_is_made(
    url: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if words[0] == "promote":
        main(["models", "add", "alias", "clerk", "scripted:alfworld"])
    given, password = with_password(url, "not-to-be-told")
    with pytest.raises(SystemExit):
        main([*words, given])
    said = capsys.readouterr().err
    assert "there is no memory at postgresql://" in " ".join(said.split()) and password not in said
