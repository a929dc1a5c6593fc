"""``atlas mcp``: a memory as tools, for agents that speak the Model Context Protocol."""

from __future__ import annotations

import click

from atlas.cli.memory_common import MEMORY, memory_at, missing
from atlas.errors import ConfigError, StoreError


@click.command(name="mcp")
@click.argument("memory", type=str)
@click.option("--embedder", default="minilm", show_default=True, help="minilm, hash, or sentence-transformers/NAME.")
@click.option("--by", default="", help="Who the agent is, for the log of versions.")
@click.option("--create", is_flag=True, help="Make the memory where there is none.")
def command(memory: str, embedder: str, by: str, create: bool) -> None:
    """Serve MEMORY over standard input and output to an agent that speaks MCP.

    MEMORY is a memory file, the folder of a run that holds one, or the URL of a memory in another database. The tools
    are search, learn and forget; a memory that is frozen or read-only offers search alone.
    """
    from atlas.mcp import MemoryTools, serve_stdio
    from atlas.memory import Memory

    found = memory_at(memory)
    if missing(found) and not create:
        raise StoreError(
            f"there is no memory at {found}: name a memory file, or a run folder that holds {MEMORY}, or let one be "
            "made with --create"
        )
    if by and not by.isprintable():
        raise ConfigError("--by names an agent in printable characters")
    with Memory(found, embedder) as opened:
        serve_stdio(MemoryTools(opened, author=f"import:mcp/{by}" if by else "import:mcp"))
