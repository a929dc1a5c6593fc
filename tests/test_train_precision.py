"""What a pass is computed in, and how often a training is written down."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from atlas.trained import precision  # noqa: E402
from tests.train_fixtures import errand  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("told", "kind"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_pass_is_in_what_this_processor_is_quickest_in(told: str, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase

    monkeypatch.setattr(precision, "quickest", lambda: told)
    data = [errand(i) for i in range(4)]
    base = ScratchBase.new("tiny", data)
    assert base.device.type != "cpu" or base.precision == told
    if base.device.type != "cpu":
        pytest.skip("a GPU computes in bfloat16 always")
    seen: list[Any] = []
    layer = next(m for m in base.net.modules() if isinstance(m, torch.nn.Linear))
    layer.register_forward_hook(lambda module, given, made: seen.append(made.dtype))
    scores = base.scores(base.encode(data[0]))
    assert set(seen) == {kind}
    assert scores.logits.dtype == torch.float32
    assert SftSuccess().loss(base, base.encode(data[0]), 0.0).dtype == torch.float32


def test_what_is_measured_as_quickest_is_one_of_two() -> None:
    assert precision.quickest() in ("float32", "bfloat16")


@pytest.mark.parametrize(("writing", "most"), [(0.0, 36), (10.0, 2)])
def test_writing_checkpoints_takes_at_most_a_twentieth_of_the_time(
    writing: float, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes a second a step, and ``writing`` a checkpoint."""
    from atlas.train import checkpoint, trainer
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase

    now = 0.0
    written: list[float] = []
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: now))

    def save(path: Path, state: dict[str, Any]) -> None:
        nonlocal now
        now += writing
        written.append(now)

    def step(progress: trainer.Progress) -> None:
        nonlocal now
        now += 1.0
        if progress.step == 250:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save)
    data = [errand(i) for i in range(60)]
    settings = trainer.Settings(epochs=100, batch_tokens=256, save_seconds=6.0)
    base = ScratchBase.new("tiny", data)
    made = trainer.Trainer(base, SftSuccess(), data, [], tmp_path / "out", settings, seen=step)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    # The first comes as soon as the pause allows, before it is known how long one takes.
    assert most - 2 <= len(written) <= most


def test_a_training_that_goes_on_stays_in_its_precision_and_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from atlas.train import trainer
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase

    data = [errand(i) for i in range(20)]

    def made(told: str, seen: Any = lambda progress: None) -> trainer.Trainer:
        base = ScratchBase.new("tiny", data)
        base.precision = told
        settings = trainer.Settings(epochs=2, batch_tokens=256, save_seconds=0.0)
        return trainer.Trainer(base, SftSuccess(), data, [], tmp_path / "out", settings, seen=seen)

    def stop(progress: trainer.Progress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made("float32", stop).run()
    going_on = made("bfloat16")
    going_on.run(resume=True)
    assert going_on.base.precision == "float32"
    assert json.loads((tmp_path / "out" / "student.json").read_text())["precision"] == "float32"
