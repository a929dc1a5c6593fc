"""Training at toy size: it learns, survives being killed, and never leaves a broken student."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from atlas.errors import AtlasError, DataError
from tests.train_fixtures import (
    asked,
    errand,
    good_student,  # noqa: F401
    good_trainer,  # noqa: F401
    in_one_thread,  # noqa: F401
    share_right,
    trained,
)

torch = pytest.importorskip("torch", reason="needs the extra train")

pytestmark = pytest.mark.torch


# --- the student ------------------------------------------------------------------------------------------------------


def test_it_learns_to_act_on_tasks_it_has_not_seen(student: Any, trainer: Any) -> None:
    assert share_right(student) >= 0.8
    assert share_right(student, listed=False) >= 0.7, "written word by word"
    assert trainer._history[-1].held_out < trainer._history[0].held_out


def test_log_probabilities_are_of_the_listed_actions(student: Any) -> None:
    question = asked(errand(2000), n=200, temperature=5.0)
    replies = asyncio.run(student.sample(question)).replies
    each = {reply.text: reply.logprob for reply in replies}
    assert sum(2.718281828**lp for lp in each.values()) == pytest.approx(1.0, abs=0.2)
    assert len(each) > 5, "a hot draw is not always the same"
    again = asyncio.run(student.sample(question)).replies
    assert [r.text for r in again] == [r.text for r in replies], "equal seeds, equal draws"


def test_what_was_read_is_not_read_again_and_changes_nothing(student: Any, trainer: Any) -> None:
    from atlas.models import load

    second = asked(errand(7), step=1)
    asyncio.run(student.sample(asked(errand(7))))
    warm = asyncio.run(student.sample(second))
    cold = asyncio.run(load(f"scratch:{trainer.out}").sample(second))
    assert warm.usage.cached_tokens > 0 == cold.usage.cached_tokens
    assert warm.replies[0].text == cold.replies[0].text == "Action: stop"
    assert warm.replies[0].logprob == pytest.approx(cold.replies[0].logprob, abs=1e-4)


def test_ranking_agrees_with_scoring_one_by_one(student: Any) -> None:
    """One pass over the tree of all actions gives what a pass for each action gives."""
    from atlas.trained.trajectory import from_view
    from atlas.trained.vocabulary import SEE, Reader, encode

    question = asked(errand(11))
    reader = Reader(student._vocabulary)
    prompt = encode(from_view(question.view), reader).tokens
    actions = [(*reader.written(a), SEE) for a in question.view.admissible]
    ranked, _ = student.ranked(prompt, actions)
    alone = []
    with torch.inference_mode():
        for action in actions:
            hidden, _ = student._net(torch.tensor([[*prompt, *action]]))
            steps = student._net.logits(hidden[0]).log_softmax(-1)
            alone.append(sum(float(steps[len(prompt) - 1 + i, t]) for i, t in enumerate(action)))
    whole = torch.tensor(alone).logsumexp(0).item()
    assert dict(ranked) == pytest.approx({i: score - whole for i, score in enumerate(alone)}, abs=1e-3)


def test_samples_of_free_text_differ_and_share_the_prompt(student: Any) -> None:
    done = asyncio.run(student.sample(asked(errand(3), listed=False, n=8, temperature=3.0, max_tokens=12)))
    assert len({reply.text for reply in done.replies}) > 1
    assert {reply.finish for reply in done.replies} <= {"stop", "length"}
    short = asyncio.run(student.sample(asked(errand(3), listed=False, max_tokens=2)))
    assert short.replies[0].finish == "length"


# --- the trainer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [None, "family"])
def test_the_same_tokens_are_the_same_work_whatever_the_recipe(tmp_path: Path, way: str | None) -> None:
    from atlas.train.guided import Internalise
    from atlas.train.recipes import Rationale, SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.select import Select
    from atlas.train.trainer import Settings, Trainer

    told = [errand(i) for i in range(80)]
    note = {"guidance": "take what the goal names"}
    data = [t.model_copy(update={"moments": tuple(m.model_copy(update=note) for m in t.moments)}) for t in told]
    steps = []
    for recipe in (SftSuccess(), Rationale(), Internalise()):
        trainer = Trainer(
            base=ScratchBase.new("tiny", data, thoughts=True),
            recipe=recipe,
            train=recipe.prepare(data),
            held_out=data[:4],
            out=tmp_path / recipe.name,
            settings=Settings(tokens=9_000, batch_tokens=256),
            select=Select(way) if way else None,
        )
        last = trainer.run()[-1]
        assert 9_000 <= last.work < 9_000 + 3 * 256 + (2_000 if way else 0)
        assert last.share == 1.0
        steps.append(last.step)
    assert steps[0] > steps[2], "each step of internalise reads its episodes twice"


def test_the_student_is_an_average_and_training_goes_on_from_its_own_weights() -> None:
    from atlas.train.average import Average

    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(0.0)
    average = Average(net)
    for value in range(1, 200):
        with torch.no_grad():
            net.weight.fill_(float(value))
        average.update(net)
    with average.worn(net):
        inside = float(net.weight)
    assert 100 < inside < 199
    assert float(net.weight) == 199.0
    other = Average(net)
    other.restore(average.state())
    with other.worn(net):
        assert float(net.weight) == inside


def test_it_stops_when_the_loss_falls_and_the_reward_does_not(tmp_path: Path) -> None:
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.trainer import Settings, Trainer

    data = [errand(i) for i in range(60)]
    played: list[Any] = []

    def reward(student: Any) -> float:
        played.append(student)
        return 0.5

    settings = Settings(epochs=30, evaluations=30, batch_tokens=512)
    trainer = Trainer(
        base=ScratchBase.new("tiny", data),
        recipe=SftSuccess(),
        train=data,
        held_out=data,
        out=tmp_path / "s",
        settings=settings,
        reward=reward,
    )
    assert len(trainer.run()) == len(played) == 4
    assert "reward did not rise" in json.loads((tmp_path / "s" / "student.json").read_text())["stopped"]


def test_the_best_student_is_kept_not_the_last(tmp_path: Path) -> None:
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.trainer import Settings, Trainer

    data = [errand(i) for i in range(60)]
    rewards = iter([0.2, 0.9, 0.1, 0.1])
    kept: list[Any] = []

    def reward(student: Any) -> float:
        kept.append({k: v.clone() for k, v in student._net.state_dict().items()})
        return next(rewards)

    settings = Settings(epochs=4, batch_tokens=512, patience=9)
    base = ScratchBase.new("tiny", data)
    out = tmp_path / "s"
    Trainer(base=base, recipe=SftSuccess(), train=data, held_out=data, out=out, settings=settings, reward=reward).run()
    loaded = ScratchBase.load(out).net.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in kept[1].items())


def test_where_nothing_is_measured_the_last_student_is_kept(tmp_path: Path) -> None:
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.trainer import Settings, Trainer, held_out_loss

    data, others = [errand(i) for i in range(60)], [errand(i) for i in range(100, 120)]

    def loss(epochs: int) -> float:
        base, out = ScratchBase.new("tiny", data), tmp_path / f"after-{epochs}"
        settings = Settings(epochs=epochs, batch_tokens=256)
        Trainer(base=base, recipe=SftSuccess(), train=data, held_out=[], out=out, settings=settings).run()
        return held_out_loss(ScratchBase.load(out), SftSuccess(), others, 256) or 0.0

    assert loss(8) < 0.7 * loss(1)


def test_where_nothing_can_be_written_the_old_student_stays(tmp_path: Path, monkeypatch: Any) -> None:
    from atlas.train.scratch import ScratchBase
    from atlas.trained import student

    base = ScratchBase.new("tiny", [errand(i) for i in range(9)])
    base.save(tmp_path / "s", {"note": "good"})

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(DataError, match=r"No space left on device.*make room"):
        base.save(tmp_path / "s", {"note": "broken"})
    assert student.about(tmp_path / "s")["note"] == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_a_loss_that_is_no_number_ends_the_training_and_the_old_student_stays(tmp_path: Path) -> None:
    from atlas.train.recipes import SftSuccess

    class Broken(SftSuccess):
        def loss(self, *args: Any) -> Any:
            return super().loss(*args) * float("nan")

    old = trained(tmp_path, epochs=1).out / "weights.safetensors"
    before = old.read_bytes()
    with pytest.raises(DataError, match="lower --lr"):
        trained(tmp_path, Broken(), epochs=1)
    assert old.read_bytes() == before


def test_broken_students_are_named(tmp_path: Path) -> None:
    from atlas.models import load
    from atlas.train.scratch import ScratchBase

    with pytest.raises(DataError, match="holds no student"):
        load(f"scratch:{tmp_path}")
    ScratchBase.new("tiny", [errand(i) for i in range(9)]).save(tmp_path / "s", {})
    (tmp_path / "s" / "weights.safetensors").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="train it again"):
        load(f"scratch:{tmp_path / 's'}")


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the scripted teacher on generated homes."""
    from atlas.cli import app

    folder = tmp_path_factory.mktemp("runs") / "teacher"
    arguments = ["bench", "alfworld", "--split", "homes", "--n", "12", "--arms", "teacher", "-o", str(folder)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder


def arguments(rows: Path, out: Path, *more: str) -> list[str]:
    common = ["train", "sft-success", "--data", str(rows), "--base", "scratch:tiny", "--threads", "1"]
    return [*common, "--batch-tokens", "1024", "--out", str(out), *more]


def test_the_command_trains_a_student_that_the_benchmark_plays(rows: Path, tmp_path: Path) -> None:
    from atlas.cli import app

    out = tmp_path / "s"
    result = CliRunner().invoke(app, arguments(rows, out, "--epochs", "2", "--json"), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    about = json.loads((out / "student.json").read_text())
    assert {"data", "seed", "epochs", "lr"} <= set(about["training"])
    assert about["versions"]["torch"] == torch.__version__
    bench = ["bench", "alfworld", "--split", "homes", "--n", "2", "--student", f"scratch:{out}", "--max-steps", "5"]
    played = CliRunner().invoke(
        app, [*bench, "--arms", "student,cascade-nodemos", "-o", str(tmp_path / "run"), "--json"]
    )
    assert played.exit_code == 0, played.output


def test_killed_with_kill_9_it_goes_on_and_the_old_student_stays_meanwhile(rows: Path, tmp_path: Path) -> None:
    from atlas.cli import app
    from atlas.train.checkpoint import place_of

    out = tmp_path / "s"
    CliRunner().invoke(app, arguments(rows, out, "--epochs", "1"), catch_exceptions=False)
    old = (out / "weights.safetensors").read_bytes()
    code = "from atlas.cli import main; import sys; main(sys.argv[1:])"
    long = arguments(rows, out, "--epochs", "40")
    process = subprocess.Popen([sys.executable, "-c", code, *long], stderr=subprocess.DEVNULL, env={**os.environ})
    try:
        deadline = time.monotonic() + 600
        while not place_of(out).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None, "it is killed while it trains"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (out / "weights.safetensors").read_bytes() == old
    again = CliRunner().invoke(app, long)
    assert isinstance(again.exception, AtlasError) and "add --resume" in str(again.exception)
    other = CliRunner().invoke(app, arguments(rows, out, "--epochs", "3", "--resume"))
    assert isinstance(other.exception, AtlasError) and "another epochs" in str(other.exception)
    state = torch.load(place_of(out), weights_only=True)
    assert state["step"] > 0
    minutes = CliRunner().invoke(app, [*long, "--resume", "--json"], catch_exceptions=False)
    assert minutes.exit_code == 0
    assert json.loads((out / "student.json").read_text())["steps"] > state["step"]
    assert not place_of(out).exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--base", "scratch:vast"], "no size 'vast'"),
        (["--base", "/nowhere"], "no base '/nowhere'"),
        (["--reward", "chess:1"], "alfworld:SPLIT:N"),
        (["--alpha", "0.3"], "has no alpha"),
        (["--teacher", "x"], "belongs to kd-whitebox"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(rows: Path, tmp_path: Path, more: list[str], said: str) -> None:
    from atlas.cli import app

    result = CliRunner().invoke(app, arguments(rows, tmp_path / "s", *more))
    assert isinstance(result.exception, AtlasError), result.output
    assert said in str(result.exception) and "\n" not in str(result.exception)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_weights_may_be_read_by_whom_the_umask_lets(tmp_path: Path, umask: int, student: Any) -> None:
    """safetensors writes for the owner alone: a service of another user could not load what was deployed."""
    from atlas.trained.student import save

    before = os.umask(umask)
    try:
        save(tmp_path / "student", student._net, student._vocabulary, {})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "student").iterdir()}
    assert set(modes.values()) == {0o666 & ~umask}, modes
