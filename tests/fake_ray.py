"""What atlas uses of Ray, in one process: actors are objects of this event loop, and all that goes to and from them is
pickled. It is quick, and a worker dies where a test says so."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from atlas.fanout.cluster import Cluster


class Gone(Exception):
    """In place of RayError."""


class TaskFailed(Gone):
    """In place of RayTaskError."""


class Reference:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def __await__(self) -> Iterator[Any]:
        yield from asyncio.sleep(0).__await__()
        return pickle.loads(self.content)


class Actor:
    def __init__(self, inner: Any) -> None:
        self.inner, self.dead = inner, asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *given: asyncio.ensure_future(self._call(name, pickle.dumps(given))))

    async def _call(self, name: str, given: bytes) -> Any:
        called = asyncio.ensure_future(getattr(self.inner, name)(*pickle.loads(given)))
        died = asyncio.ensure_future(self.dead.wait())
        await asyncio.wait({called, died}, return_when=asyncio.FIRST_COMPLETED)
        if self.dead.is_set():
            called.cancel()
            if name == "tell":  # nobody waits for it
                return None
            raise Gone("the actor is dead")
        died.cancel()
        return pickle.loads(pickle.dumps(called.result()))

    def die(self) -> None:
        """As by kill -9: nothing that it has not told is told any more."""
        self.dead.set()
        for task in self.inner._playing.values():
            task.cancel()


class FakeRay:
    exceptions = SimpleNamespace(RayError=Gone, RayTaskError=TaskFailed)
    cloudpickle = pickle

    def __init__(self) -> None:
        self.actors: list[Actor] = []

    def put(self, content: Any) -> Reference:
        return Reference(pickle.dumps(content))

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        def made(kind: Any) -> Any:
            def begun() -> Actor:
                self.actors.append(Actor(kind()))
                return self.actors[-1]

            return SimpleNamespace(remote=begun)

        return made

    def kill(self, actor: Actor) -> None:
        actor.die()

    @property
    def living(self) -> list[Actor]:
        return [actor for actor in self.actors if not actor.dead.is_set()]


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """Benches with ``ray="local"`` are played by two workers of it."""
    ray = FakeRay()

    @contextmanager
    def connected(address: str) -> Iterator[Cluster]:
        yield Cluster(ray, 2)

    monkeypatch.setattr("atlas.benchmarks.fanned.connected", connected)
    monkeypatch.setattr("atlas.benchmarks.fanned.check_ray", lambda address: None)
    return ray
