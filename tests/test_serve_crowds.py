"""More clients of a server at once than it serves at a time: they have their turn, in order."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest

from atlas.records import Ask, Reply
from atlas.serve import tenants
from atlas.serve.patience import Patient
from atlas.testing import ScriptedModel
from tests.serve_fixtures import CHAT, Held, Limits, Tenant, ask, atlas, chat, serving
from tests.waiting import PATIENCE, meanwhile, until
from tests.wrap_fixtures import says


def _stands(tenant: Tenant, waiting: int) -> bool:
    return tenant.under_way == 1 and len(tenant._waiting) == waiting


def test_calls_above_the_bound_have_their_turn_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenants, "WAITING", 3)
    seen: list[str] = []

    def say(asked: Ask) -> Reply:
        seen.append(asked.view.opening)
        return Reply(text="hi")

    held = Held(ScriptedModel(say))
    with serving(atlas.Agent(held), calls=1) as (server, tenant), ThreadPoolExecutor(8) as pool:
        answers = []
        for place in range(4):
            answers.append(pool.submit(ask, server.url, f"/e/{place}{CHAT}", chat(f"call {place}")))
            assert until(partial(_stands, tenant, place))
        status, headers, told = ask(server.url, f"/e/more{CHAT}", chat("one too many"))
        assert status == 429 and "1 calls are under way" in told["error"]["message"] and "retry-after" in headers
        held.let.set()
        assert [answer.result()[0] for answer in answers] == [200] * 4
        assert [text for text in seen if "call" in text] == [f"call {place}" for place in range(4)]
        assert until(lambda: not tenant.under_way)
        held.let.clear()
        monkeypatch.setattr(tenants, "PATIENCE", 0.05)
        first = pool.submit(ask, server.url, CHAT, chat("a"))
        assert until(lambda: tenant.under_way == 1)
        assert ask(server.url, CHAT, chat("b"))[0] == 429, "it waited for its turn in vain"
        held.let.set()
        assert first.result()[0] == 200 and until(lambda: not tenant.under_way) and not tenant._waiting
        assert ask(server.url, CHAT, chat("c"))[0] == 200


async def test_a_turn_that_nobody_takes_is_the_next_ones() -> None:
    tenant = Tenant("default", atlas.Agent(ScriptedModel(says("hi"))), limits=Limits(calls=1))
    entered: list[int] = []
    leave = asyncio.Event()

    async def call(number: int) -> None:
        async with tenant.turn():
            entered.append(number)
            await leave.wait()

    calls = [asyncio.create_task(call(number)) for number in range(4)]
    assert await meanwhile(lambda: len(tenant._waiting) == 3)
    calls[1].cancel()
    calls[0].cancel()  # its turn goes on to one that is gone, and from there to the next
    assert await meanwhile(lambda: entered == [0, 2])
    leave.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert entered == [0, 2, 3] and tenant.under_way == 0 and not tenant._waiting


def test_a_crowd_of_new_clients_does_not_wait_for_a_turn_of_the_loop_each(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, accepted = [0], list[int]()
    made = Patient.connection_made

    def connected(self: Patient, transport: asyncio.Transport) -> None:
        accepted.append(turns[0])
        made(self, transport)

    with serving(atlas.Agent(ScriptedModel(says("hi")))) as (server, _), ExitStack() as stack:
        monkeypatch.setattr(Patient, "connection_made", connected)
        loop = server._loop[0]

        def turn() -> None:
            turns[0] += 1
            if len(accepted) < 100:
                loop.call_soon(turn)

        asleep, wake = threading.Event(), threading.Event()
        loop.call_soon_threadsafe(lambda: asleep.set() or wake.wait(PATIENCE))  # type: ignore[func-returns-value]
        assert asleep.wait(PATIENCE)
        # All have connected before the server goes on: the system keeps them.
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(100)]
        loop.call_soon_threadsafe(turn)
        wake.set()
        for one in crowd:
            one.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert all(one.recv(12) == b"HTTP/1.1 200" for one in crowd)
    assert len(accepted) == 100 and accepted[-1] < 20, "by the dozen"
