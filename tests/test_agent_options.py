"""``--expect`` and ``--audit`` of ``atlas serve`` and ``atlas run``, from the command line to the trace."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.cli.agent_options import AgentOptions
from atlas.errors import ConfigError
from atlas.records import TEACHER
from atlas.traces import Run
from atlas.traces.check import check
from tests.serve_fixtures import CHAT, ask, chat

MINE = """
from atlas.testing import ScriptedModel

def sure():
    return ScriptedModel(lambda ask: "wrong", name="sure")

def right():
    return ScriptedModel(lambda ask: "right", name="right")
"""
LOOP = """
import json, os, urllib.request
body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).encode()
head = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "content-type": "application/json"}
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(urllib.request.Request(url, body, head)).read()
"""
"""A client that imports little."""


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A student that is sure and wrong, and a teacher."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    return ["--student", "python:mine.py:sure", "--teacher", "python:mine.py:right", "--run", "run"]


@contextmanager
def served(*options: str) -> Iterator[str]:
    """The URL of ``atlas serve`` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "atlas", "serve", "--port", "0", *options], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[3].removesuffix("/v1")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)
    finally:
        process.kill()
        process.wait()


def fail(url: str, episodes: int) -> list[str]:
    """What is answered in so many episodes, each of which fails where it is not right."""
    said = []
    for number in range(episodes):
        answer = ask(url, f"/e/t{number}{CHAT}", chat("hello"))[2]["choices"][0]["message"]["content"]
        ask(url, f"/v1/atlas/episodes/t{number}/score", {"score": float(answer == "right")})
        said.append(answer)
    return said


def test_a_served_agent_that_falls_below_what_is_expected_is_taken_over(both: list[str]) -> None:
    with served(*both, "--expect", "0.9", "--audit", "0") as url:
        said = fail(url, 8)
    before = said.index("right")
    assert before < 7 and set(said[before : before + 4]) == {"right"}, "the student is tried again after four"
    run = Run("run")
    assert run.about["expect"] == 0.9
    assert [finding.kind for finding in check(run).findings] == ["success"]
    # At the usual level that takes longer, and nobody looks where nothing is expected.
    with served(*both[:-1], "usual") as url:
        assert set(fail(url, before + 1)) == {"wrong"}
    with served(*both[:-1], "none", "--expect", "none") as url:
        assert set(fail(url, 12)) == {"wrong"}
    assert Run("none").about["expect"] is None


def test_every_step_of_a_served_student_is_audited_and_taken_all_the_same(both: list[str]) -> None:
    with served(*both, "--audit", "1", "--expect", "none") as url:
        assert set(fail(url, 3)) == {"wrong"}
    steps = [step for episode in Run("run").episodes() for step in episode.steps]
    assert len(steps) == 3 and all(step.decision.actor == "student" for step in steps)
    assert all(any(vote.actor == TEACHER for vote in step.decision.votes) for step in steps)


@pytest.mark.parametrize(("audit", "asked"), [("1", 1), ("0", 0)])
def test_a_command_that_is_run_has_both(both: list[str], audit: str, asked: int) -> None:
    main(["run", *both, "--audit", audit, "--expect", "0.25", "--", sys.executable, "-c", LOOP])
    (episode,) = Run("run").episodes()
    assert sum(vote.actor == TEACHER for step in episode.steps for vote in step.decision.votes) == asked
    assert Run("run").about["expect"] == 0.25


def test_commands_that_fail_raise_supervision(both: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """Each is a process of its own: where the agent stands is read off its run."""
    with caplog.at_level(logging.WARNING, logger="atlas.wrap"):
        for _ in range(6):
            main(["run", *both, "--expect", "0.9", "--score", "echo 0", "--", sys.executable, "-c", LOOP])
    acted = [episode.result.teacher_steps for episode in Run("run").episodes() if episode.result]
    assert acted[0] == 0 and acted[-1] == 1 and "success has dropped" in caplog.text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--expect", "1"], "no share from 0 to less than 1, and not 'none'"),
        (["--expect", "often"], "no share from 0 to less than 1, and not 'none'"),
        (["--expect", "nan"], "no share from 0 to less than 1, and not 'none'"),
        (["--audit", "1.5"], "not in the range"),
        (["--student", "nearest", "--audit", "0.5"], "audit is for an agent that has a student and a teacher"),
        (["--agent", "mine.py:make", "--expect", "0.2"], "leave out the other settings"),
        (["--agent", "mine.py:make", "--samples", "5"], "leave out the other settings"),
    ],
)
def test_what_cannot_be_is_a_sentence(words: list[str], sentence: str, capfd: pytest.CaptureFixture[str]) -> None:
    for command in (["serve"], ["run", "--", "true"]):
        with pytest.raises(SystemExit) as ended:
            main([command[0], *words, *command[1:]])
        assert ended.value.code == 2 and sentence in " ".join(capfd.readouterr().err.split())


def test_a_tenant_has_its_own() -> None:
    read = AgentOptions.read({"student": "nearest", "expect": None, "audit": 0.1}, "tenant desk")
    assert (read.expect, read.audit) == (None, 0.1)
    assert AgentOptions.read({"student": "nearest"}, "tenant desk").expect == 0.5
    for wrong in ({"expect": "half"}, {"expect": False}, {"audit": None}, {"audit": float("inf")}):
        with pytest.raises(ConfigError, match="tenant desk has"):
            AgentOptions.read(wrong, "tenant desk")
    with pytest.raises(ConfigError, match="a share from 0 to less than 1"):
        AgentOptions(student="nearest", expect=1.0).make()
