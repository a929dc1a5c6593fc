"""The store keeps what it acknowledged: among processes, through kills, and it says plainly when it cannot."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from atlas.errors import ConfigError, StoreError
from atlas.memory import DemonstrationStore
from tests.memory_fixtures import demo, view

HERE = Path(__file__).parent.parent


def open_store(path: str | Path, **options: object) -> DemonstrationStore:
    return DemonstrationStore(path, embedder="hash", **options)  # type: ignore[arg-type]


def spawn(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own that runs ``code``."""
    preamble = "import sys\nfrom atlas.memory import DemonstrationStore\nfrom tests.memory_fixtures import demo, view\n"
    return subprocess.Popen(
        [sys.executable, "-c", preamble + code, *arguments],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_adding_twice_is_adding_once(tmp_path: Path) -> None:
    with open_store(tmp_path / "m.db") as store:
        assert store.add(demo(1))
        assert not store.add(demo(1))
        assert store.add_many([demo(1), demo(2), demo(2)]) == 1
        assert len(store) == 2
    with open_store(tmp_path / "m.db") as store:
        assert store.all() == [demo(1), demo(2)]
        assert store.get(demo(2).id) == demo(2)
        assert demo(2).id in store
        with pytest.raises(StoreError, match="no demonstration"):
            store.get("nothing")


def test_an_unsuccessful_one_is_refused_and_nothing_of_its_batch_is_kept() -> None:
    store = open_store(":memory:")
    with pytest.raises(StoreError, match="did not succeed"):
        store.add_many([demo(1), demo(2).model_copy(update={"success": False})])
    assert len(store) == 0


def test_eight_processes_lose_nothing(tmp_path: Path) -> None:
    code = """
store = DemonstrationStore(sys.argv[1], embedder="hash")
worker = int(sys.argv[2])
new = sum(store.add(demo(worker * 100 + i)) for i in range(12))
new += sum(store.add(demo(9000 + i)) for i in range(6))  # the same in every process
found = store.search(view("other", "put a hot apple in diningtable", "You see a mug 3."), 3)
assert len(found) == 3
print(new)
"""
    workers = [spawn(code, str(tmp_path / "m.db"), str(i)) for i in range(8)]
    outputs = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 8
    assert sum(int(text) for text in outputs) == 8 * 12 + 6
    with open_store(tmp_path / "m.db") as store:
        assert len(store) == len({one.id for one in store.all()}) == 8 * 12 + 6


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    code = """
store = DemonstrationStore(sys.argv[1], embedder="hash")
for i in range(1_000_000):
    store.add(demo(i))
    print(demo(i).id, flush=True)
    if i % 5 == 0:
        store.search(view("other", "put", "You see a mug 3."), 1)  # embeds and writes vectors as well
"""
    acknowledged: list[str] = []
    for _ in range(2):
        worker = spawn(code, str(tmp_path / "m.db"))
        assert worker.stdout
        acknowledged += [worker.stdout.readline().strip() for _ in range(20)]
        time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in worker.stdout if line.endswith("\n")]
        worker.wait()
        with open_store(tmp_path / "m.db") as store:
            assert set(acknowledged) <= {one.id for one in store.all()}
            assert len(store.search(view("other", "put", "You see a mug 3."), 2)) == 2


def test_what_another_process_adds_is_found(tmp_path: Path) -> None:
    path = str(tmp_path / "m.db")
    store = open_store(path)
    store.add(demo(1))
    asked = view("other", demo(2).goal, demo(2).steps[3].observation)
    assert [window.task_id for window in store.search(asked, 5)] == ["task-1"]
    assert spawn("DemonstrationStore(sys.argv[1], embedder='hash').add(demo(2))", path).wait() == 0
    assert [window.task_id for window in store.search(asked, 5)] == ["task-2", "task-1"]
    assert [window.task_id for window in store.limit(1).search(asked, 5)] == ["task-1"]


def test_texts_are_embedded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.db"
    asked = view("other", demo(1).goal, demo(1).steps[0].observation)
    with open_store(path) as store:
        store.add_many(demo(i) for i in range(5))
        counted: list[tuple[int, int]] = []
        store.warm(lambda done, of: counted.append((done, of)))
        assert sum(done for done, _ in counted) == 1 + 1 + 5 * 5 + 5 * 6
        before = store.search(asked, 3)
    with open_store(path) as store:
        embedded: list[str] = []
        compute = store._embedder._compute  # type: ignore[attr-defined]
        monkeypatch.setattr(store._embedder, "_compute", lambda texts: (embedded.extend(texts), compute(texts))[1])
        assert store.search(asked, 3) == before
        assert set(embedded) == {asked.task.goal, asked.opening}


def test_many_threads_may_search_while_one_adds() -> None:
    store = open_store(":memory:")
    store.add_many(demo(i) for i in range(20))
    failures: list[BaseException] = []

    def search(seed: int) -> None:
        try:
            for i in range(30):
                asked = view("task-3", demo(3).goal, f"You see a mug {(seed + i) % 6}.")
                windows = store.search(asked, 6)
                assert len(windows) == 6 and all(window.task_id != "task-3" for window in windows)
        except BaseException as error:  # a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=search, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for i in range(20, 40):
        store.add(demo(i))
    for thread in threads:
        thread.join()
    assert not failures


# --- bad input --------------------------------------------------------------------------------------------------------


def test_a_file_of_another_kind_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, and they matter\n" * 200)
    with pytest.raises(StoreError, match=r"notes\.txt is not an atlas memory .* move it away or restore a copy"):
        open_store(path)
    assert path.read_text().startswith("these are notes")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(StoreError, match="not an atlas memory"):
        open_store(tmp_path / "other.db")
    assert (tmp_path / "other.db").read_bytes() == before


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with open_store(path) as store:
        store.add_many(demo(i) for i in range(50))
    path.write_bytes(path.read_bytes()[:6_000])
    with pytest.raises(StoreError, match=r"m\.db is not an atlas memory"), open_store(path) as store:
        store.all()


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with open_store(path) as store:
        store.add_many(demo(i) for i in range(50))
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"m\.db is not an atlas memory"), open_store(path) as store:
        store.all()


def test_a_newer_schema_is_not_touched(tmp_path: Path) -> None:
    open_store(tmp_path / "m.db").close()
    raw = sqlite3.connect(tmp_path / "m.db")
    raw.execute("PRAGMA user_version = 7")
    raw.close()
    with pytest.raises(StoreError, match=r"newer atlas \(schema 7"):
        open_store(tmp_path / "m.db")


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        open_store(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        open_store(tmp_path / "file" / "m.db")


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match="choose minilm"):
        DemonstrationStore(":memory:", embedder="word2vec")
    with pytest.raises(ConfigError, match="retrieval key"):
        open_store(":memory:", keys=("goal", "reward"))
    with pytest.raises(ConfigError, match="index"):
        open_store(":memory:", index="annoy")
    with pytest.raises(ConfigError, match="positive"):
        open_store(":memory:", weights={"goal": 0.0})
