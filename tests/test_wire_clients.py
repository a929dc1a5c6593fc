"""The clients of an episode: the real libraries, whose server is the wire in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

import atlas
from atlas.records import Price, Reply, Stop, ToolCall
from atlas.testing import ChatServer, Hang, Say, ScriptedModel, SlowModel, Status
from atlas.testing.server import Behaviour
from atlas.traces import Run
from tests.waiting import meanwhile, until
from tests.wrap_fixtures import TOOLS, call, says, user


@contextmanager
def served(*script: Behaviour, **settings: Any) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """An episode whose student is behind a server, and what that server was sent."""
    with ChatServer(script) as server:
        student = atlas.load(
            "openai/gpt-4.1-mini", base_url=server.url, api_key="x", price=Price(prompt=1, completion=1)
        )
        with atlas.Agent(student, **settings) as agent, agent.episode(goal="g") as episode:
            yield episode, server.requests


def test_clients_are_the_librarys_own_and_so_is_all_that_comes_with_them() -> None:
    model = ScriptedModel(says('{"city": "Oslo"}'))
    with atlas.Agent(model) as agent, agent.episode(goal="g") as episode:
        client = episode.client
        assert isinstance(client, openai.OpenAI) and isinstance(episode.async_client, openai.AsyncOpenAI)
        assert episode.client is client and str(client.base_url).endswith("/v1/")
        raw = client.chat.completions.with_raw_response.create(model="m", messages=user())
        assert raw.headers["x-atlas-episode"] == episode.id and raw.parse().choices[0].message.content

        class Place(BaseModel):
            city: str

        parsed = client.chat.completions.parse(model="m", messages=user(), response_format=Place)
        assert parsed.choices[0].message.parsed == Place(city="Oslo")
        other = client.with_options(timeout=3.0, max_retries=0)
        assert other.chat.completions.create(model="m", messages=user()).model == model.name
        assert [m.id for m in client.models.list()] == ["atlas"]
    assert model.asks[1].view.options["response_format"]["type"] == "json_schema"


def test_a_role_may_be_an_enum_as_the_librarys_own_are() -> None:
    from enum import Enum

    class Role(str, Enum):  # noqa: UP042 - what smolagents has
        USER = "user"

    with atlas.Agent(ScriptedModel(says("hi"))) as agent, agent.episode(goal="g") as episode:
        create: Any = episode.client.chat.completions.create
        create(model="m", messages=[{"role": Role.USER, "content": "hello"}])
    assert episode.steps[0].observation == "hello"


def test_a_stream_gives_the_decided_answer_and_its_usage_once() -> None:
    calls = (ToolCall(id="a", name="look_up", arguments='{"q": 1}'), ToolCall(id="b", name="refund"))
    script = [Reply(text="let me see", tool_calls=calls), "done", "done"]
    with atlas.Agent(ScriptedModel(script)) as agent, agent.episode(goal="g") as episode:
        create: Any = episode.client.chat.completions.create
        chunks = list(create(model="m", messages=user(), tools=TOOLS, stream=True))
        made = [c for chunk in chunks for choice in chunk.choices for c in choice.delta.tool_calls or ()]
        assert [(c.index, c.id, c.function.name) for c in made] == [(0, "a", "look_up"), (1, "b", "refund")]
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, "tool_calls"]
        assert not any(chunk.usage for chunk in chunks)
        with episode.client.chat.completions.stream(model="m", messages=user()) as stream:
            final = stream.get_final_completion()
        assert final.choices[0].message.content == "done" and final.choices[0].finish_reason == "stop"
        asked = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(create(model="m", messages=user(), **asked))
        assert [bool(chunk.usage) for chunk in chunks] == [False, False, True] and not chunks[-1].choices
    assert len(episode.steps) == 3


async def test_an_asynchronous_stream() -> None:
    agent = atlas.Agent(ScriptedModel(says("hi")))
    async with agent.episode(goal="g") as episode:
        stream = await episode.async_client.chat.completions.create(model="m", messages=user(), stream=True)
        text = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
    assert text == ["hi", None]


def test_what_the_caller_sent_goes_up_as_it_is() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    messages: list[Any] = [
        {"role": "system", "content": [{"type": "text", "text": "BIG", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "a"}, picture]},
        {"role": "assistant", "content": "x", "reasoning_content": "R", "annotations": []},
        {"role": "user", "content": "go"},
    ]
    with served(Say("hello")) as (episode, sent):
        episode.client.chat.completions.create(model="m", messages=messages)
        kept = episode._steps._pending[0].messages
    assert sent[0]["messages"][0] == messages[0] and sent[0]["messages"][1] == messages[1]
    assert [m.sent for m in kept] == [*messages[:3], None]
    assert episode.steps[0].observation == "go" and "max_tokens" not in sent[0]


def test_a_message_that_holds_more_comes_back_from_the_trace(tmp_path: Path) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    message = {"role": "user", "content": [{"type": "text", "text": "what is this"}, picture]}
    with atlas.Agent(ScriptedModel(says("a cat")), run=tmp_path / "run") as agent, agent.episode(goal="g") as episode:
        create: Any = episode.client.chat.completions.create
        create(model="m", messages=[message])
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.steps[0].decision.prompt.history[0].sent == message
    assert stored.steps[0].observation == "what is this\n[image_url]"


def test_a_custom_tools_call_goes_down_and_up_again() -> None:
    made = ToolCall(id="c1", name="shell", arguments="ls *", kind="custom")
    model = ScriptedModel([Reply(text="", tool_calls=(made,)), "done"])
    tools: Any = [{"type": "custom", "custom": {"name": "shell"}}]
    with atlas.Agent(model) as agent, agent.episode(goal="g") as episode:
        messages = user()
        create: Any = episode.client.chat.completions.create
        message = create(model="m", messages=messages, tools=tools).choices[0].message
        assert message.tool_calls[0].custom.input == "ls *"
        messages += [message, {"role": "tool", "tool_call_id": "c1", "content": "a b"}]
        create(model="m", messages=messages, tools=tools)
    assert model.asks[1].view.messages[1].tool_calls == (made,) and episode.steps[0].outcome.text == "a b"


def test_an_agents_own_best_of_n_draws_different_answers() -> None:
    with served(Say("hello")) as (episode, sent):
        for i in range(3):
            episode.client.chat.completions.create(model="m", messages=user(), temperature=1.0, seed=i)
        for _ in range(2):
            episode.client.chat.completions.create(model="m", messages=user(), temperature=0.7)
    assert [s["temperature"] for s in sent] == [1.0] * 3 + [0.7] * 2
    assert [s["seed"] for s in sent[:3]] == [0, 1, 2] and sent[3]["seed"] != sent[4]["seed"]
    assert len(episode.steps) == 5


def test_where_votes_decide_the_caller_is_told_that_its_temperature_does_not_hold() -> None:
    student, teacher = ScriptedModel(says("hi")), ScriptedModel(says("never"))
    with atlas.Agent(student, teacher, audit=0.0) as agent, agent.episode(goal="g") as episode:
        create = episode.client.chat.completions.with_raw_response.create
        told = create(model="m", messages=user(), temperature=1.0, seed=3, logprobs=True).headers
        assert told["x-atlas-set-aside"] == "temperature, seed, logprobs" and told["x-atlas-actor"] == "student"
    assert {ask.temperature for ask in student.asks} == {0.1}


def test_several_choices_are_one_step_and_the_one_that_is_followed_is_its_decision() -> None:
    model = ScriptedModel([call("look_up", f'{{"q": {i}}}', id=f"c{i}") for i in range(3)] + [Reply(text="done")])
    with atlas.Agent(model) as agent, agent.episode(goal="g") as episode:
        create: Any = episode.client.chat.completions.create
        messages = user()
        choices = create(model="m", messages=messages, tools=TOOLS, n=3).choices
        assert [c.index for c in choices] == [0, 1, 2]
        taken = choices[1].message
        messages += [taken, {"role": "tool", "tool_call_id": taken.tool_calls[0].id, "content": "found"}]
        create(model="m", messages=messages, tools=TOOLS)
    step = episode.steps[0]
    assert step.decision.tool_calls[0].id == taken.tool_calls[0].id and step.outcome.text == "found"
    assert len(episode.steps) == 2 and step.spend[0].usage.calls == 3
    assert len({ask.view.moment for ask in model.asks}) == 4


def test_errors_are_those_of_the_callers_library() -> None:
    long = Status(400, message="This model's maximum context length is 128000 tokens", kind="context_length_exceeded")
    with served(long, Status(401, message="no"), Say("x")) as (episode, _):
        create = episode.client.chat.completions.create
        with pytest.raises(openai.BadRequestError) as told:
            create(model="m", messages=user("long"))
        assert (told.value.code, told.value.status_code) == ("context_length_exceeded", 400)
        with pytest.raises(openai.AuthenticationError):
            create(model="m", messages=user())
        create(model="m", messages=user())
    assert episode.result.stop is Stop.DONE and episode.result.steps == 1
    assert episode.result.failure.where == "policy" and "401" in episode.result.failure.message


def test_a_callers_timeout_and_retries_hold_and_its_retry_is_the_same_step() -> None:
    with served(Hang(120), Say("late")) as (episode, sent):
        with pytest.raises(openai.APITimeoutError):
            episode.client.with_options(max_retries=1).chat.completions.create(model="m", messages=user(), timeout=0.3)
        assert until(lambda: sent) and len(sent) == 1
    assert episode.result.spend[0].usage.unmetered == 1, "sent and given up with the episode: paid all the same"


def test_a_retry_finds_the_answer_that_it_gave_up_waiting_for() -> None:
    with served(Say("late", seconds=0.8)) as (episode, sent):
        create = episode.client.with_options(max_retries=60).chat.completions.create
        answer = create(model="m", messages=user(), timeout=0.5)
        assert answer.choices[0].message.content == "late" and len(sent) == 1
    assert len(episode.steps) == 1 and episode.result.spend[0].usage.calls == 1


async def test_a_cancelled_call_is_ended_and_charged() -> None:
    model = SlowModel(ScriptedModel(says("hi")), latency=600)
    agent = atlas.Agent(model)
    async with agent.episode(goal="g") as episode:
        call = asyncio.create_task(episode.async_client.chat.completions.create(model="m", messages=user()))
        assert await meanwhile(lambda: model.most)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not episode.calls.under_way
    assert episode.result is not None and episode.result.steps == 0


async def test_the_same_question_asked_twice_at_once_is_two_steps() -> None:
    agent = atlas.Agent(SlowModel(ScriptedModel(says("hi")), latency=0.05))
    async with agent.episode(goal="g") as episode:
        create = episode.async_client.chat.completions.create
        await asyncio.gather(*(create(model="m", messages=user()) for _ in range(3)))
    assert len(episode.steps) == 3


def test_what_a_model_writes_need_not_be_text_that_can_be_encoded() -> None:
    half = "\ud83d half"
    agent = atlas.Agent(ScriptedModel([Reply(text=half, message={"content": half})]))
    with agent, agent.episode(goal="g") as episode:
        raw = episode.client.chat.completions.with_raw_response.create(model="m", messages=user())
        assert json.loads(raw.text)["choices"][0]["message"]["content"].endswith(" half")
