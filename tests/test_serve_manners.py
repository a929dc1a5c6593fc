"""Hostile and clumsy clients, on real sockets: what they are told, and that nobody else notices."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import openai
import pytest

import atlas
from atlas.budget import Budget
from atlas.cli.agent_options import AgentOptions
from atlas.errors import ConfigError
from atlas.serve.patience import Joined
from atlas.testing import ChatServer, Say, ScriptedModel, SlowModel
from atlas.traces import Run
from tests.serve_fixtures import CHAT, Held, ask, chat, serving
from tests.waiting import until


def hi() -> ScriptedModel:
    return ScriptedModel(lambda ask: "hi")


@contextmanager
def line(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as made:
        yield made


def head(path: str, length: int, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {length}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


# --- connections ------------------------------------------------------------------------------------------------------


def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.serve.patience.HEAD", 0.3)
    with serving(atlas.Agent(hi())) as (server, _), line(server.port) as silent, line(server.port) as half:
        half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: local")
        for sent in (silent, half):
            assert sent.recv(4096).startswith(b"HTTP/1.1 408 ")
            assert sent.recv(4096) == b"", "closed"


def test_nor_is_the_head_of_a_further_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.serve.patience.HEAD", 0.5)
    slow = SlowModel(hi(), latency=1.0)
    with serving(atlas.Agent(slow)) as (server, _), line(server.port) as kept:
        body = json.dumps(chat("x")).encode()
        kept.sendall(head(CHAT, len(body)) + body)
        assert b"200 OK" in kept.recv(65536), "an answer may take longer than a head"
        time.sleep(0.3)
        kept.sendall(b"POST /v1/chat/completions HT")
        assert kept.recv(4096).startswith(b"HTTP/1.1 408 ") and kept.recv(4096) == b""


def test_a_thousand_half_open_connections_are_let_go_and_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("this process may not have as many open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    monkeypatch.setattr("atlas.serve.patience.HEAD", 2.0)
    with serving(atlas.Agent(hi())) as (server, tenant):
        lines = [socket.create_connection(("127.0.0.1", server.port), timeout=120) for _ in range(1000)]
        try:
            for number, one in enumerate(lines):
                with suppress(OSError):  # a slow machine has let go of the first of them before the last one is there
                    one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"[: 10 + number % 40])
            assert ask(server.url, CHAT, chat("x"))[0] == 200
            connections = server._server.server_state.connections
            assert until(lambda: not connections), "all were let go"
            assert ask(server.url, CHAT, chat("y"))[0] == 200 and not tenant.under_way
        finally:
            for one in lines:
                one.close()


def test_a_body_that_does_not_come_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.wire.app.SLOWEST", 0.3)
    with serving(atlas.Agent(hi())) as (server, tenant), line(server.port) as slow:
        slow.sendall(head(CHAT, 500) + b'{"model": "m"')
        told = slow.recv(65536)
        assert told.startswith(b"HTTP/1.1 408 ") and b"was not sent within 0.3 seconds" in told
        assert not len(tenant.episodes) and until(lambda: not tenant.under_way)


def test_a_reader_that_stalls_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.serve.patience.STALLED", 0.5)
    with serving(atlas.Agent(ScriptedModel(lambda ask: "x" * 30_000_000))) as (server, tenant):
        body = json.dumps(chat("hello", stream=True)).encode()
        with line(server.port) as slow:
            slow.sendall(head(CHAT, len(body)) + body)
            assert until(lambda: bool(tenant.under_way)) and until(lambda: not tenant.under_way)
            assert until(lambda: not server._server.server_state.connections)
        assert ask(server.url, "/health")[0] == 200


def test_a_connection_that_is_cut_in_the_middle_of_a_body_is_no_call() -> None:
    model = hi()
    with serving(atlas.Agent(model)) as (server, tenant):
        with line(server.port) as cut:
            cut.sendall(head(CHAT, 500) + b'{"model": "m"')
        assert until(lambda: not tenant.under_way) and not model.asks and not len(tenant.episodes)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n\r\n" + b"\x00" * 5000,
    ],
)
def test_what_is_no_request_ends_its_connection_alone(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.serve.patience.HEAD", 1.0)
    monkeypatch.setattr("atlas.wire.app.SLOWEST", 1.0)
    model = hi()
    with serving(atlas.Agent(model)) as (server, tenant):
        with line(server.port) as bad:
            bad.sendall(sent)
            told = bad.recv(65536)
            assert told == b"" or told.split()[1].startswith(b"4")
        assert not model.asks and not len(tenant.episodes) and ask(server.url, CHAT, chat("x"))[0] == 200


# --- bodies -----------------------------------------------------------------------------------------------------------


def test_a_body_in_chunks_is_read_and_bounded() -> None:
    with serving(atlas.Agent(hi()), body=1000) as (server, tenant):
        body = json.dumps(chat("x")).encode()
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        plain = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        with line(server.port) as one:
            one.sendall(plain + sent)
            assert one.recv(65536).startswith(b"HTTP/1.1 200 ")
        with line(server.port) as endless:
            endless.sendall(plain + b"400\r\n" + b"x" * 0x400 + b"\r\n")
            told = endless.recv(65536)
            assert told.startswith(b"HTTP/1.1 413 ") and b"larger than 1,000 bytes" in told
        assert until(lambda: not tenant.under_way) and len(tenant.episodes) == 1


def test_a_length_that_is_a_lie_is_no_way_in() -> None:
    with serving(atlas.Agent(hi()), body=1000) as (server, _):
        for length in ("99999999999999999999", "1001"):
            with line(server.port) as one:
                one.sendall(head(CHAT, 0).replace(b"content-length: 0", f"content-length: {length}".encode()))
                told = one.recv(65536)
                assert told == b"" or told.split()[1] in (b"413", b"400")


# --- budgets ----------------------------------------------------------------------------------------------------------


def client(server: Any, name: str = "one") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/e/{name}/v1", api_key="any")


@pytest.mark.parametrize("whose", ["episode", "run"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_spent_budget_is_400_and_is_asked_once(whose: str, stream: bool, tmp_path: Path) -> None:
    model = ScriptedModel(lambda ask: "hi " * 60)
    budgets: dict[str, Any] = {"budget" if whose == "episode" else "run_budget": Budget(tokens=100)}
    with serving(atlas.Agent(model, run=tmp_path / "run", **budgets)) as (server, _):
        create = client(server).chat.completions.create
        said = ["a", "b"]
        for text in said:
            create(model="m", messages=[{"role": "user", "content": text}])
        with pytest.raises(openai.BadRequestError) as told:
            create(model="m", messages=[{"role": "user", "content": "c"}], stream=stream)
        assert told.value.code == "budget_exceeded" and whose in told.value.message
        assert told.value.response.headers["x-should-retry"] == "false"
        other = client(server, "two").chat.completions.create
        if whose == "episode":
            assert other(model="m", messages=[{"role": "user", "content": "a"}]).choices
        else:
            with pytest.raises(openai.BadRequestError):
                other(model="m", messages=[{"role": "user", "content": "a"}])
        assert len(model.asks) == (3 if whose == "episode" else 2)
        status, _, answer = ask(server.url, "/e/one/v1/messages", {**chat("d"), "max_tokens": 9})
        assert (status, answer["type"], answer["error"]["type"]) == (400, "error", "invalid_request_error")


def test_budgets_from_the_command_line_and_from_a_file() -> None:
    options = AgentOptions.read({"student": "nearest", "episode_tokens": 5, "run_tokens": 7, "run_dollars": 1}, "t")
    agent = options.make()
    assert (agent.budget, agent.meter.budget) == (Budget(tokens=5), Budget(tokens=7, dollars=1))
    for bad in (0, -1, 2.5, True):
        with pytest.raises(ConfigError, match="t has episode_tokens"):
            AgentOptions.read({"student": "nearest", "episode_tokens": bad}, "t")


# --- who leaves -------------------------------------------------------------------------------------------------------


def test_who_leaves_in_mid_stream_ends_the_upstream_call_which_is_charged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("atlas.wire.calls.LINGER", 0.2)
    with ChatServer(Say("word " * 4000, pause=0.02)) as upstream:
        price = atlas.Price(prompt=1, completion=1)
        model = atlas.load("openai/small", base_url=upstream.url, api_key="x", price=price)
        with serving(atlas.Agent(model, run=tmp_path / "run")) as (server, tenant):
            with line(server.port) as gone:
                body = json.dumps(chat("hello", stream=True)).encode()
                gone.sendall(head(f"/e/one{CHAT}", len(body)) + body)
                assert b"200 OK" in gone.recv(4096)
                time.sleep(0.2)
            assert until(lambda: not tenant.under_way)
            (opened,) = tenant.episodes.opened
            assert until(lambda: not opened.calls.under_way), "cancelled"
            (spend,) = opened.episode.book.spent
            assert spend.usage.calls == 1 and spend.usage.unmetered == 1 and spend.usage.prompt_tokens > 0
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None and stored.result.spend[0].usage.calls == 1


def test_many_who_leave_are_each_counted_once() -> None:
    held = Held(hi())
    with serving(atlas.Agent(held), calls=64) as (server, tenant):

        def leave(number: int) -> None:
            body = json.dumps(chat(f"hello {number}")).encode()
            with line(server.port) as gone:
                gone.sendall(head(f"/e/e{number}{CHAT}", len(body)) + body)
                assert until(lambda: held.asked == 32)

        threads = [threading.Thread(target=leave, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert until(lambda: not tenant.under_way)
        held.let.set()
        opened = tenant.episodes.opened
        assert len(opened) == 32 and until(lambda: not any(one.calls.under_way for one in opened))
        assert {spend.usage.calls for one in opened for spend in one.episode.book.spent} == {1}


# --- names that are not there -----------------------------------------------------------------------------------------


def test_names_that_are_not_there() -> None:
    with serving(atlas.Agent(hi())) as (server, _):
        assert ask(server.url, CHAT, chat("x") | {"model": "no/such-model"})[0] == 200, "the policy says who acts"
        for path in ("/v1/atlas/episodes/nobody", "/v1/atlas/episodes/" + "x" * 5000):
            status, _, told = ask(server.url, path)
            assert status == 404 and "no episode" in told["error"]["message"] and len(told["error"]["message"]) < 400
        status, _, told = ask(server.url, "/v1/atlas/episodes/nobody/score", {"score": 1})
        assert status == 404 and "no episode" in told["error"]["message"]
        for body, status in ((b"{", 400), (b"[]", 400), ({"score": "1"}, 400), ({"score": 1, "end": 2}, 400)):
            assert ask(server.url, "/v1/atlas/episodes/nobody/score", body)[0] == status
        assert ask(server.url, "/v1/atlas/episodes/nobody/score", b" " * 70_000)[0] == 413
        assert ask(server.url, CHAT, method="GET")[0] == 405 and ask(server.url, CHAT, {}, method="DELETE")[0] == 405
        status, _, told = ask(server.url, "/v1/responses", {"model": "m", "input": "x", "previous_response_id": "r"})
        assert status == 400 and "no response 'r' is kept here" in told["error"]["message"]


def test_what_is_written_in_one_turn_goes_out_at_once_and_in_its_order() -> None:
    class Transport:
        written: list[bytes] = []  # noqa: RUF012 - one of this test

        def write(self, data: bytes) -> None:
            self.written.append(data)

        def is_closing(self) -> bool:
            return b"closed" in self.written

        def close(self) -> None:
            self.written.append(b"closed")

    async def main() -> list[bytes]:
        joined = Joined(Transport(), asyncio.get_running_loop())  # type: ignore[arg-type]
        joined.write(b"head ")
        joined.write(b"body")
        await asyncio.sleep(0)
        joined.write(b"x" * (1 << 17))
        assert len(Transport.written) == 2, "what is large does not wait"
        joined.write(b"last")
        joined.close()
        await asyncio.sleep(0)
        assert joined.is_closing()
        return Transport.written

    first, large, *rest = asyncio.run(main())
    assert (first, len(large), rest) == (b"head body", 1 << 17, [b"last", b"closed"])
