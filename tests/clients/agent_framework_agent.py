from __future__ import annotations

from typing import Any

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient

from tests.clients import QUESTION, Door, weather


async def run(door: Door, api: str, stream: bool) -> str:
    kind: Any = OpenAIChatClient if api == "responses" else OpenAIChatCompletionClient
    given = {"async_client": door.async_client} if door.async_client is not None else {}
    agent: Any = Agent(client=kind(model="gpt-4.1-mini", **given), tools=[weather])
    if not stream:
        return str((await agent.run(QUESTION)).text)
    streamed = agent.run(QUESTION, stream=True)
    async for _ in streamed:
        pass
    return str((await streamed.get_final_response()).text)
