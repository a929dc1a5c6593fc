from __future__ import annotations

import asyncio
import os

from smolagents import OpenAIModel, ToolCallingAgent, tool

from tests.clients import QUESTION, Door, weather


async def run(door: Door, api: str, stream: bool) -> str:
    model = OpenAIModel("gpt-4.1-mini", api_base=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
    agent = ToolCallingAgent(tools=[tool(weather)], model=model, stream_outputs=stream, verbosity_level=0)
    return str(await asyncio.to_thread(agent.run, QUESTION))
