"""After Ctrl-C: the command that is printed goes on, pays for nothing twice, and needs nothing added."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest

from atlas.cli.stopping import Stopped, goes_on, typed_command
from atlas.records import INTERRUPTED
from atlas.traces import Run

PLAY = ("bench", "alfworld", "--split", "homes", "--n", "40", "--arms", "teacher,icd", "--demos", "4")
HASH = ("--embedder", "hash", "--concurrency", "2")


def interrupted(arguments: Sequence[str], where: Path, ready: Callable[[], bool]) -> str:
    """Start atlas as a process of its own, press Ctrl-C once it is ``ready``; the command that it prints."""
    command = [sys.executable, "-m", "atlas", *arguments]
    process = subprocess.Popen(
        command, cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=_env()
    )
    deadline = time.monotonic() + 300
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)  # often is dear: each look reads the traces anew
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    said, printed = err.splitlines()[-2:]
    assert said.startswith("atlas: interrupted; ") and said.endswith("this command goes on from there:")
    return printed


def _env() -> dict[str, str]:
    # The folder of this checkout, whatever the present one is.
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def go_on(printed: str, where: Path) -> None:
    """Type what was printed, and nothing else."""
    program, *rest = shlex.split(printed)
    done = subprocess.run(
        [sys.executable if program == "python" else program, *rest],
        cwd=where,
        capture_output=True,
        text=True,
        timeout=900,
        env=_env(),
    )
    assert done.returncode == 0, done.stderr


def ends(where: Path) -> Counter[tuple[str, str]]:
    """How many results each task of each arm has, below ``where``."""
    found: Counter[tuple[str, str]] = Counter()
    for trace in where.glob("**/trace.jsonl"):
        for line in trace.read_text().splitlines():
            event = json.loads(line) if line.startswith('{"type":"end"') else None
            if event is not None and event["stop"] not in {stop.value for stop in INTERRUPTED}:
                found[event["arm"], event["task"]["id"]] += 1
    return found


@pytest.mark.parametrize("out", [(), ("-o", "mine")])
def test_bench_goes_on_in_its_folder_whether_it_was_named_or_not(tmp_path: Path, out: tuple[str, ...]) -> None:
    printed = interrupted([*PLAY, *HASH, *out], tmp_path, lambda: ends(tmp_path).total() >= 8)
    before = ends(tmp_path)
    assert 8 <= before.total() < 84, "it was interrupted while it played"
    go_on(printed, tmp_path)
    (folder,) = {path.parent for path in tmp_path.glob("**/run.json")}
    after = ends(tmp_path)
    assert set(after.values()) == {1}, "nothing is paid for twice"
    assert after.total() == 84 and before.keys() <= after.keys()
    assert len(Run(folder).results()) == 84


def test_a_promotion_goes_on_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_CONFIG", str(tmp_path / "config"))
    subprocess.run(
        [sys.executable, "-m", "atlas", "models", "add", "alias", "clerk", "nearest"], env=_env(), check=True
    )
    call = ["promote", "clerk", "scripted:alfworld", "--n", "24"]
    printed = interrupted(call, tmp_path, lambda: ends(tmp_path).total() >= 5)
    assert " -o runs/promote-clerk-" in printed
    go_on(printed, tmp_path)
    assert len(list(tmp_path.glob("**/run.json"))) == 1 and set(ends(tmp_path).values()) == {1}


@pytest.mark.torch
def test_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra train")
    play = ("bench", "alfworld", "--split", "homes", "--n", "8", "--arms", "teacher", "-o", "data", *HASH)
    subprocess.run([sys.executable, "-m", "atlas", *play], cwd=tmp_path, env=_env(), check=True, capture_output=True)
    train = ["train", "sft-success", "--data", "data", "--base", "scratch:tiny", "--threads", "1", "-o", "s"]
    kept = tmp_path / "s.training.pt"
    printed = interrupted([*train, "--batch-tokens", "512", "--epochs", "60"], tmp_path, kept.exists)
    assert printed.endswith(" --resume")
    step = torch.load(kept, weights_only=True)["step"]
    go_on(printed, tmp_path)
    assert step < json.loads((tmp_path / "s" / "student.json").read_text())["steps"] and not kept.exists()


def test_what_was_typed_already_is_not_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for typed in (["atlas", "train", "x", "--resume"], ["/bin/atlas", "train", "x"]):
        monkeypatch.setattr(sys, "argv", typed)
        with pytest.raises(Stopped) as stop, goes_on(lambda: ("--resume",)):
            raise KeyboardInterrupt
        assert stop.value.command == "atlas train x --resume"
        assert isinstance(stop.value, click.Abort)


def test_the_password_in_a_command_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for password in ("open-sesame", "it's@home", 'say "so"'):
        monkeypatch.setattr(sys, "argv", ["atlas", "bench", "excytin", "--mysql", f"mysql://me:{password}@db:3306/x"])
        assert typed_command() == "atlas bench excytin --mysql 'mysql://[hidden]@db:3306/x'"
