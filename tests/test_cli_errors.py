"""Mistakes at the command line: one sentence on stderr that names the input, exit code 2, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from atlas.benchmarks.alfworld.homes import homes
from atlas.cli import main

BENCH = ("bench", "alfworld", "--n", "1", "--demos", "2", "--embedder", "hash")

Fails = Callable[..., str]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ALFWORLD_DATA", "ATLAS_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command that has to fail, and returns its one sentence."""

    def run(*arguments: str | Path) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert stop.value.code == 2
        assert out == ""
        assert err.startswith("atlas: ") and err.endswith("\n") and err.count("\n") == 1, err
        assert "Traceback" not in err
        return err

    return run


def succeeds(*arguments: str) -> None:
    """Commands that go well may return or exit with 0."""
    try:
        main(list(arguments))
    except SystemExit as stop:
        assert not stop.code


def test_no_such_command(fails: Fails) -> None:
    assert "'bnech'" in fails("bnech")


def test_an_option_that_is_no_number(fails: Fails) -> None:
    assert "--n" in fails("bench", "alfworld", "--n", "many")


def test_wrong_model_name_says_what_was_meant(fails: Fails) -> None:
    said = fails(*BENCH, "--student", "nerest", "-o", "run")
    assert "'nerest'" in said and "did you mean nearest" in said


def test_wrong_price(fails: Fails) -> None:
    assert "'cheap'" in fails(*BENCH, "--student-price", "cheap", "-o", "run")


def test_missing_weights(fails: Fails) -> None:
    assert "nothing.gguf" in fails(*BENCH, "--student", "gguf:nothing.gguf", "-o", "run")


def test_unknown_arm(fails: Fails) -> None:
    said = fails(*BENCH, "--arms", "student,wizard", "-o", "run")
    assert "'wizard'" in said and "cascade" in said


def test_unknown_split(fails: Fails) -> None:
    said = fails(*BENCH, "--split", "valid_unsen", "-o", "run")
    assert "'valid_unsen'" in said and "valid_unseen" in said


def test_unknown_embedder(fails: Fails) -> None:
    assert "'minilmm'" in fails("bench", "alfworld", "--embedder", "minilmm", "-o", "run")


def test_missing_data_folder(fails: Fails, tmp_path: Path) -> None:
    said = fails(*BENCH, "--split", "valid_unseen", "--data", tmp_path / "gone", "-o", "run")
    assert str(tmp_path / "gone") in said


def test_missing_data_folder_in_the_environment(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", "/gone")
    assert "ALFWORLD_DATA is /gone" in fails(*BENCH, "--split", "valid_unseen", "-o", "run")


def test_corrupt_memory_is_left_as_it_is(fails: Fails, tmp_path: Path) -> None:
    store = tmp_path / "memory.sqlite"
    store.write_bytes(b"no database" * 100)
    assert "memory.sqlite" in fails(*BENCH, "--memory", store, "-o", "run")
    assert "memory.sqlite" in fails("memory", "ls", store)
    assert store.read_bytes() == b"no database" * 100


def test_no_such_memory(fails: Fails, tmp_path: Path) -> None:
    assert "gone.sqlite" in fails("memory", "ls", "gone.sqlite")
    assert not list(tmp_path.iterdir()), "looking for a memory must not make one"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 0.999])
def test_truncated_game_file(fails: Fails, tmp_path: Path, share: float) -> None:
    whole = json.dumps({"pddl_problem": homes("unseen", 1)[0].model_dump_json(), "grammar": "{}"}).encode()
    cut = tmp_path / "game.tw-pddl"
    cut.write_bytes(whole[: int(len(whole) * share)])
    assert "game.tw-pddl" in fails("play", "alfworld", cut)


def test_no_such_game_file(fails: Fails) -> None:
    assert "gone.tw-pddl" in fails("play", "alfworld", "gone.tw-pddl")
    assert "homes/train/x" in fails("play", "alfworld", "homes/train/x")


def test_no_such_file_of_commands(fails: Fails) -> None:
    assert "gone.txt" in fails("play", "alfworld", "homes/unseen/0/0", "--commands", "gone.txt")


def test_output_that_cannot_be_written(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "file/run" in fails(*BENCH, "-o", "file/run")
    assert (tmp_path / "file").read_text() == "mine"


def test_report_that_cannot_be_written(fails: Fails, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    succeeds(*BENCH, "--arms", "student", "-o", "run")
    capsys.readouterr()
    (tmp_path / "file").write_text("mine")
    assert "file/report.html" in fails("report", "run", "-o", "file/report.html")


@pytest.mark.parametrize("command", [("report",), ("traces", "show")])
def test_no_such_run(fails: Fails, command: tuple[str, ...]) -> None:
    assert "gone" in fails(*command, "gone")


def test_after_a_mistake_the_right_command_takes_the_same_folder(
    fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(*BENCH, "--arms", "wizard", "-o", "run")
    succeeds(*BENCH, "--arms", "student", "-o", "run")
    capsys.readouterr()
    succeeds("report", "run", "--json")
    assert json.loads(capsys.readouterr().out)


def test_a_run_is_not_resumed_with_other_settings_and_keeps_its_results(
    fails: Fails, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeeds(*BENCH, "--arms", "student", "-o", "run")
    capsys.readouterr()
    before = (tmp_path / "run" / "trace.jsonl").read_bytes()
    assert "other settings (tasks_seed)" in fails(*BENCH, "--arms", "student", "--tasks-seed", "5", "-o", "run")
    assert (tmp_path / "run" / "trace.jsonl").read_bytes() == before
