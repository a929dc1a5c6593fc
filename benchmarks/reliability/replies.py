"""Replies of a provider with anything in the place of anything, through every door: each is told, or refused in words.

The doors: a client in this process and one of the server, for each of the three APIs, whole and streamed; a command
that ``atlas run`` runs, a function that an agent wraps, and a benchmark.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import http.client
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.benchmarks.perf.table import Aim, Cell, Table
from atlas.benchmarks.reliability import children
from atlas.benchmarks.reliability.children import command
from atlas.benchmarks.reliability.plan import Plan, scratch
from atlas.benchmarks.reliability.upstream import Say, Upstream, chunks, completion, providing
from atlas.copying.nearest import Nearest
from atlas.errors import DataError
from atlas.models.hosted import Hosted
from atlas.models.retry import Retry
from atlas.records import Price
from atlas.serve import run_command
from atlas.traces import Run
from atlas.wrap import Agent

USUAL = 1000
EACH = 10
"""Replies of an episode."""
_PRICE = Price(prompt=1.0, completion=2.0)
_OURS = (
    "AttributeError",
    "TypeError",
    "KeyError",
    "IndexError",
    "ValueError",
    "AssertionError",
    "ValidationError",
    "UnicodeEncodeError",
    "UnicodeDecodeError",
    "RecursionError",
    "OverflowError",
)
"""What a reply may not lead to: a fault inside, whoever is told of it."""
_JUNK: list[Any] = [
    None, True, -1, 1.5, 10**40, float("nan"), "", "x", "\ud800", "\x00\x1b[2J", [], {}, [[]], [None], [{}],
    {"a": None}, {"type": "x"}, {"type": ["x"]}, "function", "stop", "x" * 20_000,
    "\u202e\u200b\ufeff", "<|im_end|>", "}{", "Action:",
]  # fmt: skip
_TEXTS = (
    "Action: look", "Thought: \nAction:", "Action: " * 50, '{"action": ', "```json\n{}\n```", "Action: to \ud83d",
    "<think>never closed", "I'm sorry, I can't help with that.", "\n\n\n", "Action: look\nAction: look\nObservation: x",
)  # fmt: skip
_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def fuzzed(chance: Random, asked: Mapping[str, Any]) -> bytes:
    """The body of an answer: one that is right but for some of its parts, or cut, or none at all."""
    whole = completion(chance.choice(_TEXTS), asked)
    message = whole["choices"][0]["message"]
    if chance.random() < 0.5:
        made = chance.choice(["{}", '{"a": 1}', '{"a": ', "null", "[]", "\ud800", ""])
        message["tool_calls"] = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": made}}]
    if chance.random() < 0.3:
        message["reasoning_content"] = "so"
        whole["choices"][0]["logprobs"] = {
            "content": [{"token": "a", "logprob": -0.1, "bytes": [1], "top_logprobs": []}]
        }
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        _change(whole, chance)
    if asked.get("stream"):
        try:
            parts = [*chunks(whole), "[DONE]"]
        except (AttributeError, KeyError, TypeError):
            parts = [json.dumps({**whole, "choices": whole.get("choices")})]
        if chance.random() < 0.3:
            changed = json.loads(parts[0])
            _change(changed, chance)
            parts[0] = json.dumps(changed)
        data = "".join(f"data: {part}\n\n" for part in parts).encode()
    else:
        data = json.dumps(whole, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if chance.random() < 0.05:
        data = data[: chance.randrange(len(data) + 1)]
    if chance.random() < 0.03:
        data = chance.choice([b"", b"null", b"[]", b"<html>", b"\xff\xfe\x00", b'"text"', b"[" * 5000])
    return data


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for name, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*at, name)
        if isinstance(part, dict | list):
            yield from _places(part, (*at, name))


def _change(whole: dict[str, Any], chance: Random) -> None:
    places = list(_places(whole))
    if not places:
        return
    *path, last = chance.choice(places)
    inner: Any = whole
    for name in path:
        inner = inner[name]
    if chance.random() < 0.15:
        del inner[last]
    else:
        inner[last] = copy.deepcopy(chance.choice(_JUNK))


# --- the doors --------------------------------------------------------------------------------------------------------

Door = Callable[[Upstream, int, Random, Path, Plan], Counter[str]]


def measure(plan: Plan) -> Table:
    """``plan.n`` replies, as many through each door."""
    logging.getLogger("atlas").setLevel(logging.CRITICAL)
    wanted = plan.size(USUAL)
    rows: list[tuple[Cell, ...]] = []
    for name, door in _DOORS.items():
        if not plan.wanted(name) or plan.late:
            continue
        chance = plan.chance(name)
        answers = plan.chance(name, "answers")
        with scratch() as folder, providing(folder, say=_saying(answers)) as upstream:
            found = door(upstream, -(-wanted // len(_DOORS)), chance, folder, plan)
            read = _read(folder)
            replies = len(upstream.billed())
        faults = {kind: count for kind, count in found.items() if kind not in ("told", "refused")}
        first = next(iter(faults), "") or read
        rows.append(
            (name, replies, found["told"], found["refused"], sum(faults.values()), int(bool(read)), first[:300])
        )
        plan.said(f"{name}: {replies} replies, {sum(faults.values())} faults{'; ' + first[:200] if first else ''}")
    faulty = sum(int(row[4] or 0) + int(row[5] or 0) for row in rows)
    return Table(
        name="replies",
        title="Fuzzed replies through every door",
        columns=("door", "replies", "told", "refused in words", "faults", "runs that cannot be read", "first"),
        rows=tuple(rows),
        aims=(Aim(what="faults inside, and runs that cannot be read or reported", limit=0, measured=float(faulty)),),
        note=(
            "Each body is a chat completion with junk in the place of up to three of its parts, or cut, or none. A "
            "fault is an error of ours in place of a sentence about the provider; in a run, of an episode. Of each "
            "door's run all steps are read, a report is made and rows are exported."
        ),
    )


def _saying(chance: Random) -> Say:
    return lambda asked, number: fuzzed(chance, asked)


def _agent(upstream: Upstream, folder: Path) -> Agent:
    model = Hosted(
        "openai/own", base_url=upstream.url, api_key="none", price=_PRICE, timeout=20.0, retry=Retry(retries=0)
    )
    return Agent(None, model, run=folder / "run", memory=folder / "m.sqlite", embedder="hash", distil=False)


def _within(api: str) -> Door:
    """A client of a library, in this process."""

    def door(upstream: Upstream, count: int, chance: Random, folder: Path, plan: Plan) -> Counter[str]:
        import anthropic
        import openai

        found: Counter[str] = Counter()
        with _agent(upstream, folder) as agent:
            while found.total() < count and not plan.late:
                with agent.episode(goal="look about") as episode:
                    for number in range(EACH):
                        try:
                            _asked(api, episode, f"and {number}?", chance.random() < 0.3)
                            found["told"] += 1
                        except (openai.APIError, anthropic.APIError) as error:
                            found[_kind(str(error))] += 1
                        except Exception as error:  # whatever it is, it is what is counted here
                            found[f"{type(error).__name__}: {error}"[:200]] += 1
                    episode.score(1.0)
        return found

    return door


def _asked(api: str, episode: Any, said: str, stream: bool) -> None:
    turns: Any = [{"role": "user", "content": said}]
    if api == "chat":
        told = episode.client.chat.completions.create(model="m", messages=turns, tools=[_TOOL], stream=stream)
    elif api == "responses":
        told = episode.client.responses.create(model="m", input=turns, stream=stream)
    else:
        told = episode.anthropic.messages.create(model="m", max_tokens=50, messages=turns, stream=stream)
    if stream:
        for _ in told:
            pass


_PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "anthropic": "/v1/messages"}


def _served(api: str) -> Door:
    """The server, by hand."""

    def door(upstream: Upstream, count: int, chance: Random, folder: Path, plan: Plan) -> Counter[str]:
        from atlas.serve import Limits, Serving, Tenant, Tenants

        found: Counter[str] = Counter()
        with Serving(Tenants([Tenant("default", _agent(upstream, folder), (), Limits())])) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            for number in range(count):
                if plan.late:
                    break
                turns = [{"role": "user", "content": f"and {number}?"}]
                body: dict[str, Any] = {"model": "m", "stream": chance.random() < 0.3}
                body |= {"input": turns} if api == "responses" else {"messages": turns, "max_tokens": 50}
                try:
                    connection.request("POST", f"/e/{number // EACH}{_PATHS[api]}", json.dumps(body))
                    answer = connection.getresponse()
                    text = answer.read().decode()
                    failed = answer.status != 200 or ('"error"' in text.partition("[DONE]")[0] and body["stream"])
                    found[_kind(text) if failed else "told"] += 1
                    if not failed and not body["stream"]:
                        json.loads(text)
                except Exception as error:  # whatever it is, it is what is counted here
                    found[f"{type(error).__name__}: {error}"[:200]] += 1
                    connection.close()
            connection.close()
        return found

    return door


def _wrapped(upstream: Upstream, count: int, chance: Random, folder: Path, plan: Plan) -> Counter[str]:
    """A function of one's own that an agent wraps, with an asynchronous client; several calls of it at once."""
    import openai

    found: Counter[str] = Counter()

    async def talk(number: int, async_client: Any) -> None:
        for turn in range(EACH):
            asked: Any = {"model": "m", "messages": [{"role": "user", "content": f"and {turn} of {number}?"}]}
            try:
                if chance.random() < 0.3:
                    async for _ in await async_client.chat.completions.create(**asked, stream=True):
                        pass
                else:
                    await async_client.chat.completions.create(**asked, tools=[_TOOL])
                found["told"] += 1
            except openai.APIError as error:
                found[_kind(str(error))] += 1
            except Exception as error:  # whatever it is, it is what is counted here
                found[f"{type(error).__name__}: {error}"[:200]] += 1

    async def all_of_them(talks: Callable[..., Any]) -> None:
        for first in range(0, -(-count // EACH), 4):
            if not plan.late:
                await asyncio.gather(*(talks(first + place) for place in range(4)))

    with _agent(upstream, folder) as agent:

        @agent.wrap(goal="look about", score=lambda nothing: 1.0)
        async def talks(number: int, client: Any) -> None:
            await talk(number, client)

        asyncio.run(all_of_them(talks))
    return found


_COMMAND = """
import http.client, json, os, sys, urllib.parse

url = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
head = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "content-type": "application/json"}
for number in range(int(sys.argv[1])):
    body = {"model": "m", "stream": number % 3 == 0, "messages": [{"role": "user", "content": f"and {number}?"}]}
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    try:
        connection.request("POST", url.path + "/chat/completions", json.dumps(body), head)
        answer = connection.getresponse()
        text = answer.read().decode()
        failed = answer.status != 200 or (body["stream"] and '"error"' in text.partition("[DONE]")[0])
        if not failed and not body["stream"]:
            json.loads(text)
        said = text[:2000] if failed else ""
    except Exception as error:
        said = f"failed with {type(error).__name__}: {error}"
    connection.close()
    print(json.dumps(said), file=open("said.jsonl", "a"))
"""
"""A command that knows nothing of atlas: what it writes of each reply is empty, or why there was none."""


def _commanded(upstream: Upstream, count: int, chance: Random, folder: Path, plan: Plan) -> Counter[str]:
    """``atlas run`` of a command, until it was given enough replies."""
    found: Counter[str] = Counter()
    said = folder / "said.jsonl"
    (folder / "command.py").write_text(_COMMAND, encoding="utf-8")
    for _ in range(-(-count // (5 * EACH))):
        if plan.late:
            break

        def work() -> None:
            outcome = run_command([sys.executable, "command.py", str(5 * EACH)], _agent(upstream, folder), goal="look")
            assert outcome.code == 0 and outcome.episode is not None

        try:
            children.run(work, folder, folder / "run.said")
        except children.Failed as error:
            found[str(error)[:200]] += 1
    for line in said.read_text(encoding="utf-8").splitlines():
        found[_kind(told) if (told := json.loads(line)) else "told"] += 1
    return found


def _run(upstream: Upstream, count: int, chance: Random, folder: Path, plan: Plan) -> Counter[str]:
    """A run whose student is the provider; what its episodes ended with."""
    found: Counter[str] = Counter()
    retry = Retry(retries=6, base=0.001)  # or no episode would come to a second step
    student = Hosted("openai/own", base_url=upstream.url, api_key="none", price=_PRICE, retry=retry)
    options = BenchOptions(
        split=HOMES, arms=("student",), n=max(2, count // 20), demos=0, embedder="hash", max_steps=15, concurrency=8
    )
    bench = Bench(
        suite=Alfworld(), cast=Cast(student=student, teacher=Nearest()), options=options, folder=folder / "run"
    )
    with contextlib.suppress(DataError):  # all of them may fail; they are in the run
        asyncio.run(bench.run())
    for episode in Run(folder / "run").results():
        if episode.failure is None:
            found["told"] += 1
        else:
            expected = episode.failure.kind == "ModelError"
            found[
                _kind(episode.failure.message) if expected else f"{episode.failure.kind}: {episode.failure.message}"
            ] += 1
    return found


_DOORS: dict[str, Door] = {
    **{f"in process, {api}": _within(api) for api in _PATHS},
    **{f"server, {api}": _served(api) for api in _PATHS},
    "atlas run": _commanded,
    "Agent.wrap": _wrapped,
    "a benchmark": _run,
}


def _kind(said: str) -> str:
    """Whether it is a refusal in words, or tells of a fault inside."""
    ours = next((name for name in _OURS if f"failed with {name}" in said), None)
    return "refused" if ours is None else said[:200]


def _read(folder: Path) -> str:
    """Why the run cannot be read, reported and exported; empty where it can."""
    try:
        for episode in Run(folder / "run").episodes():
            if episode.result is not None and len(episode.steps) != episode.result.steps:
                return f"episode {episode.id} has lost steps"
        for words in (
            ["report", "run", "-o", "report.html"],
            ["export", "run", "--format", "rows", "--any-outcome", "--permitted", "*", "-o", "rows"],
        ):
            children.run(command(words), folder, folder / "read.said")
    except Exception as error:  # whatever it is, the run cannot be read
        return f"{type(error).__name__}: {error}"
    return ""
