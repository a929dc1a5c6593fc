from __future__ import annotations

import asyncio
from typing import Any

from minisweagent.agents.default import DefaultAgent
from minisweagent.environments.local import LocalEnvironment
from minisweagent.models.litellm_model import LitellmModel

from tests.clients import QUESTION, Door


async def run(door: Door, api: str, stream: bool) -> str:
    model = LitellmModel(model_name="openai/gpt-4.1-mini", cost_tracking="ignore_errors")
    agent: Any = DefaultAgent(
        model, LocalEnvironment(), system_template="You use bash.", instance_template="{{task}}", step_limit=5
    )
    return str((await asyncio.to_thread(agent.run, QUESTION))["submission"]).strip()
