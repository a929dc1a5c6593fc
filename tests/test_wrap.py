"""Wrapping an agent's loop: the client that a user's own code sees, who answers, and the ways to wrap."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

import atlas
from atlas.actions import ChatActions
from atlas.errors import ConfigError
from atlas.export import run_rows
from atlas.memory import DemonstrationStore
from atlas.models.hosted import Hosted
from atlas.policies import Cascade, Solo
from atlas.records import Price, Reply, Stop, ToolCall
from atlas.testing import ChatServer, FlakyModel, Say, ScriptedModel, SlowModel
from atlas.traces.reader import Run
from tests.wrap_fixtures import TOOLS, call, in_two_steps, says, split, two_step_loop, user


@pytest.fixture
def memory() -> Iterator[DemonstrationStore]:
    with DemonstrationStore(":memory:", embedder="hash") as store:
        yield store


# --- the client -------------------------------------------------------------------------------------------------------


def test_sync_loop_gets_real_completion_objects_and_is_recorded(tmp_path: Path) -> None:
    from openai.types.chat import ChatCompletion

    agent = atlas.Agent(ScriptedModel(in_two_steps, name="small"), run=tmp_path / "run")
    with agent, agent.episode(goal="refund A1", task="t1", seed=7) as episode:
        first = episode.client.chat.completions.create(model="gpt-x", messages=user(), tools=TOOLS)
        assert isinstance(first, ChatCompletion)
        assert first.model == "small"
        assert first.choices[0].finish_reason == "tool_calls"
        assert first.choices[0].message.content is None
        assert first.usage is not None and first.usage.prompt_tokens > 0
        assert two_step_loop(episode.client) == "Refunded."
        episode.succeed()

    stored = Run(tmp_path / "run").episodes()[0]
    assert stored.result == episode.result
    assert (stored.task.id, stored.task.goal, stored.seed) == ("t1", "refund A1", 7)
    assert stored.result is not None and stored.result.stop is Stop.DONE and stored.result.score == 1.0
    outcomes = [(s.index, s.decision.action, s.outcome.text, s.outcome.done) for s in stored.steps]
    action = 'refund({"order": "A1"})'
    # The first call was never followed up, so nothing is known of its outcome.
    assert outcomes == [(0, action, "", False), (1, action, "refund ok", False), (2, "Refunded.", "", True)]
    assert stored.steps[1].decision.prompt.stable == "Serve."
    assert stored.result.spend[0].usage.dollars == pytest.approx(stored.result.spend[0].usage.tokens / 1e6)


async def test_async_loop_in_async_with() -> None:
    agent = atlas.Agent(ScriptedModel(in_two_steps))
    async with agent.episode(goal="refund A1") as episode:
        create = episode.async_client.chat.completions.create
        messages = user()
        message = (await create(model="x", messages=messages, tools=TOOLS)).choices[0].message
        assert message.tool_calls
        messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "ok"}]
        answer = await create(model="x", messages=messages, tools=TOOLS)
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Refunded.", "stop")
        episode.score(0.5)
    assert episode.result is not None
    assert (episode.result.score, episode.result.success, episode.result.steps) == (0.5, False, 2)


async def test_sync_client_inside_a_running_event_loop_does_not_deadlock() -> None:
    agent = atlas.Agent(SlowModel(ScriptedModel(in_two_steps), latency=0.01))
    with agent, agent.episode(goal="refund A1") as episode:
        assert two_step_loop(episode.client) == "Refunded."


def test_parallel_tool_calls_keep_the_providers_ids_and_get_missing_ones() -> None:
    calls = tuple(ToolCall(id=i, name="look_up", arguments=f'{{"q": "{i}"}}') for i in ("call_a", "", "call_a"))
    agent = atlas.Agent(ScriptedModel([Reply(text="looking", tool_calls=calls), "done"]))
    with agent, agent.episode(goal="g") as episode:
        messages = user()
        message = episode.client.chat.completions.create(model="m", messages=messages, tools=TOOLS).choices[0].message
        assert message.tool_calls is not None and message.content == "looking"
        ids = [made.id for made in message.tool_calls]
        assert ids[0] == "call_a" and len(set(ids)) == 3 and all(ids)
        messages += [message.model_dump(), *({"role": "tool", "tool_call_id": i, "content": f"r{i}"} for i in ids)]
        episode.client.chat.completions.create(model="m", messages=messages, tools=TOOLS)
    assert episode.steps[0].outcome.text == "\n".join(f"r{i}" for i in ids)
    assert episode.steps[0].decision.action.count("\n") == 2


def test_tool_schemas_results_and_options_reach_a_hosted_model() -> None:
    with ChatServer([Say("", tool_calls=[("refund", '{"order": "A1"}')]), Say("Refunded.")]) as server:
        model = Hosted("openai/any", base_url=server.url, price=Price(prompt=1, completion=1))
        agent = atlas.Agent(policy=Solo(model, actions=ChatActions()))
        with agent, agent.episode(goal="refund A1") as episode:
            messages = user("refund A1")
            create = episode.client.chat.completions.create
            options: dict[str, Any] = {"tool_choice": "auto", "max_completion_tokens": 77, "temperature": 0.9}
            message = create(model="other", messages=messages, tools=TOOLS, **options).choices[0].message
            assert message.tool_calls and message.tool_calls[0].id == "call_0"
            messages += [message, {"role": "tool", "tool_call_id": "call_0", "content": "ok"}]
            assert create(model="other", messages=messages, tools=TOOLS).choices[0].message.content == "Refunded."
        first, second = server.requests
    assert first["tools"] == TOOLS and first["tool_choice"] == "auto" and first["max_tokens"] == 77
    assert first["model"] == "any" and first["temperature"] == 0.9
    assert second["temperature"] == 0.0
    assert [m["role"] for m in second["messages"]] == ["user", "assistant", "tool"]
    assert second["messages"][1]["tool_calls"][0]["function"] == {"name": "refund", "arguments": '{"order": "A1"}'}
    assert second["messages"][2]["tool_call_id"] == "call_0"
    assert episode.result is not None and episode.result.spend[0].usage.prompt_tokens == 200


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"messages": [{"role": "oracle", "content": "x"}]}, "'oracle'"),
        ({"messages": ["hello"]}, r"messages\[0\] is a str"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "user", "content": 7}]}, "neither text nor a list of parts"),
        ({"n": 0}, "'n' is 0"),
        ({"max_tokens": -1}, "'max_tokens' is -1"),
        ({"tools": [3]}, "'tools' is a list of objects"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "no function with a name"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_one_sentence(options: dict[str, Any], sentence: str) -> None:
    model = ScriptedModel(says("hi"))
    with atlas.Agent(model) as agent, agent.episode(goal="g") as episode:
        create = episode.client.chat.completions.create
        with pytest.raises(openai.BadRequestError, match=sentence):
            create(**{"model": "m", "messages": user(), **options})
    assert not model.asks


def test_the_client_librarys_own_marks_and_content_parts_are_understood() -> None:
    model = ScriptedModel(says("hi"))
    with atlas.Agent(model) as agent, agent.episode(goal="g") as episode:
        parts: Any = [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
        ]
        create: Any = episode.client.chat.completions.create
        create(model="m", messages=parts, tools=openai.NOT_GIVEN, stop=openai.omit, max_tokens=None, stream=False, n=1)
    assert model.asks[0].prompt.stable == "Be brief."
    assert model.asks[0].view.observation == "a"
    assert model.asks[0].view.options == {}


def test_what_the_wire_does_not_speak_is_not_found() -> None:
    agent = atlas.Agent(ScriptedModel(says("hi")))
    refused = pytest.raises(openai.NotFoundError, match=r"there is no POST /v1/embeddings: .* by a client of your own")
    with agent, agent.episode(goal="g") as episode, refused:
        episode.client.embeddings.create(model="m", input="x")


def test_a_client_used_after_its_episode_says_so() -> None:
    with atlas.Agent(ScriptedModel(says("hi"))) as agent:
        with agent.episode(goal="g") as episode:
            client = episode.client
        with pytest.raises(openai.BadRequestError, match="inside the episode's with block"):
            client.chat.completions.create(model="m", messages=user())


# --- the cascade ------------------------------------------------------------------------------------------------------


def test_reordered_json_arguments_agree_and_the_teacher_is_not_asked() -> None:
    spellings = ['{"a": 1, "b": [2]}', '{"b":[2],"a":1}', '{ "b" : [2], "a" : 1 }']
    student = ScriptedModel([call("refund", text) for text in spellings])
    teacher = ScriptedModel(says("never"))
    with atlas.Agent(student, teacher, audit=0.0) as agent, agent.episode(goal="g") as episode:
        message: Any = (
            episode.client.chat.completions.create(model="m", messages=user(), tools=TOOLS).choices[0].message
        )
    assert message.tool_calls and json.loads(message.tool_calls[0].function.arguments) == {"a": 1, "b": [2]}
    assert episode.steps[0].decision.reason == "agreed" and not teacher.asks


@pytest.mark.parametrize("broken", [call("refund", '{"order": '), call("no_such_tool"), call("refund", "[1]")])
def test_calls_that_cannot_work_go_to_the_teacher_however_unanimous(broken: Reply) -> None:
    teacher = ScriptedModel([call("refund", '{"order": "A1"}')])
    with atlas.Agent(ScriptedModel([broken] * 3), teacher) as agent, agent.episode(goal="g") as episode:
        message: Any = (
            episode.client.chat.completions.create(model="m", messages=user(), tools=TOOLS).choices[0].message
        )
    assert message.tool_calls and message.tool_calls[0].function.name == "refund"
    assert episode.result is not None and episode.result.teacher_steps == 1


def test_a_failing_teacher_leaves_the_students_spend_and_says_where() -> None:
    student = ScriptedModel(split)
    agent = atlas.Agent(student, FlakyModel(ScriptedModel(says("x"))))
    with pytest.raises(openai.InternalServerError), agent, agent.episode(goal="g") as episode:
        episode.client.chat.completions.create(model="m", messages=user())
    result = episode.result
    assert result is not None and result.stop is Stop.ERROR and result.score is None
    assert result.failure is not None and result.failure.where == "policy"
    assert [(s.actor, s.usage.calls) for s in result.spend] == [("student", 2)]


def test_an_agent_may_survive_a_model_that_failed_once() -> None:
    agent = atlas.Agent(FlakyModel(ScriptedModel(says("hi")), fails=[0]))
    with agent, agent.episode(goal="g") as episode:
        with pytest.raises(openai.InternalServerError):
            episode.client.chat.completions.create(model="m", messages=user())
        episode.client.chat.completions.create(model="m", messages=user())
        episode.succeed()
    assert episode.result is not None and episode.result.stop is Stop.DONE and episode.result.steps == 1
    assert episode.result.failure is not None and episode.result.failure.where == "policy"


def test_what_an_agent_permits_is_kept_in_its_run(tmp_path: Path) -> None:
    for permitted in ([], ["vendor/small"], ["vendor/small", "other/*"]):
        model = ScriptedModel(says("hi"), name="vendor/small")
        with atlas.Agent(model, run=tmp_path / "run", permitted=permitted) as agent, agent.episode("greet") as episode:
            episode.client.chat.completions.create(model="m", messages=user())
            episode.succeed()
    run = Run(tmp_path / "run")
    assert run.about["permitted"] == ["vendor/small", "other/*"] and run.about["arm"] == "agent"
    assert [row.permitted for row in run_rows(run)] == [{"vendor/small": "recorded in the run"}] * 3
    with pytest.raises(ConfigError, match="list of names"):
        atlas.Agent(ScriptedModel([]), run=tmp_path / "run", permitted="vendor/*")
    with pytest.raises(ConfigError, match="folder as run"):
        atlas.Agent(ScriptedModel([]), permitted=["vendor/*"])


def test_agents_that_open_a_run_together_permit_what_each_of_them_permits(tmp_path: Path) -> None:
    one = atlas.Agent(ScriptedModel([], name="vendor/small"), run=tmp_path / "run", permitted=["vendor/small"])
    two = atlas.Agent(ScriptedModel([], name="other/large"), run=tmp_path / "run", permitted=["other/large"])
    with one, two, atlas.Agent(ScriptedModel([]), run=tmp_path / "run"):
        assert sorted(Run(tmp_path / "run").about["permitted"]) == ["other/large", "vendor/small"]


# --- the decorator and atlas.episode ----------------------------------------------------------------------------------


def test_decorated_function_is_an_episode_per_call(tmp_path: Path) -> None:
    with atlas.Agent(ScriptedModel(in_two_steps), run=tmp_path / "run") as agent:

        @agent.wrap(goal=lambda order, **_: f"refund {order}", score=lambda answer: answer == "Refunded.")
        def refund(order: str, client: Any, loud: bool = False) -> str:
            """Gives it back."""
            return two_step_loop(client)

        assert refund("A1") == "Refunded."
        assert refund("A2", loud=True) == "Refunded."
        assert refund.__doc__ == "Gives it back."
    results = Run(tmp_path / "run").results()
    assert [(r.task.goal, r.score) for r in results] == [("refund A1", 1.0), ("refund A2", 1.0)]


async def test_decorated_coroutine_gets_an_async_client_and_may_score_itself(memory: DemonstrationStore) -> None:
    agent = atlas.Agent(ScriptedModel(says("hi")), memory=memory)

    @agent.wrap(goal="greet")
    async def greet(client: Any, episode: Any) -> Any:
        await client.chat.completions.create(model="m", messages=user())
        episode.succeed()
        return episode

    episode = await greet()
    assert episode.result.success and episode.goal == "greet" and len(memory) == 1


def test_functions_that_cannot_be_wrapped_are_refused() -> None:
    agent = atlas.Agent(ScriptedModel(says("hi")))
    with pytest.raises(ConfigError, match="parameter named client"):
        agent.wrap(goal="g")(lambda: None)

    def stream(client: Any) -> Iterator[int]:
        yield 1

    with pytest.raises(ConfigError, match="generator"):
        agent.wrap(goal="g")(stream)

    def handle(client: Any) -> None: ...

    with pytest.raises(ConfigError, match=r"put on handle\(\) without a goal: write @agent.wrap\(goal="):
        agent.wrap(handle)
    wrong: Any = 5
    with pytest.raises(ConfigError, match=r"goal is a text, or a function .*, not 5"):
        agent.wrap(wrong)
    with pytest.raises(ConfigError, match=r"score is a function .*, not 5"):
        agent.wrap("g", score=wrong)
    with pytest.raises(ConfigError, match="is put on a function, not on 5"):
        agent.wrap("g")(wrong)
    with pytest.raises(ConfigError, match="goal is a text, not 5"):
        agent.wrap(lambda: wrong)(handle)()


def test_module_level_episode_uses_the_agent_of_its_block_or_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="knows no agent here"):
        atlas.episode(goal="g")
    with atlas.Agent(ScriptedModel(says("outer"))), atlas.episode(goal="g") as episode:
        text = episode.client.chat.completions.create(model="m", messages=user()).choices[0].message.content
    assert text == "outer"
    with atlas.episode(goal="g", student=ScriptedModel(says("own")), run=tmp_path / "run") as episode:
        assert episode.client.chat.completions.create(model="m", messages=user()).choices[0].message.content == "own"
        episode.succeed()
    assert Run(tmp_path / "run").results()[0].score == 1.0
    with pytest.raises(ConfigError, match="knows no agent here"):
        atlas.episode(goal="g")


def test_an_agent_needs_someone_who_acts_and_only_one_way_to_say_who() -> None:
    model = ScriptedModel(says("hi"))
    with pytest.raises(ConfigError, match="needs someone who acts"):
        atlas.Agent()
    with pytest.raises(ConfigError, match="give one of the two"):
        atlas.Agent(model, policy=Solo(model))
    with pytest.raises(ConfigError, match="no model named 'gpt-4'"):
        atlas.Agent("gpt-4")


def test_a_policy_of_ones_own_decides() -> None:
    policy = Cascade(ScriptedModel(split), ScriptedModel(says("teacher's word")), actions=ChatActions())
    with atlas.Agent(policy=policy) as agent, agent.episode(goal="g") as episode:
        assert (
            episode.client.chat.completions.create(model="m", messages=user()).choices[0].message.content
            == "teacher's word"
        )
    assert episode.steps[0].decision.reason == "split"


def test_two_agents_share_a_run_under_their_own_arms(tmp_path: Path) -> None:
    for arm in ("small", "large"):
        agent = atlas.Agent(ScriptedModel(says("hi"), name=arm), run=tmp_path / "run", arm=arm)
        with agent, agent.episode(goal="g", task="t") as episode:
            episode.client.chat.completions.create(model="m", messages=user())
            episode.succeed()
    assert [r.arm for r in Run(tmp_path / "run").results()] == ["small", "large"]
