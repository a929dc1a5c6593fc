from __future__ import annotations

from typing import Any

import instructor
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.clients import QUESTION, Door


class Report(BaseModel):
    """The weather in a city."""

    city: str
    sky: str


async def run(door: Door, api: str, stream: bool) -> str:
    client: Any = instructor.from_openai(door.async_client or AsyncOpenAI())
    asked: dict[str, Any] = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": QUESTION}]}
    if not stream:
        # Its first answer lacks the sky: instructor sends the error back, as the result of a tool.
        report = await client.create(response_model=Report, max_retries=2, **asked)
        return f"It is {report.sky} in {report.city}."
    async for report in client.create_partial(response_model=Report, **asked):
        said = f"It is {report.sky} in {report.city}."
    return said
