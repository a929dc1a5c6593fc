"""A provider that fails 30 % of its calls: what a run of many episodes comes to, and whether it knows what it paid."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.benchmarks.perf.table import Aim, Cell, Table
from atlas.benchmarks.reliability.plan import Plan, scratch
from atlas.benchmarks.reliability.upstream import (
    COMPLETION,
    FAULTS,
    PAID,
    PROMPT,
    UNTOLD,
    failing,
    providing,
)
from atlas.copying.nearest import Nearest
from atlas.models.hosted import Hosted
from atlas.models.retry import Retry
from atlas.records import Price, Stop, Usage, total
from atlas.traces import Run

USUAL = 40
SHARE = 0.3
PRICE = Price(prompt=1.0, completion=2.0)
STEPS = 8
ALL = "all kinds"
ENOUGH = 8
"""The budget of a run that is to finish, in what it would cost if nothing failed: a call that does not tell what it
took counts as the most that it can be."""
TIMEOUT = 2.0
"""Seconds of an attempt: what a hang costs."""
RETRY = Retry(retries=6, base=0.05, longest=1.0)
IN_FLIGHT = 16
MOST = PRICE.dollars(4000, 256)
"""Dollars of a call at the most: what a budget that is spent may be exceeded by, for each episode under way."""


def measure(plan: Plan) -> Table:
    """``plan.n`` episodes with a failing provider, as many with each kind of failure alone, and one run that its budget
    ends."""
    episodes = plan.size(USUAL)
    whole = episodes * STEPS * PRICE.dollars(PROMPT, COMPLETION)
    ways: dict[str, tuple[tuple[str, ...], int, float | None]] = {ALL: (FAULTS, episodes, ENOUGH * whole)}
    ways[f"{ALL}, half the budget"] = FAULTS, episodes, whole / 2
    ways |= {fault: ((fault,), max(2, episodes // 10), None) for fault in FAULTS}
    rows: list[tuple[Cell, ...]] = []
    off = wrong = 0
    for name, (faults, count, budget) in ways.items():
        if not plan.wanted(name) or plan.late:
            continue
        found = _played(plan.chance(name), faults, count, budget)
        rows.append((name, *found.row()))
        off += found.off
        wrong += found.over + (count - found.finished) * (budget != whole / 2)
        plan.said(f"{name}: {found.billed} calls")
    return Table(
        name="provider",
        title=f"A provider that fails {SHARE:.0%} of its calls",
        columns=(
            "failures",
            "episodes",
            "finished",
            "calls billed / known",
            "untold billed / known",
            "failures made / recorded",
            "told $",
            "known $",
            "at most $",
        ),
        rows=tuple(rows),
        aims=(
            Aim(what="calls and failures that the account does not have as the bill has them", limit=0, measured=off),
            Aim(
                what="episodes that did not finish, dollars beyond a budget but for calls under way",
                limit=0,
                measured=wrong,
            ),
        ),
        note=(
            f"Episodes of {STEPS} steps, {IN_FLIGHT} at once, {RETRY.retries} retries, {TIMEOUT:g} s for an answer. "
            "Billed is what a provider takes and works on, whatever comes of its answer; untold is what is billed "
            "without a word of how much: its dollars are estimated or unknown ('-'), and a budget counts the most that "
            "they can be."
        ),
    )


@dataclass(frozen=True)
class _Found:
    """What came of one run, by the provider's bill and by the run's account."""

    bill: Counter[str]
    known: Usage
    finished: int
    wanted: int
    budget: float | None

    @property
    def billed(self) -> int:
        return sum(self.bill[kind] for kind in PAID)

    @property
    def untold(self) -> int:
        return sum(self.bill[kind] for kind in UNTOLD)

    @property
    def failures(self) -> int:
        """The answer without its usage is one."""
        return sum(self.bill[kind] for kind in FAULTS if kind != "no usage")

    @property
    def told(self) -> float:
        """Dollars of the answers that told their tokens."""
        return (self.billed - self.untold) * PRICE.dollars(PROMPT, COMPLETION)

    @property
    def off(self) -> int:
        """Calls, failures and told answers that differ; and dollars, where all were told."""
        apart = abs(self.billed - self.known.calls) + abs(self.untold - self.known.unmetered)
        dollars = not self.untold and (self.known.dollars is None or abs(self.known.dollars - self.told) > 1e-9)
        return apart + abs(self.failures - self.known.failed) + dollars

    @property
    def over(self) -> bool:
        """Whether more was spent than the budget, beyond a call of each episode under way."""
        most = self.known.at_most
        if self.budget is None:
            return False
        return most is None or most > self.budget + IN_FLIGHT * MOST

    def row(self) -> tuple[Cell, ...]:
        known, most = self.known.dollars, self.known.at_most
        return (
            self.wanted,
            self.finished,
            f"{self.billed} / {self.known.calls}",
            f"{self.untold} / {self.known.unmetered}",
            f"{self.failures} / {self.known.failed}",
            round(self.told, 6),
            None if known is None else round(known, 6),
            None if most is None else round(most, 6),
        )


def _played(chance: Random, faults: tuple[str, ...], count: int, budget: float | None) -> _Found:
    """Play so many episodes of generated homes."""
    logging.getLogger("atlas.models").setLevel(logging.ERROR)
    with scratch() as folder, providing(folder, failing(SHARE, chance, faults), _said) as upstream:
        teacher = Hosted("openai/own", base_url=upstream.url, api_key="none", price=PRICE, timeout=TIMEOUT, retry=RETRY)
        options = BenchOptions(
            split=HOMES,
            arms=("teacher",),
            n=count,
            demos=0,
            embedder="hash",
            max_steps=STEPS,
            concurrency=IN_FLIGHT,
            budget_dollars=budget,
        )
        bench = Bench(
            suite=Alfworld(), cast=Cast(student=Nearest(), teacher=teacher), options=options, folder=folder / "run"
        )
        asyncio.run(bench.run())
        stored = Run(folder / "run").episodes()
        good = [e for e in stored if e.result is not None and e.result.stop in (Stop.DONE, Stop.MAX_STEPS)]
        known = total(s for e in stored for s in e.spend)
        return _Found(Counter(upstream.billed()), known, len(good), count, budget)


def _said(asked: Mapping[str, Any], number: int) -> str:
    return "Thought: look about.\nAction: look"
