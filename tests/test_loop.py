"""The step loop and the runner: every episode ends with a reason, whatever environments, policies and models do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from atlas.asking import Desk
from atlas.budget import Budget, Meter
from atlas.errors import ConfigError, MissingExtra, ModelError
from atlas.loop import Rollout
from atlas.policies import Cascade, Solo
from atlas.protocols import Policy
from atlas.records import TEACHER, Ask, Decision, Episode, Observation, Stop, Task, Usage, View
from atlas.runner import Job, play, settled
from atlas.testing import FlakyModel, ScriptedModel, SlowModel
from atlas.traces.reader import Run
from atlas.traces.writer import RunWriter
from tests.waiting import meanwhile


class Counting:
    """Done, with score 1, after ``length`` steps; raises at step ``breaks``."""

    def __init__(self, name: str = "t", *, length: int = 3, breaks: int | None = None) -> None:
        self.task = Task(id=name, goal="count")
        self.length = length
        self.breaks = breaks
        self.seen: list[str] = []
        self.closed = 0

    async def open(self) -> Observation:
        return Observation(text="start", admissible=("next",), score=0.0)

    async def step(self, action: str) -> Observation:
        if len(self.seen) == self.breaks:
            raise RuntimeError("the world ended, key=sk-abcdefgh12345678")
        self.seen.append(action)
        done = len(self.seen) == self.length
        return Observation(text=f"at {len(self.seen)}", admissible=("next",), score=float(done), done=done)

    async def close(self) -> None:
        self.closed += 1


def nexts() -> ScriptedModel:
    return ScriptedModel(lambda ask: "Thought: on\nAction: next")


class Raising:
    """A policy that fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def decide(self, view: View, desk: Desk) -> Decision:
        raise self.error

    def config(self) -> dict[str, object]:
        return {}


async def test_an_episode_runs_to_its_end_and_is_recorded_step_by_step(tmp_path: Path) -> None:
    environment = Counting()
    with RunWriter(tmp_path / "run") as writer:
        rollout = Rollout(environment, Solo(nexts()), seed=3, arm="a", run="run", recorder=writer)
        episode = await rollout.play()
    assert (episode.stop, episode.score, episode.success, episode.steps) == (Stop.DONE, 1.0, True, 3)
    assert environment.closed == 1
    stored = Run(tmp_path / "run").episodes()[0]
    assert stored.result == episode
    # A trace keeps how many actions were admissible, not which.
    bare = [s.model_copy(update={"outcome": s.outcome.model_copy(update={"admissible": ()})}) for s in rollout.steps]
    assert list(stored.steps) == bare
    assert [s.observation for s in stored.steps] == ["start", "at 1", "at 2"]
    assert stored.steps[2].decision.thought == "on"


async def test_too_many_steps_end_with_the_score_so_far() -> None:
    episode = await Rollout(Counting(length=9), Solo(nexts()), max_steps=4).play()
    assert (episode.stop, episode.score, episode.success, episode.steps) == (Stop.MAX_STEPS, 0.0, False, 4)


@pytest.mark.parametrize("where", ["environment", "policy"])
async def test_what_fails_is_recorded_with_its_place_and_no_score(where: str) -> None:
    environment = Counting(breaks=1 if where == "environment" else None)
    policy: Policy = Solo(nexts()) if where == "environment" else Raising(ValueError("odd"))
    episode = await Rollout(environment, policy).play()
    assert (episode.stop, episode.score, episode.success) == (Stop.ERROR, None, None)
    assert episode.failure is not None and episode.failure.where == where
    assert "sk-abcdefgh" not in episode.failure.message
    assert environment.closed == 1


async def test_a_model_that_gave_up_is_paid_for_what_it_used() -> None:
    used = Usage(calls=2, prompt_tokens=50, dollars=0.5)
    model = FlakyModel(nexts(), fails=[1], error=ModelError("gave up"), used=used)
    meter = Meter(Budget(dollars=10), what="run")
    episode = await Rollout(Counting(), Solo(model), run_meter=meter).play()
    assert episode.stop is Stop.ERROR
    assert [(s.actor, s.usage.calls) for s in episode.spend] == [("student", 3)]
    assert meter.used.dollars is not None and meter.used.dollars > 0.5


