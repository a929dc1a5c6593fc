"""kill -9 of ``atlas serve`` while clients talk to it: what it had answered is in its run, once, and paid once, and
each conversation goes on in its episode."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random
from typing import Any

from atlas.benchmarks.perf.serve_peers import free_port
from atlas.benchmarks.perf.table import Cell
from atlas.benchmarks.reliability import children, plan
from atlas.benchmarks.reliability.children import Failed, command
from atlas.benchmarks.reliability.plan import Plan, scratch
from atlas.benchmarks.reliability.trials import Trials
from atlas.benchmarks.reliability.upstream import COMPLETION, PROMPT, Upstream, providing
from atlas.benchmarks.reliability.works import Wrong, held
from atlas.records import Price, total
from atlas.traces import Run

USUAL = 20
PLACES = {
    "serve": "",
    "serve, memory on PostgreSQL": "memory",
    "serve, run and memory on PostgreSQL": "run and memory",
}
"""The rows, and what of each is on a server."""
CLIENTS = 4
TALKS = 3
"""Episodes of each client, one after the other."""
TURNS = 4
PRICE = Price(prompt=1.0, completion=2.0)
_LOADS = ("atlas.cli.serve", "atlas.serve.app", "atlas.serve.patience", "uvicorn.lifespan.on", "openai", "psycopg")
_AGENT = """
import atlas
from atlas.models.hosted import Hosted
from atlas.records import Price

