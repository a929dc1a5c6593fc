"""Hosted models against a local server that misbehaves on request, through the real client library."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas.errors import ConfigError, ModelError
from atlas.records import Ask, Message, Price, Prompt, Task, ToolCall, Usage, View
from atlas.testing.server import ChatServer, Cut, Hang, Say, Status

pytest.importorskip("litellm", reason="needs the extra litellm")

from atlas.models import hosted
from atlas.models.hosted import Hosted
from atlas.models.retry import Retry
from tests.waiting import meanwhile

KEY = "sk-test-0123456789abcdefSECRET"
QUICK = Retry(retries=2, base=0.01)
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def ask(n: int = 1, **changes: object) -> Ask:
    view = View(task=Task(id="t", goal="g"), opening="You see a desk.", **changes)
    prompt = Prompt(stable="Act.", history=(Message(role="user", content="You see a desk."),))
    return Ask(view=view, prompt=prompt, n=n, temperature=0.1)


def model(server: ChatServer, **options: object) -> Hosted:
    return Hosted("openai/test", **{"base_url": server.url, "api_key": KEY, "retry": QUICK, "timeout": 60.0, **options})


async def test_several_samples_cost_the_prompt_once_and_dollars_are_ours() -> None:
    said = Say(["Action: look", "Action: go"], prompt_tokens=1000, completion_tokens=30, cached_tokens=400)
    with ChatServer(said) as server:
        priced = model(server, price=Price(prompt=1.0, completion=2.0, cached=0.5))
        done = await priced.sample(ask(n=2))
    assert [reply.text for reply in done.replies] == ["Action: look", "Action: go"]
    assert done.usage.calls == 1 and len(server.requests) == 1 and server.requests[0]["n"] == 2
    assert done.usage.cached_tokens == 400
    assert done.usage.dollars == pytest.approx((600 * 1.0 + 400 * 0.5 + 30 * 2.0) / 1e6)


async def test_an_unknown_price_is_unpriced_not_zero() -> None:
    with ChatServer(Say()) as server:
        done = await model(server).sample(ask())
    assert done.usage.dollars is None and done.usage.prompt_tokens == 100


async def test_a_provider_that_does_not_share_the_prompt_gets_one_call_a_sample_with_its_own_seed() -> None:
    with ChatServer(Say()) as server:
        done = await model(server, shares_prompt=False).sample(ask(n=3))
    assert len(done.replies) == 3 and done.usage.calls == 3 and done.usage.prompt_tokens == 300
    assert len({request["seed"] for request in server.requests}) == 3


async def test_a_server_that_ignores_n_is_asked_for_the_rest() -> None:
    with ChatServer(Say(choices=1)) as server:
        done = await model(server).sample(ask(n=3))
    assert len(done.replies) == 3 and done.usage.calls == 3


async def test_tools_go_out_and_tool_calls_come_back() -> None:
    with ChatServer(Say("", tool_calls=[("look", '{"at": "desk"}')])) as server:
        done = await model(server).sample(ask(tools=(TOOL,)))
    assert done.replies[0].tool_calls == (ToolCall(id="call_0", name="look", arguments='{"at": "desk"}'),)
    assert server.requests[0]["tools"] == [TOOL]


async def test_half_a_character_is_replaced_before_it_is_sent() -> None:
    called = Message(role="assistant", tool_calls=(ToolCall(id="c1", name="look", arguments='{"at": "\ud83d"}'),))
    past = Prompt(
        history=(called, Message(role="tool", content="a \ud83d desk", tool_call_id="c1")), stable="now \ude00"
    )
    with ChatServer(Say()) as server:
        await model(server).sample(ask(tools=(TOOL | {"x": "\ud83d"},)).replace(prompt=past))
    sent = server.requests[0]
    assert sent["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"at": "\ufffd"}'
    assert sent["messages"][2]["content"] == "a \ufffd desk" and sent["messages"][0]["content"] == "now \ufffd"
    assert sent["tools"][0]["x"] == "\ufffd"


async def test_past_tool_calls_are_sent_as_the_api_wants_them() -> None:
    called = Message(role="assistant", tool_calls=(ToolCall(id="c1", name="look"),))
    past = Prompt(history=(called, Message(role="tool", content="a desk", tool_call_id="c1")))
    asked = ask().replace(prompt=past)
    with ChatServer(Say()) as server:
        await model(server).sample(asked)
    first, second = server.requests[0]["messages"]
    assert first["tool_calls"][0]["function"]["name"] == "look"
    assert second == {"role": "tool", "content": "a desk", "tool_call_id": "c1"}


@pytest.mark.parametrize("trouble", [Status(429), Status(500), Status(503), Status(529), Cut(), Say(choices=0)])
async def test_passing_trouble_is_tried_again(trouble: Status | Cut | Say) -> None:
    with ChatServer([trouble, Say("Action: look")]) as server:
        done = await model(server, price=Price(prompt=1.0, completion=0.0)).sample(ask())
    assert done.replies[0].text == "Action: look" and len(server.requests) == 2
    assert done.usage.failed == 1
    # An answer without choices was billed all the same, and one that was cut may have been.
    assert done.usage.calls == (1 if isinstance(trouble, Status) else 2)
    assert done.usage.unmetered == isinstance(trouble, Cut)
    assert 100 < done.usage.prompt_tokens < 150 if isinstance(trouble, Cut) else done.usage.prompt_tokens % 100 == 0


async def test_who_could_not_be_reached_is_not_paid() -> None:
    with ChatServer(Say()) as gone:
        hosted = model(gone, price=Price(prompt=1.0, completion=0.0))
    paid: list[Usage] = []
    with pytest.raises(ModelError, match=r"could not be reached, or cut the connection \(3 attempts\)"):
        await hosted.sample(ask().replace(paid=paid.append))
    assert paid == [Usage(failed=3)]


PIECE = b'data: {"id": "x", "choices": [{"index": 0, "delta": {"content": "Ac"}}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 5000\r\n\r\n"


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("after", ["nothing", "a head", "a piece"])
async def test_an_answer_that_is_cut_is_counted_and_made_again_unless_a_part_of_it_was_heard(
    after: str, heard: bool
) -> None:
    asked, said, used, error = await _broken({"nothing": b"", "a head": HEAD, "a piece": HEAD + PIECE}[after], heard)
    assert "could not be reached, or cut the connection" in error
    attempts = 1 if said else 3
    assert asked == attempts and bool(said) == (heard and after == "a piece")
    assert (used.calls, used.unmetered, used.failed) == (attempts,) * 3 and used.most


@pytest.mark.parametrize("piece", [b"", PIECE])
async def test_a_stream_that_stalls_is_given_up_in_time(piece: bytes) -> None:
    asked, said, used, error = await _broken(HEAD + piece, heard=True, stalls=True)
    assert "gave no answer within 0.6 s" in error
    assert asked == used.calls == used.unmetered == (1 if said else 3)


async def test_a_stream_of_what_is_no_json_is_tried_again_and_paid() -> None:
    asked, _, used, error = await _broken(HEAD + b'data: {"choices": [{"ind\n\n', heard=True)
    assert "answered with what is no chat completion" in error
    assert asked == used.calls == used.unmetered == 3


async def _broken(sent: bytes, heard: bool, stalls: bool = False) -> tuple[int, list[object], Usage, str]:
    """Requests, pieces that were heard, what was paid, and the error, where a server sends so much and no more."""
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(sent)
        await writer.drain()
        await asyncio.sleep(60 if stalls else 0.02)
        writer.transport.abort()

    paid: list[Usage] = []
    said: list[object] = []
    asking = ask().replace(paid=paid.append, **({"heard": lambda *told: said.append(told)} if heard else {}))
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    hosted = Hosted(
        "openai/test", base_url=url, retry=QUICK, timeout=0.6 if stalls else 60.0, price=Price(prompt=1, completion=1)
    )
    try:
        with pytest.raises(ModelError) as told:
            await hosted.sample(asking)
    finally:
        server.close()
    return asked, said, paid[0], str(told.value)


async def test_retry_after_is_honoured() -> None:
    with ChatServer([Status(429, retry_after=0.4), Say()]) as server:
        began = time.perf_counter()
        await model(server).sample(ask())
    assert time.perf_counter() - began >= 0.4


async def test_a_wait_beyond_patience_is_a_refusal() -> None:
    with ChatServer(Status(429, retry_after=3600)) as server, pytest.raises(ModelError, match="3600 s"):
        await model(server).sample(ask())
    assert len(server.requests) == 1


async def test_a_hanging_server_ends_in_a_sentence() -> None:
    with (
        ChatServer(Hang()) as server,
        pytest.raises(ModelError, match=r"'openai/test' gave no answer within 0.5 s \(3 attempts\): raise its timeout"),
    ):
        await model(server, timeout=0.5).sample(ask())


@pytest.mark.parametrize("code", [400, 401, 403, 404])
async def test_what_a_retry_cannot_mend_is_not_tried_again(code: int) -> None:
    with ChatServer(Status(code)) as server, pytest.raises(ModelError, match=f"'openai/test' answered {code} .*: .+"):
        await model(server).sample(ask())
    assert len(server.requests) == 1


async def test_an_empty_account_is_not_a_rate_limit() -> None:
    with (
        ChatServer(Status(429, kind="insufficient_quota", message="You exceeded your current quota")) as server,
        pytest.raises(ModelError, match="top up"),
    ):
        await model(server).sample(ask())
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [400, 401, 429, 500])
async def test_a_key_that_the_provider_echoes_is_not_shown(code: int) -> None:
    with ChatServer(Status(code, echo_key=True)) as server, pytest.raises(ModelError) as caught:
        await model(server).sample(ask())
    assert KEY not in str(caught.value) and "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_what_was_billed_before_giving_up_is_told() -> None:
    paid: list[Usage] = []
    with ChatServer(Say(choices=0)) as server, pytest.raises(ModelError, match="without any choice"):
        await model(server).sample(ask().replace(paid=paid.append))
    assert [usage.prompt_tokens for usage in paid] == [300]


async def test_missing_token_counts_are_estimated_and_unpriced(caplog: pytest.LogCaptureFixture) -> None:
    with ChatServer(Say(usage=False)) as server:
        priced = model(server, price=Price(prompt=1.0, completion=1.0))
        done = await priced.sample(ask())
    assert done.usage.prompt_tokens > 0 and done.usage.dollars is None
    assert "no token counts" in caplog.text


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
async def test_any_text_comes_through(text: str) -> None:
    with ChatServer(Say(text)) as server:
        done = await model(server).sample(ask())
    assert done.replies[0].text == text


async def test_a_huge_reply_comes_through() -> None:
    with ChatServer(Say("é" * 2_000_000)) as server:
        done = await model(server).sample(ask())
    assert len(done.replies[0].text) == 2_000_000


async def test_no_content_is_an_empty_reply() -> None:
    said = Say(fields={"choices": [{"index": 0, "message": {"role": "assistant", "content": None}}]})
    with ChatServer(said) as server:
        done = await model(server).sample(ask())
    assert done.replies[0].text == ""


async def test_an_unreachable_server_is_named() -> None:
    unreachable = Hosted("openai/test", base_url="http://127.0.0.1:9/v1", retry=QUICK)
    with pytest.raises(ModelError, match=r"could not be reached.*127\.0\.0\.1:9"):
        await unreachable.sample(ask())


def test_an_unknown_provider_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"no provider 'opnai'.*openai"):
        Hosted("opnai/gpt-4.1")


async def test_a_request_whose_answer_nobody_heard_is_counted_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was sent, and the provider bills it: cancelled by the caller, or given up by a timeout."""
    paid: list[Usage] = []
    asked = ask().replace(paid=paid.append)
    billed: list[Usage] = []
    of = hosted.usage_of
    monkeypatch.setattr(hosted, "usage_of", lambda *told: billed.append(of(*told)) or billed[-1])
    with ChatServer([Say(), Hang()]) as server:
        two = model(server, price=Price(prompt=1.0, completion=1.0), shares_prompt=False)
        asking = asyncio.create_task(two.sample(asked.replace(n=2)))
        assert await meanwhile(lambda: billed and len(server.requests) == 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    (usage,) = paid
    assert (usage.calls, usage.unmetered, usage.dollars is not None) == (2, 1, True)
    assert usage.prompt_tokens > 100, "the answer that came, and an estimate of the other prompt"
    with ChatServer(Hang()) as server, pytest.raises(ModelError, match="gave no answer"):
        await model(server, timeout=0.5).sample(asked)
    assert (paid[1].calls, paid[1].unmetered) == (3, 3)
