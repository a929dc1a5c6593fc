"""A judge of steps from the command line: trained on wins and losses, measured on other tasks, asked by a cascade."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.distil import distiller_hash
from atlas.errors import DataError
from atlas.loop import Rollout
from atlas.memory.distil_scripted import ScriptedDistiller
from atlas.policies import Solo
from atlas.records import Ask, Observation, Task, View
from atlas.testing import ScriptedModel
from atlas.traces.reader import Run
from atlas.traces.writer import RunWriter

torch = pytest.importorskip("torch", reason="needs the extra train")

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Door:
    """Opened by ``pull``, jammed by ``push``; either can be done after a knock."""

    def __init__(self, name: str) -> None:
        self.task = Task(id=name, goal="open the door")

    async def open(self) -> Observation:
        return Observation(text="a door", admissible=("knock", "pull", "push"))

    async def step(self, action: str) -> Observation:
        done = action != "knock"
        score = float(action == "pull") if done else None
        return Observation(text="It is over." if done else "a knock", score=score, done=done)

    async def close(self) -> None: ...


async def play(folder: Path, first: int, count: int) -> Path:
    """Every other episode succeeds, and nothing tells which before its last action."""

    def say(ask: Ask) -> str:
        return f"Action: {('pull' if int(ask.view.task.id) % 2 else 'push') if ask.view.turns else 'knock'}"

    with RunWriter(folder, {"what": "doors"}) as writer:
        for i in range(first, first + count):
            policy = Solo(ScriptedModel(say))
            await Rollout(Door(str(i)), policy, arm="student", run=folder.name, recorder=writer).play()
    return folder


def test_a_judge_is_trained_measured_and_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from atlas.train.critic import StepCritic

    seen, unseen = asyncio.run(play(tmp_path / "seen", 0, 40)), asyncio.run(play(tmp_path / "unseen", 100, 20))
    judge, student = str(tmp_path / "judge"), tmp_path / "student"
    common = ("--base", "scratch:tiny", "--lr", "0.01", "--batch-tokens", "256", "--permitted", "scripted")
    main(["train", "judge", "--data", str(seen), "--epochs", "6", "-o", judge, *common])
    assert f"atlas trust judge RUN --judge {judge}" in capsys.readouterr().out

    main(["trust", "judge", str(unseen), "--judge", judge, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["episodes"], told["trained_on"], told["unscored"]) == (20, 0, 0)
    rows = {row["part"]: row for row in told["rows"]}
    assert rows["first"]["auroc"]["mean"] == 0.5, "nothing tells how it will end"
    assert rows["second"]["auroc"]["mean"] == 1.0
    assert rows["second"]["clock"]["mean"] == 0.5
    assert rows["second"]["loss"]["mean"] < rows["second"]["base"]
    main(["trust", "judge", str(unseen), "--judge", judge])
    assert "student" in (said := capsys.readouterr().out) and "AUROC" in said and "Left out" not in said

    loaded = StepCritic(judge)
    door = View(task=Task(id="9", goal="open the door"), opening="a door", admissible=("pull", "push"))
    assert loaded.chance(door, "pull") > loaded.chance(door, "push")
    assert (loaded.knows("200"), loaded.knows("3") or loaded.knows("4")) == (False, True)

    main(["trust", "judge", str(seen), "--judge", judge, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["trained_on"] + told["episodes"] == 40 and told["trained_on"] > 30

    main(["memory", "distil", str(seen), "--step-judge", judge, "--embedder", "hash", "--json"])
    assert json.loads(capsys.readouterr().out)["taught"] == 40
    config = json.loads((seen / "lessons.jsonl").read_text().splitlines()[0])["config"]
    assert config == distiller_hash(ScriptedDistiller(critic=loaded)) != distiller_hash(ScriptedDistiller())

    main(["train", "sft-success", "--data", str(seen), "--epochs", "1", "-o", str(student), *common])
    for folder, threshold, actor in (("trusts", "0", "student"), ("defers", "1", "teacher")):
        run = tmp_path / folder
        arms = f"cascade-nodemos:judge:{threshold}"
        main(
            ["bench", "alfworld", "--n", "1", "--demos", "0", "--max-steps", "2", "--embedder", "hash", "--json", "-o",
             str(run), "--student", f"scratch:{student}", "--arms", arms, "--step-judge", judge]
        )  # fmt: skip
        steps = Run(run).episodes()[0].steps
        assert {step.decision.actor for step in steps} == {actor}
        assert all(0 < (step.decision.votes[0].chance or 0) < 1 for step in steps)
        assert Run(run).settings["judge"] == "judge"


def test_what_is_no_judge_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from atlas.train.critic import StepCritic

    (tmp_path / "student.json").write_text(json.dumps({"training": {"recipe": "redi"}}))
    with pytest.raises(DataError, match="holds no judge but a student"):
        StepCritic(tmp_path)
    with pytest.raises(SystemExit):
        main(["bench", "alfworld", "--arms", "cascade-nodemos:judge:0.5", "--step-judge", str(tmp_path / "none")])
    assert "holds no student" in capsys.readouterr().err
