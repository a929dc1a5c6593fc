"""Commands that write a folder: what somebody else put there is never lost, and a wrong -o costs no work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from atlas.cli import COMMANDS, app, main
from atlas.errors import ConfigError, StoreError
from atlas.folders import check_own, check_writable
from atlas.memory import DemonstrationStore
from atlas.testing.runs import write_run
from atlas.traces import RunWriter
from tests.excytin_fixtures import write_folder

PLAY = ("--n", "6", "--demos", "2", "--embedder", "hash", "--arms", "teacher")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read: a played run, a memory, trajectories, tables of incidents, a logged run."""
    from tests.test_excytin_recorded_runs import entry, write

    folder = tmp_path_factory.mktemp("inputs")
    main(["bench", "alfworld", "--split", "homes", *PLAY, "-o", str(folder / "run")])
    main(["export", str(folder / "run"), "--format", "atif", "-o", str(folder / "atif")])
    write_folder(folder / "tables")
    write(folder / "gpt-4.1-nano" / "agent_incident_7.json", [entry()])
    return folder


WRITERS = {
    "bench alfworld": ("--split", "homes", *PLAY),
    "bench excytin": ("--incident", "7", "--data", "IN/tables", "--n", "1", "--demos", "0", "--arms", "student"),
    "data excytin import": ("IN/tables",),
    "demo": ("--homes", "1", "--demos", "1", "--lm-seconds", "0", "--embedder", "hash"),
    "export": ("IN/run", "--format", "rows"),
    "promote": ("clerk", "nearest", "--n", "2"),
    "traces import atif": ("IN/atif",),
    "traces import excytin": ("IN/gpt-4.1-nano",),
    "train": ("sft-success", "--data", "IN/run", "--base", "scratch:tiny", "--epochs", "1", "--threads", "1"),
}
"""Command -> what it is called with besides -o."""
FILES = {
    "memory compressor",
    "memory reranker",
    "models export",
    "report",
    "trust calibrate",
    "trust foresee",
    "trust select",
}
"""Those whose -o is one file, which is named to be written."""


