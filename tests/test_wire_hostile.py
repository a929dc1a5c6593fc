"""Requests with anything in the place of anything: each is answered, or refused in a sentence; none fails inside."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

import atlas
from atlas.testing import ScriptedModel
from tests.serve_fixtures import ask, serving

JUNK: list[Any] = [
    None, True, -1, 1.5, 10**40, "", "x", "\ud800", "\x00", [], {}, [[]], [None], [{}], {"a": None}, {"type": "x"},
    {"type": None}, {"type": ["x"]}, {"type": {}}, "function", [{"type": "function", "function": None}], float("nan"),
]  # fmt: skip
WHOLE: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
        "stop": ["a"],
        "n": 1,
        "stream": False,
        "stream_options": {"include_usage": True},
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "logprobs": True,
    },
    "/v1/responses": {
        "model": "m",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "atlas1.x"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "ok"},
        ],
        "tools": [
            {"type": "function", "name": "f", "parameters": {}},
            {"type": "custom", "name": "g"},
            {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "h"}]},
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "stream": False,
        "text": {"format": {"type": "text"}},
        "reasoning": {"effort": "low"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "client_metadata": {"session_id": "s"},
    },
    "/v1/messages": {
        "model": "m",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "h", "signature": "s"},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]},
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "stream": False,
        "metadata": {"user_id": "u"},
    },
}
WHOLE["/v1/messages/count_tokens"] = WHOLE["/v1/messages"]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for name, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*at, name)
        if isinstance(part, dict | list):
            yield from places(part, (*at, name))


def changed(body: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    body = copy.deepcopy(body)
    for _ in range(chance.choice([1, 1, 2, 3])):
        *path, last = chance.choice(list(places(body)))
        inner: Any = body
        for name in path:
            inner = inner[name]
        if chance.random() < 0.15:
            del inner[last]
        else:
            inner[last] = copy.deepcopy(chance.choice(JUNK))
    return body | ({"stream": True} if chance.random() < 0.3 else {})


@pytest.mark.parametrize("path", WHOLE)
def test_nothing_in_a_body_is_a_fault_of_ours(path: str) -> None:
    chance = random.Random(path)
    with serving(atlas.Agent(ScriptedModel(lambda ask: "hi")), episodes=20) as (server, _):
        for _ in range(150):
            body = changed(WHOLE[path], chance)
            status, _, answer = ask(server.url, path, body)
            assert status in (200, 400), (json.dumps(body), answer)
            assert "server_error" not in str(answer) and "api_error" not in str(answer), (json.dumps(body), answer)
