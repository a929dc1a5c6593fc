"""``python -m atlas.benchmarks.perf serve``: what a server adds to a call of its provider, beside other servers.

The provider answers at once, the clients are a process of their own, and each server has one worker. The servers take
turns within every row, so that what else the machine does weighs on all of them. ``ATLAS_PEERS=FOLDER`` installs
litellm's proxy and Portkey's gateway in that folder, where they are not there yet, and measures them too.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from atlas.benchmarks.perf import serve_peers as peers
from atlas.benchmarks.perf.serve_load import Load, Seen
from atlas.benchmarks.perf.serve_peers import Server, Starts
from atlas.benchmarks.perf.table import Aim, Cell, Table, quantile
from atlas.benchmarks.program import Program
from atlas.errors import ConfigError

CLIENTS = (1, 32, 256)
PACE = 100.0
"""Requests a second, of all clients together, at which the time that is added is measured: what every server bears. At
full load it is how long the queue is."""
ROUNDS = 3
TIMES = 5.0
"""Aim: as many times the requests a second of litellm's proxy."""
ADDED = 2.0
"""Aim: milliseconds added at the median, with 32 clients."""
GROWTH = 1.1
"""Aim: what memory may come to from the tenth to the last part of the requests."""
PARTS = 10
_NAMED = "/e/{client}/v1/chat/completions"


class Way:
    """A server, by one of its paths, and what was seen of it in one row."""

    def __init__(self, name: str, server: Server, path: str) -> None:
        self.name, self.server, self.path = name, server, path
        self.paced: list[float] = []
        self.rates: list[float] = []
        self.cpu: list[float] = []
        self.failed = 0

    def ask(self, requests: int, clients: int, stream: bool, pace: float, salt: str) -> None:
        """Ask as many times; at no pace, how many are answered in a second is what is wanted."""
        before = peers.cpu_seconds(self.server.pid)
        seen = load(
            Load(
                port=self.server.port,
                path=self.path,
                headers=self.server.headers,
                clients=clients,
                requests=requests,
                stream=stream,
                pace=pace,
                salt=salt,
            )
        )
        self.failed += seen.failed
        if pace:
            self.paced += seen.seconds
            return
        self.rates.append(len(seen.seconds) / seen.wall)
        after = peers.cpu_seconds(self.server.pid)
        if before is not None and after is not None and self.server.pid:
            self.cpu.append(1e3 * (after - before) / requests)

    def row(self, direct: Way) -> tuple[Cell, ...]:
        """Requests a second at full load, the server's CPU for each, and the time that is added at a pace."""
        added = [
            round(1e3 * (quantile(self.paced, at) - quantile(direct.paced, at)), 2) if self.paced else None
            for at in (0.5, 0.99)
        ]
        cpu = round(min(self.cpu), 2) if self.cpu else None
        return (round(max(self.rates)), cpu, *added, self.failed)


def measure(
    requests: int = 2000,
    held: int = 10_000,
    clients: Sequence[int] = CLIENTS,
    place: str | None = None,
    rounds: int = ROUNDS,
) -> Table:
    """The table. ``requests`` for each server, number of clients, and kind of answer, in each of ``rounds``; ``held``
    for what is said of memory; ``place`` is where other servers are, or are installed: ``ATLAS_PEERS`` where None."""
    place = os.environ.get("ATLAS_PEERS", "") if place is None else place
    rows: list[tuple[Cell, ...]] = []
    found: dict[tuple[str, int, bool], Way] = {}
    with tempfile.TemporaryDirectory() as scratch, provider() as port, contextlib.ExitStack() as stack:
        starts, missing = _servers(place)
        servers = []
        for start in starts:
            try:
                servers.append(stack.enter_context(start(port, Path(scratch))))
            except ConfigError as error:
                missing.append(str(error))
        for stream in (False, True):
            for many in clients:
                direct, *others = _ways(port, servers)
                _row([direct, *others], requests, many, stream, rounds)
                for way in (direct, *others):
                    found[way.name, many, stream] = way
                    rows.append((way.name, many, "yes" if stream else "no", *way.row(direct)))
        sizes = [_held(server, held) for server in servers]
    aims = [*_aims(found, clients), *(_flat(sizes[0]) if sizes else ())]
    memory = "; ".join(
        f"{server.name} {' '.join(f'{size:.0f}' for size in said)}"
        for server, said in zip(servers, sizes, strict=True)
        if said
    )
    note = (
        f"One worker each, {requests:,} requests a round, {rounds} rounds, the servers in turn: most requests a second "
        f"and least CPU of a round; added times are over a direct call, at {PACE:g} requests a second of all clients. "
        f"Memory before and after each tenth of {held:,} requests of 32 clients, MB: {memory or 'not told here'}. "
        + " ".join(f"Not measured: {said}." for said in missing)
    )
    return Table(
        name="serve",
        title="A server between clients and an instant provider",
        columns=("server", "clients", "streamed", "requests / s", "CPU ms each", "added p50 ms", "p99 ms", "failed"),
        rows=tuple(rows),
        aims=tuple(aims),
        note=note,
    )


