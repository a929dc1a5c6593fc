"""The Responses API: what its clients send is read whole, and its own client library reads what is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given, settings
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseStreamEvent
from pydantic import TypeAdapter

from atlas.errors import ConfigError
from atlas.records import ToolCall
from atlas.wire import responses
from atlas.wire.kept import Kept
from tests.wire_fixtures import decided, decisions, said, stream, told

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
LOOK = ToolCall(id="call_1", name="weather", arguments='{"city":"Rome"}')


def asked(**body: Any) -> dict[str, Any]:
    return {"model": "m", "input": "hi", **body}


def client_told(events: Iterable[tuple[str, dict[str, Any]]]) -> openai.OpenAI:
    """A client whose server answers anything with this stream."""
    headers, content = {"content-type": "text/event-stream"}, stream(events)
    answer = httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, content=content))
    return openai.OpenAI(api_key="x", base_url="http://atlas/v1", http_client=httpx.Client(transport=answer))


def unparsed(value: Any) -> Any:
    """Without what the client library adds of its own."""
    if isinstance(value, dict):
        return {name: unparsed(inner) for name, inner in value.items() if name not in ("parsed", "parsed_arguments")}
    return list(map(unparsed, value)) if isinstance(value, list) else value


# --- in ---------------------------------------------------------------------------------------------------------------


def test_a_text_is_a_user_turn_and_instructions_are_the_system() -> None:
    request = responses.read(asked(instructions="Be brief."))
    assert [(m.role, m.content) for m in request.messages] == [("system", "Be brief."), ("user", "hi")]
    assert request.messages[1].sent is None
    assert (request.api, request.model, request.stream) == ("responses", "m", False)


def test_one_answer_is_one_message_and_results_follow_it() -> None:
    items = [
        {"role": "developer", "content": "Rules."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Look first."}]},
        {"type": "message", "role": "assistant", "id": "m1", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "id": "f1", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "custom_tool_call", "id": "f2", "call_id": "c2", "name": "code", "input": "print(1)"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "1"}]},
    ]
    rules, user, spoke, first, second = responses.read(asked(input=items)).messages
    assert (rules.role, rules.content) == ("system", "Rules.")
    assert (user.content, user.sent) == ("Weather?", None)
    assert (spoke.content, [c.id for c in spoke.tool_calls]) == ("I look.", ["c1", "c2"])
    assert [c.kind for c in spoke.tool_calls] == ["function", "custom"]
    assert spoke.sent is not None and spoke.sent["reasoning_content"] == "Look first."
    assert [(m.role, m.tool_call_id, m.content) for m in (first, second)] == [
        ("tool", "c1", "sunny"),
        ("tool", "c2", "1"),
    ]


def test_images_files_and_sound_are_kept() -> None:
    content = [
        {"type": "input_text", "text": "See"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}},
    ]
    (message,) = responses.read(asked(input=[{"role": "user", "content": content}])).messages
    assert message.sent is not None
    assert message.sent["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}},
    ]
    assert message.content.startswith("See")


def test_options_have_their_chat_names() -> None:
    form = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True}
    request = responses.read(
        asked(
            text={"format": form, "verbosity": "low"},
            reasoning={"effort": "high", "summary": "auto"},
            max_output_tokens=99,
            temperature=0.5,
            top_logprobs=2,
            tools=[WEATHER],
            tool_choice={"type": "function", "name": "weather"},
            parallel_tool_calls=False,
            metadata={"k": "v"},
            include=["reasoning.encrypted_content"],
            store=False,
        )
    )
    assert request.options == {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
        },
        "verbosity": "low",
        "reasoning_effort": "high",
        "reasoning_summary": "auto",
        "max_tokens": 99,
        "temperature": 0.5,
        "top_logprobs": 2,
        "logprobs": True,
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "metadata": {"k": "v"},
    }
    function = {"name": "weather", "parameters": {"type": "object"}, "strict": True}
    assert request.tools == ({"type": "function", "function": function},)
    assert request.left_out == ()


def test_what_says_nothing_to_a_chat_model_is_named() -> None:
    tools = [WEATHER, {"type": "web_search"}]
    assert responses.read(asked(reasoning={"effort": "low", "context": "all_turns"})).left_out == ("reasoning.context",)
    old = {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "x"}}
    items = [{"role": "user", "content": "hi"}, old]
    request = responses.read(asked(tools=tools, truncation="auto", brand_new=1, input=items))
    assert request.left_out == ("brand_new: int", "input: web_search_call", "tool: web_search", "truncation: auto")
    assert request.headers == {
        "x-atlas-left-out": "brand_new: int; input: web_search_call; tool: web_search; truncation: auto"
    }
    assert [tool["function"]["name"] for tool in request.tools] == ["weather"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"input": None}, "'input' is missing"),
        ({"input": 3}, "'input' has to be a list"),
        ({"input": [{"role": "boss", "content": ""}]}, "input[0].role"),
        ({"input": [{"type": "computer_call"}]}, "computer_call"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "image_url"),
        ({"input": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "input[0].name"),
        ({"input": [{"type": "function_call", "call_id": 4, "name": "f", "arguments": "{}"}]}, "call_id"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"tools": [WEATHER], "tool_choice": {"type": "web_search"}}, "web_search"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "other"}}, "other"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": "x"}, "'text'"),
        ({"previous_response_id": "resp_1"}, "no responses are kept"),
    ],
)
def test_what_cannot_be_honoured_is_one_sentence(body: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        responses.read(asked(**body))
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_only_the_allowed_tools_are_offered() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]}
    request = responses.read(asked(tools=[WEATHER, {**WEATHER, "name": "other"}], tool_choice=choice))
    assert [tool["function"]["name"] for tool in request.tools] == ["weather"]
    assert request.options["tool_choice"] == "required"


# --- tools that chat models do not know -------------------------------------------------------------------------------


def test_a_namespace_is_in_the_names_of_its_tools_and_is_told_again() -> None:
    tools = [
        {"type": "namespace", "name": "mcp__files", "description": "Files", "tools": [{**WEATHER, "name": "read"}]}
    ]
    past = {"type": "function_call", "call_id": "c0", "namespace": "mcp__files", "name": "read", "arguments": "{}"}
    out = {"type": "function_call_output", "call_id": "c0", "output": "x"}
    request = responses.read(asked(tools=tools, input=[{"role": "user", "content": "hi"}, past, out]))
    assert request.tools[0]["function"]["name"] == "mcp__files__read" == request.messages[1].tool_calls[0].name
    call = ToolCall(id="c1", name="mcp__files__read", arguments="{}")
    (item,) = responses.write(told(decided("", call)), request)["output"]
    assert (item["namespace"], item["name"], item["call_id"]) == ("mcp__files", "read", "c1")
    assert ResponseFunctionToolCall.model_validate(item).namespace == "mcp__files"


def test_a_long_name_of_a_namespace_fits_and_is_found_again() -> None:
    tools = [{"type": "namespace", "name": "n" * 60, "description": "", "tools": [{**WEATHER, "name": "read"}]}]
    request = responses.read(asked(tools=tools))
    name = request.tools[0]["function"]["name"]
    assert len(name) == 64
    (item,) = responses.write(told(decided("", ToolCall(id="c", name=name))), request)["output"]
    assert (item["namespace"], item["name"]) == ("n" * 60, "read")


def test_a_custom_tool_gets_its_text_however_the_model_called_it() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    request = responses.read(asked(tools=[{"type": "custom", "name": "code", "description": "d", "format": grammar}]))
    made = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}
    assert request.tools == ({"type": "custom", "custom": {"name": "code", "description": "d", "format": made}},)
    free = ToolCall(id="c", name="code", arguments="print(1)", kind="custom")
    function = ToolCall(id="c", name="code", arguments='{"input": "print(1)"}')
    for call in (free, function):
        (item,) = responses.write(told(decided("", call)), request)["output"]
        assert (item["type"], item["input"]) == ("custom_tool_call", "print(1)")


def test_tools_that_an_item_brings_along_are_offered() -> None:
    brought = {"type": "additional_tools", "role": "developer", "tools": [{"type": "custom", "name": "late"}]}
    request = responses.read(asked(input=[{"role": "user", "content": "hi"}, brought]))
    assert [tool["custom"]["name"] for tool in request.tools] == ["late"]
    (item,) = responses.write(told(decided("", ToolCall(id="c", name="late", arguments="x"))), request)["output"]
    assert item["type"] == "custom_tool_call"


# --- out, and in again ------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(decisions())
def test_what_was_told_is_read_back_whole(decision: Any) -> None:
    request = responses.read(asked())
    answer = responses.write(told(decision), request)
    parsed = Response.model_validate(answer, strict=False)
    assert parsed.output_text == decision.text
    for name, data in responses.events(told(decision), request):
        assert EVENT.validate_python(data).type == name
    again = responses.read(asked(input=[{"role": "user", "content": "hi"}, *answer["output"]]))
    assert again.messages[:-1] == request.messages
    assert again.messages[-1] == said(decision)


@settings(deadline=None, max_examples=50)
@given(decisions())
def test_the_client_library_builds_the_same_answer_from_the_stream(decision: Any) -> None:
    request = responses.read(asked(stream=True))
    told_now = told(decision)

    with client_told(responses.events(told_now, request)).responses.stream(model="m", input="hi") as streamed:
        final = streamed.get_final_response()
    expected = Response.model_validate(responses.write(told_now, request))
    assert unparsed(final.model_dump(exclude_unset=True)) == expected.model_dump(exclude_unset=True)


def test_events_are_numbered_and_each_text_is_told_once() -> None:
    request = responses.read(asked())
    reasoned = decided("I look.", LOOK, finish="tool_calls", message={"reasoning_content": "Hm."})
    events = list(responses.events(told(reasoned), request))
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert [name.removeprefix("response.") for name, _ in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_text_that_comes_in_pieces_is_the_same_answer() -> None:
    request = responses.read(asked())
    whole = told(decided("I look.", LOOK, message={"reasoning_content": "Hm, so."}))
    writer = responses.writer_of(request, whole.id, whole.model, whole.created)
    events = [*writer.begin()]
    for piece in ("Hm", ", so."):
        events += writer.part({"reasoning_content": piece})
    for piece in ("I", " look"):
        events += writer.part({"content": piece})
    events += writer.end(whole)
    deltas = [data["delta"] for name, data in events if name == "response.output_text.delta"]
    assert deltas == ["I", " look", "."]
    answer = events[-1][1]["response"]
    once = responses.write(whole, request)
    assert answer["output"][1:] == once["output"][1:]
    again = responses.read(asked(input=answer["output"]))
    assert again.messages[-1] == said(whole.decision)


def test_a_cut_answer_is_incomplete_and_a_refusal_is_one() -> None:
    request = responses.read(asked())
    cut = responses.write(told(decided("half", finish="length")), request)
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    refused = decided("", message={"content": None, "refusal": "I cannot."})
    answer: Any = Response.model_validate(responses.write(told(refused), request))
    assert answer.output[0].content[0].refusal == "I cannot."
    assert responses.read(asked(input=responses.write(told(refused), request)["output"])).messages[-1] == said(refused)


def test_citations_and_logprobs_are_told() -> None:
    mark = {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 2, "title": "t", "url": "u"}}
    chance = {"token": "hi", "logprob": -0.1, "bytes": [104], "top_logprobs": []}
    message = {"content": "hi", "annotations": [mark], "logprobs": {"content": [chance]}}
    answer = responses.write(told(decided("hi", message=message)), responses.read(asked()))
    parsed: Any = Response.model_validate(answer)
    (part,) = parsed.output[0].content
    assert part.annotations[0].url == "u" and part.logprobs[0].logprob == -0.1
    again = responses.read(asked(input=answer["output"])).messages[-1]
    assert again.sent is not None and again.sent["annotations"] == [mark]


def test_reasoning_of_its_own_provider_goes_back_as_it_came() -> None:
    item = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
    decision = decided("done", message={"reasoning_items": [item]})
    answer = responses.write(told(decision), responses.read(asked()))
    assert answer["output"][0]["encrypted_content"] == "gAAAA"
    assert responses.read(asked(input=answer["output"])).messages[-1] == said(decision)


@pytest.mark.parametrize("text", ["atlas1.", "atlas1.AAAA", "atlas1.!!!", "atlas1.eJxLBAAAYgBi"])
def test_a_changed_opaque_text_is_kept_as_anothers(text: str) -> None:
    reasoning = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": text}
    spoke = {"role": "assistant", "content": "done"}
    sent = responses.read(asked(input=[reasoning, spoke])).messages[-1].sent
    assert sent is not None and sent["reasoning_items"][0]["encrypted_content"] == text


def test_usage_is_in_the_answer() -> None:
    usage = Response.model_validate(responses.write(told(decided("hi")), responses.read(asked()))).usage
    assert usage is not None
    assert (usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens) == (100, 40, 7)


def test_errors_are_raised_by_the_client_library_in_mid_stream() -> None:
    request = responses.read(asked(stream=True))
    writer = responses.writer_of(request, "x", "m", 0)
    events = [*writer.begin(), writer.broken("the model is gone", "upstream_error")]

    with pytest.raises(openai.APIError, match="the model is gone"):
        list(client_told(events).responses.create(model="m", input="hi", stream=True))


# --- responses that are kept ------------------------------------------------------------------------------------------


def test_a_response_goes_on_from_another() -> None:
    kept = Kept().shelf("me")
    first = responses.read(asked(instructions="A."), kept)
    answer = responses.write(told(decided("", LOOK)), first)
    responses.keep(kept, first, answer, 9)
    result = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    body = asked(previous_response_id=answer["id"], input=[result], instructions="B.")
    request = responses.read(body, kept)
    assert [m.role for m in request.messages] == ["system", "user", "assistant", "tool"]
    assert request.messages[0].content == "B."  # instructions are not carried on
    assert responses.write(told(decided("x")), request)["previous_response_id"] == answer["id"]
    responses.keep(kept, request, responses.write(told(decided("Sunny."), id="x2"), request), 9)
    assert len(responses.read(asked(previous_response_id="resp_x2", input="And now?"), kept).messages) == 5


def test_an_item_is_found_by_a_reference_to_it() -> None:
    kept = Kept().shelf("me")
    first = responses.read(asked(), kept)
    answer = responses.write(told(decided("Hello.")), first)
    responses.keep(kept, first, answer, 9)
    reference = {"type": "item_reference", "id": answer["output"][0]["id"]}
    request = responses.read(asked(input=[{"role": "user", "content": "hi"}, reference]), kept)
    assert request.messages[-1] == said(decided("Hello."))


def test_what_is_not_stored_or_forgotten_is_said() -> None:
    kept = Kept(most=2).shelf("me")
    for id, store in (("a", False), ("b", None), ("c", True), ("d", True)):
        request = responses.read(asked(store=store), kept)
        responses.keep(kept, request, responses.write(told(decided("x"), id=id), request), 9)
    for id in ("resp_a", "resp_b"):
        with pytest.raises(ConfigError, match="send the whole conversation"):
            responses.read(asked(previous_response_id=id), kept)
    with pytest.raises(ConfigError, match="send the item itself"):
        responses.read(asked(input=[{"type": "item_reference", "id": "msg_b_0"}]), kept)
    assert len(responses.read(asked(previous_response_id="resp_c"), kept).messages) == 3


def test_what_is_kept_has_an_owner_and_a_bound() -> None:
    kept = Kept(largest=100)
    for id in ("a", "b"):
        request = responses.read(asked())
        responses.keep(kept.shelf("ann"), request, responses.write(told(decided("x"), id=id), request), 60)
    with pytest.raises(ConfigError, match="send the whole conversation"):
        kept.shelf("bob").talk("resp_b")
    with pytest.raises(ConfigError, match="send the whole conversation"):
        kept.shelf("ann").talk("resp_a")
    assert len(kept.shelf("ann").talk("resp_b")) == 2
