"""Models of the Responses API alone, where one acts by itself: what they write goes through as they write it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

import atlas
from atlas.models.answers import Unreadable
from atlas.models.responses import from_responses
from atlas.models.responses_stream import Events
from atlas.models.retry import Retry
from atlas.records import Price
from atlas.traces import Run
from tests.responses_upstream import EVENT, Output, ResponsesServer, call, free_call, output, refused, spoke, thought
from tests.responses_upstream import events as told_by
from tests.responses_upstream import response as response_of

pytest.importorskip("litellm", reason="needs the extra litellm")

from atlas.models.hosted import Hosted

WORDS = "one two three four five"
LOOK: dict[str, Any] = {"name": "look", "parameters": {"type": "object", "properties": {}}}
TOOL: dict[str, Any] = {"type": "function", "function": LOOK}
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
LOOP = (
    thought("rs_1", "Where is it?", "In a drawer."),
    spoke("I look.", phase="commentary"),
    thought("rs_2"),
    call("call_1", "look", '{"at": "desk"}'),
    call("call_2", "look", '{"at": "shelf"}'),
)
"""An answer with all that has to come back, in the order that has to come back."""


@contextmanager
def alone(*script: Output, retries: int = 0, **settings: Any) -> Iterator[tuple[Any, ResponsesServer]]:
    with ResponsesServer(*script) as server:
        price, retry = Price(prompt=1, completion=10, cached=0.5), Retry(retries=retries, base=0.01)
        student = Hosted("openai/gpt-5-pro", base_url=server.url, api_key="x", price=price, retry=retry)
        with atlas.Agent(student, **settings) as agent, agent.episode(goal="g") as episode:
            yield episode, server


def chunks(episode: Any, **more: Any) -> Iterator[Any]:
    asked: Any = {"stream": True, "messages": HELLO, **more}
    return iter(episode.client.with_options(max_retries=0).chat.completions.create(model="m", **asked))


# --- as they come -----------------------------------------------------------------------------------------------------


def test_a_chat_client_hears_each_word_before_the_next_is_said() -> None:
    heard = threading.Event()
    with alone(output(spoke(WORDS), after=heard)) as (episode, server):
        stream = chunks(episode)
        first = next(c.choices[0].delta.content for c in stream if c.choices[0].delta.content)
        heard.set()  # until then the server says nothing more
        assert first == "one"
        rest = [c.choices[0].delta.content for c in stream if c.choices and c.choices[0].delta.content]
    assert rest == [" two", " three", " four", " five"]
    (body,) = server.bodies
    assert body["stream"] is True and body["store"] is False and body["include"] == ["reasoning.encrypted_content"]


def test_a_responses_client_hears_each_word_before_the_next_is_said() -> None:
    heard = threading.Event()
    with alone(output(spoke(WORDS), after=heard)) as (episode, _):
        stream = iter(episode.client.responses.create(model="m", input="hello", stream=True))
        first = next(e.delta for e in stream if e.type == "response.output_text.delta")
        heard.set()
        assert first == "one" and list(stream)[-1].response.output_text == WORDS


def test_a_messages_client_hears_each_word_before_the_next_is_said() -> None:
    pytest.importorskip("anthropic")
    heard = threading.Event()
    with alone(output(spoke(WORDS), after=heard)) as (episode, _):
        with episode.anthropic.messages.stream(model="m", max_tokens=99, messages=HELLO) as stream:
            texts = iter(stream.text_stream)
            first = next(texts)
            heard.set()
            assert first == "one" and [first, *texts] == ["one", " two", " three", " four", " five"]
        used = stream.get_final_message().usage
        assert (used.input_tokens, used.cache_read_input_tokens, used.output_tokens) == (60, 40, 30)


def test_what_it_used_and_when_it_began_is_in_the_trace(tmp_path: Path) -> None:
    with alone(output(spoke(WORDS)), run=tmp_path / "run") as (episode, _):
        usage = [c.usage for c in chunks(episode, stream_options={"include_usage": True}) if c.usage]
    assert usage[0].prompt_tokens == 100 and usage[0].completion_tokens_details.reasoning_tokens == 20
    (stored,) = Run(tmp_path / "run").episodes()
    (step,) = stored.steps
    spent = step.spend[0].usage
    assert step.decision.text == WORDS and step.decision.seconds["first_token"] > 0
    assert (spent.cached_tokens, spent.reasoning_tokens, spent.unmetered) == (40, 20, 0)
    assert spent.dollars == pytest.approx((60 * 1 + 40 * 0.5 + 30 * 10) / 1e6)


# --- what comes back --------------------------------------------------------------------------------------------------


def assert_goes_on(server: ResponsesServer) -> None:
    """What was answered went up again whole, in its order."""
    items = server.bodies[1]["input"]
    begin = next(i for i, item in enumerate(items) if item["type"] == "reasoning")
    first, said, second, *calls = items[begin : begin + 5]
    assert [first["encrypted_content"], second["encrypted_content"]] == ["gAAAA-rs_1", "gAAAA-rs_2"]
    assert [part["text"] for part in first["summary"]] == ["Where is it?", "In a drawer."]
    assert "after" not in first and "after" not in second
    assert (said["type"], said["content"], said["phase"]) == ("message", "I look.", "commentary")
    assert [(c["call_id"], c["name"], c["arguments"]) for c in calls] == [
        ("call_1", "look", '{"at": "desk"}'),
        ("call_2", "look", '{"at": "shelf"}'),
    ]
    assert [item["type"] for item in items[begin + 5 :]] == ["function_call_output"] * 2


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat_client_goes_on_from_what_was_thought(stream: bool) -> None:
    with alone(output(*LOOP), output(spoke("done"))) as (episode, server):
        client = episode.client
        if stream:
            with client.chat.completions.stream(model="m", messages=HELLO, tools=[TOOL]) as events:
                message = events.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(model="m", messages=HELLO, tools=[TOOL]).choices[0].message
        assert message.reasoning_content == "Where is it?\n\nIn a drawer." and message.content == "I look."
        results = [{"role": "tool", "tool_call_id": made.id, "content": "x"} for made in message.tool_calls]
        back = {name: value for name, value in message.to_dict().items() if name != "parsed"}
        [*chunks(episode, messages=[*HELLO, back, *results], tools=[TOOL])]
    assert_goes_on(server)


@pytest.mark.parametrize("stream", [True, False])
def test_a_responses_client_goes_on_from_what_was_thought(stream: bool) -> None:
    tool: Any = {"type": "function", **LOOK}
    with alone(output(*LOOP), output(spoke("done"))) as (episode, server):
        asked: Any = {"model": "m", "tools": [tool], "reasoning": {"effort": "high", "summary": "auto"}}
        if stream:
            told = list(episode.client.responses.create(input="hello", stream=True, **asked))
            for event in told:
                EVENT.validate_python(event.to_dict())
            assert [e.sequence_number for e in told] == list(range(len(told)))
            answer = told[-1].response
            summary = "".join(e.delta for e in told if e.type == "response.reasoning_summary_text.delta")
            assert summary == "Where is it?\n\nIn a drawer."
        else:
            answer = episode.client.responses.create(input="hello", **asked)
        first, said, *_ = answer.output
        assert first.encrypted_content == "gAAAA-rs_1" and first.summary[1].text == "In a drawer."
        assert said.phase == "commentary"
        made = [item for item in answer.output if item.type == "function_call"]
        results: list[Any] = [{"type": "function_call_output", "call_id": c.call_id, "output": "x"} for c in made]
        back = [item.to_dict() for item in answer.output]
        episode.client.responses.create(input=[*HELLO, *back, *results], **asked)
    assert server.bodies[0]["reasoning"] == {"effort": "high", "summary": "auto"}
    assert_goes_on(server)


@pytest.mark.parametrize("stream", [True, False])
def test_a_messages_client_goes_on_from_what_was_thought(stream: bool) -> None:
    pytest.importorskip("anthropic")
    tool: Any = {"name": "look", "input_schema": LOOK["parameters"]}
    with alone(output(*LOOP), output(spoke("done"))) as (episode, server):
        asked: Any = {"model": "m", "max_tokens": 99, "tools": [tool]}
        if stream:
            with episode.anthropic.messages.stream(messages=HELLO, **asked) as events:
                answer = events.get_final_message()
        else:
            answer = episode.anthropic.messages.create(messages=HELLO, **asked)
        made = [block for block in answer.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": c.id, "content": "x"} for c in made]
        back = [block.to_dict() for block in answer.content]
        turns: list[Any] = [*HELLO, {"role": "assistant", "content": back}, {"role": "user", "content": results}]
        episode.anthropic.messages.create(messages=turns, **asked)
    for item in server.bodies[1]["input"]:
        if item["type"] == "function_call":  # this API writes them as objects
            item["arguments"] = item["arguments"].replace(":", ": ")
    assert_goes_on(server)


def test_free_text_and_refusals_are_told() -> None:
    custom: Any = {"type": "custom", "custom": {"name": "code"}}
    with alone(output(free_call("call_1", "code", "print( 1 )")), output(refused("I will not."))) as (episode, _):
        calls = [
            c.choices[0].delta.tool_calls for c in chunks(episode, tools=[custom]) if c.choices[0].delta.tool_calls
        ]
        assert next(made[0].type for made in calls) == "custom"
        assert "".join(made[0].custom["input"] for made in calls) == "print( 1 )" and len(calls) == 4
        said = [c.choices[0].delta.refusal for c in chunks(episode)]
    assert [text for text in said if text] == ["I", " will", " not."]


def test_what_a_server_tells_in_the_end_alone_is_told() -> None:
    def done(events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for event in events:
            if event["type"] == "response.output_item.done":
                yield event
            if event["type"] == "response.completed":
                yield {**event, "response": {**event["response"], "output": []}}

    with alone(output(*LOOP, events=done)) as (episode, _):
        told = list(chunks(episode, tools=[TOOL]))
        assert "".join(c.choices[0].delta.content or "" for c in told) == "I look."
        calls = [c.choices[0].delta.tool_calls[0] for c in told if c.choices[0].delta.tool_calls]
    assert "".join(c.function.arguments for c in calls) == '{"at": "desk"}{"at": "shelf"}'


def test_a_server_that_does_not_stream_is_heard_in_the_end() -> None:
    with alone(output(spoke(WORDS))) as (episode, server):
        ask = server.next
        server.next = lambda body: ask({**body, "stream": body.pop("stream") and False})  # type: ignore[method-assign]
        told = list(chunks(episode))
    assert "".join(c.choices[0].delta.content or "" for c in told) == WORDS


# --- what goes wrong --------------------------------------------------------------------------------------------------


def up_to(kind: str, *more: dict[str, Any]) -> Any:
    """The events up to the first of ``kind``, then ``more``."""

    def cut(events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for event in events:
            yield event
            if event["type"] == kind:
                break
        yield from more

    return cut


@pytest.mark.parametrize("closes", [True, False])
def test_a_stream_that_is_cut_is_told_charged_and_not_asked_for_again(closes: bool, tmp_path: Path) -> None:
    broken = output(spoke("one " * 200), events=up_to("response.output_text.done"), closes=closes)
    middle = pytest.raises(openai.APIError, match="in the middle of its answer")
    with alone(broken, retries=3, run=tmp_path / "run") as (episode, server), middle:
        list(chunks(episode))
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None and stored.result.failure is not None
    used = stored.result.spend[0].usage
    assert len(server.bodies) == 1 and used.failed == 1 and used.unmetered == 1
    assert used.completion_tokens > 100, "what was heard is charged"
    assert used.dollars is not None and used.dollars > 0.001


def test_a_response_that_fails_is_charged_by_what_it_tells(tmp_path: Path) -> None:
    error = {"code": "server_error", "message": "the machine is on fire"}
    failed = response_of(output(changes={"error": error}), "failed", ())
    last = {"type": "response.failed", "response": failed}
    broken = output(spoke(WORDS), events=up_to("response.output_text.done", last))
    fire = pytest.raises(openai.APIError, match="on fire")
    with alone(broken, retries=3, run=tmp_path / "run") as (episode, server), fire:
        list(chunks(episode))
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None
    used = stored.result.spend[0].usage
    assert len(server.bodies) == 1 and (used.prompt_tokens, used.completion_tokens, used.unmetered) == (100, 30, 0)


@pytest.mark.parametrize("kind", ["response.failed", "error"])
def test_a_response_that_fails_before_it_said_a_word_is_asked_for_again(kind: str) -> None:
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    failed = response_of(output(changes={"error": error, "usage": None}), "failed", ())
    last = {"type": kind, "response": failed} if kind == "response.failed" else {"type": kind, "param": None, **error}
    broken = output(spoke(WORDS), events=up_to("response.in_progress", last))
    with alone(broken, output(spoke(WORDS)), retries=1) as (episode, server):
        told = list(chunks(episode))
    assert len(server.bodies) == 2 and "".join(c.choices[0].delta.content or "" for c in told) == WORDS


def test_a_response_that_failed_is_no_empty_answer() -> None:
    failed = output(changes={"status": "failed", "error": {"code": "invalid_prompt", "message": "no"}})
    with alone(failed) as (episode, _), pytest.raises(openai.BadRequestError, match="invalid_prompt"):
        episode.client.chat.completions.create(model="m", messages=HELLO)


def test_all_pieces_together_are_the_answer() -> None:
    said = output(*LOOP, thought("rs_3", "So."), spoke("Later."))
    events, content, thoughts, items = Events(), "", "", []
    for event in told_by(said):
        for delta in events.add(event):
            content += delta.get("content", "")
            thoughts += delta.get("reasoning_content", "")
            items += delta.get("reasoning_items", [])
    whole = events.whole()
    assert whole == from_responses(response_of(said, "completed", said.items))
    message = whole["choices"][0]["message"]
    assert (content, thoughts, items) == (message["content"], message["reasoning_content"], message["reasoning_items"])
    assert content == "I look.\n\nLater." and [item.get("after", 0) for item in items] == [0, 1, 3]


@pytest.mark.parametrize(
    "event",
    [
        [],
        {"type": "response.completed"},
        {"type": "response.output_text.delta", "output_index": 0, "delta": 3},
        {"type": "response.output_text.delta", "delta": "x"},
        {"type": "response.function_call_arguments.delta", "output_index": 9, "delta": "x"},
        {"type": "response.output_item.done", "output_index": 0, "item": "x"},
        {"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "content": "x"}},
        {"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "summary": [1]}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "name": []}},
    ],
)
def test_what_is_no_event_is_unreadable(event: Any) -> None:
    with pytest.raises(Unreadable):
        list(Events().add(event))
