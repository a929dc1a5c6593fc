"""Connections by aiohttp under OpenAI's client: what goes wrong is told as by those of the client's own library."""

from __future__ import annotations

import asyncio
import gc
import gzip
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("httpx", reason="needs the extra litellm")
pytest.importorskip("aiohttp", reason="needs the extra litellm")

import httpx

import atlas
from atlas.models.connections import transport
from atlas.testing import ChatServer, Say

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
PACKED = gzip.compress(b'{"a": 1}')
ANSWERS: dict[str, bytes | None] = {
    "whole": HEAD + b"content-length: 8\r\n\r\n" + b'{"a": 1}',
    "chunked": HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\n" + b'{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n',
    "until it closes": HEAD + b"connection: close\r\n\r\n" + b'{"a": 1}',
    "packed": HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(PACKED) + PACKED,
    "moved": b"HTTP/1.1 307 Moved\r\nlocation: /v1/chat/completions\r\ncontent-length: 0\r\n\r\n",
    "refused": b"HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}",
    "cut head": b"HTTP/1.1 200 O",
    "nothing": b"",
    "cut body": HEAD + b"content-length: 99\r\n\r\n" + b'{"a"',
    "cut chunks": HEAD + b"transfer-encoding: chunked\r\n\r\n99\r\n" + b'{"a"',
    "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "bad chunks": HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "silent": None,
}


@asynccontextmanager
async def answering(said: bytes | None) -> AsyncIterator[str]:
    """A server that reads a request, says that, and closes; nothing at all where None."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        if said is None:
            await asyncio.sleep(60)
        else:
            writer.write(said)
        writer.close()

    seen: list[bytes] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def told(url: str, made: Callable[[], Any], seconds: float = 60.0) -> tuple[str, Any]:
    """What a client says of an answer, for which it has so many seconds."""
    async with httpx.AsyncClient(transport=made(), timeout=seconds) as client:
        try:
            response = await client.post(f"{url}/v1/chat/completions", json={"model": "m"})
            return "answer", (response.status_code, response.content, response.headers.get("retry-after"))
        except httpx.TransportError as error:
            return "error", type(error)


def of_ours() -> Any:
    made = transport(httpx)
    assert made is not None
    return made


@pytest.mark.parametrize("what", ANSWERS)
async def test_it_says_what_the_library_s_own_says(what: str) -> None:
    seconds = 60.0 if ANSWERS[what] is not None else 0.5
    async with answering(ANSWERS[what]) as url:
        ours, theirs = await told(url, of_ours, seconds), await told(url, httpx.AsyncHTTPTransport, seconds)
    if ours[0] == "error" and theirs[0] == "error":
        assert issubclass(ours[1], httpx.TimeoutException) == issubclass(theirs[1], httpx.TimeoutException)
    else:
        assert ours == theirs


async def test_nobody_there() -> None:
    async with answering(b"") as url:
        pass
    assert await told(url, of_ours) == ("error", httpx.ConnectError)


async def test_what_is_sent_is_what_the_library_sends() -> None:
    sent = []
    for made in (of_ours, httpx.AsyncHTTPTransport):
        heard: list[bytes] = []

        async def serve(reader: Any, writer: Any, heard: list[bytes] = heard) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            heard.append(head + await reader.readexactly(13))
            writer.write(ANSWERS["whole"])
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient(transport=made(), headers={"x-own": "a, b"}) as client:
            await client.post(f"http://127.0.0.1:{port}/a%2Fb?q=1%202", json={"model": "m"})
        server.close()
        lines = heard[0].replace(str(port).encode(), b"PORT").split(b"\r\n")
        sent.append((lines[0], {line.partition(b":")[0].lower(): line.partition(b":")[2] for line in lines[1:]}))
    assert sent[0] == sent[1]


def test_where_a_proxy_is_set_the_library_s_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert transport(httpx) is not None
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert transport(httpx) is None


async def test_an_answer_that_nobody_reads_to_its_end_holds_no_connection() -> None:
    with ChatServer(Say("word " * 500, pause=0.01)) as server:
        async with httpx.AsyncClient(transport=of_ours(), timeout=60) as client:
            body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
            async with client.stream("POST", f"{server.url}/chat/completions", json=body) as response:
                async for _ in response.aiter_bytes():
                    break
            whole = await client.post(f"{server.url}/chat/completions", json={**body, "stream": False})
            assert whole.status_code == 200


def sessions() -> list[object]:
    """Those of aiohttp that are held by anything."""
    return [held for held in gc.get_objects() if type(held).__name__ == "ClientSession"]


def test_models_that_are_forgotten_with_their_agents_are_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    before = sessions()  # of other tests
    with ChatServer(Say("hi")) as server, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(12):
            student = atlas.load("openai/small", base_url=server.url, api_key="x")
            teacher = atlas.load("openai/big", base_url=server.url, api_key="x")
            memory = atlas.Memory(":memory:", "hash")
            with atlas.Agent(student, teacher, memory=memory) as agent, agent.episode(goal="g") as episode:
                episode.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
                episode.score(1)
        del student, teacher, agent, episode
        gc.collect()
        assert not [held for held in sessions() if not any(held is other for other in before)], "none is kept"
    assert not [w for w in warned if "session" in str(w.message)] and "Unclosed" not in caplog.text


def test_a_model_is_asked_in_one_loop_after_another_and_warns_of_nothing() -> None:
    with ChatServer(Say("hi")) as server, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model = atlas.load("openai/small", base_url=server.url, api_key="x")
        for _ in range(3):
            asked = atlas.records.Ask(
                view=atlas.View(task=atlas.Task(id="t", goal="g"), opening="o"), prompt=atlas.records.Prompt(ask="x")
            )
            assert asyncio.run(model.sample(asked)).replies[0].text == "hi"
            gc.collect()
    assert not [w for w in warned if "aiohttp" in str(w.message) or "session" in str(w.message)]
