"""Replies that do not tell what they used: budgets count the most that they may have cost, and runs go on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atlas.asking import Account, Desk
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.budget import Budget, Meter
from atlas.errors import BudgetExceeded, ConfigError
from atlas.loop import Rollout
from atlas.memory.history import outcome
from atlas.policies import LaneRules, Solo
from atlas.records import Ask, Completion, LaneChoice, Price, Reply, Stop, Task, Usage, View, total
from atlas.traces import Run, RunWriter
from atlas.words import dollars
from tests.test_loop import Counting

PRICE = Price(prompt=1.0, completion=10.0)
VIEW = View(task=Task(id="t", goal="g"), opening="o")
OPTIONS = BenchOptions(split=HOMES, arms=("student",), n=4, demos=0, embedder="hash", max_steps=6, concurrency=1)


class Told:
    """A model whose calls use what ``usages`` say, the last one from then on."""

    name, shares_prompt = "told", False

    def __init__(self, *usages: Usage, price: Price | None = PRICE) -> None:
        self.usages = list(usages)
        self.price = price
        self.calls = 0

    async def sample(self, ask: Ask) -> Completion:
        self.calls += 1
        usage = self.usages.pop(0) if len(self.usages) > 1 else self.usages[0]
        return Completion(replies=(Reply(text="Action: look"),), usage=usage)


GOOD = Usage(calls=1, prompt_tokens=100, completion_tokens=10, dollars=0.0002)
UNTOLD = Usage(calls=1, prompt_tokens=100, completion_tokens=1, dollars=None, unmetered=1)
NEGATIVE = Usage(calls=1, prompt_tokens=-1_000_000, completion_tokens=10, dollars=-0.9999)


# --- the meter --------------------------------------------------------------------------------------------------------


async def test_one_reply_without_usage_leaves_a_dollar_budget_in_force() -> None:
    account = Account([Meter(Budget(dollars=1.0), what="run")])
    model = Told(GOOD, UNTOLD, GOOD)
    for _ in range(3):
        await Solo(model).decide(VIEW, Desk(account))
    used = account.meters[0].used
    assert used.dollars is None and used.unmetered == 1, "what is not known is not shown as known"
    # The told calls, and the untold one at a prompt and a reply as long as they may be: 256 tokens at $10.
    assert used.at_most is not None and 0.0004 + 0.00256 < used.at_most < 1.1 * (0.0004 + 0.00256)
    account.check(model)


async def test_untold_replies_spend_a_budget() -> None:
    account = Account([Meter(Budget(dollars=0.01))])
    model = Told(UNTOLD)
    with pytest.raises(BudgetExceeded, match=r"\$0.01 is spent"):
        for _ in range(100):
            await Solo(model).decide(VIEW, Desk(account))
    assert model.calls == 4


async def test_a_missing_price_is_named_only_where_it_is_missing() -> None:
    meter = Meter(Budget(dollars=1.0))
    meter.add(Usage(calls=1, dollars=None, unmetered=1, most=0.5))
    meter.check()
    meter.add(Usage(calls=1, dollars=None))
    with pytest.raises(ConfigError, match="without a price"):
        meter.check()


async def test_negative_usage_lowers_no_spend() -> None:
    account = Account([Meter(Budget(dollars=1.0, tokens=1000))])
    await Solo(Told(GOOD, NEGATIVE)).decide(VIEW, Desk(account))
    await Solo(Told(NEGATIVE)).decide(VIEW, Desk(account))
    used = account.meters[0].used
    assert used.tokens > 110 + 256 and used.at_most is not None and used.at_most > 0.0002 + 0.00256
    assert (used.dollars, used.unmetered) == (None, 1)


def test_sums_keep_what_budgets_count() -> None:
    both = GOOD + Usage(calls=1, dollars=None, unmetered=1, most=0.5)
    assert both.dollars is None and both.at_most == pytest.approx(0.5002)
    assert (GOOD + GOOD).most is None, "nothing more to say where all dollars are known"
    assert (both + Usage(dollars=None)).at_most is None


# --- a run ------------------------------------------------------------------------------------------------------------


def bench(folder: Path, student: Any, **options: Any) -> Bench:
    cast = Cast(student=student, teacher=ScriptedExpert())
    return Bench(suite=Alfworld(), cast=cast, options=replace(OPTIONS, **options), folder=folder)


async def test_a_run_with_untold_replies_ends_and_resumes(tmp_path: Path) -> None:
    first = await bench(tmp_path / "run", Told(GOOD, UNTOLD, GOOD), budget_dollars=0.01).run()
    assert len(first) == 4 and all(e.stop is Stop.MAX_STEPS for e in first)
    again = bench(tmp_path / "run", Told(GOOD), budget_dollars=0.01)
    assert len(await again.run()) == 4


async def test_a_run_that_an_older_build_left_without_dollars_resumes(tmp_path: Path) -> None:
    await bench(tmp_path / "run", Told(GOOD, UNTOLD, GOOD), n=2).run()
    trace = tmp_path / "run" / "trace.jsonl"
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    for event in events:
        for spend in event.get("spend", ()):
            spend["usage"].pop("most", None)
            spend["usage"].pop("unmetered", None)
    trace.write_text("".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events))
    again = bench(tmp_path / "run", Told(GOOD), n=2, budget_dollars=1.0)
    assert len(await again.run()) == 2


async def test_an_error_that_ends_the_run_leaves_no_episode_without_an_end(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run") as writer, pytest.raises(ConfigError, match="has no price"):
        unpriced = Told(GOOD, price=None)
        await Rollout(Counting(), Solo(unpriced), recorder=writer, budget=Budget(dollars=1.0)).play()
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None and stored.result.stop is Stop.CANCELLED, "it is played again, when it can be"


# --- what is shown, and what else counts dollars ----------------------------------------------------------------------


def test_dollars_that_are_not_told_are_shown_as_a_bound_not_as_unpriced() -> None:
    both = GOOD + Usage(calls=1, dollars=None, unmetered=1, most=0.5)
    assert (dollars(both), dollars(both, 2)) == ("≤ $0.500", "≤ $0.250")
    assert (dollars(GOOD), dollars(Usage(dollars=None))) == ("$0.000200", "unpriced")


async def test_one_untold_reply_closes_no_lane_for_a_missing_price(tmp_path: Path) -> None:
    await bench(tmp_path / "run", Told(UNTOLD), n=1).run()
    (episode,) = Run(tmp_path / "run").results()
    kept = outcome(episode.replace(lane="auto"), ())
    assert kept.dollars == total(episode.spend).at_most and kept.dollars is not None
    rules = LaneRules(dollars={"auto": kept.dollars / 2})
    chosen = rules.allow(LaneChoice(lane="auto", reason="like others"), {"auto": kept.dollars})
    assert chosen.lane == "paired" and "spent" in chosen.reason
