"""Tool calls as text: what a local model is told of tools, and what it calls by what it writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.actions import ChatActions
from atlas.calling import acted, called, canonical_call, prompt_for, tools_text, wrote
from atlas.prompts import render
from atlas.records import Ask, Message, Reply, Task, ToolCall, View


def tool(name: str, about: str = "", **properties: Any) -> dict[str, Any]:
    required = [name for name, stated in properties.items() if not stated.pop("optional", False)]
    schema = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


LOOK = tool("look_up", "Finds an\n order.", order={"type": "string", "description": "Its number."})
TRACK = tool("track", parcel={"type": "string"}, days={"type": "integer", "optional": True})
NOW: dict[str, Any] = {"type": "function", "function": {"name": "now"}}
PATCH: dict[str, Any] = {"type": "custom", "custom": {"name": "patch", "description": "Applies a patch."}}
TOOLS = (LOOK, TRACK, NOW, PATCH)


def view(tools: tuple[dict[str, Any], ...] = TOOLS, said: str = "Where is A1?", **options: Any) -> View:
    return View(
        task=Task(id="t", goal="g"),
        opening=said,
        messages=(Message(role="system", content="Serve."), Message(role="user", content=said)),
        tools=tools,
        options=options,
    )


def ask(of: View, purpose: str = "act") -> Ask:
    return Ask(view=of, prompt=render(of), purpose=purpose)


LOOKED = ("look_up", '{"order": "A1"}')


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ('look_up({"order": "A1"})', "", [LOOKED]),
        ('I look.\n\nlook_up({"order": "A1"})', "I look.", [LOOKED]),
        ('Action: look_up({"order": "A1"})', "", [LOOKED]),
        ('look_up({"order": "A1"})\ntrack({"parcel": "P"})', "", [LOOKED, ("track", '{"parcel": "P"}')]),
        ('look_up({"order": "A1"}); track({"parcel": "P"})', "", [LOOKED, ("track", '{"parcel": "P"}')]),
        ('look_up(\n  {"order": "A1"}\n)', "", [LOOKED]),
        ('look_up(order="A1")', "", [LOOKED]),
        ("now()", "", [("now", "{}")]),
        ("```\nnow()\n```", "", [("now", "{}")]),
        ('<tool_call>\n{"name": "look_up", "arguments": {"order": "A1"}}\n</tool_call>', "", [LOOKED]),
        ('{"name": "look_up", "parameters": {"order": "A1"}}', "", [LOOKED]),
        ('```json\n{"name": "look_up", "arguments": "{\\"order\\": \\"A1\\"}"}\n```', "", [LOOKED]),
        ("patch(*** begin\n f(x)\n end)", "", [("patch", "*** begin\n f(x")]),
        # What it thinks would come of a call is no word to the user.
        ('look_up({"order": "A1"})\nThe order is in P7.', "", [LOOKED]),
        # No calls: prose about tools, tools of others, JSON that is an answer.
        ("track (see below) is what you want", None, []),
        ('Then write track({"parcel": "P"}) yourself.', None, []),
        ("refund({})", None, []),
        ('{"name": "Ada", "age": 3}', None, []),
        ('{"order": "A1"}', None, []),
        ("", None, []),
    ],
)
def test_calls_are_read_off_a_text(text: str, content: str | None, calls: list[tuple[str, str]]) -> None:
    said, found = called(text, TOOLS)
    assert [(call.name, call.arguments) for call in found] == calls
    assert said == (text if content is None else content)


@pytest.mark.parametrize(
    "text",
    [
        'track({": "P"})',
        'look_up({"order": "A1"',
        "track(parcel='P')",
        "<tool_call>{'name': 'track'}</tool_call>",
        '<tool_call>{"name": "refund", "arguments": {}}</tool_call>',
        "track({} and then)",
        "track(" + "{" * 5_000,
    ],
)
def test_what_begins_as_a_call_and_is_none_is_no_answer_and_agrees_with_nothing(text: str) -> None:
    reply = wrote(ask(view()), text)
    assert reply.tool_calls and not reply.text
    parsed = ChatActions().parse(reply, view())
    assert parsed.action and parsed.key is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["look_up", "track", "now"]), st.dictionaries(st.text(max_size=8), json_values)),
        min_size=1,
        max_size=3,
    )
)
def test_a_history_s_own_form_is_read_back(made: list[tuple[str, dict[str, Any]]]) -> None:
    calls = [ToolCall(name=name, arguments=json.dumps(arguments)) for name, arguments in made]
    _, found = called("\n".join(map(canonical_call, calls)), TOOLS)
    assert [(call.name, json.loads(call.arguments)) for call in found] == made


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    for before in ("", "track(", "<tool_call>", '{"name": "now", "arguments": '):
        content, calls = called(before + text, TOOLS)
        assert calls or content == before + text


def test_tools_are_told_in_a_line_each() -> None:
    assert tools_text(TOOLS).splitlines()[1:] == [
        '- look_up({"order": string}): Finds an order.',
        "    order: Its number.",
        '- track({"parcel": string, "days"?: integer})',
        "- now({})",
        "- patch(any text): Applies a patch.",
    ]
    assert 'after it: look_up({"order": ...}). Several' in tools_text(TOOLS)
    assert "after it. Several" in tools_text((NOW, PATCH))
    assert tools_text(()) == ""


def test_nested_and_odd_schemas_are_told() -> None:
    inner = {"type": "object", "properties": {"a": {"enum": ["x", 1]}, "b": {"type": ["string", "null"]}}}
    odd = tool("f", deep={"type": "array", "items": inner}, free={"type": "object"}, any={})
    assert tools_text([odd]).splitlines()[1] == (
        '- f({"deep": [{"a"?: "x" | 1, "b"?: string | null}], "free": {}, "any": any})'
    )
    old = {"name": "g", "parameters": {"properties": {"a": {"type": "string", "required": True}}, "required": True}}
    assert tools_text([{"type": "function", "function": old}]).splitlines()[1] == '- g({"a"?: string})'
    assert tools_text([{"type": "function", "function": {}}, {"type": "web_search"}]) == ""


def test_a_prompt_tells_of_tools_where_one_may_be_called() -> None:
    assert prompt_for(ask(view())).stable == f"Serve.\n\n{tools_text(TOOLS)}"
    assert prompt_for(ask(view(tools=()))).stable == "Serve."
    assert prompt_for(ask(view(tool_choice="none"))).stable == "Serve."
    assert prompt_for(ask(view(), "review")).stable == "Serve."


def test_what_is_written_is_called_where_one_may_be() -> None:
    text = 'look_up({"order": "A1"})'
    assert wrote(ask(view()), text, finish="stop").tool_calls == (
        ToolCall(name="look_up", arguments='{"order": "A1"}'),
    )
    assert wrote(ask(view(tool_choice="none")), text) == Reply(text=text)
    assert wrote(ask(view(), "review"), text) == Reply(text=text)
    assert wrote(ask(view(tools=())), text) == Reply(text=text)


def test_an_action_is_taken_as_its_agent_reads_it() -> None:
    call = 'look_up({"order": "A1"})'
    game = View(task=Task(id="t", goal="g"), opening="a room")
    assert acted(game, "go north", "it is there").text == "Thought: it is there\nAction: go north"
    assert acted(view(), call).tool_calls == (ToolCall(name="look_up", arguments='{"order": "A1"}'),)
    assert acted(view(), "It is on its way.") == Reply(text="It is on its way.")
    assert acted(view(tools=()), "Paris", "a capital").text == "Paris"
    lines = view(tools=(), said="Reply with two lines:\nThought: ...\nAction: ...")
    assert acted(lines, "ls").text == "Action: ls"
