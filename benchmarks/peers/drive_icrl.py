"""Sessions of icrl-py: its agent in a world of one step, its provider and its folder. Run as a program, in an
environment of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


class World:
    """Is content with the right code."""

    def __init__(self, number: int) -> None:
        self._number = number

    def reset(self, goal: str) -> str:
        return "A desk."

    def step(self, action: str) -> tuple[str, bool, bool]:
        return "Sent.", True, f"is {self._number}." in action


def main() -> None:
    plan = json.loads(sys.argv[1])
    icrl: Any = import_module("icrl")
    place = Path(plan["place"]) / "trajectories"
    llm = icrl.LiteLLMProvider(model="openai/student", api_base=plan["url"])
    told: dict[str, Any] = {"answers": {}}
    prompts = {
        "plan_prompt": "Examples:\n{examples}\n\nPlan: {goal}",
        "reason_prompt": "Examples:\n{examples}\n\nPlan: {plan}\nSeen: {observation}\nThink: {goal}",
        "act_prompt": "Plan: {plan}\nThought: {reasoning}\nAct: {goal}",
    }

    def agent() -> Any:
        return icrl.Agent(llm=llm, db_path=str(place), max_steps=3, **prompts)

    done = {found.goal for found in agent().database.get_all()} if place.exists() else set()
    shared = agent()

    async def all_of_them() -> None:
        bound = asyncio.Semaphore(plan["at_once"])

        async def one(number: int) -> None:
            async with bound:
                try:
                    found = await shared.train(World(number), f"Give the code of ticket {number}.")
                    told["answers"][number] = found.steps[-1].action
                except Exception as error:  # what a session came to is the measurement
                    told["answers"][number] = f"{type(error).__name__}: {error}"

        wanted = [number for number in plan["sessions"] if f"Give the code of ticket {number}." not in done]
        await asyncio.gather(*(one(number) for number in wanted))

    asyncio.run(all_of_them())
    kept = [found.goal for found in agent().database.get_all()]  # as another process reads it
    told["kept"], told["doubled"] = len(kept), len(kept) - len(set(kept))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
