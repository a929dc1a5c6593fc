"""A process that plays a run, for tests of several at once: ``python shared_player.py FOLDER SETTINGS``, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

import openai

import atlas
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.copying.nearest import Nearest
from atlas.records import Ask, Completion, Price
from atlas.testing import ScriptedModel

PRICE = Price(prompt=0, completion=1.0)
COSTS = 100
"""Tokens of a call, all of them of its reply."""


class Paid:
    """Asks ``inner``, takes its time, and uses as much at every call. A line of a file for each call is the bill."""

    shares_prompt = True

    def __init__(self, inner: atlas.Model, bill: Path, seconds: float) -> None:
        self.inner, self.bill, self.seconds = inner, bill, seconds
        self.name, self.price = inner.name, PRICE

    async def sample(self, ask: Ask) -> Completion:
        with self.bill.open("a") as file:
            file.write(f"{self.name}\n")
        await asyncio.sleep(self.seconds)
        found = await self.inner.sample(ask)
        dollars = PRICE.dollars(0, COSTS)
        usage = found.usage.replace(calls=1, prompt_tokens=0, cached_tokens=0, completion_tokens=COSTS, dollars=dollars)
        return found.replace(usage=usage)


def bench(folder: Path | str, settings: dict[str, object], bill: Path | None = None) -> None:
    """Play the run as ``atlas bench`` does."""
    seconds = float(str(settings.pop("seconds", 0.005)))
    settings["arms"] = tuple(settings["arms"])  # type: ignore[arg-type]
    options = replace(BenchOptions(split=HOMES, embedder="hash", demos=0, concurrency=1), **settings)
    bill = bill or Path(folder).with_suffix(".bill")
    cast = Cast(Paid(Nearest(), bill, seconds), Paid(ScriptedExpert(), bill, seconds))
    of = Bench(suite=Alfworld(), cast=cast, options=options, folder=folder)
    episodes = asyncio.run(of.run())
    sys.stdout.write(json.dumps(sorted((e.arm, e.task.id, e.seed, e.id) for e in episodes)))


def agent(folder: Path, settings: dict[str, object]) -> None:
    """Serve episodes until the budget of all is spent."""
    model = Paid(ScriptedModel("go"), folder.with_suffix(".bill"), 0.005)
    with atlas.Agent(None, model, run=folder, run_budget=atlas.Budget(**settings)) as of:  # type: ignore[arg-type]
        try:
            while True:
                with of.episode(goal="g") as episode:
                    episode.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        except openai.BadRequestError as error:
            assert error.code == "budget_exceeded"


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    {"bench": bench, "agent": agent}[given.pop("kind")](Path(sys.argv[1]), given)
