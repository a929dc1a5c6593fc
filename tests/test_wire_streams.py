"""Where one model acts alone its words go through as they come, in each API; where votes decide, once it is decided."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

import atlas
from atlas.models.pieces import Pieces
from atlas.records import Price
from atlas.testing import ChatServer, Say
from atlas.testing.server import Behaviour
from atlas.traces import Run
from tests.waiting import until
from tests.wrap_fixtures import user

WORDS = "one two three four five"


class Pace(threading.Event):
    """For a server to wait for between two pieces of an answer: it says one of the first ``pieces`` when the client has
    heard all of those before but ``behind``, whose ``heard`` the test counts. ``kept``: whether it came to that."""

    def __init__(self, pieces: int, behind: int) -> None:
        super().__init__()
        self.pieces, self.behind = pieces, behind
        self.said = self.heard = 0
        self.kept = True

    def wait(self, timeout: float | None = None) -> bool:
        if timeout and self.kept and self.said < self.pieces:
            self.said += 1
            self.kept = until(lambda: self.is_set() or self.heard >= self.said - self.behind)
        return self.is_set()


@contextmanager
def alone(*script: Behaviour, pace: Pace | None = None, **settings: Any) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    with ChatServer(script) as server:
        server.stopping = pace or server.stopping
        price = Price(prompt=1, completion=1)
        student = atlas.load("openai/gpt-4.1-mini", base_url=server.url, api_key="x", price=price)
        with atlas.Agent(student, **settings) as agent, agent.episode(goal="g") as episode:
            yield episode, server.requests


def test_words_come_as_they_are_said_and_the_first_ones_time_is_in_the_trace(tmp_path: Path) -> None:
    pace = Pace(pieces=5, behind=0)
    with alone(Say(WORDS, pause=1), pace=pace, run=tmp_path / "run") as (episode, sent):
        text, usage = "", None
        asked: Any = {"stream": True, "stream_options": {"include_usage": True}}
        for chunk in episode.client.chat.completions.create(model="m", messages=user(), **asked):
            usage = chunk.usage or usage
            if chunk.choices and chunk.choices[0].delta.content:
                pace.heard += 1
                text += chunk.choices[0].delta.content
    assert text == WORDS and pace.heard == 5 and pace.kept, "each before the next one is said"
    assert usage is not None and usage.prompt_tokens == 100 and sent[0]["stream_options"] == {"include_usage": True}
    (stored,) = Run(tmp_path / "run").episodes()
    (step,) = stored.steps
    assert step.decision.text == WORDS and 0 < step.decision.seconds["first_token"] < step.decision.seconds["student"]
    assert step.spend[0].usage.prompt_tokens == 100 and step.spend[0].usage.unmetered == 0


def test_the_responses_api_is_told_word_by_word() -> None:
    with alone(Say(WORDS)) as (episode, _):
        events = list(episode.client.responses.create(model="m", input="hello", stream=True))
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert "".join(deltas) == WORDS and len(deltas) == 5
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert events[-1].type == "response.completed" and events[-1].response.output_text == WORDS


def test_anthropics_api_is_told_word_by_word() -> None:
    pytest.importorskip("anthropic")
    with alone(Say(WORDS)) as (episode, _):
        with episode.anthropic.messages.stream(model="m", max_tokens=9, messages=user()) as stream:
            pieces = list(stream.text_stream)
        assert len(pieces) == 5 and "".join(pieces) == WORDS
        assert stream.get_final_message().usage.output_tokens == 10


def test_where_votes_decide_nothing_is_heard_before() -> None:
    with ChatServer(Say(WORDS)) as server:
        model = atlas.load("openai/gpt-4.1-mini", base_url=server.url, api_key="x")
        with atlas.Agent(model, model) as agent, agent.episode(goal="g") as episode:
            stream = episode.client.chat.completions.create(model="m", messages=user(), stream=True)
            texts = [c.choices[0].delta.content for c in stream if c.choices and c.choices[0].delta.content]
        assert texts == [WORDS] and not any(request.get("stream") for request in server.requests)


def test_an_answer_that_breaks_off_is_told_in_the_stream_and_not_asked_for_again() -> None:
    class Broken(ChatServer):
        def __init__(self) -> None:
            super().__init__(Say(WORDS, fields={"error": {"message": "the machine is on fire"}}, pause=0.01))

    with Broken() as server:
        model = atlas.load("openai/gpt-4.1-mini", base_url=server.url, api_key="x")
        with atlas.Agent(model) as agent, agent.episode(goal="g") as episode:
            create = episode.client.chat.completions.create
            with pytest.raises(openai.APIError):
                list(create(model="m", messages=user(), stream=True))
    assert episode.result is not None and episode.result.failure is not None


def test_a_chat_stream_that_ends_before_its_answer_is_told_and_charged() -> None:
    half = {"choices": [{"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": None}]}
    with alone(Say(WORDS, fields=half, usage=False)) as (episode, sent):
        create = episode.client.with_options(max_retries=0).chat.completions.create
        with pytest.raises(openai.APIError, match="in the middle of its answer"):
            list(create(model="m", messages=user(), stream=True))
    used = episode.result.spend[0].usage
    assert len(sent) == 1 and used.failed == 1 and used.completion_tokens > 3 and used.dollars > 0


@pytest.mark.parametrize("told", [True, False])
def test_what_litellm_counts_itself_is_no_count_of_the_providers(told: bool) -> None:
    pytest.importorskip("litellm")
    with ChatServer(Say(WORDS, usage=told)) as server:
        model = atlas.load("hosted_vllm/own", base_url=server.url, api_key="x", price=Price(prompt=1, completion=1))
        with atlas.Agent(model) as agent, agent.episode(goal="g") as episode:
            list(episode.client.chat.completions.create(model="m", messages=user(), stream=True))
    assert episode.result is not None
    used = episode.result.spend[0].usage
    assert (used.unmetered, used.prompt_tokens == 100, used.dollars is None) == (
        (0, True, False) if told else (1, False, True)
    )


@pytest.mark.parametrize("stream", [True, False])
def test_litellms_worker_is_not_forgotten_while_it_waits(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("litellm")
    with ChatServer(Say(WORDS)) as server:
        model = atlas.load("hosted_vllm/own", base_url=server.url, api_key="x")
        agents = atlas.Agent(model), atlas.Agent(model)  # an event loop each
        with agents[0] as one, agents[1] as two, one.episode(goal="g") as first, two.episode(goal="g") as second:
            for episode in (first, second) * 3:
                told: Any = episode.client.chat.completions.create(model="m", messages=user(), stream=stream)
                assert list(told)
                gc.collect()
    gc.collect()
    assert "Task was destroyed" not in caplog.text


HALF = """
import atlas
from atlas.testing import ChatServer, Say
server = ChatServer(Say("one two three four five"))
server.__enter__()
model = atlas.load("openai/gpt-4.1-mini", base_url=server.url, api_key="x")
agent = atlas.Agent(model)
episode = agent.episode(goal="g")
episode.__enter__()
asked = [{"role": "user", "content": "hi"}]
words = iter(episode.client.chat.completions.create(model="m", messages=asked, stream=True))
next(words)
"""
"""A program that hears one word of an answer. What is left of it is tidied up when Python ends."""


@pytest.mark.parametrize("closed", ["", "episode.__exit__(None, None, None)\nagent.close()\n"], ids=["open", "closed"])
def test_a_program_that_left_a_stream_half_read_ends(closed: str) -> None:
    done = subprocess.run([sys.executable, "-c", HALF + closed], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stream_left_half_read_may_be_tidied_up_by_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    unheard: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unheard.append)
    with alone(Say(WORDS)) as (episode, _):
        words = iter(episode.client.chat.completions.create(model="m", messages=user(), stream=True))
        next(words)
        held = [words]
        del words

        async def forget() -> None:
            held.clear()
            gc.collect()

        episode._background.run(forget())
    assert not unheard


def test_pieces_make_the_answer_whole() -> None:
    pieces = Pieces()
    for delta in (
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"reasoning_content": " ok", "annotations": [{"a": 1}]},
        {"content": "a"},
        {"content": "b", "annotations": [{"a": 2}]},
        {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ": 1}"}}]},
    ):
        pieces.add({"id": "i", "choices": [{"delta": delta, "logprobs": {"content": [1]}}]})
    pieces.add({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    pieces.add({"choices": [], "usage": {"prompt_tokens": 3}})
    whole = pieces.whole()
    (choice,) = whole["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": "ab",
        "reasoning_content": "hm ok",
        "annotations": [{"a": 1}, {"a": 2}],
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
    }
    assert whole["usage"] == {"prompt_tokens": 3} and choice["finish_reason"] == "tool_calls"
    assert choice["logprobs"] == {"content": [1] * 7} and Pieces().whole() == {"choices": None}