def _servers(place: str) -> tuple[list[Starts], list[str]]:
    """What to start, and why not more."""
    starts: list[Starts] = [peers.atlas]
    missing = []
    if not place:
        return starts, ["litellm's proxy and Portkey's gateway, which ATLAS_PEERS=FOLDER installs"]
    for made in (peers.litellm, peers.portkey):
        try:
            starts.append(made(Path(place).resolve()))
        except ConfigError as error:
            missing.append(str(error))
    return starts, missing


def _ways(port: int, servers: Sequence[Server]) -> list[Way]:
    """A direct call first."""
    plain = "/v1/chat/completions"
    ways = [Way("(direct)", Server(name="(direct)", port=port, pid=0), plain)]
    for server in servers:
        if server.name == "atlas serve":
            ways.append(Way("atlas serve, an episode a client", server, _NAMED))
            ways.append(Way("atlas serve, an episode a request", server, plain))
        else:
            ways.append(Way(server.name, server, plain))
    return ways


def _row(ways: Sequence[Way], requests: int, clients: int, stream: bool, rounds: int) -> None:
    for way in ways:
        way.ask(2 * clients, clients, stream, 0.0, f"warm {clients} {stream}")
        way.rates.clear()
        way.cpu.clear()
    for number in range(rounds):
        for way in ways if number % 2 else reversed(ways):
            way.ask(requests, clients, stream, 0.0, f"full {number} {clients} {stream}")
            way.ask(max(requests // 10, 2 * clients), clients, stream, PACE, f"paced {number} {clients} {stream}")


def _held(server: Server, requests: int, said: Callable[[str], object] | None = None) -> list[float]:
    """Megabytes of a server before and after each part of so many requests, each a conversation of its own."""
    sizes = [peers.megabytes(server.pid)]
    for part in range(PARTS):
        load(
            Load(
                port=server.port,
                headers=server.headers,
                clients=32,
                requests=max(1, requests // PARTS),
                salt=f"held {part}",
            )
        )
        sizes.append(peers.megabytes(server.pid))
        if said is not None:
            said(f"{(part + 1) * requests // PARTS:,} requests: {sizes[-1] or 0:.1f} MB resident")
    return [size for size in sizes if size is not None]


def _aims(found: dict[tuple[str, int, bool], Way], clients: Sequence[int]) -> Iterator[Aim]:
    ours = "atlas serve, an episode a request"
    for many in clients:
        other = found.get(("litellm's proxy", many, False))
        if other is not None and (most := max(other.rates)):
            times = round(max(found[ours, many, False].rates) / most, 1)
            what = f"{many} clients: times the requests a second of litellm's proxy"
            yield Aim(what=what, limit=TIMES, measured=times, at_least=True)
    if 32 in clients:
        added = found[ours, 32, False].row(found["(direct)", 32, False])[2]
        if isinstance(added, float):
            yield Aim(what="32 clients: ms added at p50", limit=ADDED, measured=added)


def _flat(sizes: Sequence[float]) -> Iterator[Aim]:
    if len(sizes) > 2:
        yield Aim(what="memory, last over first tenth", limit=GROWTH, measured=round(sizes[-1] / sizes[1], 2))


@contextlib.contextmanager
def provider() -> Iterator[int]:
    """The port of a provider that answers at once."""
    command = [sys.executable, "-m", "atlas.benchmarks.perf.serve_load", "upstream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def load(wanted: Load) -> Seen:
    """What the clients of a process of their own saw."""
    command = [sys.executable, "-m", "atlas.benchmarks.perf.serve_load", "load", wanted.model_dump_json()]
    # A file: of what is long a pipe has had but the beginning, now and then, under a busy machine.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(command, stdout=said, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise ConfigError(f"the clients of a measurement failed ({done.stderr.strip()[-300:]}): free the machine")
        said.seek(0)
        return Seen.model_validate_json(said.read())


def measure_held(requests: int) -> Table:
    """What memory ``atlas serve`` holds, alone: after each tenth of ``requests``, each a conversation of its own."""
    with tempfile.TemporaryDirectory() as scratch, provider() as port, peers.atlas(port, Path(scratch)) as server:
        sizes = _held(server, requests, lambda text: click.echo(text, err=True))
    rows = [(round(part * requests / PARTS), round(size, 1)) for part, size in enumerate(sizes)]
    return Table(
        name="serve",
        title="Memory of atlas serve",
        columns=("requests", "resident MB"),
        rows=tuple(rows),
        aims=tuple(_flat(sizes)),
        note=f"{requests:,} requests of 32 clients, each the beginning of an episode; at most 1,000 are open.",
    )


@click.command(cls=Program)
@click.option("--memory", is_flag=True, help="Only what memory atlas serve holds, over --held requests.")
@click.option("--requests", type=click.IntRange(1), default=2000, show_default=True, help="In each round.")
@click.option("--held", type=click.IntRange(10), default=100_000, show_default=True, help="For memory.")
@click.option("--clients", type=click.IntRange(1), multiple=True, help="May be repeated.  [default: 1, 32, 256]")
def main(memory: bool, requests: int, held: int, clients: tuple[int, ...]) -> None:
    """The same with other numbers."""
    from atlas.benchmarks.perf.__main__ import show
    from atlas.benchmarks.perf.table import machine

    where = machine()
    show(measure_held(held) if memory else measure(requests, held, clients or CLIENTS))
    click.echo(f"Measured on {where}.")


if __name__ == "__main__":
    main()
