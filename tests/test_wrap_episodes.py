"""Episodes of a wrapped agent: scores, failures, budgets, and what is learned from them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

import atlas
from atlas.budget import Budget
from atlas.errors import ConfigError, StoreError
from atlas.given import shown
from atlas.memory import DemonstrationStore
from atlas.records import Stop
from atlas.testing import ScriptedModel, SlowModel
from atlas.traces.reader import Run
from tests.waiting import meanwhile
from tests.wrap_fixtures import in_two_steps, says, split, two_step_loop, user


@pytest.fixture
def memory() -> Iterator[DemonstrationStore]:
    with DemonstrationStore(":memory:", embedder="hash") as store:
        yield store


# --- scores, failures, budgets ----------------------------------------------------------------------------------------


def test_a_score_that_comes_after_the_block_is_recorded_and_learned_from(tmp_path: Path) -> None:
    with atlas.Memory(":memory:", "hash") as memory:
        agent = atlas.Agent(ScriptedModel(in_two_steps), memory=memory, run=tmp_path / "run")
        with agent:
            episode = agent.episode(goal="refund A1")
            with pytest.raises(ConfigError, match="has not begun"):
                episode.succeed()
            with episode:
                two_step_loop(episode.client)
            assert episode.result is not None and episode.result.score is None and not len(memory.demonstrations)
            for value, kept in ((1.0, 1), (0.0, 0), (1.0, 1)):
                episode.score(value)
                (stored,) = Run(tmp_path / "run").results()
                assert stored == episode.result and (stored.score, stored.success) == (value, value == 1.0)
                assert len(memory.demonstrations.all()) == kept, (
                    "what a corrected score no longer deserves is withdrawn"
                )
            with pytest.raises(ConfigError, match="finite number"):
                episode.score(float("nan"))
            with pytest.raises(KeyError), agent.episode(goal="refund A2") as broken:
                raise KeyError("mine")
            with pytest.raises(ConfigError, match="no result that could be scored"):
                broken.succeed()
    with pytest.raises(ConfigError, match=f"agent is closed: score {episode.id} before"):
        episode.fail()


def test_an_exception_of_the_users_code_is_recorded_without_secrets_and_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: DemonstrationStore
) -> None:
    monkeypatch.setenv("SHOP_API_KEY", "very-secret-value")
    agent = atlas.Agent(ScriptedModel(says("hi")), memory=memory, run=tmp_path / "run")
    with pytest.raises(KeyError, match="very-secret"), agent, agent.episode(goal="g") as episode:
        episode.client.chat.completions.create(model="m", messages=user())
        episode.succeed()
        raise KeyError("no order for very-secret-value")
    stored = Run(tmp_path / "run").results()[0]
    assert stored.stop is Stop.ERROR and stored.steps == 1
    assert stored.failure is not None and (stored.failure.kind, stored.failure.where) == ("KeyError", "agent")
    assert "very-secret-value" not in (tmp_path / "run" / "trace.jsonl").read_text()


def test_an_unscored_episode_has_no_score_and_teaches_nothing(memory: DemonstrationStore) -> None:
    with atlas.Agent(ScriptedModel(says("hi")), memory=memory) as agent, agent.episode(goal="g") as episode:
        episode.client.chat.completions.create(model="m", messages=user())
    assert episode.result is not None
    assert (episode.result.score, episode.result.success, episode.result.stop) == (None, None, Stop.DONE)
    assert len(memory) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, 10**5000, None, "1", [1], 1j], ids=shown)
def test_a_score_is_a_finite_number(value: float) -> None:
    with atlas.Agent(ScriptedModel(says("hi"))) as agent, agent.episode(goal="g") as episode:
        episode.score(0.5)
        with pytest.raises(ConfigError, match="finite"):
            episode.score(value)
    assert episode.result is not None and episode.result.score == 0.5


def test_a_score_before_the_block_says_that_it_has_not_begun() -> None:
    with atlas.Agent(ScriptedModel(says("hi"))) as agent, pytest.raises(ConfigError, match="has not begun"):
        agent.episode("g").score(1.0)


def test_the_episodes_budget_stops_the_users_loop() -> None:
    agent = atlas.Agent(ScriptedModel(says("word " * 50)), budget=Budget(tokens=60))
    with pytest.raises(openai.BadRequestError, match="60 tokens"), agent, agent.episode(goal="g") as episode:
        for _ in range(10):
            episode.client.chat.completions.create(model="m", messages=user())
    assert episode.result is not None and episode.result.stop is Stop.BUDGET and episode.result.failure is None
    assert 1 <= episode.result.steps < 10


def test_a_loop_that_catches_the_budget_may_still_score() -> None:
    agent = atlas.Agent(ScriptedModel(says("word " * 50)), run_budget=Budget(dollars=0.00001))
    with agent:
        with agent.episode(goal="g") as episode:
            episode.client.chat.completions.create(model="m", messages=user())
            with pytest.raises(openai.BadRequestError):
                episode.client.chat.completions.create(model="m", messages=user())
            episode.fail()
        with pytest.raises(openai.BadRequestError), agent.episode(goal="g2") as second:
            second.client.chat.completions.create(model="m", messages=user())
    assert episode.result is not None and (episode.result.stop, episode.result.score) == (Stop.BUDGET, 0.0)
    assert second.result is not None and (second.result.steps, second.result.stop) == (0, Stop.RUN_BUDGET)


async def test_a_cancelled_task_is_recorded_as_cancelled() -> None:
    slow = SlowModel(ScriptedModel(says("hi")), latency=600)
    agent = atlas.Agent(slow)
    episode = agent.episode(goal="g")

    async def serve() -> None:
        async with episode:
            await episode.async_client.chat.completions.create(model="m", messages=user())

    task = asyncio.create_task(serve())
    assert await meanwhile(lambda: slow.most)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert episode.result is not None and episode.result.stop is Stop.CANCELLED


def test_an_episode_is_used_once() -> None:
    with atlas.Agent(ScriptedModel(says("hi"))) as agent:
        with agent.episode(goal="g") as episode:
            pass
        with pytest.raises(ConfigError, match="used once"), episode:
            pass


# --- learning ---------------------------------------------------------------------------------------------------------


def test_only_success_with_something_new_is_learned_and_the_student_is_shown_it(memory: DemonstrationStore) -> None:
    student = ScriptedModel(lambda ask: in_two_steps(ask) if ask.view.retrieved else split(ask))
    teacher = ScriptedModel(in_two_steps)
    with atlas.Agent(student, teacher, memory=memory, audit=0.0) as agent:
        for score, known, asked in ((0.0, 0, 2), (1.0, 1, 2), (1.0, 1, 0)):
            with agent.episode(goal="refund A1") as episode:
                two_step_loop(episode.client)
                episode.score(score)
            assert episode.result is not None
            assert (len(memory), episode.result.teacher_steps) == (known, asked)
    demo = memory.all()[0]
    assert [(s.observation, s.action) for s in demo.steps] == [
        ("refund A1", 'refund({"order": "A1"})'),
        ("refund ok", "Refunded."),
    ]
    assert demo.source.actor == "teacher"
    shown = student.asks[-1].prompt.messages()[-1].content
    assert "refund A1" in shown and "calling your tools" in shown


def test_its_own_task_is_never_shown_to_a_named_task(memory: DemonstrationStore) -> None:
    student = ScriptedModel(in_two_steps)
    with atlas.Agent(student, memory=memory) as agent:
        for task in ("same", "same", "other"):
            with agent.episode(goal="refund A1", task=task) as episode:
                two_step_loop(episode.client)
                episode.succeed()
    assert [bool(ask.view.retrieved) for ask in student.asks] == [False, False, False, False, True, True]


def test_learning_can_be_switched_off(memory: DemonstrationStore) -> None:
    agent = atlas.Agent(ScriptedModel(in_two_steps), memory=memory, learn=False)
    with agent, agent.episode(goal="refund A1") as episode:
        two_step_loop(episode.client)
        episode.succeed()
    assert len(memory) == 0


def test_a_budget_that_a_framework_wraps_in_its_own_error_is_still_the_budget() -> None:
    agent = atlas.Agent(ScriptedModel(says("word " * 50)), budget=Budget(tokens=60))
    with pytest.raises(RuntimeError, match="generation failed"), agent, agent.episode(goal="g") as episode:
        for _ in range(10):
            try:
                episode.client.chat.completions.create(model="m", messages=user())
            except openai.BadRequestError as error:
                raise RuntimeError("framework: generation failed") from error
    assert episode.result is not None and (episode.result.stop, episode.result.failure) == (Stop.BUDGET, None)


def test_a_closed_agent_says_so(tmp_path: Path) -> None:
    with atlas.Agent(ScriptedModel(says("hi")), run=tmp_path / "run") as agent:
        pass
    with pytest.raises(ConfigError, match="this agent is closed"):
        agent.episode(goal="g")


def test_an_agent_closed_within_an_episode_says_so_and_pays_no_more(tmp_path: Path) -> None:
    model = ScriptedModel(says("hi"))
    agent = atlas.Agent(model, run=tmp_path / "run")
    late = agent.episode(goal="never begun")
    with pytest.raises(StoreError, match="was closed before this was recorded"), agent.episode("g") as episode:
        episode.client.chat.completions.create(model="m", messages=user())
        agent.close()
        # As a file of somebody else's, which has the number of one that was closed, would be written to.
        with (tmp_path / "other").open("w+") as other:
            with pytest.raises(openai.BadRequestError, match="this agent is closed"):
                episode.client.chat.completions.create(model="m", messages=user())
            other.write("mine")
    assert (tmp_path / "other").read_text() == "mine" and len(model.asks) == 1
    with pytest.raises(ConfigError, match="this agent is closed"), late:
        pass
    with atlas.Agent(model, run=tmp_path / "run"):
        pass
    (result,) = Run(tmp_path / "run").results()
    assert (result.stop, result.steps) == (Stop.CANCELLED, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"k": -1}, {"samples": 0}, {"max_tokens": 0}, {"trials": 3}, {"guidance": -1}),
        *({"k": 10**30}, {"samples": 10**30}, {"max_tokens": 10**30}, {"trials": 10**30}, {"guidance": 10**30}),
    ],
)
def test_settings_of_an_agent_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"an agent's .*{next(iter(wrong))}"):
        atlas.Agent(ScriptedModel(says("hi")), **wrong)  # type: ignore[arg-type]
