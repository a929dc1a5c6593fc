"""A bench whose arms are played by workers of Ray: what they are sent, and what they make of it.

Demonstrations, what is distilled of them, and arms that learn while they serve are played where the command is, as
without Ray: their order is what they are about.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.benchmarks.arm import Cast, Played, Stage
from atlas.benchmarks.arms import build
from atlas.benchmarks.library import Library
from atlas.benchmarks.options import BenchOptions
from atlas.benchmarks.suite import Suite
from atlas.budget import Meter
from atlas.distil import Lesson
from atlas.errors import ConfigError
from atlas.fanout.cluster import check_ray, connected
from atlas.fanout.standin import single
from atlas.fanout.troupe import Troupe, WorkersLost
from atlas.fanout.worker import Kit
from atlas.memory import Memory
from atlas.memory.backend import is_url
from atlas.memory.sqlite import image
from atlas.protocols import Model, Recorder
from atlas.records import Episode, Observation, Task
from atlas.runner import Away, Job, Key, play
from atlas.traces import RunWriter

if TYPE_CHECKING:
    from atlas.benchmarks.bench import Bench

Makes = Callable[[Mapping[str, Model]], tuple[Suite, Cast]]
"""Makes the suite and the cast again in a worker, with the models given by role in place of those of that role."""


def same(suite: Suite, cast: Cast, models: Mapping[str, Model]) -> tuple[Suite, Cast]:
    """The suite and the cast themselves, as they were sent."""
    return suite, with_models(cast, models)


def with_models(cast: Cast, models: Mapping[str, Any]) -> Cast:
    """``cast`` with some models in place of others, by role."""
    return replace(cast, **models)


@dataclass(frozen=True)
class Scene:
    """What the episodes of an arm are played on."""

    arm: str
    """As the options name it."""
    share: float | None
    memory: str | bytes
    """Where it is, or the file: workers may be on other machines. Nothing is written to it meanwhile but by others."""
    lessons: Sequence[Lesson] | None
    """What the demonstrations taught; None where nothing was distilled."""
    won: frozenset[str]


def scene(arm: Played, stage: Stage, bench: Bench) -> Scene:
    memory, library = stage.memory, stage.library
    assert memory is not None
    at = str(bench.options.memory or bench.place.memory("memory"))
    where = at if is_url(at) else image(memory.path)
    lessons = None if library is None else tuple(library.lessons)
    return Scene(arm.name, stage.share, where, lessons, frozenset() if library is None else library.won)


@dataclass(frozen=True)
class Sent:
    """The company of a bench: called in a worker, it makes who plays there."""

    makes: Makes
    options: BenchOptions
    run: str
    """Its name."""
    group: str

    def __call__(self, kit: Kit) -> Sets:
        return Sets(self, kit)


class Sets:
    """The bench in a worker: its arms, each built once for each scene and seed."""

    def __init__(self, sent: Sent, kit: Kit) -> None:
        from atlas.benchmarks.bench import Bench

        suite, cast = sent.makes(kit.models)
        self._kit, self._run = kit, sent.run
        self._bench = Bench(suite=suite, cast=cast, options=sent.options, folder=sent.run, group=sent.group)
        self._arms = {arm.name: arm for arm in self._bench.arms}
        options = sent.options
        self._refs = {ref.id: ref for ref in suite.tasks(options.split, options.n, options.tasks_seed)}
        self._files = tempfile.TemporaryDirectory(prefix="atlas-memory-")
        self._memories: dict[str | bytes, Memory] = {}
        self._stages: dict[str, Stage] = {}
        self._jobs: dict[Key, Job] = {}

    async def play(self, scene: Scene, task: str, seed: int, retries: str, recorder: Recorder) -> Episode | None:
        kit, bench = self._kit, self._bench
        job = replace(self._job(scene, task, seed), retries=retries)
        played = await play(
            [job],
            recorder=recorder,
            run=self._run,
            concurrency=1,
            max_steps=bench.max_steps,
            budget=bench.options.budget,
            meter=kit.meter,
            desks=kit.desks,
        )
        return played[0] if played else None

    def close(self) -> None:
        for memory in self._memories.values():
            memory.close()
        self._files.cleanup()

    def _job(self, scene: Scene, task: str, seed: int) -> Job:
        """The episode, with the policy that all of its arm and seed share."""
        key = (scene.arm, task, seed)
        if key not in self._jobs:
            arm, stage = self._arms[scene.arm], self._stage(scene)
            policy = build(arm, replace(stage, seed=seed))
            for job in self._bench.jobs(arm, policy, self._refs.values(), seed):
                self._jobs[scene.arm, job.task_id, seed] = job
        return self._jobs[key]

    def _stage(self, scene: Scene) -> Stage:
        if scene.arm not in self._stages:
            memory, bench = self._memory(scene.memory), self._bench
            library = None if scene.lessons is None else Library(memory, scene.lessons, scene.won)
            self._stages[scene.arm] = Stage(bench.cast, bench.options, memory, library, share=scene.share)
        return self._stages[scene.arm]

    def _memory(self, given: str | bytes) -> Memory:
        """The memory of a scene, which is that of another where nothing was written in between."""
        key = given if isinstance(given, str) else blake2b(given, digest_size=16).digest()
        if key not in self._memories:
            where: str | Path = (
                given if isinstance(given, str) else Path(self._files.name) / f"{len(self._memories)}.db"
            )
            if isinstance(given, bytes):
                Path(where).write_bytes(given)
            options = self._bench.options
            self._memories[key] = Memory(where, options.embedder, index=options.index, window=options.around)
        return self._memories[key]


def check_fanned(options: BenchOptions) -> None:
    """Raises ConfigError for what cannot be had together with workers, MissingExtra where there is no Ray."""
    if options.ray is None:
        return
    if options.graph:
        raise ConfigError("--graph keeps its journal where the command is, and --ray plays elsewhere: leave out one")
    if options.otlp is not None:
        raise ConfigError(
            "--otlp sends spans from where it is played, and --ray plays in many places: leave out --otlp, and send "
            "them with 'atlas traces export'"
        )
    check_ray(options.ray)


@asynccontextmanager
async def fanned(bench: Bench, writer: RunWriter, meter: Meter) -> AsyncIterator[Fanned | None]:
    """The workers of ``bench``, in the block; None where it has none."""
    if bench.options.ray is None:
        yield None
        return
    with connected(bench.options.ray) as cluster:
        makes: Makes = bench.makes or partial(same, bench.suite, _bare(bench.cast))
        sent = Sent(makes, replace(bench.options, ray=None), bench.place.name, bench.group)
        models, most = _singles(bench.cast), bench.options.concurrency
        async with Troupe(cluster, sent, writer=writer, meter=meter, models=models, most=most) as troupe:
            yield Fanned(bench, troupe, writer)


class Fanned:
    """The workers of a bench, and how its arms are played by them."""

    def __init__(self, bench: Bench, troupe: Troupe, writer: RunWriter) -> None:
        self._bench, self._troupe, self._writer = bench, troupe, writer

    def away(self, arm: Played, stage: Stage) -> Away:
        """Has the episodes of ``arm`` played by workers; the arms before it are over."""
        number: int | None = None

        async def played(job: Job) -> Episode | None:
            nonlocal number
            if number is None:
                number = self._troupe.scene(scene(arm, stage, self._bench))
            try:
                return await self._troupe.play(number, job)
            except WorkersLost as lost:
                # A failed rollout is data: it is written down as one, and played again when the run is resumed.
                task = job.environment().task
                failing = replace(job, environment=partial(_Lost, task, str(lost)), reviewer=None, judge=None)
                found = await play([failing], recorder=self._writer, run=self._bench.place.name, concurrency=1)
                return found[0]

        return played


class _Lost:
    """In place of an environment that nobody survives."""

    def __init__(self, task: Task, why: str) -> None:
        self.task, self._why = task, why

    async def open(self) -> Observation:
        raise RuntimeError(self._why)

    async def step(self, action: str) -> Observation:
        raise RuntimeError(self._why)

    async def close(self) -> None: ...


def _singles(cast: Cast) -> dict[str, Model]:
    """The models of ``cast`` that are not made again in workers, by role."""
    models: dict[str, Any] = {"student": cast.student, "teacher": cast.teacher}
    return {role: model for role, model in models.items() if single(model)}


def _bare(cast: Cast) -> Cast:
    """``cast`` without what stays here."""
    return with_models(cast, dict.fromkeys(_singles(cast)))
