"""A memory where nothing can be written: a mount, a layer of a container, a closed file. It is used as it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.errors import FrozenMemory, StoreError
from atlas.memory import Memory
from atlas.memory.demonstration import Demonstration, DemoStep
from atlas.records import Task, View
from atlas.testing.runs import MadeUpArm, write_run
from atlas.traces import Run

VIEW = View(task=Task(id="t", goal="wash a mug 3"), opening="You are in a kitchen.")


def demo(number: int) -> Demonstration:
    steps = (DemoStep(observation="You are in a kitchen.", action=f"take mug {number}"),)
    return Demonstration(task_id=f"t{number}", goal=f"wash a mug {number}", steps=steps, success=True)


def filled(folder: Path) -> Path:
    folder.mkdir()
    with Memory(folder / "memory.sqlite", "hash") as memory:
        for number in range(5):
            memory.add(demo(number))
        memory.search(VIEW, 2)
    return folder / "memory.sqlite"


class Closed:
    """Files and folders that nothing can be written to, for root too."""

    def __init__(self) -> None:
        self._paths: list[Path] = []

    def __call__(self, *paths: Path) -> None:
        for path in paths:
            if os.geteuid():
                path.chmod(0o500 if path.is_dir() else 0o400)
            elif subprocess.run(["chattr", "+i", str(path)], capture_output=True, check=False).returncode:
                pytest.skip("root writes everywhere here, and chattr does not hold")
            self._paths.append(path)

    def open(self) -> None:
        for path in reversed(self._paths):
            if os.geteuid():
                path.chmod(0o700)
            else:
                subprocess.run(["chattr", "-i", str(path)], check=True)


@pytest.fixture
def close() -> Iterator[Closed]:
    closed = Closed()
    yield closed
    closed.open()


@pytest.fixture(params=["file and folder", "folder", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path, close: Closed) -> Path:
    """A memory of which that cannot be written."""
    made = filled(tmp_path / "memory")
    close(*([made] if "file" in request.param else []), *([made.parent] if "folder" in request.param else []))
    return made


def test_it_is_listed_and_shown(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("ls", "log"):
        main(["memory", command, str(path)])
        out = capsys.readouterr().out
        assert "wash a mug" in out or "v5" in out
    assert "cannot be written" in out, "the log says why nothing new will be there"


def test_it_is_searched_and_what_would_write_it_is_refused_in_a_sentence(path: Path) -> None:
    before = path.read_bytes()
    with Memory(path, "hash") as memory:
        assert [window.goal for window in memory.search(VIEW, 1)] == ["wash a mug 3"]
        assert memory.frozen is not None and memory.frozen.author == "rule:read-only"
        with pytest.raises(FrozenMemory, match="copy it to where it can be"):
            memory.add(demo(9))
        for change in (memory.freeze, memory.unfreeze):
            with pytest.raises(StoreError, match="copy it to where it can be"):
                change(author="person:me", reason="x")
        assert len(memory.demonstrations) == 5
    assert path.read_bytes() == before


def test_a_memory_that_never_met_its_embedder_is_searched_too(tmp_path: Path, close: Closed) -> None:
    made = tmp_path / "new" / "memory.sqlite"
    with Memory(made, "hash") as memory:
        memory.add(demo(3))
    close(made, made.parent)
    with Memory(made, "hash") as memory:
        assert len(memory.search(VIEW, 1)) == 1, "its embeddings are kept in the process"


def test_a_benchmark_plays_on_it(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play = ["bench", "alfworld", "--n", "2", "--arms", "icd", "--max-steps", "3", "--embedder", "hash"]
    main([*play, "--memory", str(path), "--demos", "0", "-o", str(tmp_path / "run")])
    assert len(Run(tmp_path / "run").results()) == 2
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*play, "--memory", str(path), "--demos", "2", "-o", str(tmp_path / "other")])
    assert "give --demos 0" in capsys.readouterr().err


def test_a_run_that_cannot_be_written_is_read_and_told_of_in_a_sentence(
    tmp_path: Path, close: Closed, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pruning such a run ended in a traceback; two other sentences named an option that their commands do not have."""
    run = tmp_path / "run"
    write_run(run, {"student": MadeUpArm(2, 0.5)})
    filled(tmp_path / "memory")
    shutil.move(tmp_path / "memory" / "memory.sqlite", run / "memory.sqlite")
    episode = next(e.id for e in Run(run).episodes())
    close(*run.iterdir(), run)
    main(["traces", "show", str(run)])
    for command in (
        ["traces", "prune", str(run), "--episode", episode, "--yes"],
        ["score", str(run), episode, "0.5"],
        ["memory", "reindex", str(run), "--embedder", "hash"],
        ["memory", "distil", str(run)],
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(command)
        said = capsys.readouterr().err
        assert stop.value.code == 2 and "Traceback" not in said, said
        assert "cannot be written" in said or "copy it to where" in said or "cannot be kept" in said, said
        assert " -o" not in said and "--off" not in said, said


def test_what_is_only_in_the_log_is_not_left_out_without_a_word(tmp_path: Path, close: Closed) -> None:
    made = filled(tmp_path / "memory")
    copied = tmp_path / "copied" / "memory.sqlite"
    copied.parent.mkdir()
    with Memory(made, "hash") as memory:
        memory.add(demo(7))
        for name in ("memory.sqlite", "memory.sqlite-wal"):
            shutil.copy(made.parent / name, copied.parent / name)
    close(copied, copied.parent)
    with pytest.raises(StoreError, match=r"memory\.sqlite-wal: open it once where it can be written"):
        Memory(copied, "hash")


def test_a_read_only_mount(tmp_path: Path) -> None:
    made = filled(tmp_path / "memory")
    script = (
        f"mount --bind {made.parent} {made.parent} && mount -o remount,bind,ro {made.parent} && "
        f"! touch {made.parent}/x 2>/dev/null && {sys.executable} -m atlas memory ls {made}"
    )
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, env=here)
    if "mount:" in done.stderr:
        pytest.skip("no mounts in user namespaces here")
    assert done.returncode == 0, done.stderr
    assert "wash a mug" in done.stdout


# --- room -------------------------------------------------------------------------------------------------------------


def test_a_limit_on_the_size_of_files_is_not_told_as_damage(tmp_path: Path) -> None:
    made = filled(tmp_path / "memory")
    code = f"""
import resource
from atlas.errors import StoreError
from atlas.memory import Memory
from tests.test_memory_read_only import demo
resource.setrlimit(resource.RLIMIT_FSIZE, ({made.stat().st_size}, {made.stat().st_size}))
try:
    with Memory({str(made)!r}, "hash") as memory:
        for number in range(10, 2000):
            memory.add(demo(number))
except StoreError as error:
    print(error)
"""
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=here, timeout=600)
    assert "ulimit -f" in done.stdout and "not an atlas memory" not in done.stdout, done.stdout + done.stderr
    with sqlite3.connect(made) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
