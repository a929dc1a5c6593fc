from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

from tests.clients import QUESTION, Door, weather


async def run(door: Door, api: str, stream: bool) -> str:
    responses = api == "responses"
    given: dict[str, Any] = {}
    if door.client is not None:
        given = {"root_client": door.client, "root_async_client": door.async_client}
        given |= {"client": door.client.chat.completions, "async_client": door.async_client.chat.completions}
    model = ChatOpenAI(model="gpt-4.1-mini", use_responses_api=responses, streaming=stream, **given)
    agent: Any = create_agent(model, tools=[weather])
    asked = {"messages": [{"role": "user", "content": QUESTION}]}
    if not stream:
        return str((await agent.ainvoke(asked))["messages"][-1].text)
    said = ""
    async for piece, _ in agent.astream(asked, stream_mode="messages"):
        said += piece.text if piece.type == "AIMessageChunk" else ""
    return said