def _commands(group: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(group, click.Group):
        yield name, group
        return
    with click.Context(group) as context:
        for part in group.list_commands(context):
            found = group.get_command(context, part)
            assert found is not None
            yield from _commands(found, f"{name} {part}".strip())


def test_every_command_with_an_output_is_walked_here() -> None:
    having = {name for name, command in _commands(app) if any("-o" in param.opts for param in command.params)}
    assert having == WRITERS.keys() | FILES
    assert {name.split()[0] for name in having} <= COMMANDS.keys()


def _call(name: str, inputs: Path, out: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said on standard error; the command has to be refused."""
    if name == "train":
        pytest.importorskip("torch", reason="needs the extra train")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), *(part.replace("IN/", f"{inputs}/") for part in WRITERS[name]), "-o", out])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "Traceback" not in said, said
    return said.splitlines()[-1]


def _present(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


@pytest.fixture(autouse=True)
def alias(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_CONFIG", str(tmp_path_factory.mktemp("config")))
    main(["models", "add", "alias", "clerk", "nearest"])


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_with_notes_in_it_is_refused_and_left_as_it_was(
    name: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / "mine").mkdir(parents=True)
    (out / "notes.txt").write_text("do not lose me")
    (out / "mine" / "run.json").write_text("{}")
    before = _present(tmp_path)
    said = _call(name, inputs, str(out), capsys)
    assert ("notes.txt" in said or "mine" in said) and "-o" in said
    assert _present(tmp_path) == before


@pytest.mark.parametrize("name", WRITERS)
def test_the_run_that_was_given_as_data_is_no_place_for_anything_else(
    name: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run")
    before = _present(tmp_path)
    _call(name, inputs, str(tmp_path / "run"), capsys)
    assert _present(tmp_path) == before


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "data excytin import"])
def test_the_present_folder_is_refused(
    name: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (".", ".."):
        assert f"{out} " in _call(name, inputs, out, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    name: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    with _read_only(closed):
        said = _call(name, inputs, str(closed / "out"), capsys)
    assert "cannot be written" in said or "cannot be made" in said
    assert "epoch" not in said


class _read_only:
    """A folder that nothing can be written to, for root too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        if os.geteuid():
            self.folder.chmod(0o500)
        elif subprocess.run(["chattr", "+i", str(self.folder)], capture_output=True, check=False).returncode:
            pytest.skip("root writes everywhere here, and chattr does not hold")

    def __exit__(self, *_: object) -> None:
        if os.geteuid():
            self.folder.chmod(0o700)
        else:
            subprocess.run(["chattr", "-i", str(self.folder)], check=True)


def test_marks_of_a_desktop_are_nobody_s_work(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    (tmp_path / ".gitkeep").touch()
    check_own(tmp_path, (), "nobody wrote")
    (tmp_path / "sub").mkdir()
    with pytest.raises(ConfigError, match="holds sub, which nobody wrote"):
        check_own(tmp_path, (), "nobody wrote")


def test_what_cannot_be_written_is_found_without_leaving_anything(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        check_writable(tmp_path / "file" / "out")


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_memory_may_wait_in_the_folder_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "memory.sqlite").touch()
    RunWriter(tmp_path, {"a": 1}).close()
    RunWriter(tmp_path, {"a": 1}).close()


def test_the_manifest_of_another_program_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema": "of mine"}')
    with pytest.raises(ConfigError, match="of another program"):
        RunWriter(tmp_path, {})
    assert json.loads((tmp_path / "run.json").read_text()) == {"schema": "of mine"}


# --- students ---------------------------------------------------------------------------------------------------------


def test_another_student_stays_and_the_same_is_trained_again(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    out = tmp_path / "s"
    train = ["train", "sft-success", "--data", f"{inputs}/run", "--base", "scratch:tiny", "--threads", "1", "-o"]
    main([*train, str(out), "--epochs", "1"])
    weights = (out / "weights.safetensors").read_bytes()
    with pytest.raises(SystemExit):
        main([*train, str(out), "--epochs", "1", "--games", "1"])
    assert "holds a student of a training with another data" in capsys.readouterr().err
    assert (out / "weights.safetensors").read_bytes() == weights
    main([*train, str(out), "--epochs", "2"])
    assert (out / "weights.safetensors").read_bytes() != weights
    (out / "notes.txt").write_text("how it did")
    with pytest.raises(SystemExit):
        main([*train, str(out), "--epochs", "2"])
    assert "holds notes.txt, which no training wrote" in capsys.readouterr().err


def test_the_interpreter_s_own_way_to_call_it_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    command = [sys.executable, "-m", "atlas", "demo", "-o", str(tmp_path), "--lm-seconds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "notes.txt" in done.stderr


def test_a_bench_that_is_refused_for_its_memory_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with DemonstrationStore("m.db", "hash") as store:
        store.database.set_frozen(True, author="person:me", reason="as it is")
    (tmp_path / "mine").mkdir()
    for more in ((), ("-o", "mine/run"), ("-o", "mine")):
        with pytest.raises(SystemExit):
            main(["bench", "alfworld", "--split", "homes", *PLAY[:-2], "--memory", "m.db", *more])
        assert "is frozen, and new demonstrations" in capsys.readouterr().err
    left = sorted(path.name for path in tmp_path.rglob("*") if not path.name.startswith("m.db"))
    assert left == ["mine", "runs"], "an own folder stays, and the one for runs"


def test_a_memory_that_cannot_be_written_is_not_told_to_be_thawed(monkeypatch: pytest.MonkeyPatch) -> None:
    from atlas.benchmarks.frozen import check_unfrozen
    from atlas.benchmarks.options import BenchOptions
    from atlas.memory.database import Database

    with DemonstrationStore(":memory:", "hash") as store:
        monkeypatch.setattr(Database, "read_only", True)
        monkeypatch.setattr(Database, "_unwritable", "nobody may write it")
        with pytest.raises(ConfigError, match=r"is read-only, and new .* name one that can be written") as refused:
            check_unfrozen(store.database, BenchOptions(demos=3))
    assert "--off" not in str(refused.value)
