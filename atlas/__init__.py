"""atlas: agents that get better and cheaper while they run.

Everything named here is loaded when it is first used: importing the package loads none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazily

__version__ = "0.1.0"

if TYPE_CHECKING:
    from atlas.actions import ChatActions, TextActions
    from atlas.asking import Desk
    from atlas.budget import Budget
    from atlas.errors import AtlasError, BudgetExceeded, ConfigError, ModelError
    from atlas.evaluators import Case, EnsembleJudge, Judge, ModelJudge, Verdict
    from atlas.loop import Rollout
    from atlas.memory import Demonstration, DemonstrationStore, Memory
    from atlas.memory.history import History
    from atlas.memory.pamphlet import Entry
    from atlas.memory.pamphlets import PamphletStore
    from atlas.models import load
    from atlas.policies import (
        Cascade,
        Coach,
        Guarded,
        Guided,
        InLane,
        LaneRules,
        Lanes,
        Paired,
        Probe,
        RandomRoute,
        Recall,
        Replayed,
        Select,
        Solo,
        TeacherReview,
        Watch,
    )
    from atlas.protocols import Demonstrations, Environment, Model, Pamphlets, Policy
    from atlas.records import (
        Ask,
        Completion,
        Decision,
        DemoStep,
        Episode,
        Message,
        Observation,
        Price,
        Prompt,
        Reply,
        Spend,
        Step,
        Stop,
        Task,
        ToolCall,
        Turn,
        Usage,
        View,
        Window,
    )
    from atlas.runner import Job, play
    from atlas.traces.reader import Run
    from atlas.traces.writer import RunWriter
    from atlas.trust import Trust
    from atlas.wrap import Agent, episode

__all__ = [
    "Agent",
    "Ask",
    "AtlasError",
    "Budget",
    "BudgetExceeded",
    "Cascade",
    "Case",
    "ChatActions",
    "Coach",
    "Completion",
    "ConfigError",
    "Decision",
    "DemoStep",
    "Demonstration",
    "DemonstrationStore",
    "Demonstrations",
    "Desk",
    "EnsembleJudge",
    "Entry",
    "Environment",
    "Episode",
    "Guarded",
    "Guided",
    "History",
    "InLane",
    "Job",
    "Judge",
    "LaneRules",
    "Lanes",
    "Memory",
    "Message",
    "Model",
    "ModelError",
    "ModelJudge",
    "Observation",
    "Paired",
    "PamphletStore",
    "Pamphlets",
    "Policy",
    "Price",
    "Probe",
    "Prompt",
    "RandomRoute",
    "Recall",
    "Replayed",
    "Reply",
    "Rollout",
    "Run",
    "RunWriter",
    "Select",
    "Solo",
    "Spend",
    "Step",
    "Stop",
    "Task",
    "TeacherReview",
    "TextActions",
    "ToolCall",
    "Trust",
    "Turn",
    "Usage",
    "Verdict",
    "View",
    "Watch",
    "Window",
    "__version__",
    "episode",
    "load",
    "play",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "atlas.actions": "ChatActions TextActions",
        "atlas.asking": "Desk",
        "atlas.budget": "Budget",
        "atlas.errors": "AtlasError BudgetExceeded ConfigError ModelError",
        "atlas.evaluators": "Case EnsembleJudge Judge ModelJudge Verdict",
        "atlas.loop": "Rollout",
        "atlas.memory": "Demonstration DemonstrationStore Memory",
        "atlas.memory.history": "History",
        "atlas.memory.pamphlet": "Entry",
        "atlas.memory.pamphlets": "PamphletStore",
        "atlas.models": "load",
        "atlas.policies": "Cascade Coach Guarded Guided InLane LaneRules Lanes Paired Probe RandomRoute Recall "
        "Replayed Select Solo TeacherReview Watch",
        "atlas.protocols": "Demonstrations Environment Model Pamphlets Policy",
        "atlas.records": "Ask Completion Decision DemoStep Episode Message Observation Price Prompt Reply Spend Step "
        "Stop Task ToolCall Turn Usage View Window",
        "atlas.runner": "Job play",
        "atlas.traces.reader": "Run",
        "atlas.traces.writer": "RunWriter",
        "atlas.trust": "Trust",
        "atlas.wrap": "Agent episode",
    },
)
