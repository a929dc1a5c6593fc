"""Chroma as the index of a memory: in a folder, and as the real server, which several processes may use and which may
go away."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import atlas
from atlas.errors import ConfigError, StoreError
from atlas.memory import DemonstrationStore, HashEmbedder
from atlas.memory.pamphlet import Entry
from atlas.memory.pamphlets import PamphletStore
from tests.memory_fixtures import ME, demo, spawn, view
from tests.waiting import until

pytestmark = pytest.mark.skipif(importlib.util.find_spec("chromadb") is None, reason="chromadb is not installed")

ASKED = view("other", demo(8).goal, demo(8).steps[2].observation, thought=demo(8).steps[1].thought)
ENTRIES = [Entry(cue=f"a mug is in cabinet {i}", action=f"open cabinet {i} and take the mug") for i in range(12)]


class Server:
    """The server of the installed package, on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for tries in range(3):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            self.url = f"chroma://127.0.0.1:{self.port}"
            try:
                self.start()
                return
            except ChildProcessError:  # somebody else may have taken the port meanwhile
                if tries == 2:
                    raise

    def start(self) -> None:
        command = shutil.which("chroma", path=str(Path(sys.executable).parent))
        chroma = [command] if command else [sys.executable, "-c", "from chromadb.cli.cli import app; app()"]
        where = ["--path", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen([*chroma, "run", *where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers() -> bool:
            if self.process.poll() is not None:
                raise ChildProcessError("the Chroma server ended")
            with socket.socket() as tried:
                return tried.connect_ex(("127.0.0.1", self.port)) == 0

        assert until(answers), "the Chroma server does not answer"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "chroma")
    yield made
    made.stop()


def found(store: DemonstrationStore, k: int = 4) -> list[tuple[str, int, float]]:
    return [(w.demo_id, w.start + w.best, w.score) for w in store.search(ASKED, k)]


def test_a_server_finds_what_the_memory_finds_for_demonstrations_and_entries(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    with atlas.Memory(path, "hash") as memory:
        memory.demonstrations.add_many(demo(i) for i in range(20))
        memory.entries.add_many(ENTRIES, author=ME, reason="to be found")
        expected = found(memory.demonstrations), memory.entries.search(ASKED, 400)
    for _ in range(2):
        with atlas.Memory(path, "hash", index=server.url) as memory:
            assert (found(memory.demonstrations), memory.entries.search(ASKED, 400)) == expected
            # It is behind: what is added since is put there too.
            memory.add(demo(1))
            assert found(memory.demonstrations) == expected[0]
    import chromadb

    names = [one.name for one in chromadb.HttpClient("127.0.0.1", server.port).list_collections()]
    assert len(names) == 5  # goal, plan, thought, observation; and cues


PROCESS = """
import sys
from atlas.memory import DemonstrationStore
from tests.memory_fixtures import demo, search
with DemonstrationStore(sys.argv[1], "hash", sys.argv[2]) as store:
    for i in range(int(sys.argv[3]), int(sys.argv[3]) + 6):
        store.add(demo(i))
        search(store)
"""


def test_several_processes_use_one_server(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    with DemonstrationStore(path, "hash") as store:
        store.add(demo(100))
    at_work = [spawn(PROCESS, path, server.url, 10 * i) for i in range(3)]
    assert [one.wait(timeout=300) for one in at_work] == [0, 0, 0]
    with DemonstrationStore(path, "hash", server.url) as store, DemonstrationStore(path, "hash", "exact") as exact:
        assert len(store) == 19 and found(store, 9) == found(exact, 9)


def test_a_server_that_goes_away_is_said_once_and_nothing_is_lost(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with atlas.Memory(tmp_path / "m.sqlite", "hash", index=server.url) as memory:
        memory.demonstrations.add_many(demo(i) for i in range(20))
        memory.entries.add_many(ENTRIES, author=ME, reason="to be found")
        expected = found(memory.demonstrations), memory.entries.search(ASKED, 400)
        server.stop()
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert (found(memory.demonstrations), memory.entries.search(ASKED, 400)) == expected
            memory.add(demo(21))
            assert len(found(memory.demonstrations, 30)) == 21
        said = [record.getMessage() for record in caplog.records if record.name == "atlas.memory"]
        assert len(said) == 1 and server.url in said[0] and "nothing is lost" in said[0]
        assert memory.config()["index"] == server.url


def test_a_server_that_goes_away_while_the_memory_grows(server: Server, tmp_path: Path) -> None:
    with DemonstrationStore(tmp_path / "m.sqlite", "hash", server.url) as store:
        store.add(demo(1))
        assert len(found(store)) == 1
        server.stop()
        store.add_many(demo(i) for i in range(2, 9))
        assert len(found(store, 9)) == 8
    server.start()
    with DemonstrationStore(tmp_path / "m.sqlite", "hash", server.url) as store:
        assert len(found(store, 9)) == 8


def test_a_server_that_was_never_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="chroma run --port 9"):
        atlas.Memory(tmp_path / "m.sqlite", "hash", index="chroma://127.0.0.1:9")
    for wrong in ("chroma://", "chroma://localhost", "chroma://localhost:0", "chroma://a b:80", "chrome"):
        with pytest.raises(ConfigError, match="chroma"):
            atlas.Memory(tmp_path / "m.sqlite", "hash", index=wrong)
        with pytest.raises(ConfigError, match="chroma"):
            PamphletStore(tmp_path / "m.sqlite", "hash", index=wrong)


class Renamed(HashEmbedder):
    """An embedder that keeps its name when its size changes."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.name = "mine"


@pytest.mark.parametrize("place", ["chroma", "server"])
def test_a_collection_of_another_size_is_made_anew_and_said(
    place: str, tmp_path: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    index = "chroma" if place == "chroma" else request.getfixturevalue("server").url
    path = tmp_path / "m.sqlite"
    with atlas.Memory(path, Renamed(64), index=index) as memory:
        memory.demonstrations.add_many(demo(i) for i in range(9))
        assert found(memory.demonstrations)
    with (
        caplog.at_level(logging.WARNING),
        atlas.Memory(path, Renamed(128), index=index) as memory,
        atlas.Memory(path, Renamed(128)) as exact,
    ):
        assert found(memory.demonstrations) == found(exact.demonstrations)
    assert any("made anew" in record.getMessage() for record in caplog.records)


def test_an_embedded_folder_serves_entries_too_and_one_process(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    with atlas.Memory(path, "hash", index="chroma") as memory:
        memory.demonstrations.add_many(demo(i) for i in range(9))
        memory.entries.add_many(ENTRIES, author=ME, reason="to be found")
        first = found(memory.demonstrations), memory.entries.search(ASKED, 400)
        with atlas.Memory(path, "hash") as exact:
            assert first == (found(exact.demonstrations), exact.entries.search(ASKED, 400))
        with atlas.Memory(path, "hash", index="chroma") as second, pytest.raises(StoreError, match="another process"):
            found(second.demonstrations)
    with atlas.Memory(path, "hash", index="chroma") as memory:
        assert (found(memory.demonstrations), memory.entries.search(ASKED, 400)) == first


def test_an_agent_and_a_bench_take_the_index(server: Server, tmp_path: Path) -> None:
    from atlas.benchmarks.options import BenchOptions

    agent = atlas.Agent(policy=_Still(), memory=tmp_path / "m.sqlite", embedder="hash", index=server.url)
    with agent:
        assert agent.memory.config()["index"] == server.url  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="path"), atlas.Memory(tmp_path / "m.sqlite", "hash") as memory:
        atlas.Agent(policy=_Still(), memory=memory, index="chroma")
    assert "index" not in BenchOptions().settings(guided=False)
    assert BenchOptions(index="chroma").settings(guided=False)["index"] == "chroma"


class _Still:
    async def decide(self, view: object, desk: object) -> object:
        raise AssertionError

    def config(self) -> dict[str, object]:
        return {"policy": "still"}
