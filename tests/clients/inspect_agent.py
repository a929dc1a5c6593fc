from __future__ import annotations

from typing import Any

from inspect_ai.model import ChatMessageUser, get_model
from inspect_ai.tool import tool

from tests.clients import QUESTION, SEEN, Door


@tool  # type: ignore[untyped-decorator]
def weather() -> Any:
    async def execute(city: str) -> str:
        """The weather in a city now.

        Args:
            city: Its name.
        """
        return SEEN

    return execute


async def run(door: Door, api: str, stream: bool) -> str:
    model = get_model("openai/gpt-4.1-mini", memoize=False, streaming=stream, responses_api=api == "responses")
    _, output = await model.generate_loop([ChatMessageUser(content=QUESTION)], tools=[weather()])
    return output.completion
