"""A memory as tools of the Model Context Protocol, for agents that know nothing of atlas: ``atlas mcp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas.errors import MissingExtra
from atlas.lazy import lazily

if TYPE_CHECKING:
    from atlas.mcp.http import serve_http
    from atlas.mcp.server import memory_server, serve_stdio
    from atlas.mcp.tools import MemoryTools

__all__ = ["MemoryTools", "memory_server", "serve_http", "serve_stdio"]

_get, __dir__ = lazily(
    __name__,
    {
        "atlas.mcp.http": "serve_http",
        "atlas.mcp.server": "memory_server serve_stdio",
        "atlas.mcp.tools": "MemoryTools",
    },
)


def __getattr__(name: str) -> Any:
    try:
        return _get(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types", "anyio", "starlette"):
            raise
        raise MissingExtra("a memory as tools of the Model Context Protocol", "mcp") from error
