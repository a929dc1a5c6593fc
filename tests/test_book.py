"""The book of an episode: one rule for scores, whoever plays; environments are closed and judges heard."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.asking import Desk
from atlas.budget import Budget, Meter
from atlas.errors import ModelError, StoreError
from atlas.evaluators import ModelJudge
from atlas.evaluators.verdict import Case, Reference, Verdict
from atlas.loop import Rollout
from atlas.memory import Memory
from atlas.memory.evidence import trials_of
from atlas.policies import Guided, Paired, Solo, TeacherReview
from atlas.records import Ask, Decision, Guidance, Message, Observation, Stop, Task, View
from atlas.report import gather
from atlas.runner import Job, play
from atlas.testing import ScriptedModel, SlowModel
from atlas.traces import Run, RunWriter
from tests.waiting import meanwhile


class Two:
    """Two steps, and a score of its own that a judge may know better."""

    def __init__(self, name: str = "t", score: float | None = 0.0) -> None:
        self.task, self.score = Task(id=name, goal="go"), score
        self.at = self.closed = 0

    async def open(self) -> Observation:
        return Observation(text="start")

    async def step(self, action: str) -> Observation:
        self.at += 1
        return Observation(text=f"at {self.at}", score=self.score, done=self.at == 2)

    async def close(self) -> None:
        self.closed += 1


def go() -> ScriptedModel:
    return ScriptedModel(lambda ask: "Action: submit[42]")


class Says:
    """A judge that knows what it thinks, and asks a model first."""

    name = "says"

    def __init__(self, score: float | None, model: ScriptedModel | None = None) -> None:
        self.score, self.model = score, model
        self.cases: list[Case] = []

    async def judge(self, case: Case, desk: Desk, opinions: object = ()) -> Verdict:
        self.cases.append(case)
        if self.model is not None:
            await desk.ask(self.model, View(task=case.task, opening=""), actor="judge:says", purpose="judge")
        return Verdict(judge=self.name, score=self.score, missing="" if self.score is not None else "I cannot say")

    def config(self) -> dict[str, object]:
        return {"judge": self.name}


# --- a judge in play --------------------------------------------------------------------------------------------------


async def test_a_judges_verdict_is_the_episodes_score_in_the_trace_and_in_the_report(tmp_path: Path) -> None:
    judge = Says(0.5, go())
    jobs = [
        Job("arm", f"t{i}", Solo(go()), lambda i=i: Two(f"t{i}"), judge=judge, reference=Reference(answer="42"),  # type: ignore[misc]
            success_at=0.4)
        for i in range(3)
    ]  # fmt: skip
    with RunWriter(tmp_path / "run", {"arms": ["arm"]}) as writer:
        episodes = await play(jobs, recorder=writer, run="run")
    for episode in (*episodes, *Run(tmp_path / "run").results()):
        assert (episode.score, episode.success) == (0.5, True)
        assert episode.verdict is not None and episode.verdict.judge == "says"
        assert [s.actor for s in episode.spend] == ["student", "judge:says"]
    case = judge.cases[0]
    assert (case.answer, case.reference, case.outcome, len(case.steps)) == ("42", "42", 0.0, 2)
    assert gather(Run(tmp_path / "run")).arms[0].row.success.mean == 1.0


async def test_no_verdict_is_no_score_and_the_environments_word_does_not_stand_in() -> None:
    episode = await Rollout(Two(score=1.0), Solo(go()), judge=Says(None)).play()
    assert (episode.stop, episode.score, episode.success) == (Stop.DONE, None, None)
    assert episode.verdict is not None and episode.verdict.missing == "I cannot say"


async def test_a_spent_episode_is_still_judged_and_pays_for_it() -> None:
    judge = ModelJudge(ScriptedModel(lambda ask: "no verdict"), name="model")
    episode = await Rollout(Two(), Solo(go()), judge=judge, budget=Budget(tokens=1)).play()
    assert (episode.stop, episode.steps) == (Stop.BUDGET, 1)
    assert [s.actor for s in episode.spend] == ["student", "judge:model"]


async def test_a_judge_that_breaks_is_a_failure_with_its_name() -> None:
    class Broken(Says):
        async def judge(self, case: Case, desk: Desk, opinions: object = ()) -> Verdict:
            raise ZeroDivisionError("no")

    episode = await Rollout(Two(), Solo(go()), judge=Broken(None)).play()
    assert (episode.stop, episode.score) == (Stop.ERROR, None)
    assert episode.failure is not None and episode.failure.where == "judge"


# --- whatever fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["start", "step", "end"])
async def test_a_recorder_that_fails_leaves_no_environment_open(when: str) -> None:
    class Full:
        def __getattr__(self, name: str) -> Any:
            def call(*_: object) -> None:
                if name == when:
                    raise StoreError("the disk is full")

            return call

    environment = Two()
    with pytest.raises(StoreError, match="disk is full"):
        await Rollout(environment, Solo(go()), recorder=Full()).play()
    assert environment.closed == 1


async def test_money_of_a_cancelled_step_is_in_the_record_and_on_the_runs_meter(tmp_path: Path) -> None:
    meter = Meter(what="run")
    slow = SlowModel(go(), latency=600)
    policy = atlas.Cascade(ScriptedModel(["Action: a", "Action: b"]), slow)
    with RunWriter(tmp_path / "run") as writer:
        task = asyncio.create_task(Rollout(Two(), policy, recorder=writer, run_meter=meter).play())
        assert await meanwhile(lambda: slow.most)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (result,) = Run(tmp_path / "run").results()
    assert result.stop is Stop.CANCELLED
    assert [(s.actor, s.usage.calls) for s in result.spend] == [("student", 2)] and meter.used.calls == 2


# --- wrapped episodes keep the same book ------------------------------------------------------------------------------


def test_an_episode_that_was_scored_and_then_crashed_is_no_success_and_teaches_nothing(tmp_path: Path) -> None:
    with (
        Memory(":memory:", "hash") as memory,
        atlas.Agent(ScriptedModel(lambda ask: "Hello."), memory=memory, run=tmp_path / "run") as agent,
    ):
        with pytest.raises(ValueError, match="after the score"), agent.episode(goal="greet") as episode:
            episode.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
            episode.score(1.0)
            raise ValueError("after the score")
        assert episode.result is not None
        assert (episode.result.stop, episode.result.score, episode.result.success) == (Stop.ERROR, None, None)
        assert len(memory.demonstrations) == 0
    assert Run(tmp_path / "run").results()[0].success is None


async def test_a_wrapped_episode_keeps_the_money_of_a_call_that_was_cancelled() -> None:
    teacher = SlowModel(ScriptedModel(lambda ask: "B."), latency=600)
    with atlas.Agent(ScriptedModel(["A.", "B."]), teacher, run_budget=Budget(dollars=1)) as agent:
        async with agent.episode(goal="g") as episode:
            create = episode.async_client.chat.completions.create
            call = asyncio.create_task(create(model="m", messages=[{"role": "user", "content": "hi"}]))
            assert await meanwhile(lambda: teacher.most)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert episode.result is not None
        assert [(s.actor, s.usage.calls) for s in episode.result.spend] == [("student", 2)]
        assert agent.meter.used.calls == 2


def test_an_agent_that_cannot_be_made_leaves_no_file_open(tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc")
    (tmp_path / "file").write_text("not a folder")

    def fails(**settings: Any) -> None:
        with pytest.raises(atlas.AtlasError):
            atlas.Agent(**{"student": go(), "memory": tmp_path / "memory.sqlite", "embedder": "hash"} | settings)

    fails(run=tmp_path / "file" / "run")
    before = len(list(folder.iterdir()))
    for _ in range(3):
        fails(run=tmp_path / "file" / "run")
        fails(student="no-such-provider/model")
        fails(student=None)
    assert len(list(folder.iterdir())) == before


# --- coins ------------------------------------------------------------------------------------------------------------


class Listed:
    """Always the same entry."""

    def search(self, view: View, tokens: int) -> list[Guidance]:
        return [Guidance(id="n1", cue="you are asked", action="count twice")]

    def config(self) -> dict[str, object]:
        return {}


async def test_a_coin_holds_for_the_whole_episode_and_its_chance_is_in_the_evidence() -> None:
    """A rejected answer is decided anew in the same episode: the coin of an entry must not turn."""
    no = "Verdict: no\nFeedback: again"
    shown = []
    for seed in range(40):
        student = ScriptedModel(lambda ask: "It is 41.")
        guided = Guided(Solo(student, actions=atlas.ChatActions()), Listed(), share=1.0, p=0.25)
        policy = Paired(guided, TeacherReview(ScriptedModel(lambda ask: no)))
        asked = View(task=Task(id="t", goal="g"), opening="o", messages=(Message(role="user", content="?"),), seed=seed)
        decided = await policy.decide(asked, Desk())
        assert decided.reason == "revised" and len(student.asks) == 2
        assert len({"[n1]" in ask.prompt.guidance for ask in student.asks}) == 1, f"the coin of seed {seed} turned"
        assert [(c.randomised, c.p) for c in decided.guidance] == [(True, 0.25)]
        shown.append(decided.guidance[0].shown)
    assert 4 <= sum(shown) <= 17


async def test_evidence_is_weighed_by_the_chance_that_the_trace_states(tmp_path: Path) -> None:
    policy = Guided(Solo(go()), Listed(), share=1.0, p=0.25)
    with RunWriter(tmp_path / "run") as writer:
        await Rollout(Two(score=1.0), policy, recorder=writer).play()
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None
    (trial,) = trials_of(stored.result, stored.steps)
    assert (trial.p, trial.reward) == (0.25, 1.0)


async def test_a_policy_of_ones_own_needs_no_model_and_no_desk() -> None:
    class Rule:
        async def decide(self, view: View, desk: Desk) -> Decision:
            return Decision(action="submit[1]", actor="student", reason="rule")

        def config(self) -> dict[str, object]:
            return {"policy": "rule"}

    episode = await Rollout(Two(score=1.0), Rule()).play()
    assert (episode.success, episode.spend) == (True, ())


async def test_a_model_error_is_one_sentence_and_nothing_else_to_be_kept() -> None:
    def gone(ask: Ask) -> str:
        raise ModelError("the provider is gone")

    episode = await Rollout(Two(), Solo(ScriptedModel(gone))).play()
    assert episode.failure is not None and (episode.failure.kind, episode.failure.where) == ("ModelError", "policy")
