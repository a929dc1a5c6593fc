"""Decisions of all kinds, and the client libraries' own readers of what is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from atlas.records import Decision, Message, ToolCall, Usage
from atlas.wire.chat import message_of, read_messages
from atlas.wire.request import Told

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_-]{0,20}", fullmatch=True)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT, lambda inner: st.lists(inner, max_size=3)
)
ARGUMENTS = st.dictionaries(TEXT, VALUES, max_size=3).map(
    lambda given: json.dumps(given, ensure_ascii=False, separators=(",", ":"))
)


def told(decision: Decision, **changes: Any) -> Told:
    usage = Usage(calls=1, prompt_tokens=100, cached_tokens=40, completion_tokens=7)
    return Told(**{"decision": decision, "usage": usage, "model": "small", "id": "x1", "created": 1700000000} | changes)


def decided(text: str = "", *calls: ToolCall, **fields: Any) -> Decision:
    return Decision(action="a", actor="student", reason="solo", text=text, tool_calls=calls, **fields)


def said(decision: Decision) -> Message:
    """The message that a client which speaks chat completions would send back."""
    return read_messages([message_of(decision)])[0]


@st.composite
def decisions(draw: st.DrawFn, kinds: tuple[str, ...] = ("function", "custom")) -> Decision:
    calls = []
    for number in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(kinds))
        arguments = draw(ARGUMENTS if kind == "function" else TEXT)
        calls.append(ToolCall(id=f"call_{number}", name=draw(NAMES), arguments=arguments, kind=kind))
    message: dict[str, Any] = {}
    if draw(st.booleans()):
        message["reasoning_content"] = draw(TEXT.filter(bool))
    if draw(st.booleans()):
        thought = {"type": "thinking", "thinking": draw(TEXT), "signature": draw(st.sampled_from(["EqQB", "c2ln"]))}
        message["thinking_blocks"] = [thought]
    if draw(st.booleans()):
        message["provider_specific_fields"] = {"thought_signature": draw(TEXT.filter(bool))}
    return decided(draw(TEXT), *calls, finish="tool_calls" if calls else "stop", message=message or None)


def stream(events: Iterable[tuple[str, dict[str, Any]]]) -> bytes:
    """Events as they go over the wire."""
    lines = (f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return "".join(lines).encode()