price = Price(prompt={prompt}, completion={completion})
model = Hosted("openai/own", base_url={url!r}, api_key="none", price=price)
agent = atlas.Agent(None, model, memory={memory!r}, embedder="hash", run={run!r}, distil=False)
"""


def row(name: str, remote: str, plan_: Plan) -> tuple[Cell, ...]:
    """One row of the table of kills."""
    trials = Trials(name, plan_, plan_.size(USUAL))
    for module in _LOADS:
        if remote or module != "psycopg":
            children.load((module,))
    with _served(remote) as served:
        seconds = served.undisturbed()
        served.check()
    for trial in trials:
        with _served(remote) as served:
            try:
                trial.kills = served.disturbed(trial.chance, seconds, trials.left)
                served.check()
            except (Failed, Wrong) as error:
                trial.kills, trial.wrong = served.kills, str(error)
            trial.unaccounted = served.unaccounted
    return trials.row(seconds)


@contextmanager
def _served(remote: str) -> Iterator[Served]:
    """A provider, an agent of its models, and a server to be."""
    with (
        scratch() as root,
        providing(root) as upstream,
        plan.schema() if remote else nullcontext("m.sqlite") as place,
    ):
        where = f"{place}&run=run" if "run" in remote else "run"
        source = _AGENT.format(
            prompt=PRICE.prompt, completion=PRICE.completion, url=upstream.url, memory=place, run=where
        )
        (root / "agent.py").write_text(source, encoding="utf-8")
        run = where if "run" in remote else str(root / where)
        yield Served(root, upstream, place if remote else str(root / place), run)


class Served:
    """A server that is killed, and the clients, which go on where they were and ask again what was not answered."""

    def __init__(self, folder: Path, upstream: Upstream, memory: str, run: str) -> None:
        self.folder, self.upstream, self.memory, self.run = folder, upstream, memory, run
        self.port = free_port()
        self.said = folder / "serve.said"
        self.done: set[str] = set()
        """Episodes whose score the server has acknowledged, by the name of their task."""
        self.unsure: set[str] = set()
        """Those whose score was sent when the server was killed."""
        self.talks: dict[str, list[Any]] = {}
        """What was said so far, by the name of the task."""
        self.asking: set[str] = set()
        """Those that wait for an answer."""
        self.answers: dict[str, set[str]] = {}
        """The ids of answers, by the episode's id."""
        self.episodes: dict[str, set[str]] = {}
        """The ids of episodes, by the name of the task."""
        self.flying = 0
        """Calls that were sent and not answered when the server was killed."""
        self.kills = 0
        self.unaccounted = 0
        """Calls that the provider billed, and the run does not know of."""

    def undisturbed(self) -> float:
        began = time.perf_counter()
        self._round(None)
        return time.perf_counter() - began

    def disturbed(self, chance: Random, seconds: float, most: int) -> int:
        """Kill it until the clients are done, at most so often, and how often that was."""
        killed = False
        while killed or not self._over():
            # The last one is not killed: what was to be learned when the one before was is its to learn.
            killed = self._round(chance.uniform(0, seconds) if self.kills < min(most, 4) else None)
            self.kills += killed
        return self.kills

    def _over(self) -> bool:
        return len(self.done) == CLIENTS * TALKS

    def _round(self, after: float | None) -> bool:
        """Serve until the clients are done or the server is killed; whether that was it."""
        words = ["serve", "--agent", "agent.py:agent", "--port", str(self.port)]
        child = children.begin(command(words), self.folder, self.said)
        killed = False
        try:
            killed = asyncio.run(self._clients(child, after))
            if not killed:
                self._learned()
        finally:
            if not killed:
                os.kill(child, 15)
                if children.ended(child, 30) is None:
                    children.kill(child)
                    raise Failed("a server did not end in 30 s after it was told to: look at it by hand")
        if killed:
            self.flying += len(self.asking)
            if self.answers:
                answered = sum(map(len, self.answers.values()))
                accounted = total(Run(self.run).used()).calls
                if accounted < answered:
                    raise Wrong(f"{answered} calls were answered at a kill, and the account has {accounted}")
        if killed and self.unsure:
            # What the client was not told, the trace tells.
            ends = Counter(e.task.id for e in Run(self.run).results() if e.score == 1.0)
            self.done |= {name for name in self.unsure if ends[name]}
            self.unsure.clear()
        return killed

    def _learned(self) -> None:
        """Wait until what an earlier server had left is learned: on PostgreSQL it takes some seconds until a process
        that was killed is known to be gone."""
        until = time.monotonic() + 30
        while len(held(self.memory)) < len(self.done) and time.monotonic() < until:
            time.sleep(0.5)

    async def _clients(self, child: int, after: float | None) -> bool:
        tasks = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]
        timer = None if after is None else asyncio.create_task(asyncio.sleep(after))
        everything = asyncio.gather(*tasks, return_exceptions=True)
        waited: list[asyncio.Future[Any]] = [everything, *([timer] if timer else [])]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if everything.done():
            if timer:
                timer.cancel()
            for found in everything.result():
                if isinstance(found, BaseException):
                    raise Failed(f"a client of the server failed ({found!r}): try it by hand")
            return False
        children.kill(child)
        for task in tasks:
            task.cancel()
        await everything
        return True

    async def _client(self, number: int) -> None:
        reader, writer = await self._connected()
        try:
            for talk in range(TALKS):
                name = f"task-{number}-{talk}"
                if name in self.done:
                    continue
                begin = {"role": "user", "content": f"{name}: what is to be done?"}
                messages = self.talks.setdefault(name, [begin])
                for turn in range(len(messages) // 2, TURNS):
                    again = int(name in self.asking)
                    self.asking.add(name)
                    status, headers, told = await _asked(
                        reader,
                        writer,
                        f"/e/{name}/v1/chat/completions",
                        {"model": "m", "messages": messages},
                        name,
                        again=again,
                    )
                    self.asking.discard(name)
                    if status != 200:
                        raise Failed(f"the server answered {status} ({str(told)[:100]})")
                    id = headers["x-atlas-episode"]
                    self.answers.setdefault(id, set()).add(told["id"])
                    self.episodes.setdefault(name, set()).add(id)
                    messages += [told["choices"][0]["message"], {"role": "user", "content": f"and then? ({turn})"}]
                self.unsure.add(name)
                status, _, told = await _asked(reader, writer, f"/v1/atlas/episodes/{name}/score", {"score": 1.0}, name)
                if status != 200:
                    raise Failed(f"the server answered {status} to a score ({str(told)[:100]})")
                self.unsure.discard(name)
                self.done.add(name)
        finally:
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        until = time.monotonic() + 60
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.02)

    def check(self) -> None:
        """Raise Wrong for what was acknowledged and is not there, there twice, or not paid once."""
        run = Run(self.run)
        stored = run.episodes()
        ends = Counter(e.task.id for e in run.results() if e.score == 1.0)
        names = {f"task-{number}-{talk}" for number in range(CLIENTS) for talk in range(TALKS)}
        if set(ends) != names or any(count > 1 for count in ends.values()):
            raise Wrong(f"{len(names - set(ends))} of {len(names)} scored episodes are missing, or one is there twice")
        there = {one.id: one for one in stored}
        if split := [name for name, ids in self.episodes.items() if len(ids) > 1]:
            raise Wrong(f"{len(split)} conversations became more than one episode")
        for id, answers in self.answers.items():
            if id not in there or there[id].lost:
                raise Wrong(f"an episode of {len(answers)} answered steps is not in the trace, or has lost some")
            if len(there[id].steps) != len(answers):
                raise Wrong(f"{len(answers)} steps were answered, and the trace has {len(there[id].steps)}")
        spent = total(s for one in stored for s in one.spend)
        self.unaccounted = len(self.upstream.billed()) - spent.calls
        # What the provider was working on when the server was killed, nobody was told of.
        if not 0 <= self.unaccounted <= self.flying:
            raise Wrong(f"{self.unaccounted} calls that were billed are in no account, of {self.flying} not answered")
        each = PRICE.dollars(PROMPT, COMPLETION)
        if spent.dollars is None or abs(spent.dollars - spent.calls * each) > 1e-9:
            raise Wrong(f"{spent.calls} calls of {each} dollars are accounted with {spent.dollars}")
        kept = held(self.memory)
        if len({name for name, _ in kept}) != len(kept) or len(kept) < len(names):
            raise Wrong(f"{len(kept)} demonstrations are kept of {len(names)} successful episodes")


async def _asked(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    path: str,
    body: Mapping[str, Any],
    task: str,
    *,
    again: int = 0,
) -> tuple[int, dict[str, str], Any]:
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"x-atlas-task: {task}", f"content-length: {len(data)}"]
    lines.append(f"x-stainless-retry-count: {again}")
    writer.write("\r\n".join([*lines, "content-type: application/json", "", ""]).encode() + data)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(first.split()[1]), headers, json.loads(content or b"null")
