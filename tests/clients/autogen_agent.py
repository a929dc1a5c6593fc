from __future__ import annotations

from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient

from tests.clients import QUESTION, Door, weather


async def run(door: Door, api: str, stream: bool) -> str:
    model = OpenAIChatCompletionClient(model="gpt-4.1-mini")
    agent = AssistantAgent(
        "weather", model_client=model, tools=[weather], model_client_stream=stream, reflect_on_tool_use=True
    )
    said: list[Any] = [piece async for piece in agent.run_stream(task=QUESTION)]
    return str(said[-1].messages[-1].content)
