"""Students that are asked again and again ('atlas memory compressor', 'reranker'): nothing is paid in vain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.memory import Demonstration, Memory
from atlas.records import DemoStep

OWN = """
from pathlib import Path
from atlas.testing import ScriptedModel

def answer(ask):
    with open("asked", "a") as file:
        file.write("x")
    return "Action: look"

def student():
    return ScriptedModel(answer, name="own")
"""
KINDS = {"compressor": "--parts", "reranker": "--candidates"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    filled(9)
    return str(request.param)


def filled(count: int) -> None:
    with Memory("m.sqlite", "hash") as memory:
        for number in range(count):
            steps = tuple(DemoStep(observation=f"door {number}.{n}", action=f"open {number}.{n}") for n in range(3))
            memory.demonstrations.add(
                Demonstration(task_id=f"t{number}", goal=f"see what is {number}", steps=steps, success=True)
            )


def ask(kind: str, *more: str) -> None:
    words = ["memory", kind, "m.sqlite", "--student", "python:own.py:student", "--embedder", "hash", "--states", "8"]
    main([*words, KINDS[kind], "2", "--draws", "1", *more])


def refused(kind: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    with pytest.raises(SystemExit) as stop:
        ask(kind, *more)
    assert stop.value.code == 2
    return capsys.readouterr().err


def asked() -> int:
    return len(Path("asked").read_text()) if Path("asked").exists() else 0


def test_a_memory_with_too_little_is_told_before_anybody_is_asked(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("m.sqlite").unlink()
    filled(7)
    assert "from 8 states or more, and there are 7: give a memory with more" in refused(kind, capsys, "-o", "out.json")
    assert asked() == 0


def test_a_folder_is_told_before_anybody_is_asked(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    assert "out is a folder: name a file" in refused(kind, capsys, "-o", "out")
    assert asked() == 0 and not Path("out.answers.jsonl").exists()


def test_who_learned_nothing_is_told_what_may_help(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "give more --states, or another student" in refused(kind, capsys, "-o", "out.json")
    assert asked() == 16


@pytest.mark.parametrize("left", [b'{"key": "cut', b'{"key": "KEY", "moment": 0}\n', b"\xff\xfe\n", b"[1]\n"])
def test_answers_that_were_damaged_are_asked_again_and_all_others_are_kept(
    kind: str, left: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(kind, capsys, "-o", "out.json")
    kept = Path("out.json.answers.jsonl")
    lines = kept.read_bytes().splitlines(keepends=True)
    key = json.loads(lines[0])["key"]
    kept.write_bytes(b"".join(lines[:-3]) + left.replace(b"KEY", key.encode()))
    for more in (3, 0):
        before = asked()
        refused(kind, capsys, "-o", "out.json")
        assert asked() - before == more


def test_so_many_draws_are_refused(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "'--draws'" in refused(kind, capsys, "-o", "out.json", "--draws", "1001")
