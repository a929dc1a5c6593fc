"""Every example runs as a user would run it, and shows what it says it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: str, timeout: int = 600) -> str:
    env = {k: v for k, v in os.environ.items() if k not in ("ATLAS_STUDENT", "ATLAS_TEACHER")}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wrapped_tool_agent_learns_and_says_that_its_models_are_stand_ins() -> None:
    out = run("wrap_tool_agent.py")
    assert "stand-ins" in out
    halves = re.findall(r"half: (\d+) of 12 requests met, (\d+) of \d+ steps by the teacher, \$([\d.]+)", out)
    (met1, asked1, dollars1), (met2, asked2, dollars2) = halves
    assert int(met2) >= int(met1) >= 10
    assert int(asked2) < int(asked1)
    assert float(dollars2) < float(dollars1)


def test_async_agent_serves_every_request() -> None:
    out = run("async_agent.py")
    assert [int(n) for n in re.findall(r": (\d+) met", out)] == [6, 6, 6, 6]


def test_the_first_door_is_the_real_clients_in_process() -> None:
    pytest.importorskip("anthropic", reason="needs the extra anthropic")
    out = run("door_in_process.py")
    assert out.count("met in 3 steps") == 3 and "Responses API: completed" in out and "Messages API: tool_use" in out


def test_the_second_door_serves_and_is_told_the_scores() -> None:
    pytest.importorskip("starlette", reason="needs the extra serve")
    out = run("door_serve.py")
    taught = re.findall(r"score 1, (\d) of 3 by the teacher", out)
    assert taught == ["3", "3", "3", "0", "0", "0"], "the student learns meanwhile"


def test_the_third_door_runs_a_command_untouched() -> None:
    pytest.importorskip("starlette", reason="needs the extra serve")
    out = run("door_run.py")
    assert out.count("exit code 0, score 1") == 4 and out.rstrip().endswith("0 of 3 steps by the teacher")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("door_*.py")), ids=lambda path: path.name)
def test_a_door_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60


def test_policies_compose() -> None:
    out = run("compose_policies.py", "3", "6")
    assert re.search(r"^teacher +3 of 3 games", out, re.MULTILINE)
    assert len(out.splitlines()) == 7


def test_examples_that_write_run_without_an_argument(tmp_path: Path) -> None:
    """They ended in an IndexError, and the one that trains found out what it lacks after all was played."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "own_benchmark.py"], cwd=tmp_path, capture_output=True, timeout=600
    )
    assert done.returncode == 0 and (tmp_path / "own" / "report.html").is_file()
    if find_spec("torch") is None:
        circle = [sys.executable, EXAMPLES / "full_circle.py"]
        done = subprocess.run(circle, cwd=tmp_path, capture_output=True, timeout=600)
        assert b"needs packages that are not installed" in done.stderr and not (tmp_path / "circle").exists()


@pytest.mark.slow
@pytest.mark.torch
def test_the_whole_circle_costs_less(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    out = run("full_circle.py", str(tmp_path), "200", "5", timeout=1800)
    assert "clerk is trained now" in out
    told = re.search(r"cost \$([\d.]+) before and \$([\d.]+) after", out)
    assert told and float(told[2]) < 0.9 * float(told[1])
    assert out.count(" of 20 won") == 2


@pytest.mark.torch
def test_a_wrapped_agent_s_logs_train_a_student_that_serves_in_its_teacher_s_place(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    pytest.importorskip("openai", reason="needs openai")
    out = run("agent_to_student.py", str(tmp_path))
    taught, served = re.findall(r"(\d+) of (\d+) requests met, (\d+) of \d+ steps by the teacher", out)
    assert taught == ("96", "96", "288")
    assert int(served[0]) >= 22 and int(served[2]) <= 12, "requests of customers that it never saw"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 80
