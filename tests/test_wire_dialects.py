"""Loops that speak other APIs than chat completions: one step for each call, found again in the next one."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

import atlas
from atlas.records import Reply, ToolCall
from atlas.testing import FlakyModel, ScriptedModel, SlowModel
from atlas.wire import app

CALL = Reply(text="I look.", tool_calls=(ToolCall(id="c1", name="weather", arguments='{"city":"Rome"}'),))
SCRIPT = [CALL, Reply(text="It is sunny."), Reply(text="Yes.")]
TOOL: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
CLAUDE: Any = {"name": "weather", "input_schema": {"type": "object"}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_a_loop_of_responses(stream: bool, kept: bool) -> None:
    model = ScriptedModel(SCRIPT)

    def ask(client: openai.OpenAI, **body: Any) -> Any:
        if not stream:
            return client.responses.create(model="m", tools=[TOOL], **body)
        with client.responses.stream(model="m", tools=[TOOL], **body) as streamed:
            return streamed.get_final_response()

    with atlas.Agent(model) as agent, agent.episode(goal="g") as episode:
        first = ask(episode.client, input="Weather?")
        result = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "sunny, 21"}
        if kept:
            second = ask(episode.client, previous_response_id=first.id, input=[result])
            assert second.previous_response_id == first.id
        else:
            past = [item.to_dict(mode="json") for item in first.output]
            second = ask(episode.client, input=[{"role": "user", "content": "Weather?"}, *past, result])
        assert second.output_text == "It is sunny." and second.status == "completed"
    assert [(s.decision.action, s.outcome.text) for s in episode.steps] == [
        ('weather({"city": "Rome"})', "sunny, 21"),
        ("It is sunny.", ""),
    ]
    assert [m.role for m in model.asks[1].view.messages] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_loop_of_messages(stream: bool) -> None:
    model = ScriptedModel(SCRIPT)

    def ask(client: anthropic.Anthropic, *messages: Any) -> Any:
        body: Any = {"model": "m", "max_tokens": 99, "tools": [CLAUDE], "messages": messages}
        if not stream:
            return client.messages.create(**body)
        with client.messages.stream(**body) as streamed:
            return streamed.get_final_message()

    user = {"role": "user", "content": "Weather?"}
    with atlas.Agent(model) as agent, agent.episode(goal="g") as episode:
        assert isinstance(episode.anthropic, anthropic.Anthropic)
        count: Any = episode.anthropic.messages.count_tokens
        assert count(model="m", messages=[user]).input_tokens > 0
        first = ask(episode.anthropic, user)
        assert first.stop_reason == "tool_use" and first.content[-1].input == {"city": "Rome"}
        result = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": "sunny, 21"}
        spoke = {"role": "assistant", "content": first.content}
        second = ask(episode.anthropic, user, spoke, {"role": "user", "content": [result]})
        assert second.content[0].text == "It is sunny."
    assert [s.outcome.text for s in episode.steps] == ["sunny, 21", ""]


def test_what_is_left_out_is_in_a_header() -> None:
    with atlas.Agent(ScriptedModel(["x", "x"])) as agent, agent.episode(goal="g") as episode:
        raw: Any = episode.client.responses.with_raw_response
        made = raw.create(model="m", input="x", tools=[TOOL, {"type": "web_search"}], truncation="auto")
        assert made.headers["x-atlas-left-out"] == "tool: web_search; truncation: auto"


def test_errors_are_those_of_the_api() -> None:
    with atlas.Agent(ScriptedModel(["x"])) as agent, agent.episode(goal="g") as episode:
        create: Any = episode.client.responses.create
        with pytest.raises(openai.BadRequestError, match="background"):
            create(model="m", input="x", background=True)
        with pytest.raises(openai.BadRequestError, match="send the whole conversation"):
            create(model="m", input="x", previous_response_id="resp_0")
        tell: Any = episode.anthropic.messages.create
        with pytest.raises(anthropic.BadRequestError) as raised:
            tell(model="m", max_tokens=0, messages=[{"role": "user", "content": "x"}])
        assert raised.value.body == {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "'max_tokens' is 0: give a whole number from 1"},
        }


def test_an_answer_that_fails_in_mid_stream_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.01)
    message: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    failing = SlowModel(FlakyModel(ScriptedModel(["x"])), latency=0.1)
    with atlas.Agent(failing) as agent, agent.episode(goal="g") as episode:
        with pytest.raises(openai.APIError) as told:
            list(episode.client.responses.create(model="m", input="x", stream=True))
        assert not isinstance(told.value, openai.APIStatusError)
        with pytest.raises(anthropic.APIError), episode.anthropic.messages.stream(**message) as streamed:
            streamed.get_final_message()
