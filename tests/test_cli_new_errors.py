"""Mistakes with the commands on memories, trust, exports, students and names: one sentence, exit code 2."""

from __future__ import annotations

import ast
import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atlas.cli import COMMANDS, SECTIONS, main
from atlas.cli.bench import new_folder
from atlas.records import Stop
from atlas.traces import Run

Fails = Callable[..., str]
BENCH = ("bench", "alfworld", "--n", "1", "--embedder", "hash", "--arms", "student", "--demos", "0")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATLAS_CONFIG", str(tmp_path / "config"))
    for name in ("ALFWORLD_DATA", "ATLAS_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command that has to fail, and returns its last line on stderr."""

    def run(*arguments: str | Path) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        err = capsys.readouterr().err
        assert stop.value.code == 2
        assert "Traceback" not in err
        said = err.splitlines()[-1]
        assert said.startswith("atlas: ")
        return said

    return run


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Path:
    """A run of one episode, which failed: the student knows nothing."""
    main([*BENCH, "--max-steps", "3", "-o", "run"])
    capsys.readouterr()
    return Path("run")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--temperature", "-1"),
        ("--budget-dollars", "-1"),
        ("--budget-tokens", "-1"),
        ("--episode-dollars", "-0.5"),
        ("--episode-tokens", "-1"),
        ("--trials", "2"),
        ("--guidance-tokens", "0"),
    ],
)
def test_amounts_that_cannot_be_are_refused_before_there_is_a_run(fails: Fails, option: str, value: str) -> None:
    assert option in fails(*BENCH, option, value)
    assert not Path("runs").exists()


def test_the_demo_names_the_option_it_has(fails: Fails) -> None:
    assert "--demos" in fails("demo", "--demos", "0") and "--homes" in fails("demo", "--homes", "-1")
    assert "--lm-seconds" in fails("demo", "--lm-seconds", "-5")
    assert not Path("demo").exists()


def test_an_alias_names_a_model_that_there_is(fails: Fails) -> None:
    assert "'nonsense'" in fails("models", "add", "alias", "clerk", "nonsense")
    assert "'clerk'" in fails("models", "remove", "clerk"), "nothing was written"


def test_distilling_an_arm_that_nobody_played(fails: Fails, run: Path) -> None:
    assert "no finished episode of the arm 'nobody'" in fails("memory", "distil", run, "--arm", "nobody")
    assert not (run / "lessons.jsonl").exists()


def test_a_distiller_that_cannot_be_asked_is_no_success(fails: Fails, run: Path) -> None:
    Path("mute.py").write_text(
        "from atlas.errors import ModelError\n"
        "from atlas.testing import FlakyModel, ScriptedModel\n"
        "mute = FlakyModel(ScriptedModel([]), fails=range(9), error=ModelError('its key is refused'))\n"
    )
    said = fails("memory", "distil", run, "--embedder", "hash", "--distiller", "python:mute.py:mute")
    assert "none of 1 episode was distilled" in said and "could not be asked" in said


def test_a_distiller_without_its_key_is_found_before_anything_is_done(fails: Fails, run: Path) -> None:
    said = fails("memory", "distil", run, "--embedder", "hash", "--distiller", "gemini/gemini-2.5-flash")
    assert "GEMINI_API_KEY is not set" in said and not (run / "lessons.jsonl").exists()


def test_logged_runs_that_are_not_there(fails: Fails) -> None:
    assert "nowhere cannot be read" in fails("traces", "import", "excytin", "nowhere", "-o", "imported")
    assert not Path("imported").exists()


def test_an_audit_lists_no_negative_number_of_steps(fails: Fails, run: Path) -> None:
    assert "--differences" in fails("trust", "audit", run, "--differences", "-1")


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed here")
def test_training_without_its_packages_says_what_to_install(fails: Fails, run: Path) -> None:
    assert "pip install" in fails("train", "sft-success", "--data", run, "--out", "student")
    assert not Path("student").exists()


def test_two_runs_of_one_second_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-000000")
    found = [new_folder("alfworld-homes").name.removeprefix("alfworld-homes-") for _ in range(3)]
    assert found == ["20260101-000000", "20260101-000000-2", "20260101-000000-3"]


def test_processes_that_begin_together_take_folders_of_their_own() -> None:
    code = (
        "import sys, time; from atlas.cli.bench import new_folder; time.strftime = lambda form: 'now'; "
        "print('ready', flush=True); sys.stdin.readline(); print([new_folder('run').name for _ in range(50)])"
    )
    command = [sys.executable, "-c", code]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(2)
    ]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
    taken = [name for process in started for name in ast.literal_eval(process.communicate(timeout=300)[0])]
    assert len(taken) == len(set(taken)) == 100


def test_where_no_run_folder_can_be_made(fails: Fails) -> None:
    Path("runs").write_text("in the way")
    assert "choose one with -o" in fails(*BENCH)


def test_every_command_stands_in_one_section_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(COMMANDS)
    main(["--help"])
    said = capsys.readouterr().out
    assert all(said.count(f"\n  {name} ") == 1 for name in COMMANDS)


def test_every_command_that_writes_takes_the_same_option() -> None:
    import click

    from atlas.cli import app

    def walk(command: click.Command, path: str) -> list[tuple[str, list[str]]]:
        context = click.Context(command)
        if isinstance(command, click.Group):
            inner = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
            return [row for name, found in inner if found for row in walk(found, f"{path} {name}")]
        return [(path, p.opts) for p in command.params if isinstance(p, click.Option) and "-o" in p.opts]

    found = walk(app, "atlas")
    assert len(found) >= 9
    assert all(opts == ["-o", "--out"] for _, opts in found), found


def test_the_module_is_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "atlas", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("atlas, version")


def test_ctrl_c_in_the_middle_of_a_bench_is_a_sentence_and_the_run_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "atlas", "bench", "alfworld", "--split", "homes", "--n", "40", "--arms", "student"]
    command += ["--demos", "0", "--embedder", "hash", "--max-steps", "30", "-o", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    trace = tmp_path / "run" / "trace.jsonl"
    while process.poll() is None and not (trace.exists() and trace.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    if process.returncode:
        assert process.returncode == 130
        *_, said, how = err.splitlines()
        assert said.startswith("atlas: interrupted") and "Traceback" not in err
        assert how.endswith(f"-o {tmp_path / 'run'}"), "the command that goes on"
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len([e for e in Run(tmp_path / "run").results() if e.stop is Stop.MAX_STEPS]) == 40, again.stdout
