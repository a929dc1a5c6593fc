from __future__ import annotations

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients import QUESTION, Door, weather


async def run(door: Door, api: str, stream: bool) -> str:
    kind = OpenAIResponsesModel if api == "responses" else OpenAIChatModel
    model = kind("gpt-4.1-mini", provider=OpenAIProvider(openai_client=door.async_client))
    agent = Agent(model, tools=[weather])
    if not stream:
        return str((await agent.run(QUESTION)).output)
    async with agent.run_stream(QUESTION) as result:
        return str(await result.get_output())
