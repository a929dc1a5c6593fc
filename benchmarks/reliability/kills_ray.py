"""kill -9 of runs whose episodes are played by workers of Ray: of the command itself, and of its workers.

One cluster serves all of it; each command is a driver of its own with workers of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from atlas.benchmarks.perf.table import Cell
from atlas.benchmarks.reliability import children
from atlas.benchmarks.reliability.children import Failed, command
from atlas.benchmarks.reliability.plan import Plan, scratch
from atlas.benchmarks.reliability.trials import Trials
from atlas.benchmarks.reliability.works import BENCHES, Wrong, held, played
from atlas.errors import ConfigError

DRIVER, WORKERS = "run on Ray, the command", "run on Ray, a worker"
ROWS = (DRIVER, WORKERS)
USUAL = 20
_AGAIN = 0.5
_GAP = 3.0
"""Seconds between two kills of workers, on average: as long as it takes one to begin, and then some."""
_MOST = 10
"""Kills of workers in one run."""
_CORES = 2
_BENCH = "bench alfworld --split homes --demos 2 --arms student,cascade,random-route --embedder hash -o run"
_SIZES = {DRIVER: "--n 4 --concurrency 6", WORKERS: "--n 30 --concurrency 12 --student python:models.py:Student"}
_MODELS = """
import asyncio
from atlas.copying.nearest import Nearest


class Student(Nearest):
    async def sample(self, ask):
        await asyncio.sleep(0.05)
        return await super().sample(ask)
"""
"""A student that takes its time, so that a run has some."""
_LOADS = (*BENCHES, "ray", "atlas.benchmarks.fanned")
_PATIENCE = 120.0


def row(name: str, plan: Plan) -> tuple[Cell, ...]:
    """One row of the table of kills."""
    trials = Trials(name, plan, plan.size(USUAL))
    children.load(_LOADS)
    words = [*_BENCH.split(), *_SIZES[name].split()]
    with scratch() as root, _cluster() as address:
        folder = _place(root / "plain")
        # What it has to come to is what one process comes to.
        children.warmed(command([*words, "--student-price", "0/0"]), folder, root / "plain.said")
        right = _outcome(folder)
        work = command([*words, "--student-price", "0/0", "--ray", address])
        folder = _place(root / "fanned")
        seconds = children.run(work, folder, root / "fanned.said")
        if _outcome(folder) != right:
            raise Wrong("a run on Ray does not come to what one process comes to")
        for trial in trials:
            at = _place(root / f"at-{trial.number}")
            said = at.with_suffix(".said")
            try:
                if name == DRIVER:
                    for _ in range(trials.left):
                        trial.kills += children.killed(work, at, said, trial.chance.uniform(0, 1.1 * seconds))
                        if (at / "run" / "run.json").exists():
                            played(at / "run")
                        if trial.chance.random() > _AGAIN:
                            break
                else:
                    trial.kills = _workers_killed(work, at, said, trial.chance, min(_MOST, trials.left))
                children.run(work, at, said)
                if _outcome(at) != right:
                    trial.wrong = "another outcome than undisturbed"
            except (Failed, Wrong) as error:
                trial.wrong = str(error)
            if not trial.wrong:
                shutil.rmtree(at)
    return trials.row(seconds)


def _place(folder: Path) -> Path:
    folder.mkdir()
    (folder / "models.py").write_text(_MODELS, encoding="utf-8")
    return folder


def _outcome(folder: Path) -> list[object]:
    return [played(folder / "run"), *map(held, sorted((folder / "run").glob("*.sqlite")))]


def _workers_killed(work: object, folder: Path, said: Path, chance: Random, most: int) -> int:
    """Kill workers at random moments until the command is over or there were enough kills; how many were killed."""
    assert callable(work)
    kills = 0
    child = children.begin(work, folder, said)
    while kills < most:
        code = children.ended(child, chance.expovariate(1 / _GAP))
        if code is not None:
            break
        kills += _kill_one(folder, chance)
    else:
        code = children.ended(child, children.LONGEST)
    if code is None:
        children.kill(child)
    if code not in (0, 1):
        # 1: episodes that met three deaths are errors, and played again by the same command.
        raise Failed(f"a run whose workers are killed ended with {code}: {said.read_text(encoding='utf-8')[-300:]}")
    return kills


def _kill_one(folder: Path, chance: Random) -> bool:
    """Kill a worker that plays, whose present folder is that of its command; whether there was one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (path / "cwd").resolve() == folder.resolve() and (path / "cmdline").read_bytes().startswith(b"ray::"):
                found.append(int(path.name))
    if not found:
        return False
    with suppress(ProcessLookupError):
        os.kill(chance.choice(sorted(found)), signal.SIGKILL)
        return True
    return False


@contextmanager
def _cluster() -> Iterator[str]:
    """The address of a cluster of its own on this machine, gone with all of its processes after the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    # Names of sockets are short.
    folder = Path(tempfile.mkdtemp(prefix="rel-ray-", dir="/tmp"))
    words = ["start", "--head", "--block", "--port", str(port), "--num-cpus", str(_CORES), "--include-dashboard=false"]
    words += ["--node-ip-address", "127.0.0.1", "--temp-dir", str(folder), "--object-store-memory", str(256 << 20)]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", "from ray.scripts.scripts import main; main()", *words],
            env=environment,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            _reached(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            _end(process, folder)
            shutil.rmtree(folder, ignore_errors=True)


def _reached(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            time.sleep(2.0)  # it answers before its machine has joined it
            return
        time.sleep(0.1)
    raise ConfigError("a Ray cluster to measure on did not start: free the machine")


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """The processes of the cluster, which name its folder, are not all of one group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder).encode() in (path / "cmdline").read_bytes() and int(path.name) != os.getpid():
                os.kill(int(path.name), signal.SIGKILL)
