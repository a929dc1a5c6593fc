"""Many clients of ``atlas serve``, a tenth of them hostile: what the others see of it, and what is left of the server.

The server and its provider are processes of their own; the clients are this one, and speak HTTP by hand.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

from atlas.benchmarks.perf import serve_peers as peers
from atlas.benchmarks.perf.serve import provider
from atlas.benchmarks.perf.serve_load import answer
from atlas.benchmarks.perf.table import Aim, Cell, Table, quantile
from atlas.benchmarks.reliability.plan import Plan, scratch
from atlas.errors import ConfigError
from atlas.traces import Run

USUAL = 300
HOSTILE = 0.1
REQUESTS = 4
"""Of each honest client, one after the other: a conversation that grows."""
PAUSE = 1.0
"""Seconds, at the most, between two requests of a client."""
_LASTS = 30.0
"""Seconds that a hostile client keeps at it, at the most; then the others have to be done."""
_PATIENCE = 120.0
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def measure(plan: Plan) -> Table:
    """``plan.n`` clients, without and with hostile ones among them."""
    clients = plan.size(USUAL)
    _more_files(2 * clients + 200)
    rows: list[tuple[Cell, ...]] = []
    off = 0
    with scratch() as folder, provider() as port:
        for name, share in (("none hostile", 0.0), (f"{HOSTILE:.0%} hostile", HOSTILE)):
            if not plan.wanted(name) or plan.late:
                continue
            with peers.atlas(port, folder) as server:
                found = asyncio.run(_all(server.port, clients, round(share * clients), plan.chance(name)))
                alive = _alive(server.port)
                left = _connections(server.pid, server.port)
                size = peers.megabytes(server.pid)
            stored = Run(folder / f"run-{server.port}").episodes()
            steps = sum(len(one.steps) for one in stored)
            honest = clients - round(share * clients)
            apart = abs(steps - len(found.seconds)) if not found.failed else 0
            off += found.failed + (honest * REQUESTS - len(found.seconds)) + (not alive) + apart
            rows.append(
                (
                    name,
                    honest,
                    len(found.seconds),
                    found.failed,
                    found.waited,
                    *(round(1e3 * quantile(found.seconds or [0.0], at)) for at in (0.5, 0.99)),
                    sum(found.hostile.values()),
                    "yes" if alive else "no",
                    left,
                    None if size is None else round(size),
                    apart,
                )
            )
            plan.said(
                f"{name}: {len(found.seconds)} answered, {found.failed} failed {dict(found.why)}; {dict(found.hostile)}"
            )
    return Table(
        name="clients",
        title=f"{clients:,} clients of atlas serve",
        columns=(
            "clients",
            "honest",
            "answered",
            "failed",
            "asked to wait",
            "p50 ms",
            "p99 ms",
            "hostile tries",
            "alive",
            "connections left",
            "MB",
            "steps off",
        ),
        rows=tuple(rows),
        aims=(
            Aim(
                what="honest requests failed, servers dead, steps lost or doubled",
                limit=0,
                measured=float(off),
            ),
        ),
        note=(
            f"Each honest client asks {REQUESTS} times, at most {PAUSE:g} s apart, in an episode of its own, and asks "
            "again where it is asked to wait (429). Hostile: a head or a body a byte at a time, half-closed, too large "
            "a body, an endless one, answers that are not read, what is no HTTP, resets. Its provider answers at once."
        ),
    )


class _Seen:
    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failed = self.waited = 0
        self.hostile: Counter[str] = Counter()
        self.why: Counter[str] = Counter()
        """Why requests failed."""


async def _all(port: int, clients: int, hostile: int, chance: Random) -> _Seen:
    seen = _Seen()
    over = asyncio.Event()
    bad = [asyncio.create_task(_hostile(port, Random(chance.random()), seen, over)) for _ in range(hostile)]
    good = [_honest(port, number, Random(chance.random()), seen) for number in range(clients - hostile)]
    await asyncio.gather(*good)
    over.set()
    await asyncio.wait([*bad, asyncio.create_task(asyncio.sleep(0))], timeout=_LASTS)
    for task in bad:
        task.cancel()
    await asyncio.gather(*bad, return_exceptions=True)
    return seen


async def _honest(port: int, number: int, chance: Random, seen: _Seen) -> None:
    messages = [{"role": "user", "content": f"client {number}: what is to be done?"}]
    ends: Ends | None = None
    for turn in range(REQUESTS):
        await asyncio.sleep(chance.uniform(0, PAUSE))
        body = json.dumps({"model": "own", "messages": messages}).encode()
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    if ends is None or ends[1].is_closing():
                        ends = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
                    ends[1].write(_head(f"/e/c{number}/v1/chat/completions", len(body)) + body)
                    status, told = await answer(ends[0])
                    if status != 429:
                        break
                    seen.waited += 1
                    await asyncio.sleep(1.0)
        except (OSError, TimeoutError, EOFError) as error:
            seen.failed += 1
            seen.why[type(error).__name__] += 1
            ends = None
            continue
        if status != 200 or b"Action: look" not in told:
            seen.failed += 1
            seen.why[f"status {status}"] += 1
            continue
        seen.seconds.append(time.perf_counter() - began)
        messages += [json.loads(told)["choices"][0]["message"], {"role": "user", "content": f"and then? ({turn})"}]
    if ends is not None:
        ends[1].close()


def _head(path: str, length: int | str, *more: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json", f"content-length: {length}")
    return ("\r\n".join((*lines, *more)) + "\r\n\r\n").encode()


# --- the hostile ones -------------------------------------------------------------------------------------------------


async def _hostile(port: int, chance: Random, seen: _Seen, over: asyncio.Event) -> None:
    """One hostile thing after another, until the honest ones are done."""
    while not over.is_set():
        way = chance.choice(list(_WAYS))
        seen.hostile[way] += 1
        with suppress(OSError, EOFError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                async with asyncio.timeout(_LASTS):
                    await _WAYS[way](At(reader, writer, chance, over))
            finally:
                writer.close()
        await asyncio.sleep(chance.uniform(0, 0.2))


async def _drip(writer: asyncio.StreamWriter, data: bytes, over: asyncio.Event) -> None:
    for place in range(len(data)):
        if over.is_set():
            return
        writer.write(data[place : place + 1])
        await writer.drain()
        await asyncio.sleep(0.5)


_SAID = json.dumps({"model": "own", "messages": [{"role": "user", "content": "hostile"}], "stream": True}).encode()
_BARE = "/v1/nowhere/chat/completions"
"""Where nothing is, so that what is hostile is in no episode's trace."""


