"""Answers with one part of another type than it has: made to fit, or no answer; never an error of ours, and no run that
cannot be read afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.testing.server import ChatServer, Say
from atlas.traces import Run
from tests.serve_fixtures import ask, serving

pytest.importorskip("litellm", reason="needs the extra litellm")

from atlas.models.answers import Unreadable, replies_of
from atlas.models.hosted import Hosted
from atlas.models.pieces import Pieces
from atlas.models.retry import Retry

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def answer(message: Any, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}


def calling(**changes: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [{**CALL, **changes}]}


@pytest.mark.parametrize(("given", "said"), [({"at": "desk"}, {"at": "desk"}), ([1], [1]), (True, True), (None, {})])
def test_arguments_that_a_server_gives_as_an_object_are_text(given: Any, said: Any) -> None:
    """Some servers do; it was an error inside, or a step of the trace that could not be read any more."""
    (reply,) = replies_of(answer(calling(function={"name": "look", "arguments": given})))
    (call,) = reply.tool_calls
    assert json.loads(call.arguments) == said and call.name == "look"


@pytest.mark.parametrize("wrong", [
    calling(function="look"), calling(function={"name": {"a": 1}}), calling(id=["c"]), calling(function=None),
    {"tool_calls": True}, {"tool_calls": ["look"]}, {"tool_calls": {"a": 1}}, "look", None, 5,
])  # fmt: skip
def test_a_message_whose_calls_are_none_is_no_answer(wrong: Any) -> None:
    with pytest.raises(Unreadable):
        replies_of(answer(wrong))


@pytest.mark.parametrize("field", ["reasoning_content", "refusal", "thinking_blocks", "annotations"])
def test_a_field_of_another_type_is_left_out(field: str) -> None:
    for value in (True, 5, {"a": 1}, ["x"], [None]):
        (reply,) = replies_of(answer({"content": "hi", field: value}))
        assert reply.text == "hi" and field not in (reply.message or {})


@pytest.mark.parametrize("delta", [
    "hi", 5, ["x"], {"content": 5}, {"tool_calls": True}, {"tool_calls": [5]}, {"reasoning_content": {"a": 1}},
    {"tool_calls": [{"index": {}, "function": {}}]}, {"tool_calls": [{"function": {"arguments": {"a": 1}}}]},
    {"tool_calls": [{"index": 0, "function": "look"}]},
])  # fmt: skip
def test_a_piece_of_another_type_is_no_answer(delta: Any) -> None:
    with pytest.raises(Unreadable):
        Pieces().add({"choices": [{"index": 0, "delta": delta}]})


MESSAGES: tuple[Any, ...] = (
    calling(function={"name": "look", "arguments": {"at": "desk"}}), {"content": 5}, {"content": [5, None]},
    {"content": "hi", "reasoning_content": 5}, {"content": "hi", "annotations": True}, {"tool_calls": 1.5},
)  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_every_api_tells_it_or_refuses_in_words_and_the_run_can_be_read(path: str, tmp_path: Path) -> None:
    odd = [Say(fields=answer(message)) for message in MESSAGES]
    odd.append(Say(fields=answer({"content": "hi"}, logprobs={"content": 1.5})))
    with ChatServer(odd) as upstream:
        model = Hosted("openai/own", base_url=upstream.url, api_key="none", retry=Retry(retries=0))
        with serving(atlas.Agent(None, model, run=tmp_path / "run")) as (server, _):
            for number in range(len(odd)):
                turns = [{"role": "user", "content": f"and {number}?"}]
                body = {"input": turns} if path == "/v1/responses" else {"messages": turns, "max_tokens": 9}
                status, _, told = ask(server.url, f"/e/one{path}", {"model": "m", **body})
                assert status == 200 or "no chat completion" in str(told), told
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None and len(stored.steps) == stored.result.steps == len(odd) - 1


async def test_a_body_that_is_nested_without_end_is_no_answer() -> None:
    from tests.test_models_hosted import _broken

    deep = b"[" * 100_000
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
    _, _, used, error = await _broken(head + deep, heard=True)
    assert "no chat completion" in error and used.unmetered == used.calls == 3
