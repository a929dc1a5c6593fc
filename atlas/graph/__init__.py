"""The phases of an episode as a LangGraph graph, and the memory as a LangGraph store.

Nothing here is imported until it is asked for: LangGraph takes a second to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from atlas.errors import MissingExtra

if TYPE_CHECKING:
    from atlas.graph.journal import Journal as Journal
    from atlas.graph.phases import Context as Context
    from atlas.graph.phases import State as State
    from atlas.graph.phases import advance as advance
    from atlas.graph.phases import episode_graph as episode_graph
    from atlas.graph.store import MemoryStore as MemoryStore

_HOME = {
    "Journal": "journal",
    "Context": "phases",
    "State": "phases",
    "advance": "phases",
    "episode_graph": "phases",
    "MemoryStore": "store",
}

__all__ = ["Context", "Journal", "MemoryStore", "State", "advance", "episode_graph"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"atlas.graph.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("langgraph", "langchain_core"):
            raise
        raise MissingExtra("the graph of an episode's phases", "langgraph") from error