@pytest.mark.parametrize("error", [ConfigError("wrong"), MissingExtra("it", "local")])
async def test_a_wrong_configuration_passes_through_and_closes_the_environment(error: Exception) -> None:
    environment = Counting()
    with pytest.raises(type(error)):
        await Rollout(environment, Raising(error)).play()
    assert environment.closed == 1


async def test_cancellation_is_recorded_closes_the_environment_and_goes_on(tmp_path: Path) -> None:
    environment = Counting()
    with RunWriter(tmp_path / "run") as writer:
        slow = SlowModel(nexts(), latency=600)
        task = asyncio.create_task(Rollout(environment, Solo(slow), recorder=writer).play())
        assert await meanwhile(lambda: slow.most)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    result = Run(tmp_path / "run").results()[0]
    assert (result.stop, result.score) == (Stop.CANCELLED, None)
    assert environment.closed == 1
    assert not settled([result])


async def test_budgets_stop_before_the_step_that_would_exceed_them() -> None:
    tokens = await Rollout(Counting(length=99), Solo(nexts()), budget=Budget(tokens=100)).play()
    dollars = await Rollout(Counting(length=99), Solo(nexts()), budget=Budget(dollars=0.0001)).play()
    for episode in (tokens, dollars):
        assert episode.stop is Stop.BUDGET and episode.score == 0 and episode.failure is None
        assert 1 <= episode.steps < 50
    spent = tokens.spend[0].usage
    assert spent.tokens >= 100


async def test_a_dollar_budget_over_an_unpriced_model_is_a_clear_error() -> None:
    model = ScriptedModel(lambda ask: "next", price=None)
    with pytest.raises(ConfigError, match="has no price"):
        await Rollout(Counting(), Solo(model), budget=Budget(dollars=1)).play()


def jobs(count: int, policy: Policy, environment: Callable[[int], Counting] | None = None) -> list[Job]:
    made = environment or (lambda i: Counting(str(i)))
    return [Job("arm", str(i), policy, lambda i=i: made(i)) for i in range(count)]  # type: ignore[misc]


async def test_siblings_of_a_bad_rollout_go_on() -> None:
    broken = jobs(12, Solo(nexts()), lambda i: Counting(str(i), breaks=0 if i % 3 == 0 else None))
    episodes = await play(broken, concurrency=4)
    assert sorted(e.stop for e in episodes) == [Stop.DONE] * 8 + [Stop.ERROR] * 4
    assert {e.task.id for e in episodes if e.stop is Stop.ERROR} == {"0", "3", "6", "9"}


async def test_the_runs_budget_starts_nothing_further_and_is_played_again_on_resume() -> None:
    meter = Meter(Budget(tokens=500), what="run")
    episodes = await play(jobs(100, Solo(nexts())), concurrency=3, meter=meter)
    assert 1 <= len(episodes) < 100
    assert {e.stop for e in episodes} <= {Stop.DONE, Stop.RUN_BUDGET}
    assert settled(episodes) == {("arm", e.task.id, 0) for e in episodes if e.stop is Stop.DONE}


async def test_a_wrong_configuration_ends_the_run_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="wrong"):
        await play(jobs(5, Raising(ConfigError("wrong"))), concurrency=3)


async def test_concurrency_is_a_limit_and_who_learns_sees_the_steps() -> None:
    model = SlowModel(nexts(), latency=0.005)
    lengths: list[int] = []
    ended: list[Episode] = []
    episodes = await play(
        jobs(20, Solo(model)),
        concurrency=5,
        done=ended.append,
        learns=lambda episode, steps: lengths.append(len(steps)),
    )
    assert ended == episodes and len(episodes) == 20 and lengths == [3] * 20
    assert 2 <= model.most <= 5


async def test_steps_by_the_teacher_are_counted() -> None:
    def torn(ask: Ask) -> list[str]:
        return [f"Action: {'next' if ask.view.index else i}" for i in range(ask.first, ask.first + ask.n)]

    rollout = Rollout(Counting(), Cascade(ScriptedModel(torn), nexts()))
    episode = await rollout.play()
    assert episode.teacher_steps == 1
    assert [s.decision.actor == TEACHER for s in rollout.steps] == [True, False, False]


def test_an_episode_of_no_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1 step"):
        Rollout(Counting(), Solo(nexts()), max_steps=0)
