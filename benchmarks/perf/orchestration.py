"""What one step costs beyond its model, its environment and its retrieval."""

from __future__ import annotations

import asyncio
import time
from importlib.util import find_spec
from itertools import pairwise

from atlas.benchmarks.perf.instant import ACTIONS, ROOM, InstantHome, InstantModel
from atlas.benchmarks.perf.measured import STEPS, gaps, policies, trace
from atlas.benchmarks.perf.table import Aim, Table, quantile
from atlas.protocols import Policy, Recorder
from atlas.records import Ask, Prompt, View

Row = tuple[str, int, float, float, float]


def measure(episodes: int = 40) -> Table:
    """Microseconds per step over ``episodes`` episodes of 50 steps each, one after the other."""
    rows = [_row("a bare loop: model and environment, no atlas", _bare(episodes))]
    for name, policy in policies(splits=True).items():
        rows.append(_row(f"{name}, no trace", _atlas(policy, episodes)))
    with trace() as recorder:
        for name, policy in policies(splits=True).items():
            rows.append(_row(f"{name}, traced", _atlas(policy, episodes, recorder)))
    traced = rows[-1]
    if find_spec("litellm"):
        rows.append(_row("litellm.completion with a mock reply, one call", _litellm(episodes * 2)))
    return Table(
        name="orchestration",
        title="Orchestration per step, model and environment instant, retrieval nearly",
        columns=("what", "steps", "mean µs", "p50 µs", "p99 µs"),
        rows=tuple(rows),
        aims=(
            Aim(what=f"{traced[0]}: p50 µs", limit=1000, measured=traced[3]),
            Aim(what=f"{traced[0]}: p99 µs", limit=5000, measured=traced[4]),
        ),
        note=f"Episodes of {STEPS} steps, one at a time. Of 3 samples, every third step's disagree.",
    )


def _row(what: str, seconds: list[float]) -> Row:
    micro = [s * 1e6 for s in seconds]
    mean = sum(micro) / len(micro)
    return (what, len(micro), round(mean, 1), round(quantile(micro, 0.5), 1), round(quantile(micro, 0.99), 1))


def _atlas(policy: Policy, episodes: int, recorder: Recorder | None = None) -> list[float]:
    gaps(policy, 1, recorder)  # warms caches up
    return gaps(policy, episodes, recorder)


def _bare(episodes: int) -> list[float]:
    async def play() -> list[float]:
        model, found = InstantModel("bare"), []
        for number in range(episodes):
            home = InstantHome(number)
            ask = Ask(view=View(task=home.task, opening=ROOM, admissible=ACTIONS), prompt=Prompt())
            await home.open()
            for _ in range(STEPS):
                await model.sample(ask)
                await home.step("look")
            found += [later - earlier for earlier, later in pairwise(home.ticks)]
        return found

    return asyncio.run(play())


def _litellm(calls: int) -> list[float]:
    import os

    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    seconds = []
    for number in range(calls + 5):
        began = time.perf_counter()
        litellm.completion(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": ROOM}],
            mock_response="Action: look",
        )
        if number >= 5:
            seconds.append(time.perf_counter() - began)
    return seconds
