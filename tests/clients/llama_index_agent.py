from __future__ import annotations

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai import OpenAI

from tests.clients import QUESTION, Door, weather


async def run(door: Door, api: str, stream: bool) -> str:
    model = OpenAI(model="gpt-4.1-mini", async_openai_client=door.async_client)
    return str(await FunctionAgent(tools=[weather], llm=model, streaming=stream).run(QUESTION))
