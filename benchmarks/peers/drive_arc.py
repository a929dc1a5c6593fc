"""Sessions of arc-atlas, by its own entry point and configuration. Run as a program, in an environment of its own.

There ``atlas`` is another package. It is asked without storage: the wheel of 0.1.16 lacks the file of its tables.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    plan = json.loads(sys.argv[1])
    logging.disable(logging.CRITICAL)
    arun: Any = import_module("atlas.core").arun
    config = Path(plan["place"]) / "config.yaml"
    config.write_text(json.dumps(_config(plan)), encoding="utf-8")  # JSON is YAML
    told: dict[str, Any] = {"answers": {}}

    async def all_of_them() -> None:
        bound = asyncio.Semaphore(plan["at_once"])

        async def one(number: int) -> None:
            async with bound:
                try:
                    found = await arun(f"Give the code of ticket {number}.", str(config), stream_progress=False)
                    told["answers"][number] = str(found.final_answer)
                except Exception as error:  # what a session came to is the measurement
                    told["answers"][number] = f"{type(error).__name__}: {error}"

        await asyncio.gather(*(one(number) for number in plan["sessions"]))

    asyncio.run(all_of_them())
    told["kept"] = told["doubled"] = None
    print(json.dumps(told))


def _config(plan: dict[str, Any]) -> dict[str, Any]:
    def model(role: str) -> dict[str, Any]:
        return {"provider": "openai", "model": f"openai/{role}", "api_base": plan["url"], "timeout_seconds": 60}

    return {
        "agent": {"type": "litellm", "name": "desk", "system_prompt": "Answer.", "tools": [], "llm": model("student")},
        "teacher": {"llm": model("teacher")},
        "rim": {"small_model": model("judge"), "large_model": model("arbiter")},
        "learning": {"llm": model("learner")},
        "adaptive_teaching": {"probe": {"llm": model("router")}},
    }


if __name__ == "__main__":
    main()
