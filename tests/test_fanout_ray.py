"""The real Ray on this machine: workers and commands that are killed, and where it listens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.traces import Run
from tests.test_fanout import played

pytestmark = pytest.mark.slow
pytest.importorskip("ray")

MODELS = """
import asyncio
import os
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.copying.nearest import Nearest
from atlas.records import Usage

class Student(Nearest):
    async def sample(self, ask):
        await asyncio.sleep(0.03)
        return await super().sample(ask)

class Paid(ScriptedExpert):
    async def sample(self, ask):
        await asyncio.sleep(0.02)
        found = await super().sample(ask)
        with open(os.environ["BILL"], "a") as bill:
            bill.write(f"{os.getpid()}\\n")
        return found.replace(usage=Usage(calls=1, completion_tokens=100, dollars=1e-4))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models.py").write_text(MODELS)
    monkeypatch.setenv("BILL", str(tmp_path / "bill"))
    return tmp_path


def start(place: Path, run: str, *more: str, student: str = "python:models.py:Student") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "atlas", "bench", "alfworld", "--split", "homes", "--student", student, "--json"]
    command += ["--student-price", "0/0", "--embedder", "hash", "--concurrency", "12", "-o", run, *more]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])}
    return subprocess.Popen(command, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-2000:]
    return said


def lines(place: Path, run: str, process: subprocess.Popen[str], at: int) -> None:
    """Wait for the trace to have ``at`` lines."""
    path = place / run / "trace.jsonl"
    while process.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") < at):
        time.sleep(0.02)


def below(pid: int) -> Iterator[tuple[int, str]]:
    """The processes that ``pid`` has started, and those that these have."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    todo = [pid]
    while todo:
        parent = todo.pop()
        for child, of, *said in rows:
            if int(of) == parent:
                todo.append(int(child))
                yield int(child), said[0] if said else ""


PLAN = ("--n", "16", "--demos", "4", "--arms", "student,cascade,random-route")


def test_killed_workers_and_a_killed_command_change_nothing(place: Path) -> None:
    ended(start(place, "one", *PLAN))
    going = start(place, "many", *PLAN, "--ray")
    for at in (120, 300):
        lines(place, "many", going, at)
        worker = next(pid for pid, said in below(going.pid) if said.startswith("ray::Worker"))
        os.kill(worker, signal.SIGKILL)
    assert ended(going).count("played again") == 2
    cut = start(place, "cut", *PLAN, "--ray")
    lines(place, "cut", cut, 250)
    cut.kill()
    cut.communicate()
    ended(start(place, "cut", *PLAN, "--ray"))
    assert played(place / "one") == played(place / "many") == played(place / "cut")


def test_one_budget_and_the_loopback_address_alone(place: Path) -> None:
    plan = ["--n", "16", "--demos", "0", "--arms", "teacher", "--teacher", "python:models.py:Paid"]
    plan += ["--teacher-price", "0/1", "--budget-dollars", "0.015", "--ray"]
    going = start(place, "run", *plan, student="nearest")
    lines(place, "run", going, 20)
    processes = {pid for pid, _ in below(going.pid)} | {going.pid}
    heard = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line.split()[3] for line in heard if any(f"pid={pid}," in line for pid in processes)]
    assert len(ours) > 3 and all("127.0.0.1]:" in at or at.startswith("127.0.0.1:") for at in ours), ours
    ended(going)
    bill = (place / "bill").read_text().splitlines()
    assert 150 <= len(bill) < 150 + 12 and len(set(bill)) > 1
    assert sum(s.usage.calls for stored in Run(place / "run").episodes() for s in stored.spend) == len(bill)
    ended(start(place, "run", *plan, student="nearest"))
    assert len((place / "bill").read_text().splitlines()) == len(bill)
