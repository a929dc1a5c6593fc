"""``atlas mcp --http``: the SDK's own client over HTTP, against the real command."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from atlas.errors import ConfigError
from atlas.mcp.http import listening
from atlas.memory import Memory
from tests.test_mcp import HOSTILE, NOTE, called, refused

KEY = "a-key-of-an-agent-0001"


@contextmanager
def served(path: Path, *more: str, **environment: str) -> Iterator[str]:
    arguments = ["-m", "atlas", "mcp", str(path), "--embedder", "hash", "--http", "--port", "0", *more]
    known = {**os.environ, **environment}
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=known) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) in (0, -signal.SIGTERM)


def ask(url: str, body: bytes, **headers: str) -> tuple[int, str]:
    host = urlsplit(url)
    connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=120)
    named = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
    connection.request("POST", host.path, body, named)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


HELLO = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_what_is_taught_over_http_is_found_and_forgotten(tmp_path: Path, mode: str) -> None:
    with served(tmp_path / "m.sqlite", "--create", "--by", "desk") as url:
        assert urlsplit(url).hostname == "127.0.0.1"
        async with asyncio.timeout(300), Client(url, mode=mode) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["search", "learn", "forget"]
            _, kept = await called(client, "learn", reason="seen", note=NOTE)
            text, found = await called(client, "search", goal="open the drawer", observation="the drawer is locked")
            assert found["notes"] == [kept["id"]] and NOTE["action"] in text
            _, held = await called(client, "learn", reason="x", note=HOSTILE)
            assert held["status"] == "quarantined"
            assert "reason" in await refused(client, "learn", note=NOTE)
            await called(client, "forget", id=kept["id"], reason="wrong")
    with Memory(tmp_path / "m.sqlite", "hash") as memory:
        assert [logged.version.author for logged in memory.log()] == ["import:mcp/desk"] * 3


async def test_several_agents_at_once_and_a_server_that_is_started_again(tmp_path: Path) -> None:
    async def teach(url: str, number: int) -> str:
        async with Client(url) as client:
            note = {"cue": f"door {number} is shut", "action": f"use key number {number} on it"}
            return (await called(client, "learn", reason="seen", note=note))[1]["id"]

    for turn in range(2):
        with served(tmp_path / "m.sqlite", "--create") as url:
            async with asyncio.timeout(300):
                ids = await asyncio.gather(*(teach(url, 10 * turn + number) for number in range(6)))
            assert len(set(ids)) == 6
    with Memory(tmp_path / "m.sqlite", "hash") as memory:
        assert len(memory.entries.all()) == 12


async def test_a_key_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    with served(tmp_path / "m.sqlite", "--create", "--host", "0.0.0.0", ATLAS_MCP_KEY=KEY) as url:
        url = url.replace("0.0.0.0", "127.0.0.1")
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": KEY},
            {"authorization": f"Basic {KEY}"},
        ):
            status, text = ask(url, HELLO, **headers)
            assert status == 401 and "Bearer KEY" in text and KEY not in text
        async with asyncio.timeout(300):
            own = httpx2.AsyncClient(headers={"authorization": f"Bearer {KEY}"})
            async with Client(streamable_http_client(url, http_client=own)) as client:
                assert len((await client.list_tools()).tools) == 3


def test_only_this_machine_is_answered_without_a_key(tmp_path: Path) -> None:
    with served(tmp_path / "m.sqlite", "--create") as url:
        assert ask(url, HELLO, host="evil.example")[0] == 421
        assert ask(url, HELLO, origin="https://evil.example")[0] == 403
    for more, says in (("", "could be written from other machines"), ("short", "at least 16 characters")):
        arguments = ["-m", "atlas", "mcp", str(tmp_path / "m.sqlite"), "--http", "--host", "0.0.0.0"]
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env={**os.environ, "ATLAS_MCP_KEY": more}
        )
        assert done.returncode == 2 and says in " ".join(done.stderr.split())
    with listening("127.0.0.1", 0, "") as taken, pytest.raises(ConfigError, match="cannot be listened at"):
        listening("127.0.0.1", taken.getsockname()[1], "")


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"jsonrpc": "2.0"}', b"x" * (5 << 20), b"\xff"])
def test_what_is_no_request_is_refused(body: bytes, tmp_path: Path) -> None:
    with served(tmp_path / "m.sqlite", "--create") as url:
        status, text = ask(url, body)
        assert 400 <= status < 500 and "Traceback" not in text
        assert ask(url, HELLO)[0] in (200, 400)
