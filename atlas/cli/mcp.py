"""``atlas mcp``: a memory as tools, for agents that speak the Model Context Protocol."""

from __future__ import annotations

import os

import click

from atlas.cli.memory_common import MEMORY, memory_at, missing
from atlas.errors import ConfigError, StoreError


@click.command(name="mcp")
@click.argument("memory", type=str)
@click.option("--embedder", default="minilm", show_default=True, help="minilm, hash, or sentence-transformers/NAME.")
@click.option("--index", default="auto", show_default=True, help="auto, exact, faiss, chroma, or chroma://HOST:PORT.")
@click.option("--by", default="", help="Who the agent is, for the log of versions.")
@click.option("--create", is_flag=True, help="Make the memory where there is none.")
@click.option("--http", is_flag=True, help="Over HTTP, at http://HOST:PORT/mcp, instead of standard input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, help="With --http: address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8401, show_default=True, help="0 takes a free one.")
@click.option("--key-env", default="ATLAS_MCP_KEY", show_default=True, help="VARIABLE that holds the callers' key.")
def command(
    memory: str,
    embedder: str,
    index: str,
    by: str,
    create: bool,
    http: bool,
    host: str,
    port: int,
    key_env: str,
) -> None:
    """Serve MEMORY over standard input and output to an agent that speaks MCP, or over HTTP to any number of them.

    MEMORY is a memory file, the folder of a run that holds one, or the URL of a memory in another database. The tools
    are search, learn and forget; a memory that is frozen or read-only offers search alone. Over HTTP the key is read
    from the environment; without one, only programs of this machine are answered.
    """
    from atlas.mcp import MemoryTools, serve_http, serve_stdio
    from atlas.memory import Memory
    from atlas.memory.backend import told

    found = memory_at(memory)
    if missing(found) and not create:
        raise StoreError(
            f"there is no memory at {told(found)}: name a memory file, or a run folder that holds {MEMORY}, or let one "
            "be made with --create"
        )
    if by and not by.isprintable():
        raise ConfigError("--by names an agent in printable characters")
    with Memory(found, embedder, index=index) as opened:
        tools = MemoryTools(opened, author=f"import:mcp/{by}" if by else "import:mcp")
        if not http:
            serve_stdio(tools)
            return
        from atlas.serve.tenants import read_keys

        key = read_keys([key_env], os.environ)[0] if os.environ.get(key_env) else ""
        serve_http(tools, host=host, port=port, key=key, ready=lambda url: click.echo(f"the memory is at {url}"))
