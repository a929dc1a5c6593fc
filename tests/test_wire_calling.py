"""Calls of tools are told as they are made, where one model acts alone: each API's own client makes them whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import openai
import pytest

pytest.importorskip("anthropic")

from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.records import Decision, ToolCall
from atlas.testing import Say
from atlas.wire import anthropic, chat, responses
from atlas.wire.calling import Calling
from atlas.wire.chat import call_of
from atlas.wire.free_text import FreeText
from atlas.wire.opaque import beyond
from tests.test_wire_anthropic import client_told as anthropic_told
from tests.test_wire_streams import Pace, alone
from tests.wire_fixtures import ARGUMENTS, NAMES, TEXT, decisions, said, stream, told
from tests.wrap_fixtures import TOOLS, user

HI: Any = {"role": "user", "content": "hi"}
LONG = json.dumps({"q": " ".join(f"word{n}" for n in range(12))})


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True) if b > a]


@st.composite
def spoken(draw: st.DrawFn, kinds: tuple[str, ...] = ("function",)) -> tuple[Decision, list[dict[str, Any]]]:
    """An answer, and the pieces that it came in: what was thought, what is said, and calls, a few of them at once, some
    with fields of their provider's, which come with a call, in the middle of it, or after all."""
    whole = draw(decisions(kinds=kinds))
    cuts = st.lists(st.integers(0, 100), max_size=3)
    message = dict(whole.message or {})
    deltas: list[dict[str, Any]] = []
    for text in pieces(message.pop("reasoning_content", ""), draw(cuts)):
        deltas.append({"reasoning_content": text})
    deltas += [{"thinking_blocks": [block]} for block in message.pop("thinking_blocks", [])]
    marked = [{name: value} for name, value in message.items()]
    late = bool(whole.tool_calls) and draw(st.booleans())
    deltas += [] if late else marked
    deltas += [{"content": text} for text in pieces(whole.text, draw(cuts))]
    waiting, made = [], []
    for place, call in enumerate(whole.tool_calls):
        written = "arguments" if call.kind == "function" else "input"
        made.append(call_of(call))
        first = {"index": place, **call_of(call), call.kind: {"name": call.name, written: ""}}
        rest = [{"index": place, call.kind: {written: text}} for text in pieces(call.arguments, draw(cuts))]
        if draw(st.booleans()):
            signed = {"extra_content": {"google": {"thought_signature": draw(TEXT)}}}
            made[-1] |= signed
            queue = [first, *rest]
            queue[draw(st.integers(0, len(queue) - 1))].update(signed)
        waiting.append([first, *rest])
    if any("extra_content" in call for call in made):
        whole = whole.replace(message={**(whole.message or {}), "content": whole.text or None, "tool_calls": made})
    mixed = draw(st.booleans())
    while any(waiting):
        open_ = [queue for queue in waiting if queue]
        queue = draw(st.sampled_from(open_)) if mixed else open_[0]
        deltas.append({"tool_calls": [queue.pop(0)]})
    if late:
        at = draw(st.integers(len(deltas) - sum("tool_calls" in delta for delta in deltas), len(deltas)))
        deltas[at:at] = marked
    # A call that was not begun yet has its place all the same: providers begin them in order.
    begun: list[int] = []
    for delta in deltas:
        for piece in delta.get("tool_calls", ()):
            if piece["index"] not in begun:
                begun.append(piece["index"])
            piece["index"] = begun.index(piece["index"])
    if begun:
        whole = whole.replace(tool_calls=tuple(whole.tool_calls[place] for place in begun))
        if whole.message and "tool_calls" in whole.message:
            whole = whole.replace(message={**whole.message, "tool_calls": [made[place] for place in begun]})
    return whole, deltas


def over(writer: Any, deltas: list[dict[str, Any]], whole: Any) -> list[tuple[str, dict[str, Any]]]:
    events = [*writer.begin()]
    for delta in deltas:
        events += writer.part(delta)
    return [*events, *writer.end(whole)]


def answering(events: Iterable[tuple[str, dict[str, Any]]], last: bytes = b"") -> httpx.Client:
    headers, content = {"content-type": "text/event-stream"}, stream(events).replace(b"event: \n", b"") + last
    return httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, content=content)))


