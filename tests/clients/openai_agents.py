from __future__ import annotations

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from tests.clients import QUESTION, Door, weather

set_tracing_disabled(True)  # it would send its traces to OpenAI


async def run(door: Door, api: str, stream: bool) -> str:
    kind = OpenAIResponsesModel if api == "responses" else OpenAIChatCompletionsModel
    model = kind(model="gpt-4.1-mini", openai_client=door.async_client or AsyncOpenAI())
    agent = Agent(name="weather", model=model, tools=[function_tool(weather)])
    if not stream:
        return str((await Runner.run(agent, QUESTION)).final_output)
    result = Runner.run_streamed(agent, QUESTION)
    async for _ in result.stream_events():
        pass
    return str(result.final_output)
