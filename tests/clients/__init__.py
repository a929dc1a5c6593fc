"""Agents of other frameworks, as their users write them: each asks for the weather, calls a tool, and answers.

``run(door, api, stream)`` gives the answer. ``door`` has the clients of an episode; over HTTP they are None, and the
framework makes its own from the environment, as it does without atlas. Which of them there are is in ``CLIENTS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

QUESTION = "What is the weather in Rome?"
SEEN = "sunny, 21 degrees"
ANSWER = "It is sunny in Rome."


@dataclass(frozen=True)
class Door:
    """How a framework reaches atlas."""

    client: Any = None
    async_client: Any = None
    anthropic: Any = None
    async_anthropic: Any = None


@dataclass(frozen=True)
class Client:
    """A row of the table."""

    module: str
    """Below ``tests.clients``, or a file of the folder for Node."""
    packages: tuple[str, ...]
    """The first is what the row is called by."""
    where: str = "openai3"
    """The environment below ``.venv-clients``. There are several, as these frameworks want other versions of the client
    library."""
    apis: tuple[str, ...] = ("chat",)
    inside: bool = True
    """Whether it accepts a client, so that it runs in one process with atlas."""
    streams: tuple[bool, ...] = (False, True)
    steps: int = 2
    """How often it calls the model."""
    outcome: str = SEEN
    """What the first of these brought."""
    models: tuple[str, ...] = ("",)
    """Of a command: the names of models that it is run with; its own where empty."""
    once: bool = False
    """Whether it calls it once alone where it streams."""


CLIENTS = (
    Client("openai_agents", ("openai-agents",), apis=("responses", "chat")),
    Client("pydantic_ai_agent", ("pydantic-ai-slim",), apis=("chat", "responses")),
    Client("smolagents_agent", ("smolagents",), inside=False),
    Client("langgraph_agent", ("langchain", "langchain-openai", "langgraph"), apis=("chat", "responses")),
    Client("instructor_agent", ("instructor",), outcome="Field required", once=True),
    Client("autogen_agent", ("autogen-agentchat", "autogen-ext"), inside=False),
    Client("agent_framework_agent", ("agent-framework-openai",), apis=("responses", "chat")),
    Client("inspect_agent", ("inspect_ai",), where="inspect", apis=("chat", "responses"), inside=False),
    Client("anthropic_loop", ("anthropic",), apis=("messages",)),
    Client("llama_index_agent", ("llama-index-llms-openai",), where="openai2"),
    Client("dspy_agent", ("dspy",), where="openai2", inside=False, steps=3),
    Client("mini_agent", ("mini-swe-agent",), where="openai2", inside=False, streams=(False,)),
)
"""All that are written in Python."""

NODE = (
    Client("openai_node.mjs", ("openai",), where="openai3", inside=False),
    Client("ai_sdk.mjs", ("ai",), where="openai3", apis=("responses", "chat", "compatible", "messages"), inside=False),
)
"""All that are run by Node. Atlas itself runs in the environment of Python that they name."""

COMMANDS = (
    Client(
        "codex.sh",
        ("@openai/codex",),
        where="openai3",
        apis=("responses",),
        inside=False,
        streams=(True,),
        models=("", "gpt-5.1-codex"),
    ),
    Client(
        "claude.sh", ("@anthropic-ai/claude-code",), where="openai3", apis=("messages",), inside=False, streams=(True,)
    ),
)
"""Command-line agents, run by ``atlas run``."""


def weather(city: str) -> str:
    """The weather in a city now.

    Args:
        city: Its name.
    """
    return SEEN