@settings(deadline=None, max_examples=150)
@given(spoken(kinds=("function", "custom")))
def test_the_responses_api(one: tuple[Decision, list[dict[str, Any]]]) -> None:
    decision, deltas = one
    request = responses.read({"model": "m", "input": "hi", "stream": True})
    now = told(decision)
    events = over(responses.writer_of(request, now.id, now.model, now.created), deltas, now)
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    client = openai.OpenAI(api_key="x", base_url="http://a/v1", http_client=answering(events))
    with client.responses.stream(model="m", input="hi") as streamed:
        final = streamed.get_final_response().model_dump(exclude_unset=True)
    output: Any = events[-1][1]["response"]["output"]
    assert [(i["type"], i["id"]) for i in final["output"]] == [(i["type"], i["id"]) for i in output]
    written: dict[str, str] = {}
    for name, data in events:
        if name in ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"):
            written[data["item_id"]] = written.get(data["item_id"], "") + data["delta"]
    made = {i["id"]: i.get("arguments") or i.get("input") for i in output if i["type"].endswith("call")}
    assert written == {id: text for id, text in made.items() if text}
    again = responses.read({"model": "m", "input": [HI, *output]})
    assert again.messages[-1] == said(decision)


@settings(deadline=None, max_examples=100)
@given(spoken(), st.sampled_from(["adaptive", "disabled"]))
def test_anthropics_api(one: tuple[Decision, list[dict[str, Any]]], thinking: str) -> None:
    decision, deltas = one
    request = anthropic.read(
        {"model": "m", "max_tokens": 9, "messages": [HI], "stream": True, "thinking": {"type": thinking}}
    )
    now = told(decision)
    events = over(anthropic.writer_of(request, now.id, now.model, now.created), deltas, now)
    with anthropic_told(events).messages.stream(model="m", max_tokens=9, messages=[HI]) as streamed:
        final = streamed.get_final_message().to_dict(mode="json")
    content = [block for block in final["content"] if not block["type"].endswith("thinking")]
    whole = [b for b in anthropic.write(now, request)["content"] if not b["type"].endswith("thinking")]
    assert [(b["type"], b.get("input"), b.get("id")) for b in content if b["type"] == "tool_use"] == [
        (b["type"], b.get("input"), b.get("id")) for b in whole if b["type"] == "tool_use"
    ]
    assert "".join(b.get("text", "") for b in content) == decision.text
    if decision.tool_calls:
        back = anthropic.read(
            {"model": "m", "max_tokens": 9, "messages": [HI, {"role": "assistant", "content": final["content"]}]}
        )
        got, due = (beyond(message.sent or {}) for message in (back.messages[-1], said(decision)))
        for name in due:
            # What was thought is told as it came, and that is what its block shows.
            assert (signatures(got) == signatures(due)) if name == "thinking_blocks" else (got[name] == due[name])


def signatures(message: dict[str, Any]) -> list[str]:
    return [block["signature"] for block in message.get("thinking_blocks", ())]


@settings(deadline=None, max_examples=150)
@given(spoken())
def test_chat_completions(one: tuple[Decision, list[dict[str, Any]]]) -> None:
    decision, deltas = one
    request = chat.read({"model": "m", "messages": [HI], "stream": True})
    now = told(decision)
    events = over(chat.writer_of(request, now.id, now.model, now.created), deltas, now)
    client = openai.OpenAI(api_key="x", base_url="http://a/v1", http_client=answering(events, b"data: [DONE]\n\n"))
    messages: Any = [HI]
    with client.chat.completions.stream(model="m", messages=messages) as streamed:
        message = streamed.get_final_completion().choices[0].message
    assert (message.content or "") == decision.text
    made = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()]
    assert made == [(c.id, c.name, c.arguments) for c in decision.tool_calls]


# --- through the real clients -----------------------------------------------------------------------------------------

SLOW = Say("", tool_calls=[("look_up", LONG), ("refund", '{"order": "A1"}')], pause=1)


def slowly() -> Pace:
    """Piece by piece: what comes before the arguments is heard as something else, or not at all."""
    return Pace(pieces=12, behind=6)


def counted(events: Iterable[Any], pace: Pace, of_calls: Callable[[Any], bool]) -> list[Any]:
    """``events``, of which ``pace`` is told those that are ``of_calls``."""
    heard = []
    for event in events:
        heard.append(event)
        pace.heard += of_calls(event)
    return heard


