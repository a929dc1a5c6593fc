"""What builds of atlas are measured by, this one and earlier ones: policies, and how long they take.

``python -m atlas.benchmarks.perf.measured NAME [SETTINGS]`` prints the figures of the build it runs on, as one JSON
object. :mod:`atlas.benchmarks.perf.against` lays this file, ``instant.py`` and ``remembering.py`` over an earlier
build, so that both are given the same to do. They use nothing of atlas, therefore, that earlier builds do not have.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from atlas.benchmarks.perf.instant import InstantDemos, InstantHome, InstantModel
from atlas.loop import Rollout
from atlas.policies import Cascade, Recall, Solo, Watch
from atlas.protocols import Policy, Recorder
from atlas.records import Ask, Prompt, Task, Turn, View
from atlas.runner import Job, play
from atlas.traces import RunWriter

SOLO, FULL = "Solo", "Recall(Cascade)"
ALONE = "model, environment and memory alone, no atlas"
STEPS = 50
"""Of an episode that is played alone."""
LATENCY = 0.2
"""Seconds per model call, where many episodes are in flight."""
DECISIONS = 20
COLLECTOR = "garbage collector changed"
"""1 where a build changes the settings of the host's garbage collector while it plays, else 0."""
WATCHED = {"something new at every step": None, "in circles": 7}
"""How many different turns an episode has; None: as many as it has turns."""


def policies(*, latency: float = 0.0, splits: bool = False) -> dict[str, Policy]:
    """A student alone, and all that in-context distillation puts around it."""
    student = InstantModel("student", latency=latency, splits=splits)
    teacher = InstantModel("teacher", latency=latency)
    return {SOLO: Solo(student), FULL: Recall(Cascade(student, teacher, samples=3), InstantDemos())}


@contextmanager
def trace() -> Iterator[Recorder]:
    """The recorder of a run whose folder is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder, RunWriter(Path(folder) / "run") as writer:
        yield writer


def gaps(policy: Policy, episodes: int, recorder: Recorder | None = None) -> list[float]:
    """Seconds from each step of the environment to the next, over episodes of ``STEPS`` steps one after the other."""

    async def played() -> list[float]:
        found: list[float] = []
        for number in range(episodes):
            home = InstantHome(number)
            await Rollout(home, policy, max_steps=STEPS, recorder=recorder).play()
            found += [later - earlier for earlier, later in pairwise(home.ticks)]
        return found

    return asyncio.run(played())


def orchestration(episodes: int = 20, repetitions: int = 7) -> dict[str, float]:
    """CPU microseconds per step, user and system, beginnings and ends of episodes and of the trace included: the least
    of ``repetitions``, after one that warms up."""

    def least(run: Callable[[], object]) -> float:
        seconds = []
        for _ in range(repetitions + 1):
            began = time.process_time()
            run()
            seconds.append(time.process_time() - began)
        return 1e6 * min(seconds[1:]) / (episodes * STEPS)

    def played(policy: Policy, traced: bool) -> None:
        with trace() if traced else nullcontext() as recorder:
            gaps(policy, episodes, recorder)

    found = {ALONE: least(partial(_alone, episodes))}
    for said, traced in ("no trace", False), ("traced", True):
        for name, policy in policies(splits=True).items():
            found[f"{name}, {said}"] = least(partial(played, policy, traced))
    return found


def _alone(episodes: int) -> None:
    """What the model, the environment and the memory do in ``Recall(Cascade)``, which is not ours to better."""
    student, teacher, demos = InstantModel("student", splits=True), InstantModel("teacher"), InstantDemos()
    turn = Turn(action="look", observation="")
    task = InstantHome(0).task
    views = [View(task=task, opening="", turns=(turn,) * index) for index in range(STEPS)]
    asks = [(Ask(view=view, prompt=Prompt(), n=3), Ask(view=view, prompt=Prompt())) for view in views]

    async def asked() -> None:
        for number in range(episodes):
            home = InstantHome(number)
            await home.open()
            for view, (three, one) in zip(views, asks, strict=True):
                demos.search(view, 6)
                await student.sample(three)
                if view.index % 3 == 2:
                    await teacher.sample(one)
                await home.step("look")

    asyncio.run(asked())


class Burst(NamedTuple):
    """Many episodes that were in flight at once."""

    steps: int
    ideal: float
    """Seconds: the latencies of one episode, which is what unlimited cores would take."""
    wall: float
    cpu: float
    collector: bool
    """Whether the settings of the garbage collector were changed meanwhile."""

    @property
    def over(self) -> float:
        """Wall time beyond the ideal, per cent."""
        return 100 * (self.wall / self.ideal - 1)


def burst(policy: Policy, episodes: int, steps: int, latency: float = LATENCY) -> Burst:
    """``episodes`` begun together, traced."""
    settings = {_collector()}

    def home(number: int) -> InstantHome:
        settings.add(_collector())
        return InstantHome(number)

    jobs = [Job("perf", f"home-{i}", policy, partial(home, i)) for i in range(episodes)]
    with trace() as writer:
        began, used = time.perf_counter(), time.process_time()
        done = asyncio.run(play(jobs, recorder=writer, concurrency=episodes, max_steps=steps))
        wall, cpu = time.perf_counter() - began, time.process_time() - used
    return Burst(sum(e.steps for e in done), steps * latency, wall, cpu, len(settings) > 1)


def _collector() -> tuple[object, ...]:
    return gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()


def concurrency(episodes: int = 1000, steps: int = 25, latency: float = LATENCY) -> dict[str, float]:
    """Wall time over the ideal in per cent, and CPU seconds; a few episodes warm up."""
    found: dict[str, float] = {COLLECTOR: 0}
    for policy in policies().values():
        gaps(policy, 2)
    for name, policy in policies(latency=latency).items():
        seen = burst(policy, episodes, steps, latency)
        found |= {f"{name}: over ideal, %": seen.over, f"{name}: CPU s": seen.cpu}
        found[COLLECTOR] = max(found[COLLECTOR], float(seen.collector))
    return found


def watched(length: int, different: int | None) -> float:
    """CPU milliseconds per decision of a watch, the mean of the ``DECISIONS`` up to ``length`` turns."""
    watch = Watch(Solo(InstantModel("student")), InstantModel("teacher"))
    task = Task(id="t", goal="find the key")
    places = [i % (different or length) for i in range(length)]
    made = [Turn(action=f"go {place}", observation=f"room {place}") for place in places]
    turns = tuple(made[: length - DECISIONS])
    watch.sign(View(task=task, opening="a house", turns=turns))
    seconds = 0.0
    for turn in made[length - DECISIONS :]:
        turns = (*turns, turn)
        view = View(task=task, opening="a house", turns=turns)
        began = time.process_time()
        watch.sign(view)
        seconds += time.process_time() - began
    return 1e3 * seconds / DECISIONS


def watch(lengths: tuple[int, ...] = (50, 400)) -> dict[str, float]:
    """CPU milliseconds per decision in an episode that gets on and in one that does not."""
    return {
        f"{what}, after {length} turns": watched(length, different)
        for what, different in WATCHED.items()
        for length in lengths
    }


def memory(**settings: int) -> dict[str, float]:
    """CPU milliseconds of adding to a memory and of finding in it. The others load nothing of that."""
    from atlas.benchmarks.perf import remembering

    return remembering.memory(**settings)


MEASURED: dict[str, Callable[..., dict[str, float]]] = {
    "orchestration": orchestration,
    "concurrency": concurrency,
    "watch": watch,
    "memory": memory,
}

if __name__ == "__main__":
    print(json.dumps(MEASURED[sys.argv[1]](**json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}"))))
