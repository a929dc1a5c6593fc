"""Ten thousand episodes in flight over a model that takes 200 ms to answer: in one process, and by workers of Ray."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from atlas.benchmarks.perf.instant import InstantHome
from atlas.benchmarks.perf.measured import FULL, LATENCY, SOLO, burst, policies
from atlas.benchmarks.perf.table import Aim, Table
from atlas.budget import Meter
from atlas.fanout.cluster import LOCAL, connected
from atlas.fanout.troupe import Troupe
from atlas.fanout.worker import Kit
from atlas.protocols import Policy, Recorder
from atlas.records import Episode
from atlas.runner import Job, play
from atlas.traces import RunWriter

OVER, MEMORY = 30.0, 4.0
"""What is aimed at: per cent over ideal, and GB."""


@dataclass(frozen=True)
class Crowd:
    """The company of a worker: plays any episode by the policy that a scene names."""

    steps: int

    def __call__(self, kit: Kit) -> Crowding:
        return Crowding(self.steps, kit)


class Crowding:
    def __init__(self, steps: int, kit: Kit) -> None:
        self._steps, self._kit, self._policies = steps, kit, policies(latency=LATENCY)

    async def play(self, scene: str, task: str, seed: int, retries: str, recorder: Recorder) -> Episode | None:
        job = _job(self._policies[scene], int(task.removeprefix("home-")))
        found = await play([job], recorder=recorder, concurrency=1, max_steps=self._steps, meter=self._kit.meter)
        return found[0] if found else None

    def close(self) -> None: ...


class Seen(NamedTuple):
    """A crowd that has played."""

    wall: float
    """Seconds, from the first deal to the last result; the workers were there before."""
    cpu: float
    """Seconds of CPU meanwhile, of this process and those below it, Ray's own among them."""
    memory: float
    """GB, the most that all processes together had (proportional set size), Ray's own among them."""


def _job(policy: Policy, number: int) -> Job:
    return Job("perf", f"home-{number}", policy, partial(InstantHome, number))


async def _fanned(name: str, episodes: int, steps: int, folder: Path) -> Seen:
    meter = Meter()
    with RunWriter(folder / "run") as writer, connected(LOCAL) as cluster:
        troupe = Troupe(cluster, Crowd(steps), writer=writer, meter=meter, models={}, most=cluster.cores)
        async with troupe:
            scene = troupe.scene(name)
            jobs = [_job(policies()[name], number) for number in range(episodes)]
            await asyncio.gather(*(troupe.play(scene, job) for job in jobs[: 4 * cluster.cores]))  # they are there
            with Watched() as watched:
                began = time.perf_counter()
                done = await play(jobs, recorder=writer, concurrency=episodes, away=partial(troupe.play, scene))
                wall = time.perf_counter() - began
            assert len(done) == episodes and all(e.steps == steps for e in done)
    return Seen(wall, watched.cpu, watched.most / 2**30)


class Watched:
    """The most memory that this process and those below it had in the block, in bytes, looked at twice a second; and
    the seconds of CPU that they took."""

    def __init__(self) -> None:
        self.most = 0
        self.cpu = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watched:
        self.cpu = -_cpu(_below(os.getpid()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu += _cpu(_below(os.getpid()))
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.most = max(self.most, sum(map(_bytes, _below(os.getpid()))))
            if self._over.wait(0.5):
                return


def _below(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
        except OSError:
            continue
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def _cpu(pids: Sequence[int]) -> float:
    """Seconds of CPU that these have taken so far."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _bytes(pid: int) -> int:
    """A process's share of memory; what several have is divided among them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def measure(episodes: int = 10_000, steps: int = 25) -> Table:
    """Wall time against ideal, traces on, and memory. Ideal is the latency of the calls of one episode in sequence."""
    ideal, rows, aims = steps * LATENCY, [], []
    for name in (SOLO, FULL):
        for way in ("one process", "Ray") if find_spec("ray") else ("one process",):
            if way == "Ray":
                with tempfile.TemporaryDirectory() as folder:
                    seen = asyncio.run(_fanned(name, episodes, steps, Path(folder)))
            else:
                with Watched() as watched:
                    wall = burst(policies(latency=LATENCY)[name], episodes, steps).wall
                seen = Seen(wall, watched.cpu, watched.most / 2**30)
            over = 100 * (seen.wall / ideal - 1)
            load = os.getloadavg()[0]
            alone = 100 * (max(ideal, seen.cpu / (os.cpu_count() or 1)) / ideal - 1)
            each = 1e6 * seen.cpu / (episodes * steps)
            figures = (
                round(seen.wall, 2),
                round(over, 1),
                round(seen.cpu, 1),
                round(each),
                round(alone, 1),
                round(seen.memory, 2),
                round(load, 1),
            )
            rows.append((f"{name}, {way}", episodes, ideal, *figures))
            if way == "Ray":
                aims.append(Aim(what=f"{name}, Ray: wall over ideal, %", limit=OVER, measured=round(over, 1)))
                aims.append(Aim(what=f"{name}, Ray: GB of memory", limit=MEMORY, measured=round(seen.memory, 2)))
    return Table(
        name="fanned",
        title=f"{episodes:,} episodes in flight, a model of {LATENCY * 1e3:.0f} ms, traced, on {os.cpu_count()} cores",
        columns=(
            "how",
            "episodes",
            "ideal s",
            "wall s",
            "over ideal %",
            "CPU s",
            "µs a step",
            "at least over %",
            "GB",
            "load",
        ),
        rows=tuple(rows),
        aims=tuple(aims),
        note=(
            "Ideal is the sum of one episode's latencies: what unlimited cores would take. 'At least' is what the CPU "
            "that was taken would come to on these cores if nobody else used them."
        ),
    )
