"""The loop, and the phases of an episode, as LangGraph graphs, and the memory as a LangGraph store.

Nothing here is imported until it is asked for: LangGraph takes a second to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas.errors import MissingExtra
from atlas.lazy import lazily

if TYPE_CHECKING:
    from atlas.graph.journal import Journal
    from atlas.graph.loop import LoopContext, LoopState, loop_graph, looped, streamed
    from atlas.graph.phases import Context, State, advance, episode_graph
    from atlas.graph.saver import checkpoints
    from atlas.graph.store import MemoryStore

__all__ = [
    "Context",
    "Journal",
    "LoopContext",
    "LoopState",
    "MemoryStore",
    "State",
    "advance",
    "checkpoints",
    "episode_graph",
    "loop_graph",
    "looped",
    "streamed",
]

_get, __dir__ = lazily(
    __name__,
    {
        "atlas.graph.journal": "Journal",
        "atlas.graph.loop": "LoopContext LoopState loop_graph looped streamed",
        "atlas.graph.phases": "Context State advance episode_graph",
        "atlas.graph.saver": "checkpoints",
        "atlas.graph.store": "MemoryStore",
    },
)


def __getattr__(name: str) -> Any:
    try:
        return _get(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("langgraph", "langchain_core"):
            raise
        raise MissingExtra("the graph of an episode's phases", "langgraph") from error
