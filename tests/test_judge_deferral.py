"""A judge of steps: a cascade that defers by it, the arms that do, and how good it is. Judges are fakes: no torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas.asking import Desk
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast, Stage
from atlas.benchmarks.arms import build, played
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.cli import main
from atlas.copying.nearest import Nearest
from atlas.errors import ConfigError, ModelError
from atlas.policies import Cascade
from atlas.records import Reply, Task, Turn, View, Vote
from atlas.stats.scores import auroc
from atlas.testing import ScriptedModel
from atlas.traces.account import arm_rows
from atlas.traces.reader import Run
from atlas.traces.roles import by_name, recorded
from atlas.trust import UNANIMITY, Trust
from atlas.trust.calibrate import Target, calibrate
from atlas.trust.critic import ALL, SAME_STEP, Foretold, critic_rows, third_of
from atlas.trust.score import score
from atlas.words import why

BY_JUDGE = Trust(signals=("judge",), threshold=0.5)


class Says:
    """A judge that says ``chance``, or what a function of view and action says; keeps what it was asked."""

    name = "says"

    def __init__(self, chance: float | Callable[[View, str], float]) -> None:
        self._chance = chance
        self.asked: list[tuple[int, str]] = []

    def chance(self, view: View, action: str) -> float:
        self.asked.append((view.index, action))
        return self._chance(view, action) if callable(self._chance) else self._chance


def view(index: int = 0) -> View:
    turns = tuple(Turn(action="wait", observation=f"tick {i}") for i in range(index))
    return View(task=Task(id="t", goal="open the box"), opening="a box", turns=turns)


def samples(*actions: str, **options: Any) -> ScriptedModel:
    return ScriptedModel([Reply(text=f"Action: {a}" if a else "") for a in actions], name="small", **options)


# --- the cascade ------------------------------------------------------------------------------------------------------


async def test_the_student_acts_where_the_judge_gives_it_a_chance() -> None:
    critic = Says(0.5)
    decided = await Cascade(samples("Open"), samples(), samples=1, trust=BY_JUDGE, critic=critic).decide(
        view(2), Desk()
    )
    assert (decided.action, decided.actor, decided.reason) == ("Open", "student", "agreed")
    assert critic.asked == [(2, "Open")], "asked once, about the action as the student wrote it"
    assert [v.chance for v in decided.votes] == [0.5]
    assert decided.seconds["judge"] >= 0


async def test_below_the_threshold_the_teacher_acts_and_the_chance_stands_beside_the_students_vote() -> None:
    cascade = Cascade(samples("open"), samples("wait"), samples=1, trust=BY_JUDGE, critic=Says(0.49))
    desk = Desk()
    decided = await cascade.decide(view(), desk)
    assert (decided.action, decided.actor, decided.reason) == ("wait", "teacher", "distrusted")
    assert [(v.actor, v.chance) for v in decided.votes] == [("student", 0.49), ("teacher", None)]
    assert [s.actor for s in desk.spent] == ["student", "teacher"]


async def test_a_transcript_says_what_the_judge_said() -> None:
    cascade = Cascade(samples("open"), samples("wait"), samples=1, trust=BY_JUDGE, critic=Says(0.25))
    said = why(await cascade.decide(view(), Desk()))
    assert said == "the student's samples are not trusted, so the teacher acts; judged 25 % likely to succeed"
    assert why(await Cascade(samples("a", "a", "a"), samples()).decide(view(), Desk())) == "3 of 3 samples agree"


async def test_the_leading_action_is_judged_and_others_have_no_chance() -> None:
    critic = Says(lambda view, action: 0.9 if action == "open" else 0.1)
    cascade = Cascade(samples("wait", "open", "open"), samples(), trust=BY_JUDGE, critic=critic)
    decided = await cascade.decide(view(), Desk())
    assert (decided.action, decided.reason) == ("open", "trusted")
    assert [v.chance for v in decided.votes] == [None, 0.9, 0.9]


async def test_the_judge_is_not_asked_where_votes_or_a_missing_action_have_settled_it() -> None:
    critic = Says(1.0)
    trust = Trust(signals=("votes", "judge"), threshold=1.0)
    decided = await Cascade(samples("open", "wait"), samples("look"), trust=trust, critic=critic).decide(view(), Desk())
    assert (decided.reason, critic.asked, {v.chance for v in decided.votes}) == ("split", [], {None})
    nothing = Cascade(samples(""), samples("look"), samples=1, trust=replaced(BY_JUDGE, 0.0), critic=critic)
    assert (await nothing.decide(view(), Desk())).reason == "student-no-action"
    never = Cascade(samples(), samples("look"), trust=replaced(BY_JUDGE, None), critic=critic)
    assert (await never.decide(view(), Desk())).actor == "teacher"
    assert critic.asked == []


def replaced(trust: Trust, threshold: float | None) -> Trust:
    return trust.model_copy(update={"threshold": threshold})


async def test_votes_and_chance_are_multiplied() -> None:
    for chance, actor in ((0.8, "teacher"), (0.95, "student")):
        trust = Trust(signals=("votes", "judge"), threshold=0.6)
        cascade = Cascade(samples("a", "a", "b"), samples("look"), trust=trust, critic=Says(chance))
        assert (await cascade.decide(view(), Desk())).actor == actor, f"2/3 x {chance}"


def test_a_score_waits_for_the_judge() -> None:
    trust = Trust(signals=("votes", "judge"))
    votes = [Vote(actor="student", model="m", action=a) for a in ("a", "a", "b")]
    assert score(trust, votes, 3, ())[0::2] == pytest.approx((0.0, 2 / 3))
    judged = [v.model_copy(update={"chance": 0.5}) for v in votes]
    assert score(trust, judged, 3, ())[0::2] == pytest.approx((1 / 3, 1 / 3))


def test_a_judge_and_a_trust_that_asks_it_belong_together() -> None:
    with pytest.raises(ConfigError, match="by a judge of steps, and there is none"):
        Cascade(samples(), samples(), trust=BY_JUDGE)
    with pytest.raises(ConfigError, match="never asks the critic"):
        Cascade(samples(), samples(), trust=UNANIMITY, critic=Says(1.0))
    assert Cascade(samples(), samples(), trust=BY_JUDGE, critic=Says(1.0)).config()["judge"] == "says"
    assert "judge" not in Cascade(samples(), samples()).config()


@pytest.mark.parametrize("chance", [1.5, -0.1, float("nan")])
async def test_what_is_no_chance_fails_the_step_and_the_student_is_paid(chance: float) -> None:
    cascade = Cascade(samples("open"), samples(), samples=1, trust=BY_JUDGE, critic=Says(chance))
    desk = Desk()
    with pytest.raises(ModelError, match="the critic says said"):
        await cascade.decide(view(), desk)
    assert [s.actor for s in desk.spent] == ["student"]


# --- the arms ---------------------------------------------------------------------------------------------------------

CAST = Cast(student=Nearest(), teacher=ScriptedExpert())


def test_names_of_arms_that_defer() -> None:
    assert played("cascade:judge:0.5").needs_critic and played("cascade-nodemos:votes+judge:0.5").needs_critic
    for arm in ("cascade", "cascade:0.5", "cascade:judge:never", "random-route:judge:0.5", "teacher"):
        assert not played(arm).needs_critic, arm
    control = played("random-route-nodemos:judge:0.5")
    assert (control.arm.name, control.control_of) == ("random-route-nodemos", "cascade-nodemos:judge:0.5")
    for arm in ("teacher:judge:0.5", "icd:judge:0.5"):
        with pytest.raises(ConfigError, match="is no cascade with a threshold"):
            played(arm)
    with pytest.raises(ConfigError, match="give the folder of one as --step-judge"):
        build("cascade-nodemos:judge:0.5", Stage(CAST, BenchOptions()))
    with pytest.raises(ConfigError, match="add the arm 'cascade-nodemos:judge:0\\.5'"):
        build("random-route-nodemos:judge:0.5", Stage(CAST, BenchOptions()))


async def test_a_run_defers_more_at_a_higher_threshold_has_a_control_at_its_share_and_is_calibrated(
    tmp_path: Path,
) -> None:
    critic = Says(lambda view, action: (view.index % 4) / 4)
    arms = ("teacher", "random-route:judge:0.5", "cascade:judge:0.5", "cascade:judge:0.2")
    options = BenchOptions(split=HOMES, arms=arms, n=2, demos=4, embedder="hash", max_steps=12, samples=1)
    cast = replace(CAST, critic=critic)
    bench = Bench(suite=Alfworld(None), cast=cast, options=options, folder=tmp_path / "run")
    episodes = await bench.run()
    assert bench.settings()["judge"] == "says"
    shares = {row.arm: row.teacher_share for row in arm_rows(episodes)}
    assert 0 < shares["cascade:judge:0.2"] < shares["cascade:judge:0.5"] < shares["teacher"]
    assert shares["random-route:judge:0.5"] == pytest.approx(shares["cascade:judge:0.5"], abs=0.2)
    stored = next(e for e in Run(tmp_path / "run").episodes() if e.arm == "cascade:judge:0.5")
    for step in stored.steps:
        own = [v for v in step.decision.votes if v.actor == "student" and v.action is not None]
        assert [v.chance for v in own] == [(step.index % 4) / 4] * len(own), "in the trace of every step"
    found = calibrate(episodes, Target(within=0.1), roles=by_name(e.arm for e in episodes))
    assert found.signals == ("judge",) and found.certificate is not None
    assert [row.threshold for row in found.certificate.tested] == [0.5, 0.2]


async def test_a_trust_is_for_a_student_with_demonstrations_or_for_one_without(tmp_path: Path) -> None:
    arms = ("teacher", "cascade-nodemos:1", "cascade-nodemos:0.4")
    options = BenchOptions(split=HOMES, arms=arms, n=2, demos=0, embedder="hash", max_steps=5)
    bench = Bench(suite=Alfworld(None), cast=CAST, options=options, folder=tmp_path / "run")
    episodes = await bench.run()
    found = calibrate(episodes, Target(within=0.1), roles=recorded(Run(tmp_path / "run"))).certificate
    assert found is not None and [row.threshold for row in found.tested] == [1.0, 0.4]
    mixed = [e.model_copy(update={"arm": e.arm.replace("-nodemos:1", ":1")}) for e in episodes]
    with pytest.raises(ConfigError, match="with demonstrations and without"):
        calibrate(mixed, Target(within=0.1), roles=by_name(e.arm for e in mixed))


@pytest.mark.parametrize("benchmark", ["alfworld", "excytin"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--arms", "student,cascade", "--step-judge", "x"), "none of the arms student,cascade reads --step-judge"),
        (("--arms", "student,cascade:judge:0.5"), "the arm cascade:judge:0.5 asks a judge of steps: train one"),
    ],
)
def test_the_command_line_refuses_a_judge_that_nobody_asks_and_an_arm_that_has_none(
    benchmark: str,
    given: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["bench", benchmark, "--n", "1", "--demos", "0", *given])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "runs").exists()


# --- how good a judge is ----------------------------------------------------------------------------------------------


def judged(
    n: int, chance: Callable[[bool, int, Any], float], *, arm: str = "student", lost: int = 12
) -> list[Foretold]:
    """Every other episode succeeds, in 6 steps; the others go on for ``lost``."""
    rng = np.random.default_rng(0)
    return [
        Foretold(arm, f"t{i}", won, tuple(chance(won, step, rng) for step in range(6 if won else lost)))
        for i in range(n)
        for won in [bool(i % 2)]
    ]


def test_a_judge_that_learns_as_it_goes_is_better_later() -> None:
    def chance(won: bool, step: int, rng: Any) -> float:
        return float(np.clip(0.5 + (0.03 * step if won else -0.03 * step) + rng.normal(0, 0.1), 0, 1))

    rows = {row.part: row for row in critic_rows(judged(200, chance), resamples=200)}
    assert list(rows) == ["first", "second", "last", SAME_STEP]
    first, second, last = (rows[part].auroc for part in ("first", "second", "last"))
    assert first and second and last
    assert first.mean < second.mean < last.mean <= 1.0
    assert first.low < first.mean < first.high < last.low
    assert rows["first"].loss.mean > rows["last"].loss.mean
    assert (rows["last"].episodes, rows["last"].succeeded, rows["last"].tasks) == (200, 100, 200)
    assert rows["last"].base == pytest.approx(np.log(2))


def test_counting_steps_looks_good_by_thirds_and_is_guessing_at_the_same_step() -> None:
    rows = {row.part: row for row in critic_rows(judged(60, lambda won, step, rng: 1 / (1 + step)), resamples=200)}
    for part in ("first", "second", "last"):
        row = rows[part]
        assert row.auroc and row.clock and row.auroc.mean == row.clock.mean == 1.0
    same = rows[SAME_STEP]
    assert same.clock is None
    assert same.auroc and same.auroc.low < same.auroc.mean == 0.5 < same.auroc.high


def test_a_third_weighs_episodes_alike_and_agrees_with_the_textbook() -> None:
    found = judged(40, lambda won, step, rng: float(rng.random()))
    rows = {row.part: row for row in critic_rows(found, resamples=200)}
    means = [np.mean([e.chances[i] for i in third_of(len(e.chances), 1)]) for e in found]
    expected = auroc(means, [e.success for e in found])
    assert rows["second"].auroc and expected == pytest.approx(rows["second"].auroc.mean)
    assert rows["second"].auroc.low < 0.5 < rows["second"].auroc.high


@pytest.mark.parametrize("steps", range(1, 12))
def test_thirds_are_all_of_an_episode(steps: int) -> None:
    assert [i for number in range(3) for i in third_of(steps, number)] == list(range(steps))


def test_where_all_ended_alike_nothing_is_told_apart() -> None:
    won = [e for e in judged(10, lambda won, step, rng: 0.5) if e.success]
    lost = [e._replace(arm="other") for e in judged(10, lambda won, step, rng: 0.5) if not e.success]
    rows = critic_rows(won + lost, resamples=200)
    assert all(row.auroc is None for row in rows if row.arm != ALL)
    assert [row.auroc.mean for row in rows if row.arm == ALL and row.auroc] == [0.5] * 4
    assert json.loads(rows[0].model_dump_json())["auroc"] is None


def test_a_task_played_many_times_is_one_task() -> None:
    found = judged(30, lambda won, step, rng: float(rng.random()))
    once = critic_rows(found, resamples=200)[0].auroc
    again = critic_rows([e for e in found for _ in range(9)], resamples=200)[0].auroc
    assert once and again
    assert again.high - again.low == pytest.approx(once.high - once.low, abs=1e-9)


def test_the_base_rate_is_weighed_as_the_loss_that_it_is_compared_with() -> None:
    often = [Foretold("cascade", "often", False, (0.25, 0.25, 0.25)) for _ in range(3)]
    row = critic_rows([*often, Foretold("cascade", "once", True, (0.25, 0.25, 0.25))], resamples=50)[0]
    assert row.base == pytest.approx(row.loss.mean), "a judge that always says the share is no better than the share"


def test_one_task_tells_nothing_of_others() -> None:
    found = [Foretold("cascade", "only", won, (0.9 if won else 0.1,) * 3) for won in (True, False)]
    auroc = critic_rows(found, resamples=50)[0].auroc
    assert auroc and (auroc.mean, auroc.low, auroc.high) == (1.0, 0.0, 1.0)
