"""Anthropic's Messages API: what its clients send is read whole, and its own client library reads what is told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import anthropic as library
import httpx2
import pytest
from anthropic.types import Message as Answer
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from atlas.errors import ConfigError
from atlas.records import Decision, Message, ToolCall, Usage
from atlas.wire import anthropic
from tests.wire_fixtures import decided, decisions, said, stream, told

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
WEATHER = {"name": "weather", "description": "d", "input_schema": {"type": "object"}}
LOOK = ToolCall(id="toolu_1", name="weather", arguments='{"city":"Rome"}')
USER: Any = {"role": "user", "content": "hi"}


def asked(*messages: dict[str, Any], **body: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 99, "messages": list(messages or [USER]), **body}


def client_told(events: Iterable[tuple[str, dict[str, Any]]]) -> library.Anthropic:
    """A client whose server answers anything with this stream."""
    headers, content = {"content-type": "text/event-stream"}, stream(events)
    answer = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=content))
    return library.Anthropic(api_key="x", base_url="http://atlas", http_client=httpx2.Client(transport=answer))


# --- in ---------------------------------------------------------------------------------------------------------------


def test_results_of_tools_come_first_and_the_words_after_them() -> None:
    request = anthropic.read(
        asked(
            USER,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Look.", "signature": "EqQB"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
                    {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": True, "content": "gone"},
                    {"type": "text", "text": "And?"},
                ],
            },
            system="Be brief.",
        )
    )
    system, user, spoke, first, second, last = request.messages
    assert (system.role, system.content, user.content) == ("system", "Be brief.", "hi")
    assert (spoke.content, spoke.tool_calls[0]) == ("I look.", LOOK)
    assert spoke.sent is not None
    assert spoke.sent["thinking_blocks"] == [{"type": "thinking", "thinking": "Look.", "signature": "EqQB"}]
    assert (first.role, first.tool_call_id, first.content, first.sent) == ("tool", "toolu_1", "sunny", None)
    assert second.sent is not None and second.sent["is_error"] is True
    assert (last.role, last.content, last.sent) == ("user", "And?", None)


def test_images_documents_and_cache_marks_are_kept() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    picture = {"type": "base64", "media_type": "image/png", "data": "AA"}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "AA"}
    plain = {"type": "text", "media_type": "text/plain", "data": "words"}
    content = [
        {"type": "text", "text": "See", "cache_control": mark},
        {"type": "image", "source": picture},
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "document", "title": "a.pdf", "context": "of May", "source": pdf, "cache_control": mark},
        {"type": "document", "title": "notes", "source": plain},
        {"type": "document", "source": {"type": "url", "url": "https://x/z.pdf"}},
        {"type": "search_result", "title": "t", "source": "s", "content": [{"type": "text", "text": "found"}]},
    ]
    request = anthropic.read(
        asked(
            {"role": "user", "content": content},
            system=[{"type": "text", "text": "S", "cache_control": mark}],
            tools=[{**WEATHER, "cache_control": mark}],
        )
    )
    system, user = request.messages
    assert system.sent == {"role": "system", "content": [{"type": "text", "text": "S", "cache_control": mark}]}
    assert user.sent is not None
    assert user.sent["content"] == [
        {"type": "text", "text": "See", "cache_control": mark},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "text", "text": "a.pdf\nof May"},
        {
            "type": "file",
            "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"},
            "cache_control": mark,
        },
        {"type": "text", "text": "notes\n\nwords"},
        {"type": "file", "file": {"file_id": "https://x/z.pdf"}},
        {"type": "text", "text": "t\ns\nfound"},
    ]
    function = {"name": "weather", "description": "d", "parameters": {"type": "object"}}
    assert request.tools == ({"type": "function", "function": function, "cache_control": mark},)


def test_options_have_their_chat_names() -> None:
    request = anthropic.read(
        asked(
            stop_sequences=["END"],
            temperature=0.5,
            top_k=3,
            thinking={"type": "enabled", "budget_tokens": 2000},
            tools=[WEATHER],
            tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
            output_config={"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
            metadata={"user_id": "user_a_account_b_session_0b9a1c5e-1111-2222-3333-444455556666"},
            service_tier="standard_only",
        )
    )
    schema = {"name": "output", "schema": {"type": "object"}, "strict": True}
    assert request.options == {
        "max_tokens": 99,
        "stop": ["END"],
        "temperature": 0.5,
        "top_k": 3,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "reasoning_effort": "high",
        "response_format": {"type": "json_schema", "json_schema": schema},
        "user": "user_a_account_b_session_0b9a1c5e-1111-2222-3333-444455556666",
        "service_tier": "default",
    }
    assert request.conversation == "0b9a1c5e-1111-2222-3333-444455556666"
    assert request.left_out == ()


@pytest.mark.parametrize(("given", "made"), [("auto", "auto"), ("any", "required"), ("none", "none")])
def test_choices_of_tools(given: str, made: str) -> None:
    assert anthropic.read(asked(tool_choice={"type": given})).options["tool_choice"] == made


def test_a_session_is_found_in_a_user_id_that_is_json() -> None:
    metadata = {"user_id": json.dumps({"device_id": "d", "session_id": "s-1"})}
    assert anthropic.read(asked(metadata=metadata)).conversation == "s-1"
    assert anthropic.read(asked(metadata={"user_id": "{"})).conversation == ""


def test_what_says_nothing_to_a_chat_model_is_named() -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    words = {"type": "text", "text": "It says.", "citations": [{"type": "char_location", "cited_text": "x"}]}
    request = anthropic.read(
        asked(
            USER,
            {"role": "assistant", "content": [block, found, words]},
            USER,
            tools=[
                WEATHER,
                {"type": "web_search_20250305", "name": "web_search"},
                {"type": "bash_20250124", "name": "bash"},
            ],
            context_management={"edits": []},
            output_config={"task_budget": 3},
        )
    )
    assert request.left_out == (
        "citations",
        "context_management",
        "output_config.task_budget",
        "server_tool_use",
        "tool: web_search_20250305",
        "web_search_tool_result",
    )
    assert request.messages[1].content == "It says."
    assert [tool["type"] for tool in request.tools] == ["function", "bash_20250124"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"max_tokens": None}, "'max_tokens' is missing"),
        ({"max_tokens": 0}, "'max_tokens'"),
        ({"messages": None}, "'messages' is missing"),
        ({"messages": []}, "'messages'"),
        ({"messages": [{"role": "boss", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "hologram"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "tool_use_id"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "x"}]}]}, "name"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
        ({"tool_choice": {"type": "other"}}, "tool_choice"),
        ({"thinking": "yes"}, "'thinking'"),
        ({"system": 3}, "'system'"),
    ],
)
def test_what_cannot_be_honoured_is_one_sentence(body: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        anthropic.read(asked(**body))
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_the_mark_of_a_whole_request_is_at_its_last_block() -> None:
    mark = {"type": "ephemeral"}
    first, last = anthropic.read(asked(USER, USER, cache_control=mark)).messages
    assert first.sent is None
    assert last.sent == {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": mark}]}


# --- out, and in again ------------------------------------------------------------------------------------------------


def back(decision: Decision) -> Message:
    """The message that would come back, where all of it is told: what models think is, to clients that ask for it."""
    message = said(decision)
    sent = message.sent
    if (
        sent
        and sent.get("thinking_blocks")
        and not sent.get("reasoning_content")
        and sent["thinking_blocks"][0]["thinking"]
    ):
        return message.replace(sent={**sent, "reasoning_content": sent["thinking_blocks"][0]["thinking"]})
    return message


@settings(deadline=None)
@given(decisions(kinds=("function",)))
def test_what_was_told_is_read_back_whole(decision: Decision) -> None:
    request = anthropic.read(asked(thinking={"type": "adaptive"}))
    answer = anthropic.write(told(decision), request)
    parsed = Answer.model_validate(answer)
    assert "".join(block.text for block in parsed.content if block.type == "text") == decision.text
    for name, data in anthropic.events(told(decision), request):
        assert EVENT.validate_python(data).type == name
    again = anthropic.read(asked(USER, {"role": "assistant", "content": answer["content"]}))
    assert again.messages[:-1] == request.messages
    assert again.messages[-1] == back(decision)


@settings(deadline=None, max_examples=50)
@given(decisions(kinds=("function",)), st.sampled_from(["adaptive", "disabled"]))
def test_the_client_library_builds_the_same_answer_from_the_stream(decision: Decision, thinking: str) -> None:
    request = anthropic.read(asked(stream=True, thinking={"type": thinking}))
    now = told(decision)
    with client_told(anthropic.events(now, request)).messages.stream(
        model="m", max_tokens=9, messages=[USER]
    ) as streamed:
        final = streamed.get_final_message()
    assert final.to_dict(mode="json") | {"parsed_output": 0} == anthropic.write(now, request) | {"parsed_output": 0}


def test_only_a_client_that_asks_sees_what_was_thought_but_for_calls() -> None:
    thought = decided("Sunny.", message={"reasoning_content": "Hm."})
    called = decided("", LOOK, message={"reasoning_content": "Hm."})
    quiet, curious = anthropic.read(asked()), anthropic.read(asked(thinking={"type": "enabled", "budget_tokens": 1024}))
    hidden = anthropic.read(asked(thinking={"type": "adaptive", "display": "omitted"}))

    def kinds(decision: Decision, request: Any) -> list[tuple[str, str]]:
        blocks = anthropic.write(told(decision), request)["content"]
        return [(block["type"], block.get("thinking", "")) for block in blocks]

    assert kinds(thought, quiet) == [("text", "")]
    assert kinds(thought, curious) == [("thinking", "Hm."), ("text", "")]
    assert kinds(called, quiet) == [("thinking", ""), ("tool_use", "")]
    assert kinds(called, hidden) == [("thinking", ""), ("tool_use", "")]
    for request in (quiet, curious, hidden):
        content = anthropic.write(told(called), request)["content"]
        assert anthropic.read(asked(USER, {"role": "assistant", "content": content})).messages[-1] == said(called)


def test_text_that_comes_in_pieces_is_the_same_answer() -> None:
    request = anthropic.read(asked(thinking={"type": "adaptive"}))
    signed = {"type": "thinking", "thinking": "Hm, so.", "signature": "EqQB"}
    message = {"reasoning_content": "Hm, so.", "thinking_blocks": [signed]}
    whole = told(decided("I look.", LOOK, message=message))
    writer = anthropic.writer_of(request, whole.id, whole.model, 0)
    events = [*writer.begin()]
    for piece in ("Hm", ", so."):
        events += writer.part(
            {"reasoning_content": piece, "thinking_blocks": [{"type": "thinking", "thinking": piece}]}
        )
    events += writer.part({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "EqQB"}]})
    for piece in ("I", " look"):
        events += writer.part({"content": piece})
    events += writer.end(whole)
    deltas = [data["delta"].get("text") for name, data in events if name == "content_block_delta"]
    assert [text for text in deltas if text] == ["I", " look", "."]
    with client_told(events).messages.stream(model="m", max_tokens=9, messages=[USER]) as streamed:
        final: Any = streamed.get_final_message().to_dict(mode="json")
    assert final["content"] == anthropic.write(whole, request)["content"]
    assert final["usage"]["input_tokens"] == 60


def test_arguments_that_are_no_object_come_back_as_they_were() -> None:
    call = ToolCall(id="t", name="f", arguments='{"a": ')
    content = anthropic.write(told(decided("", call)), anthropic.read(asked()))["content"]
    assert content == [{"type": "tool_use", "id": "t", "name": "f", "input": {"INVALID_JSON": '{"a": '}}]
    assert anthropic.read(asked(USER, {"role": "assistant", "content": content})).messages[-1].tool_calls == (call,)


@pytest.mark.parametrize(
    ("decision", "stop"),
    [
        (decided("x"), "end_turn"),
        (decided("x", finish="length"), "max_tokens"),
        (decided("x", finish="content_filter"), "refusal"),
        (decided("", message={"content": None, "refusal": "I cannot."}), "refusal"),
        (decided("", LOOK, finish="tool_calls"), "tool_use"),
    ],
)
def test_why_it_stopped(decision: Decision, stop: str) -> None:
    answer = Answer.model_validate(anthropic.write(told(decision), anthropic.read(asked())))
    assert answer.stop_reason == stop
    block: Any = answer.content[0]
    assert block.type == "tool_use" or block.text == (decision.text or "I cannot.")


def test_usage_tells_what_a_cache_had_apart() -> None:
    usage = Usage(
        calls=1, prompt_tokens=100, cached_tokens=40, cache_write_tokens=25, completion_tokens=7, reasoning_tokens=3
    )
    told_now = Answer.model_validate(anthropic.write(told(decided("x"), usage=usage), anthropic.read(asked()))).usage
    assert (told_now.input_tokens, told_now.cache_read_input_tokens, told_now.cache_creation_input_tokens) == (
        35,
        40,
        25,
    )
    assert told_now.output_tokens == 7
    assert told_now.output_tokens_details is not None and told_now.output_tokens_details.thinking_tokens == 3


def test_errors_have_the_type_of_their_status() -> None:
    assert anthropic.error(402, "spent", "x", None) == {
        "type": "error",
        "error": {"type": "billing_error", "message": "spent"},
    }
    kinds = {status: anthropic.error(status, "", "", None)["error"]["type"] for status in (400, 418, 429, 500, 529)}
    assert kinds == {
        400: "invalid_request_error",
        418: "invalid_request_error",
        429: "rate_limit_error",
        500: "api_error",
        529: "overloaded_error",
    }
    long = anthropic.error(400, "132,000 tokens are too many", "", "context_length_exceeded")["error"]["message"]
    assert long == "prompt is too long: 132,000 tokens are too many"


def test_errors_are_raised_by_the_client_library_in_mid_stream() -> None:
    writer = anthropic.writer_of(anthropic.read(asked()), "x", "m", 0)
    client = client_told([*writer.begin(), writer.broken("the model is gone", None)])
    with (
        pytest.raises(library.APIError, match="the model is gone"),
        client.messages.stream(model="m", max_tokens=9, messages=[USER]) as streamed,
    ):
        streamed.get_final_message()


def test_tokens_are_counted_without_a_limit() -> None:
    body = {name: value for name, value in asked(tools=[WEATHER], system="Be brief.").items() if name != "max_tokens"}
    bare = anthropic.count({"model": "m", "messages": [USER]})["input_tokens"]
    whole = anthropic.count(body)["input_tokens"]
    assert 0 < bare < whole
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 100_000}}
    shown = anthropic.count({"model": "m", "messages": [{"role": "user", "content": [picture]}]})["input_tokens"]
    assert 1600 <= shown < 1700
