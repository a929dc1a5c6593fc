"""Foresight: what is learned of a student's chances, whether it is stated truly, and how lanes follow it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from atlas.asking import Desk
from atlas.chances.first_steps import FIRST, first_steps
from atlas.chances.foreseen import Stated, foreseen, quality, reliability
from atlas.chances.foresight import Foresight, learn
from atlas.cli import main
from atlas.errors import ConfigError, DataError
from atlas.memory.database import Database
from atlas.memory.embed import load_embedder
from atlas.memory.history import History, Outcome
from atlas.policies import Coach, LaneRules, Lanes, Probe, Solo
from atlas.records import Task, Turn, View
from atlas.testing import ScriptedModel
from atlas.traces.reader import Run
from atlas.wrap import Agent
from tests.chances_fixtures import EASY, HARD, foresight, past, quiz_run

AT: dict[str, Any] = {"student": "small", "auto_at": 0.6, "paired_at": 0.55}
GOOD = tuple(Turn(action=f"look {i}", observation="[('red', 'box')]") for i in range(4))
BAD = tuple(Turn(action=f"look {i}", observation="ProgrammingError: no such column") for i in range(4))


def test_chances_follow_what_a_task_asks_and_how_its_first_steps_went(tmp_path: Path) -> None:
    found, embedder = foresight(), load_embedder("hash")
    easy = found.chance(EASY.format(7), (), "small", embedder)
    hard = found.chance(HARD.format(7), (), "small", embedder)
    assert hard < 0.4 < 0.6 < easy
    assert found.chance(EASY.format(7), BAD, "small", embedder) < found.chance(EASY.format(7), GOOD, "small", embedder)
    assert found.chance(EASY.format(7), (), "somebody else", embedder) == pytest.approx(easy, abs=0.05)
    found.save(tmp_path / "f.json")
    assert Foresight.load(tmp_path / "f.json") == found and found.digest == Foresight.load(tmp_path / "f.json").digest


def test_it_is_measured_on_groups_it_was_not_learned_from() -> None:
    stated = foreseen(past(), load_embedder("hash"), stages=(0, 4))
    before = quality(stated[0])
    assert before.auroc.mean > 0.8 and before.episodes == before.tasks == 120 and before.by_student.keys() == {"small"}
    assert quality(stated[4], 4).auroc.mean > 0.95
    for one in before.bins:
        assert one.low <= one.stated <= one.high


def test_a_reliability_table_sets_what_was_stated_beside_what_happened() -> None:
    found = reliability([Stated("a", "s", 0.25, 1.0), Stated("b", "s", 0.29, 0.0), Stated("c", "s", 1.0, 1.0)])
    assert [(b.low, b.high, b.stated, b.happened.mean, b.happened.n) for b in found] == [
        (0.2, 0.3, 0.27, 0.5, 2),
        (0.6, 1.0, 1.0, 1.0, 1),
    ]


def test_first_steps_can_be_read_of_any_world() -> None:
    refused = Turn(action="open drawer 1", observation="Nothing happens.")
    home = [refused, Turn(action="go to desk 1", observation="a mug")]
    found = first_steps("put a mug on the desk", home, 2)
    assert set(found) == set(FIRST) and found["errors"] == 0.5 and found["over"] == 0.0
    assert first_steps("put a mug on the desk", [], 3)["over"] == 1.0


def test_what_cannot_be_learned_or_read_says_so(tmp_path: Path) -> None:
    embedder = load_embedder("hash")
    with pytest.raises(ConfigError, match="40 scored episodes or more"):
        learn(past(10), embedder)
    with pytest.raises(ConfigError, match="ended alike"):
        learn([p for p in past() if p.success], embedder)
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(DataError, match="holds no foresight"):
        Foresight.load(tmp_path / "x.json")
    with pytest.raises(ConfigError, match="make it anew with 'atlas trust foresee RUN --embedder"):
        Probe(history(), foresight=foresight().replace(embedder="another"))


# --- lanes ------------------------------------------------------------------------------------------------------------


def history(*outcomes: Outcome) -> History:
    kept = History(Database(":memory:"), load_embedder("hash"))
    for one in outcomes:
        kept.add(one)
    return kept


def view(goal: str, turns: tuple[Turn, ...] = (), lane: str = "") -> View:
    return View(task=Task(id="now", goal=goal), opening="a database", turns=turns, lane=lane)


async def test_a_probe_with_foresight_knows_a_task_like_none_before() -> None:
    probe = Probe(history(), foresight=foresight(), **AT)
    easy = await probe.choose(view(EASY.format(3)), Desk())
    hard = await probe.choose(view(HARD.format(3)), Desk())
    assert easy.lane == "auto" and hard.lane == "coach" and "foreseen" in easy.reason
    assert easy.chance is not None and hard.chance is not None and easy.chance > 0.6 > 0.4 > hard.chance
    assert (await Probe(history()).choose(view(EASY.format(3)), Desk())).lane == "coach"


async def test_what_this_very_student_did_outweighs_it_in_time() -> None:
    def failed(number: int) -> Outcome:
        return Outcome(episode=f"e{number}", task_id=f"p{number}", goal=EASY.format(number), success=False, unaided=0.0,
                       dollars=0.0)  # fmt: skip

    probe = Probe(history(*map(failed, range(12))), foresight=foresight(), student="small")
    choice = await probe.choose(view(EASY.format(99)), Desk())
    fresh = await Probe(history(), foresight=foresight(), student="small").choose(view(EASY.format(99)), Desk())
    assert choice.chance is not None and fresh.chance is not None and choice.chance < fresh.chance


def lanes(probe: Probe, **rules: object) -> Lanes:
    student = Solo(ScriptedModel("Action: look", name="small"))
    return Lanes(student, Coach(student, ScriptedModel("Verdict: good", name="large")), probe,
                 rules=LaneRules(**rules))  # fmt: skip


async def test_supervision_becomes_closer_in_mid_episode_and_never_falls() -> None:
    policy = lanes(Probe(history(), foresight=foresight(), **AT))
    worse = await policy.decide(view(EASY.format(3), BAD, "auto"), Desk())
    assert worse.lane is not None and worse.lane.lane == "coach" and "after 4 steps" in worse.lane.reason
    assert worse.reason == "approved", "the coach looks at this very step"
    assert (await policy.decide(view(EASY.format(3), GOOD, "auto"), Desk())).lane is None
    assert (await policy.decide(view(EASY.format(3), GOOD, "coach"), Desk())).lane is None
    assert (await policy.decide(view(EASY.format(3), BAD[:3], "auto"), Desk())).lane is None, "no step to look at"
    forced = lanes(Probe(history(), foresight=foresight(), **AT), force="auto")
    assert (await forced.decide(view(EASY.format(3), BAD, "auto"), Desk())).lane is None


def test_the_configuration_of_a_probe_without_foresight_stays_what_it_was() -> None:
    assert "foresight" not in Probe(history()).config()
    found = foresight()
    assert Probe(history(), foresight=found, student="small").config()["foresight"] == found.digest


# --- the command ------------------------------------------------------------------------------------------------------


def test_foresight_is_learned_from_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.json"
    asyncio.run(quiz_run(tmp_path / "run"))
    main(["trust", "foresee", str(tmp_path / "run"), "--arm", "small", "--embedder", "hash", "-o", str(file), "--json"])
    assert json.loads(capsys.readouterr().out)[0]["episodes"] == 60
    assert Foresight.load(file).students == ("small",)
    main(["trust", "foresee", str(tmp_path / "run"), "--embedder", "hash"])
    assert "Stated against what happened" in capsys.readouterr().out


def test_a_bench_chooses_lanes_by_foresight(tmp_path: Path) -> None:
    foresight().save(tmp_path / "f.json")
    played = ["bench", "alfworld", "--split", "homes", "--n", "1", "--demos", "0", "--embedder", "hash", "--json"]
    played += ["--teacher", "scripted:alfworld", "--arms", "lanes", "--foresight", str(tmp_path / "f.json")]
    main([*played, "-o", str(tmp_path / "l")])
    lane = Run(tmp_path / "l").episodes()[0].steps[0].decision.lane
    assert lane is not None and "foreseen" in lane.reason and lane.chance is not None


def test_a_wrapped_agent_starts_from_foresight(tmp_path: Path) -> None:
    small, large = ScriptedModel("red", name="small"), ScriptedModel("Verdict: good", name="large")
    memory, run = tmp_path / "m.sqlite", tmp_path / "run"
    with (
        Agent(small, large, memory=memory, embedder="hash", run=run, lanes=foresight()) as agent,
        agent.episode(HARD.format(3)) as episode,
    ):
        episode.client.chat.completions.create(model="any", messages=[{"role": "user", "content": "which?"}])
        episode.succeed()
    choice = Run(run).episodes()[0].steps[0].decision.lane
    assert choice is not None and choice.lane == "coach" and "foreseen 0." in choice.reason
