"""The Agent Trajectory Interchange Format, v1.7 (Harbor's RFC 0001): the fields that are read and written here.

Unknown fields are passed over, so that trajectories of other versions of v1 are read as well.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

VERSION = "ATIF-v1.7"


class Lenient(BaseModel):
    """Immutable; what it does not know is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Part(Lenient):
    """A piece of a message: text, or a reference to something else."""

    type: str
    text: str | None = None
    source: dict[str, Any] | None = None


Content = str | tuple[Part, ...]


class Call(Lenient):
    """A tool call; ``arguments`` is an object."""

    tool_call_id: str
    function_name: str
    arguments: dict[str, Any]
    extra: dict[str, Any] | None = None


class Reference(Lenient):
    """Where the trajectory of a subagent lies: embedded in this document, or in a file of its own."""

    trajectory_id: str | None = None
    trajectory_path: str | None = None


class Result(Lenient):
    """What a tool call, or another action, returned."""

    source_call_id: str | None = None
    content: Content | None = None
    subagent_trajectory_ref: tuple[Reference, ...] | None = None


class Observed(Lenient):
    """What came back after a step."""

    results: tuple[Result, ...]


class Metrics(Lenient):
    """Tokens and dollars of a step; ``cached_tokens`` are part of ``prompt_tokens``."""

    prompt_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)
    cached_tokens: int | None = Field(default=None, ge=0)
    cost_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class Turn(Lenient):
    """A step of a trajectory: a system or user message, or a turn of the agent."""

    step_id: int = Field(ge=1)
    timestamp: str | None = None
    source: Literal["system", "user", "agent"]
    model_name: str | None = None
    message: Content
    reasoning_content: str | None = None
    tool_calls: tuple[Call, ...] | None = None
    observation: Observed | None = None
    metrics: Metrics | None = None
    extra: dict[str, Any] | None = None
    is_copied_context: bool | None = None
    llm_call_count: int | None = Field(default=None, ge=0)
    """0 where a program, and no model, chose the step; above 1 the metrics are those of all the calls."""


class Agent(Lenient):
    """Who acted."""

    name: str
    version: str
    model_name: str | None = None
    tool_definitions: tuple[dict[str, Any], ...] | None = None
    extra: dict[str, Any] | None = None


class FinalMetrics(Lenient):
    """Totals of a trajectory."""

    total_prompt_tokens: int | None = Field(default=None, ge=0)
    total_completion_tokens: int | None = Field(default=None, ge=0)
    total_cached_tokens: int | None = Field(default=None, ge=0)
    total_cost_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    total_steps: int | None = None


class Trajectory(Lenient):
    """A whole document."""

    schema_version: str = Field(pattern=r"^ATIF-v1\.\d+$")
    session_id: str | None = None
    trajectory_id: str | None = None
    agent: Agent
    steps: tuple[Turn, ...]
    final_metrics: FinalMetrics | None = None
    continued_trajectory_ref: str | None = None
    """The file in which the run goes on."""
    extra: dict[str, Any] | None = None
    subagent_trajectories: tuple[Trajectory, ...] | None = None


def text_of(content: Content | None) -> str:
    """The text of a message; what is no text stands in it as its kind and where it lies."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(
        part.text if part.text is not None else f"[{part.type}: {(part.source or {}).get('path', '')}]"
        for part in content
    )
