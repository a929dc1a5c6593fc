"""What providers and servers do at the edges: counts that are not told, dates, crowds, refusals of ``n``."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from importlib.util import find_spec
from typing import Any

import pytest

from atlas.errors import MissingExtra, ModelError
from atlas.records import Ask, Message, Price, Prompt, Task, Usage, View
from atlas.testing.server import ChatServer, Hang, Say, Slots, Status

pytest.importorskip("litellm", reason="needs the extra litellm")

from atlas.models import hosted
from atlas.models.hosted import Hosted
from atlas.models.retry import Retry
from tests.waiting import meanwhile

PRICE = Price(prompt=1.0, completion=10.0)
VIEW = View(task=Task(id="t", goal="g"), opening="o")


def ask(n: int = 1) -> Ask:
    return Ask(view=VIEW, prompt=Prompt(stable="Act.", history=(Message(role="user", content="You see."),)), n=n)


def model(server: ChatServer, **options: Any) -> Hosted:
    given = {"price": PRICE, "retry": Retry(retries=1, base=0.01), "timeout": 60.0, **options}
    return Hosted("openai/test", base_url=server.url, api_key="sk-test", **given)


def usage(prompt: object, completion: object) -> Say:
    return Say(fields={"usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": 0}})


@pytest.mark.parametrize("said", [Say(usage=False), usage(-5, 3), usage(100, -3), usage(100, None), usage(10**40, 3)])
async def test_a_count_that_is_missing_or_impossible_is_not_told(said: Say) -> None:
    with ChatServer(said) as server:
        used = (await model(server).sample(ask())).usage
    assert used.dollars is None and used.unmetered == 1 and used.prompt_tokens > 0 < used.completion_tokens
    assert used.most is not None and used.most > 256 * 10 / 1e6


async def test_without_a_price_there_is_nothing_to_estimate_by() -> None:
    with ChatServer(Say(usage=False)) as server:
        assert (await model(server, price=None).sample(ask())).usage.at_most is None


@pytest.mark.parametrize("choices", [[{"index": 0, "message": "x"}], [{"index": 0}]])
async def test_what_an_unreadable_answer_used_is_paid_and_no_traceback_is_shown(choices: object) -> None:
    paid: list[Usage] = []
    with ChatServer(Say(fields={"choices": choices})) as server, pytest.raises(ModelError) as failed:
        await model(server).sample(ask().replace(paid=paid.append))
    assert str(failed.value) == (
        "model 'openai/test' answered with what is no chat completion (2 attempts): check what its server sends"
    )
    assert [(u.calls, u.prompt_tokens, u.completion_tokens) for u in paid] == [(2, 200, 20)]


async def test_an_answer_whose_usage_nobody_can_read_is_estimated() -> None:
    paid: list[Usage] = []
    broken = Say(fields={"choices": None, "usage": None})
    with ChatServer(broken) as server, pytest.raises(ModelError, match="no chat completion"):
        await model(server).sample(ask().replace(paid=paid.append))
    assert paid[0].unmetered == 2 and paid[0].most is not None and paid[0].most > 2 * 256 * 10 / 1e6


async def test_a_request_that_nobody_heard_the_answer_of_may_have_cost_a_whole_reply() -> None:
    paid: list[Usage] = []
    with ChatServer(Hang()) as server, pytest.raises(ModelError, match="no answer"):
        await model(server, timeout=0.5).sample(ask().replace(paid=paid.append))
    assert paid[0].at_most is not None and paid[0].at_most > 2 * 256 * 10 / 1e6


# --- the edges of providers -------------------------------------------------------------------------------------------


async def test_a_date_in_retry_after_is_waited_for() -> None:
    then = int(time.time()) + 2
    with ChatServer([Status(429, retry_after=formatdate(then, usegmt=True)), Say()]) as server:
        await model(server).sample(ask())
    assert time.time() > then - 0.1 and len(server.requests) == 2
    later = formatdate(time.time() + 3600, usegmt=True)
    with ChatServer(Status(503, retry_after=later)) as server, pytest.raises(ModelError, match="1 attempt"):
        await model(server).sample(ask())
    assert len(server.requests) == 1, "an hour is beyond patience"


async def test_a_date_that_is_over_or_none_does_not_hold_anybody_up() -> None:
    for asked in ("Wed, 21 Oct 2015 07:28:00 GMT", "soon", "Wed, 99 Nev"):
        with ChatServer([Status(429, retry_after=asked), Say()]) as server:
            await asyncio.wait_for(model(server).sample(ask()), 60)
        assert len(server.requests) == 2


async def test_calls_beyond_what_a_host_takes_wait_outside_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted, "IN_FLIGHT", 2)
    with ChatServer([Say(seconds=3.0), Say(seconds=3.0), Say(seconds=0.05)]) as server:
        first = [asyncio.create_task(model(server).sample(ask())) for _ in range(2)]
        assert await meanwhile(lambda: len(server.requests) == 2)
        # They wait for longer than their timeout, and are answered at once when it is their turn.
        one, other = model(server, timeout=2.0), model(server, timeout=2.0)
        done = await asyncio.gather(*first, *((one if i % 2 else other).sample(ask()) for i in range(10)))
    assert len(server.requests) == 12 and all(d.usage.calls == 1 and not d.usage.unmetered for d in done)
    assert server.most == 2


async def test_a_call_that_is_cancelled_while_it_waits_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted, "IN_FLIGHT", 1)
    paid: list[Usage] = []
    with ChatServer(Hang()) as server:
        first = asyncio.create_task(model(server).sample(ask()))
        assert await meanwhile(lambda: server.requests)
        second = asyncio.create_task(model(server).sample(ask().replace(paid=paid.append)))
        await asyncio.sleep(0.1)
        second.cancel()
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
    assert paid == [] and len(server.requests) == 1


async def test_a_server_that_refuses_several_samples_is_asked_for_one_at_a_time() -> None:
    with ChatServer(Slots(2)) as server:
        asked = model(server)
        done = await asked.sample(ask(n=4))
        assert len(done.replies) == 4 and done.usage.calls == 4
        assert [request.get("n", 1) for request in server.requests] == [4, 1, 1, 1, 1]
        assert len({request["seed"] for request in server.requests[1:]}) == 4
        await asked.sample(ask(n=2))
    assert len(server.requests) == 7, "it is remembered"


async def test_a_request_that_is_wrong_in_itself_is_told_once() -> None:
    with ChatServer(Status(400, message="prompt too long")) as server, pytest.raises(ModelError, match="too long"):
        await model(server).sample(ask(n=4))
    assert [request.get("n", 1) for request in server.requests] == [4, 1]


async def test_a_server_that_counts_one_of_several_samples_is_not_believed() -> None:
    text = "Thought: the desk is where the pen was last seen. Action: go to the desk"
    with ChatServer(Say(text, completion_tokens=18)) as server:
        asked = model(server)
        both = (await asked.sample(ask(n=2))).usage
        assert both.dollars is None and both.unmetered == 1 and both.completion_tokens > 30
        after = (await asked.sample(ask(n=2))).usage
    assert (after.calls, after.completion_tokens, after.unmetered) == (2, 36, 0)


@pytest.mark.skipif(find_spec("mcp") is not None, reason="the package is there")
async def test_a_model_that_needs_a_package_names_the_extra() -> None:
    with ChatServer(Say()) as server, pytest.raises(MissingExtra, match=r"Responses API .*pip install .*\[responses\]"):
        extra = {"api_version": "2025-03-01-preview"}
        await Hosted("azure/gpt-5-pro", base_url=server.url, api_key="sk-test", extra=extra).sample(ask())
    assert server.requests == []
