"""Models, environments and memories that answer at once, shaped like a household game.

What a game never says twice is not said twice here: each sample words its thought in its own way, what can be done
changes from step to step, and each search gives new windows around demonstrations that the memory holds. What is
remembered from one step to the next helps here as far as it helps in a game.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from atlas.records import (
    Ask,
    Completion,
    DemoStep,
    Observation,
    Price,
    Reply,
    Task,
    Usage,
    View,
    Window,
)

INSTRUCTIONS = "You are in a house. Each step you take one action and see what happens. " * 12
ROOM = "You arrive at countertop 1. On the countertop 1, you see a bread 1, a butterknife 2, a fork 1, and a mug 3."
ACTIONS = (*(f"go to cabinet {i}" for i in range(1, 21)), "look", "inventory", "take mug 3 from countertop 1")
PRICE = Price(prompt=1.0, completion=1.0, note="made up for this measurement")


class InstantModel:
    """Picks an admissible action by step number; ``latency`` seconds later where one is set.

    The samples of every third step disagree, so that a cascade asks its teacher there.
    """

    def __init__(self, name: str, *, latency: float = 0.0, splits: bool = False) -> None:
        self.name = name
        self.price: Price | None = PRICE
        self.shares_prompt = True
        self.latency = latency
        self.splits = splits

    async def sample(self, ask: Ask) -> Completion:
        if self.latency:
            await asyncio.sleep(self.latency)
        index = ask.view.index
        apart = self.splits and index % 3 == 2
        texts = [
            f"Thought: it may be there, guess {i} after {index}.\nAction: {ACTIONS[(index + i * apart) % 20]}"
            for i in range(ask.n)
        ]
        usage = Usage(calls=1, prompt_tokens=900, completion_tokens=20 * ask.n, dollars=PRICE.dollars(900, 20 * ask.n))
        return Completion(replies=tuple(Reply(text=text) for text in texts), usage=usage)


class InstantHome:
    """An environment that is never done; ``ticks`` are the moments (seconds) at which it was asked to act."""

    def __init__(self, number: int) -> None:
        self.task = Task(
            id=f"home-{number}", goal="put a clean mug in the coffeemachine", family="clean", instructions=INSTRUCTIONS
        )
        self.number = number
        self.ticks: list[float] = []

    async def open(self) -> Observation:
        return Observation(text=ROOM, admissible=self._admissible(), score=0.0)

    async def step(self, action: str) -> Observation:
        self.ticks.append(time.perf_counter())
        return Observation(text=f"{ROOM} ({action})", admissible=self._admissible(), score=0.0)

    async def close(self) -> None: ...

    def _admissible(self) -> tuple[str, ...]:
        return (*ACTIONS[:-1], f"take mug {len(self.ticks)} from shelf {self.number}")


class InstantDemos:
    """Ten trajectories; a search gives the ``k`` first of them, five steps each from where the episode is."""

    def __init__(self) -> None:
        self._demos = tuple(
            tuple(
                DemoStep(observation=f"{ROOM} ({demo}, {i})", action=ACTIONS[i % 20], thought=f"it may be there, {i}")
                for i in range(30)
            )
            for demo in range(10)
        )

    def search(self, view: View, k: int) -> Sequence[Window]:
        return [self._window(demo, view.index % 26, 5) for demo in range(min(k, 10))]

    def similar(self, view: View, k: int) -> Sequence[Window]:
        return [self._window(demo, 0, 30) for demo in range(min(k, 10))]

    def config(self) -> dict[str, object]:
        return {"demos": "instant"}

    def _window(self, demo: int, start: int, length: int) -> Window:
        return Window(
            demo_id=f"demo-{demo}",
            task_id=f"task-{demo}",
            goal="put a mug away",
            steps=self._demos[demo][start : start + length],
            start=start,
            best=2,
            score=0.9,
        )
