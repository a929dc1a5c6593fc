"""Sessions of this package: an agent wrapped round one call, with a memory, a run and a teacher. Run as a program."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from atlas.traces import Run
from atlas.wrap import Agent


def main() -> None:
    plan = json.loads(sys.argv[1])
    place, url = Path(plan["place"]), plan["url"]
    run = place / "run"
    told: dict[str, Any] = {"answers": {}}
    done = _done(run)
    with Agent(
        f"openai/student@{url}",
        f"openai/teacher@{url}",
        memory=place / "memory.sqlite",
        embedder="hash",
        run=run,
        audit=0,
    ) as agent:
        bound = asyncio.Semaphore(plan["at_once"])

        async def one(number: int) -> None:
            goal = f"Give the code of ticket {number}."
            async with bound:
                try:
                    with agent.episode(goal=goal, task=f"ticket-{number}") as episode:
                        asked: Any = [{"role": "user", "content": goal}]
                        said = await episode.async_client.chat.completions.create(model="any", messages=asked)
                        text = str(said.choices[0].message.content)
                        episode.score(float(f"is {number}." in text))
                    told["answers"][number] = text
                except Exception as error:  # what a session came to is the measurement
                    told["answers"][number] = f"{type(error).__name__}: {error}"

        async def all_of_them() -> None:
            await asyncio.gather(*(one(number) for number in plan["sessions"] if f"ticket-{number}" not in done))

        asyncio.run(all_of_them())

    finished = [episode.task.id for episode in Run(run).episodes() if episode.result is not None]
    told["kept"], told["doubled"] = len(finished), len(finished) - len(set(finished))
    print(json.dumps(told))


def _done(run: Path) -> set[str]:
    if not (run / "run.json").exists():
        return set()
    return {e.task.id for e in Run(run).episodes() if e.result is not None}


if __name__ == "__main__":
    main()
