"""A training that is cut off goes on as if it had not been, and loses nothing that it need not lose."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atlas.cli import main
from atlas.errors import DataError
from tests.train_fixtures import errand

torch = pytest.importorskip("torch", reason="needs the extra train")

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("way", [None, "family"])
def test_a_resumed_training_gives_the_very_same_student(tmp_path: Path, way: str | None) -> None:
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.select import Select
    from atlas.train.trainer import Progress, Settings, Trainer

    data = [errand(i) for i in range(60)]

    def make(out: Path, seen: Any = lambda progress: None) -> Trainer:
        # Measured after two epochs each: the cut is in the second.
        settings = Settings(epochs=4, batch_tokens=256, save_seconds=0.0, evaluations=2)
        base = ScratchBase.new("tiny", data)
        return Trainer(
            base=base,
            recipe=SftSuccess(),
            train=data,
            held_out=data[:5],
            out=out,
            settings=settings,
            select=Select(way) if way else None,
            seen=seen,
        )

    def stop(progress: Progress) -> None:
        if progress.step == 13:
            raise KeyboardInterrupt

    undisturbed = make(tmp_path / "whole").run()
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "cut", stop).run()
    assert not (tmp_path / "cut").exists()
    resumed = make(tmp_path / "cut").run(resume=True)
    timeless = [[m.model_copy(update={"seconds": 0.0}) for m in told] for told in (undisturbed, resumed)]
    assert timeless[0] == timeless[1], "what is told of the batches before the cut too"
    whole, cut = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut
    assert not list(tmp_path.glob("*.training.pt*"))


def test_a_training_that_ended_and_could_not_be_written_is_written_on_resume_and_not_measured_again(
    tmp_path: Path, monkeypatch: Any
) -> None:
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.trainer import Settings, Trainer

    data = [errand(i) for i in range(20)]

    def make() -> Trainer:
        base, settings = ScratchBase.new("tiny", data), Settings(epochs=2, batch_tokens=256)
        return Trainer(base, SftSuccess(), data, data[:4], tmp_path / "s", settings)

    def full(*args: Any) -> None:
        raise DataError("no room")

    first = make()
    with monkeypatch.context() as patch:
        patch.setattr(ScratchBase, "save", full)
        with pytest.raises(DataError, match="no room"):
            first.run()
    second = make()
    assert [m.epoch for m in second.run(resume=True)] == [m.epoch for m in first._history] == [1, 2]
    assert (tmp_path / "s" / "weights.safetensors").is_file()


def test_a_training_without_hope_is_kept_as_well_until_its_student_is_written(tmp_path: Path, monkeypatch: Any) -> None:
    from atlas.train import trainer
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.trainer import Settings, Trainer

    data = [errand(i) for i in range(60)]
    played: list[Any] = []

    def reward(student: Any) -> float:
        played.append(student)
        return 0.5

    def make() -> Trainer:
        base, settings = ScratchBase.new("tiny", data), Settings(epochs=30, evaluations=30, batch_tokens=512)
        return Trainer(base, SftSuccess(), data, data, tmp_path / "s", settings, reward)

    def full(*args: Any) -> None:
        raise DataError("no room")

    first = make()
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "WRITING", 1e9)  # after the first checkpoint none is due
        patch.setattr(ScratchBase, "save", full)
        with pytest.raises(DataError, match="no room"):
            first.run()
    made = len(played)
    assert made == 4
    assert make().run(resume=True) == first._history and len(played) == made, "nothing is learnt or played again"


def test_who_is_asked_to_stop_keeps_the_step_it_was_at(tmp_path: Path) -> None:
    """Whenever it is: no checkpoint was due since the training began."""
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.trainer import Progress, Settings, Trainer

    data = [errand(i) for i in range(60)]
    steps: list[int] = []

    def make(out: Path, stops: Callable[[], bool] = lambda: False) -> Trainer:
        def seen(progress: Progress) -> None:
            steps.append(progress.step)

        base, settings = ScratchBase.new("tiny", data), Settings(epochs=4, batch_tokens=256)
        return Trainer(base, SftSuccess(), data, data[:5], out, settings, seen=seen, stops=stops)

    make(tmp_path / "whole").run()
    whole = steps.copy()
    steps.clear()
    last = whole[-1] // 2 + 1
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "cut", lambda: steps[-1] == last).run()
    make(tmp_path / "cut").run(resume=True)
    assert steps == whole, "none is done twice"
    assert len({(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "cut")}) == 1


@pytest.mark.parametrize("step", [3, 11])
def test_ctrl_c_keeps_the_step_that_it_comes_in(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlas.train.checkpoint import place_of
    from atlas.train.trainer import Trainer

    monkeypatch.chdir(tmp_path)
    play = ("bench", "alfworld", "--split", "homes", "--n", "3", "--arms", "teacher", "-o", "data", "--json")
    main([*play, "--embedder", "hash"])
    given = ["train", "sft-success", "--data", "data", "--base", "scratch:tiny", "--epochs", "6", "-o", "s"]
    tell = Trainer._tell
    told: list[int] = []

    def pressed(self: Trainer, *given: Any) -> None:
        tell(self, *given)
        if self._step == step and step not in told:
            os.kill(os.getpid(), signal.SIGINT)
        told.append(self._step)

    monkeypatch.setattr(Trainer, "_tell", pressed)
    monkeypatch.setattr(Trainer, "_save_due", lambda *given: False)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stop:
        main([*given, "--batch-tokens", "512"])
    assert stop.value.code == 130 and "s.training.pt is kept" in capsys.readouterr().err
    assert torch.load(place_of(Path("s")), weights_only=True)["step"] == step
    assert signal.getsignal(signal.SIGINT) is before
    main([*given, "--batch-tokens", "512", "--resume"])
    assert json.loads(Path("s", "student.json").read_text())["steps"] == told[-1] > step


def test_ctrl_c_pressed_again_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from atlas.cli.train import _pressed

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), _pressed() as pressed:
        assert not pressed()
        os.kill(os.getpid(), signal.SIGINT)
        assert pressed()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setenv("WORLD_SIZE", "2")
    with _pressed() as pressed:
        assert signal.getsignal(signal.SIGINT) is before, "processes that train together end together"
