"""Trust: what a cascade acts by, as a record and as arms of a run, and audits of what it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atlas
from atlas.asking import Account, Desk
from atlas.benchmarks.alfworld.suite import Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.arms import played
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.budget import Budget, Meter
from atlas.cli import main
from atlas.copying.nearest import Nearest
from atlas.errors import ConfigError, DataError, ModelError
from atlas.loop import Rollout
from atlas.policies import Cascade, Solo
from atlas.records import (
    Ask,
    DemoStep,
    Observation,
    Reply,
    Task,
    Turn,
    Usage,
    View,
    Vote,
    Window,
)
from atlas.testing import FlakyModel, ScriptedModel
from atlas.traces.account import arm_rows
from atlas.traces.audit import audit_rows
from atlas.traces.reader import Run
from atlas.traces.writer import RunWriter
from atlas.trust import UNANIMITY, Trust
from atlas.trust.score import score


def view(index: int = 0, task: str = "t", similarity: float | None = None) -> View:
    window = Window(demo_id="d", task_id="u", goal="", steps=(DemoStep(observation="", action=""),))
    shown = () if similarity is None else (window.model_copy(update={"score": 2 * similarity}),)
    turns = tuple(Turn(action="wait", observation=f"tick {i}") for i in range(index))
    return View(task=Task(id=task, goal="open the box"), opening="a box", turns=turns, retrieved=shown)


def samples(*actions: str, logprob: float | None = None, **options: Any) -> ScriptedModel:
    return ScriptedModel([Reply(text=f"Action: {a}", logprob=logprob) for a in actions], name="small", **options)


# --- the score --------------------------------------------------------------------------------------------------------


def votes(*actions: str | None, logprob: float | None = None) -> list[Vote]:
    return [Vote(actor="student", model="m", action=action, logprob=logprob) for action in actions]


@pytest.mark.parametrize(
    ("trust", "cast", "expected"),
    [
        (UNANIMITY, votes("a", "a", "a"), 1.0),
        (UNANIMITY, votes("a", "b", "a"), 2 / 3),
        (UNANIMITY, votes("a", None, "a"), 2 / 3),
        (UNANIMITY, votes(None, None, None), 0.0),
        (Trust(signals=("similarity",)), votes("a", "b", "c"), 0.5),
        (Trust(signals=("votes", "similarity")), votes("a", "a", "b"), 1 / 3),
        (Trust(signals=("probability",)), votes("a", "a", "b", logprob=float(np.log(0.25))), 0.25),
        (Trust(signals=("probability",)), votes("a", "a", "a"), 0.0),
    ],
)
def test_scores(trust: Trust, cast: list[Vote], expected: float) -> None:
    found = score(trust, cast, 3, view(similarity=0.5).retrieved)
    assert found.value == pytest.approx(expected) == pytest.approx(found.best)


@given(
    st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=5),
    st.sets(st.sampled_from(["votes", "similarity", "probability"]), min_size=1),
    st.floats(-1, 1),
    st.floats(-5, 0.1),
)
@settings(deadline=None)
def test_what_a_score_can_still_become_is_never_less_than_what_it_becomes(
    cast: list[str | None], signals: set[Any], similarity: float, logprob: float
) -> None:
    trust = Trust(signals=tuple(signals))
    shown = view(similarity=similarity).retrieved
    found = [score(trust, votes(*cast[:i], logprob=logprob), 5, shown) for i in range(1, len(cast) + 1)]
    assert all(0.0 <= s.value <= s.best + 1e-12 <= 1.0 + 1e-9 for s in found)
    assert all(later.value <= earlier.best + 1e-12 for i, earlier in enumerate(found) for later in found[i:])
    assert cast[found[-1].lead] is not None or found[-1].value == 0.0


# --- the cascade ------------------------------------------------------------------------------------------------------


async def test_a_majority_is_enough_where_it_is_trusted_and_its_own_words_are_taken() -> None:
    student, teacher = samples("open  it", "close", "open it", "`open it`", "wait"), samples()
    decided = await Cascade(student, teacher, samples=5, trust=Trust(threshold=0.6)).decide(view(), Desk())
    assert (decided.action, decided.actor, decided.reason) == ("open  it", "student", "trusted")
    assert len(decided.votes) == 5


async def test_drawing_stops_as_soon_as_the_rest_cannot_earn_trust() -> None:
    student = samples("a", "b", "c", "a", "a")
    decided = await Cascade(student, samples("look"), samples=5, trust=Trust(threshold=0.8)).decide(view(), Desk())
    assert (decided.actor, decided.reason, len(student.asks)) == ("teacher", "split", 3)


async def test_one_voice_is_not_enough_where_nothing_similar_is_known() -> None:
    trust = Trust(signals=("votes", "similarity"), threshold=0.6)
    decided = await Cascade(samples("a", "a", "a"), samples("look"), trust=trust).decide(view(similarity=0.4), Desk())
    assert (decided.actor, decided.reason) == ("teacher", "distrusted")
    decided = await Cascade(samples("a", "a", "a"), samples(), trust=trust).decide(view(similarity=0.7), Desk())
    assert (decided.actor, decided.reason) == ("student", "agreed")


async def test_trust_in_nothing_asks_the_teacher_and_not_the_student() -> None:
    student = samples()
    decided = await Cascade(student, samples("look"), trust=Trust(threshold=None)).decide(view(), Desk())
    assert (decided.actor, decided.reason, student.asks) == ("teacher", "distrusted", [])


async def test_the_lowest_threshold_never_takes_no_action_for_one() -> None:
    student = ScriptedModel(["", "", ""])
    decided = await Cascade(student, samples("look"), trust=Trust(threshold=0.0)).decide(view(), Desk())
    assert (decided.actor, decided.reason, decided.action) == ("teacher", "student-no-action", "look")


# --- audits -----------------------------------------------------------------------------------------------------------


async def test_an_audited_step_is_the_students_with_the_teacher_beside_it() -> None:
    desk = Desk()
    decided = await Cascade(samples("a", "a", "a"), samples("b"), audit=1.0).decide(view(), desk)
    assert (decided.action, decided.actor, decided.reason) == ("a", "student", "agreed")
    assert [(v.actor, v.action) for v in decided.votes] == [("student", "a")] * 3 + [("teacher", "b")]
    assert [s.actor for s in desk.spent] == ["student", "teacher"]
    assert set(decided.seconds) == {"student", "teacher"}


async def test_audits_are_drawn_by_step_at_their_share_and_alike_when_played_again() -> None:
    def rule(name: str) -> ScriptedModel:
        return ScriptedModel(lambda ask: f"Action: {name}")

    async def audited(share: float) -> list[bool]:
        cascade = Cascade(rule("a"), rule("a"), samples=1, audit=share)
        return [len((await cascade.decide(view(i % 20, f"t{i // 20}"), Desk())).votes) == 2 for i in range(600)]

    found = await audited(0.2)
    assert found == await audited(0.2)
    assert sum(found) / 600 == pytest.approx(0.2, abs=0.05)
    assert not any(await audited(0.0))


@pytest.mark.parametrize("nested", [False, True])
async def test_a_teacher_that_fails_in_an_audit_takes_no_answer_from_who_waits(
    nested: bool, caplog: pytest.LogCaptureFixture
) -> None:
    failing = FlakyModel(samples("b"), error=ModelError("down"), used=Usage(calls=1))
    teacher, desk = Solo(failing, actor="teacher") if nested else failing, Desk()
    decided = await Cascade(samples("a", "a", "a"), teacher, audit=1.0).decide(view(), desk)
    assert (decided.action, decided.reason) == ("a", "agreed")
    assert [v.actor for v in decided.votes] == ["student"] * 3
    assert [s.actor for s in desk.spent] == ["student", "teacher"], "what it used is paid"
    assert "down" in caplog.text


async def test_an_audit_that_no_budget_is_left_for_takes_no_answer_either() -> None:
    await Cascade(samples("a", "a", "a"), samples("b")).decide(view(), desk := Desk())
    meter = Meter(Budget(tokens=sum(s.usage.tokens for s in desk.spent)))
    decided = await Cascade(samples("a", "a", "a"), samples("b"), audit=1.0).decide(view(), Desk(Account([meter])))
    assert (decided.action, [v.actor for v in decided.votes]) == ("a", ["student"] * 3)


class Counter:
    """Ten ticks, then the end."""

    def __init__(self, name: str, score: float = 1.0) -> None:
        self.task, self.at, self.score = Task(id=name, goal="wait"), 0, score

    async def open(self) -> Observation:
        return Observation(text="0")

    async def step(self, action: str) -> Observation:
        self.at += 1
        return Observation(text=str(self.at), score=self.score, done=self.at == 10)

    async def close(self) -> None: ...


def at_step(actions: Callable[[int], str]) -> ScriptedModel:
    def say(ask: Ask) -> str:
        return f"Action: {actions(ask.view.index)}"

    return ScriptedModel(say)


@pytest.fixture
async def audited_run(tmp_path: Path) -> Path:
    """Eight episodes of ten agreed steps, all audited: the teacher differs at step 3 and says nothing at step 5."""
    student = at_step(lambda i: f"go {i}")
    teacher = at_step(lambda i: "" if i == 5 else "stop" if i == 3 else f"go  {i}")
    with RunWriter(tmp_path / "run", {"what": "audits"}) as writer:
        for i in range(8):
            policy = Cascade(student, teacher, audit=1.0)
            await Rollout(Counter(f"t{i}", float(i > 1)), policy, arm="cascade", run="run", recorder=writer).play()
        await Rollout(Counter("t9"), Cascade(student, teacher), arm="unaudited", run="run", recorder=writer).play()
    return tmp_path / "run"


async def test_an_audit_counts_where_the_teacher_would_have_done_something_else(audited_run: Path) -> None:
    row, other = audit_rows(Run(audited_run).episodes())
    assert (row.arm, row.student_steps, row.audited, row.unread, row.episodes) == ("cascade", 80, 80, 8, 8)
    assert (row.differs.mean, row.differs.n) == (8 / 72, 72)
    assert row.differs.low < 8 / 72 < row.differs.high
    # Two of the eight episodes failed.
    assert (row.differs_and_failed.mean, row.differs_and_failed.n) == (2 / 72, 72)
    assert {(d.index, d.student, d.teacher) for d in row.differences} == {(3, "go 3", "stop")}
    assert (other.student_steps, other.audited, other.differs.high) == (10, 0, 1.0)


async def test_the_command_line_shows_an_audit(audited_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["trust", "audit", str(audited_run), "--differences", "1"])
    said = capsys.readouterr().out
    assert "11" in said and said.count("teacher 'stop'") == 1
    main(["trust", "audit", str(audited_run), "--json"])
    assert json.loads(capsys.readouterr().out)[0]["differs"]["n"] == 72


# --- arms of a run ----------------------------------------------------------------------------------------------------

CAST = Cast(student=Nearest(), teacher=ScriptedExpert())


def test_a_run_without_audits_says_how_it_gets_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with atlas.Agent(ScriptedModel(["hi"]), run=tmp_path / "served") as agent, agent.episode(goal="g") as episode:
        episode.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    main(["trust", "audit", str(tmp_path / "served")])
    assert "have its agent ask about more (audit=0.1)" in capsys.readouterr().out
    with RunWriter(tmp_path / "played"):
        pass
    main(["trust", "audit", str(tmp_path / "played")])
    assert "atlas bench ... --audit 0.02" in capsys.readouterr().out


def test_arms_with_a_threshold() -> None:
    curve = played("cascade:votes+similarity:0.6@5")
    assert (curve.arm.name, curve.count, curve.arm.demos) == ("cascade", 5, True)
    assert curve.trust == Trust(signals=("votes", "similarity"), threshold=0.6)
    assert played("cascade:0.8").trust == Trust(threshold=0.8)
    assert all(played(arm).trust is None for arm in ("cascade", "cascade@5", "teacher"))
    for arm in ("cascade:", "cascade:2", "cascade:luck:0.5", "icd:0.5", "teacher:1"):
        with pytest.raises(ConfigError, match="threshold"):
            played(arm)


async def test_a_grid_is_played_audited_and_calibrated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arms = ("teacher", "cascade:1", "cascade:0.4", "cascade-watch", "cascade:0.4@2")
    options = BenchOptions(split="homes", arms=arms, n=3, demos=4, embedder="hash", samples=5, audit=0.5)
    episodes = await Bench(suite=Alfworld(None), cast=CAST, options=options, folder=tmp_path / "run").run()
    taught = {row.arm: row.teacher_share for row in arm_rows(episodes)}
    assert taught["cascade:0.4"] < taught["cascade:1"] < taught["teacher"]
    rows = {row.arm: row for row in audit_rows(Run(tmp_path / "run").episodes())}
    assert set(rows) == set(arms) - {"teacher"}
    assert 0 < rows["cascade:1"].audited < rows["cascade:1"].student_steps
    with pytest.raises(SystemExit, match="1"):
        main(["trust", "calibrate", str(tmp_path / "run"), "--within", "0.1", "--json"])
    found = Trust.model_validate_json(capsys.readouterr().out).certificate
    assert found is not None and not found.certified
    assert [(row.threshold, row.tasks) for row in found.tested] == [(1.0, 3), (0.4, 3)]
    assert found.settings["audit"] == 0.5


# --- the record -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["votes:1", "votes+similarity:0.6", "probability:0.25", "votes:never"])
def test_names_of_trust(name: str) -> None:
    assert Trust.named(name).name == name
    assert Trust.named("0.67") == Trust(threshold=0.67)


@pytest.mark.parametrize("name", ["", "x", "votes:", "votes:2", "luck:0.5", "votes+votes:0.5", ":0.5:", "nan"])
def test_names_that_are_no_trust(name: str) -> None:
    with pytest.raises(ValueError):
        Trust.named(name)


def test_a_file_that_holds_no_trust_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"threshold": 7}')
    for path in (tmp_path / "bad.json", tmp_path / "none.json"):
        with pytest.raises(DataError):
            Trust.load(path)