def kept(pace: Pace) -> bool:
    """Whether pieces were heard before later ones were said."""
    return pace.kept and pace.said == pace.pieces and pace.heard > 8


def test_arguments_come_as_they_are_made_over_chat_completions() -> None:
    def calls_in(chunk: Any) -> Any:
        return chunk.choices[0].delta.tool_calls or () if chunk.choices else ()

    pace = slowly()
    with alone(SLOW, Say("done"), pace=pace) as (episode, _):
        made: Any = episode.client.chat.completions.create(model="m", messages=user(), tools=TOOLS, stream=True)
        chunks = counted(made, pace, lambda chunk: any(call.function.arguments for call in calls_in(chunk)))
        heard = [call for chunk in chunks for call in calls_in(chunk)]
        assert kept(pace)
        assert [call.id for call in heard if call.id] == ["call_0", "call_1"]
        texts = ["".join(c.function.arguments or "" for c in heard if c.index == place) for place in (0, 1)]
        assert texts == [LONG, '{"order": "A1"}']
        result = [{"role": "tool", "tool_call_id": f"call_{n}", "content": "ok"} for n in (0, 1)]
        calls = [
            {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": text}}
            for n, (name, text) in enumerate(zip(("look_up", "refund"), texts, strict=True))
        ]
        messages: Any = [*user(), {"role": "assistant", "tool_calls": calls}, *result]
        assert episode.client.chat.completions.create(model="m", messages=messages).choices[0].message.content == "done"
    assert episode.steps[0].outcome.text == "ok\nok"


def test_ids_that_the_conversation_has_are_new_also_while_they_are_told() -> None:
    again = Say("", tool_calls=[("look_up", "{}")])
    with alone(again, again) as (episode, _):
        ids = []
        messages: Any = [*user()]
        for _ in range(2):
            with episode.client.chat.completions.stream(model="m", messages=messages, tools=TOOLS) as streamed:
                message = streamed.get_final_completion().choices[0].message
            ids.append(message.tool_calls[0].id)
            messages += [
                {"role": "assistant", "tool_calls": [c.to_dict() for c in message.tool_calls]},
                {"role": "tool", "tool_call_id": ids[-1], "content": "ok"},
            ]
        assert ids[0] == "call_0" != ids[1]
    assert [step.decision.tool_calls[0].id for step in episode.steps] == ids


def test_arguments_come_as_they_are_made_over_responses() -> None:
    tools: Any = [{"type": "function", "name": t["function"]["name"], "parameters": {"type": "object"}} for t in TOOLS]
    pace = slowly()
    with alone(SLOW, pace=pace) as (episode, _):
        with episode.client.responses.stream(model="m", input="hello", tools=tools) as streamed:
            counted(streamed, pace, lambda event: event.type == "response.function_call_arguments.delta")
            final = streamed.get_final_response()
        assert kept(pace) and [e.arguments for e in final.output] == [LONG, '{"order": "A1"}']


def test_arguments_come_as_they_are_made_over_messages() -> None:
    tools: Any = [{"name": t["function"]["name"], "input_schema": {"type": "object"}} for t in TOOLS]
    pace = slowly()
    with alone(SLOW, pace=pace) as (episode, _):
        with episode.anthropic.messages.stream(model="m", max_tokens=99, messages=user(), tools=tools) as streamed:
            counted(streamed, pace, lambda event: event.type == "input_json")
            final = streamed.get_final_message()
        assert kept(pace)
        assert [block.input for block in final.content] == [json.loads(LONG), {"order": "A1"}]


def test_a_custom_tools_text_comes_as_it_is_made_however_the_model_called_it() -> None:
    part = "response.custom_tool_call_input.delta"
    text = "*** Begin Patch\n" + " ".join(f'"word{n}" \\d' for n in range(12))
    native = {"id": "call_0", "type": "custom", "custom": {"name": "patch", "input": text}}
    function = {"name": "patch", "arguments": json.dumps({"input": text})}
    signed = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    for call in (native, {"id": "call_0", "type": "function", "function": function, **signed}):
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choices = [{"index": 0, "finish_reason": "tool_calls", "message": message}]
        pace = slowly()
        with alone(Say("", fields={"choices": choices}, pause=1), pace=pace) as (episode, _):
            tools: Any = [{"type": "custom", "name": "patch"}]
            with episode.client.responses.stream(model="m", input="hello", tools=tools) as streamed:
                heard = counted(streamed, pace, lambda event: event.type == part)
                final = streamed.get_final_response()
        assert kept(pace) and "".join(e.delta for e in heard if e.type == part) == text
        assert final.output[-1].type == "custom_tool_call" and final.output[-1].input == text


def test_calls_that_their_provider_signs_come_as_they_are_made_and_go_back_signed() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    call = {"id": "call_0", "type": "function", "function": {"name": "look_up", "arguments": LONG}, **signed}
    thought = {"reasoning_details": [{"type": "reasoning.encrypted", "data": "EqQB"}]}
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": [call], **thought}
    choices = [{"index": 0, "finish_reason": "tool_calls", "message": message}]
    tools: Any = [{"name": t["function"]["name"], "input_schema": {"type": "object"}} for t in TOOLS]
    pace = slowly()
    with alone(Say("", fields={"choices": choices}, pause=1), Say("done"), pace=pace) as (episode, sent):
        with episode.anthropic.messages.stream(model="m", max_tokens=99, messages=user(), tools=tools) as streamed:
            counted(streamed, pace, lambda event: event.type == "input_json")
            final = streamed.get_final_message()
        assert kept(pace)
        assert [block.type for block in final.content] == ["text", "redacted_thinking", "tool_use"]
        result: Any = [{"type": "tool_result", "tool_use_id": "call_0", "content": "ok"}]
        turns: Any = [*user(), {"role": "assistant", "content": final.content}, {"role": "user", "content": result}]
        episode.anthropic.messages.create(model="m", max_tokens=99, messages=turns, tools=tools)
    back = next(m for m in sent[-1]["messages"] if m["role"] == "assistant")
    assert back["content"] == "Let me see." and back["tool_calls"][0]["extra_content"] == signed["extra_content"]


# --- alone ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(NAMES, ARGUMENTS | TEXT), max_size=3), st.data())
def test_each_call_is_told_whole_and_once(made: list[tuple[str, str]], data: Any) -> None:
    calls = [ToolCall(id=f"c{n}", name=name, arguments=text) for n, (name, text) in enumerate(made)]
    calling = Calling(lambda call: True)
    moves: list[Any] = []
    left = {n: [call.arguments[:3], call.arguments[3:]] for n, call in enumerate(calls)}
    seen: set[int] = set()
    while any(left.values()):
        at = data.draw(st.sampled_from([n for n, texts in left.items() if texts and (n == 0 or n - 1 in seen)]))
        first = {} if at in seen else {"id": f"c{at}", "type": "function"}
        seen.add(at)
        function = {"arguments": left[at].pop(0), **({"name": calls[at].name} if first else {})}
        moves += calling.heard([{"index": at, **first, "function": function}])
    moves += calling.rest(calls)
    whole = {move.id: move.arguments for move in moves if isinstance(move, ToolCall)}
    told_: dict[str, str] = {}
    open_ = None
    for move in moves:
        if isinstance(move, ToolCall):
            assert open_ is None
            continue
        what, call, text = move
        assert (what == "begin") == (open_ is None) and open_ in (None, call.id)
        told_[call.id] = told_.get(call.id, "") + text
        open_ = None if what == "end" else call.id
    assert open_ is None and {**whole, **told_} == {c.id: c.arguments for c in calls}


@given(st.text(max_size=40), st.booleans(), st.lists(st.integers(0, 200), max_size=6))
def test_free_text_is_read_while_it_is_written(text: str, ascii: bool, cuts: list[int]) -> None:
    written = json.dumps({"input": text}, ensure_ascii=ascii)
    free = FreeText()
    for end in [*sorted(cut for cut in cuts if cut < len(written)), len(written)]:
        free.read(written[:end])
        assert text.startswith(free.text)
    assert free.text == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r'{"input": "\\d and \d"}', r"\d and \d"),
        ('{"input": "say "hi""}', 'say "hi"'),
        (r'{"input": "half \u12', "half "),
        (r'{"input": "\u12 odd"}', r"\u12 odd"),
    ],
)
def test_free_text_that_is_no_json_loses_nothing(written: str, text: str) -> None:
    free = FreeText()
    assert free.read(written) and free.text == text
    assert not FreeText().read('{"other": "text"}')