class At(NamedTuple):
    """A hostile client at work."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    chance: Random
    over: asyncio.Event
    """Set when the honest ones are done."""


async def _slow_head(at: At) -> None:
    await _drip(at.writer, _head(_BARE, len(_SAID)), at.over)


async def _slow_body(at: At) -> None:
    at.writer.write(_head("/v1/chat/completions", 10_000))
    await _drip(at.writer, b'{"model": "own", "messages": [', at.over)


async def _half_closed(at: At) -> None:
    at.writer.write(_head("/v1/chat/completions", 1000) + b'{"model"')
    at.writer.write_eof()
    await at.reader.read()


async def _oversized(at: At) -> None:
    at.writer.write(_head("/v1/chat/completions", at.chance.choice((1 << 40, "9" * 30, "-1", "0x10"))) + b"x" * 60_000)
    await at.writer.drain()
    await at.reader.read()


async def _endless(at: At) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    at.writer.write(head)
    for _ in range(100):
        if at.over.is_set():
            return
        at.writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await at.writer.drain()
        await asyncio.sleep(0.01)


async def _unread(at: At) -> None:
    # Many requests at once, of whose answers none is read.
    at.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(200):
        at.writer.write(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await at.writer.drain()
    with suppress(TimeoutError):
        await asyncio.wait_for(at.over.wait(), 10)


async def _garbage(at: At) -> None:
    at.writer.write(
        at.chance.choice(
            (b"\x16\x03\x01\x02\x00", b"\x00" * 5000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET " + b"/" * 90_000)
        )
    )
    await at.writer.drain()
    await at.reader.read()


async def _reset(at: At) -> None:
    at.writer.write(_head(_BARE, len(_SAID)) + _SAID[: at.chance.randrange(len(_SAID))])
    await at.writer.drain()
    at.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    at.writer.transport.abort()


Way = Callable[[At], Awaitable[None]]
_WAYS: dict[str, Way] = {
    "slow head": _slow_head,
    "slow body": _slow_body,
    "half-closed": _half_closed,
    "oversized": _oversized,
    "endless": _endless,
    "unread": _unread,
    "garbage": _garbage,
    "reset": _reset,
}


# --- what is left -----------------------------------------------------------------------------------------------------


def _alive(port: int) -> bool:
    async def ask() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        status, _ = await answer(reader)
        writer.close()
        return status == 200

    try:
        return asyncio.run(asyncio.wait_for(ask(), 30))
    except (OSError, TimeoutError, EOFError):
        return False


def _connections(pid: int, port: int) -> int | None:
    """Connections to a port that a server still has a second after all clients are gone; None where the system does not
    tell."""
    time.sleep(1.0)
    try:
        lines = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return None
    fields = (line.split() for line in lines)
    return sum(field[1].endswith(f":{port:04X}") and field[3] == "01" for field in fields)


def _more_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ConfigError(f"so many clients need {wanted:,} open files, and this process may have {hard:,}: give less")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
