"""atlas: agents that get better and cheaper while they run.

Everything named here is loaded when it is first used: importing the package loads none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from atlas.actions import ChatActions as ChatActions
    from atlas.actions import TextActions as TextActions
    from atlas.budget import Budget as Budget
    from atlas.errors import AtlasError as AtlasError
    from atlas.errors import BudgetExceeded as BudgetExceeded
    from atlas.errors import ConfigError as ConfigError
    from atlas.errors import ModelError as ModelError
    from atlas.loop import Rollout as Rollout
    from atlas.memory import Demonstration as Demonstration
    from atlas.memory import DemonstrationStore as DemonstrationStore
    from atlas.memory import Memory as Memory
    from atlas.memory.pamphlet import Entry as Entry
    from atlas.memory.pamphlets import PamphletStore as PamphletStore
    from atlas.models import load as load
    from atlas.policies import Cascade as Cascade
    from atlas.policies import Guided as Guided
    from atlas.policies import RandomRoute as RandomRoute
    from atlas.policies import Recall as Recall
    from atlas.policies import Solo as Solo
    from atlas.protocols import Demonstrations as Demonstrations
    from atlas.protocols import Environment as Environment
    from atlas.protocols import Model as Model
    from atlas.protocols import Pamphlets as Pamphlets
    from atlas.protocols import Policy as Policy
    from atlas.records import Ask as Ask
    from atlas.records import Completion as Completion
    from atlas.records import Decision as Decision
    from atlas.records import DemoStep as DemoStep
    from atlas.records import Episode as Episode
    from atlas.records import Message as Message
    from atlas.records import Observation as Observation
    from atlas.records import Price as Price
    from atlas.records import Prompt as Prompt
    from atlas.records import Reply as Reply
    from atlas.records import Spend as Spend
    from atlas.records import Step as Step
    from atlas.records import Stop as Stop
    from atlas.records import Task as Task
    from atlas.records import ToolCall as ToolCall
    from atlas.records import Turn as Turn
    from atlas.records import Usage as Usage
    from atlas.records import View as View
    from atlas.records import Window as Window
    from atlas.runner import Job as Job
    from atlas.runner import play as play
    from atlas.traces.reader import Run as Run
    from atlas.traces.writer import RunWriter as RunWriter
    from atlas.wrap import Agent as Agent
    from atlas.wrap import episode as episode

_NAMES = {
    "atlas.actions": "ChatActions TextActions",
    "atlas.budget": "Budget",
    "atlas.errors": "AtlasError BudgetExceeded ConfigError ModelError",
    "atlas.loop": "Rollout",
    "atlas.memory": "Demonstration DemonstrationStore Memory",
    "atlas.memory.pamphlet": "Entry",
    "atlas.memory.pamphlets": "PamphletStore",
    "atlas.models": "load",
    "atlas.policies": "Cascade Guided RandomRoute Recall Solo",
    "atlas.protocols": "Demonstrations Environment Model Pamphlets Policy",
    "atlas.records": "Ask Completion Decision DemoStep Episode Message Observation Price Prompt Reply Spend Step Stop "
    "Task ToolCall Turn Usage View Window",
    "atlas.runner": "Job play",
    "atlas.traces.reader": "Run",
    "atlas.traces.writer": "RunWriter",
    "atlas.wrap": "Agent episode",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'atlas' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
