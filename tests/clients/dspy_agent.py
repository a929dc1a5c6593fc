from __future__ import annotations

from typing import Any

import dspy

from tests.clients import QUESTION, Door, weather


async def run(door: Door, api: str, stream: bool) -> str:
    with dspy.context(lm=dspy.LM("openai/gpt-4.1-mini", cache=False)):
        agent: Any = dspy.ReAct("question -> answer", tools=[weather])
        if not stream:
            return str((await agent.acall(question=QUESTION)).answer)
        said: list[Any] = [piece async for piece in dspy.streamify(agent)(question=QUESTION)]
        return str(said[-1].answer)
