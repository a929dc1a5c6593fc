"""``atlas train --reward``: the student plays held-out homes while it is trained, and what it earns is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from atlas.benchmarks.alfworld.homes import homes, write
from atlas.cli import app

torch = pytest.importorskip("torch", reason="needs the extra train")

pytestmark = pytest.mark.torch


def call(*arguments: str) -> tuple[str, str]:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def test_a_student_is_trained_and_earns_what_it_then_earns_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atlas.benchmarks.reward import playing
    from atlas.models import load

    monkeypatch.chdir(tmp_path)
    # Generated homes in files and folders like the official ones.
    games = [
        game.model_copy(update={"id": f"valid_seen/{game.task_type}-Thing-None-Place-{i}/trial_{i}"})
        for i, game in enumerate(homes("unseen", 3))
    ]
    write(games, tmp_path / "data" / "json_2.1.1")
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "data"))
    call("bench", "alfworld", "--n", "6", "--arms", "teacher", "--demos", "0", "-o", "run")
    train = ["train", "sft-success", "--data", "run", "--base", "scratch:tiny", "--epochs", "2", "--threads", "1"]
    out, err = call(*train, "--reward", "alfworld:valid_seen:1", "-o", "student")
    told = json.loads(Path("student/student.json").read_text())
    assert told["reward"] == "alfworld:valid_seen:1"
    earned = [measured["reward"] for measured in told["measured"]]
    assert earned and all(0.0 <= reward <= 1.0 for reward in earned)
    # Of the kept student, which need not be the last.
    assert f"reward {max(earned):.2f} after epoch " in " ".join(out.split())
    assert f"reward {earned[-1]:.2f}" in err.splitlines()[-1], "the line of the last measurement"
    # The best student is the one that is kept.
    assert playing("alfworld:valid_seen:1")(load("scratch:student")) == max(earned)


def test_what_is_told_at_the_end_is_of_the_student_that_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlas.cli.train import _told
    from atlas.train.trainer import Measured

    (tmp_path / "student.json").write_text('{"base": "scratch", "training": {"recipe": "sft-success"}}')

    def measured(epoch: int, held_out: float | None, reward: float | None) -> Measured:
        return Measured(
            epoch=epoch, share=0.1, step=epoch, work=1, seconds=1.0, loss=1.0, held_out=held_out, reward=reward
        )

    played = [measured(1, 0.9, 0.2), measured(2, 0.5, 0.6), measured(3, 0.3, 0.4)]
    for history, said in (
        (played, "(held-out loss 0.500, reward 0.60 after epoch 2, the best of 3 measured)"),
        ([m.model_copy(update={"reward": None}) for m in played], "(held-out loss 0.300 after epoch 3, the best of 3"),
        ([measured(1, None, None), measured(2, None, None)], "(nothing held out)."),
    ):
        _told(history, tmp_path, as_json=False)
        assert said in capsys.readouterr().out
        _told(history, tmp_path, as_json=True)
        kept = json.loads(capsys.readouterr().out)["kept"]
        assert kept is None or f"after epoch {kept['epoch']}," in said
