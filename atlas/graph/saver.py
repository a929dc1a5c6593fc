"""Where the checkpoints of a run's graphs are: beside its trace, in a file or on the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from atlas.errors import MissingExtra, StoreError
from atlas.traces.place import Place, place_of

NAME = "checkpoints"


@asynccontextmanager
async def checkpoints(run: str | Path | Place) -> AsyncIterator[Any]:
    """LangGraph's saver for the run in a folder (``checkpoints.db`` in it) or at a URL (tables of LangGraph's own, in a
    schema that is named after the run), open inside the block.

        async with checkpoints(recorder.place) as saver:
            graph = episode_graph(saver)

    Raises StoreError for a server that cannot be used, without its password.
    """
    from atlas.traces.server import ServerRun

    place = place_of(run)
    if not isinstance(place, ServerRun):
        try:
            from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
        except ImportError as error:
            raise MissingExtra("checkpoints in a file", "langgraph") from error
        async with AsyncSqliteSaver.from_conn_string(str(place.folder() / f"{NAME}.db")) as saver:
            yield saver
        return
    async with _on_server(place.memory(NAME).removeprefix("postgresql://")) as saver:
        yield saver


@asynccontextmanager
async def _on_server(where: str) -> AsyncIterator[Any]:
    from atlas.memory.postgres_driver import connect, line
    from atlas.memory.postgres_url import read

    try:
        import psycopg
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
        from psycopg.rows import dict_row
    except ImportError as error:
        raise MissingExtra("checkpoints on a PostgreSQL server", "langgraph-postgres") from error
    place = read(where)
    try:
        # Refused here, in words, where there is no server or nothing may be made.
        with connect(place) as first:
            first.execute(f'CREATE SCHEMA IF NOT EXISTS "{place.schema}"')
        made = await psycopg.AsyncConnection.connect(
            place.url, autocommit=True, prepare_threshold=0, row_factory=dict_row
        )
    except psycopg.Error as error:
        raise StoreError(
            f"checkpoints cannot be kept at {place.path} ({line(error, place)}): grant its user the rights, or name "
            "another"
        ) from error
    async with made:
        await made.execute(f'SET search_path TO "{place.schema}"')
        saver = AsyncPostgresSaver(made)
        await saver.setup()
        yield saver
