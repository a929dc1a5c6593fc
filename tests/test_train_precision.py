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


@pytest.mark.parametrize(("writing", "least", "most"), [(0.0, 36, 100), (10.0, 1, 2)])
def test_writing_checkpoints_takes_at_most_a_twentieth_of_the_time(
    writing: float, least: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes a second a step, and ``writing`` a checkpoint. Those at the end of an epoch count too."""
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
    assert least <= len(written) <= most


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


def test_muon_in_float32_is_that_of_torch() -> None:
    """To the rounding of bfloat16, over some steps, for tall, wide and square matrices; its state is torch's too."""
    from atlas.train.muon import WholeMuon, orthogonal

    torch.manual_seed(0)
    shapes = [(24, 8), (8, 24), (16, 16)]
    start = [torch.randn(shape) for shape in shapes]
    gradients = [[torch.randn(shape) for shape in shapes] for _ in range(4)]
    found = []
    for kind in (torch.optim.Muon, WholeMuon):
        weights = [torch.nn.Parameter(value.clone()) for value in start]
        optimizer = kind(weights, lr=0.05, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for step in gradients:
            for weight, gradient in zip(weights, step, strict=True):
                weight.grad = gradient.clone()
            optimizer.step()
        found.append(([w.detach() for w in weights], optimizer.state_dict()))
    (theirs, state), (ours, own) = found
    for mine, other, before in zip(ours, theirs, start, strict=True):
        assert (mine - other).norm() < 0.05 * (other - before).norm()
    assert own["state"].keys() == state["state"].keys() and own["param_groups"] == state["param_groups"]
    for place, kept in own["state"].items():
        assert torch.equal(kept["momentum_buffer"], state["state"][place]["momentum_buffer"])
    square = orthogonal(gradients[0][0], (3.4445, -4.775, 2.0315), 5, 1e-7)
    assert torch.linalg.svdvals(square).min() > 0.5 and torch.linalg.svdvals(square).max() < 1.3
    with pytest.raises(ValueError, match="closure"):
        WholeMuon([torch.nn.Parameter(start[0].clone())]).step(lambda: 0.0)


def test_those_that_are_compared_with_a_student_compute_in_its_precision() -> None:
    """What redi moves away from and what kd-whitebox copies: also where a training goes on in another precision than
    the quickest here."""
    from atlas.train.recipes import KdWhitebox
    from atlas.train.scratch import ScratchBase

    data = [errand(i) for i in range(4)]
    base, teacher = (ScratchBase.new("tiny", data) for _ in range(2))
    for other in ("float32", "bfloat16"):
        base.precision = other
        recipe = KdWhitebox(teacher)
        recipe.begin(base)
        assert (base.frozen().precision, recipe.teacher.precision) == (other, other)
