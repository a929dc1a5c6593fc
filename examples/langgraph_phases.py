"""Episodes as a LangGraph graph (attempt, judge, distil, remember), stopped half-way and resumed. No key, no download.

python examples/langgraph_phases.py [GAMES]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")  # checkpoints hold plain values and nothing else

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

import atlas
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.graph import Context, Journal, MemoryStore, advance, episode_graph
from atlas.memory.distil_scripted import ScriptedDistiller
from atlas.records import TEACHER


async def play(folder: Path, games: int) -> None:
    """Take ``games`` episodes from wherever they stand to their end."""
    tasks = {task.id: task for task in Alfworld().demo_tasks(HOMES, games)}
    journal = Journal(folder, "teacher")
    with atlas.RunWriter(folder) as recorder, atlas.Memory(folder / "memory.sqlite", "hash") as memory:
        context = Context(
            recorder=recorder,
            policy=atlas.Solo(atlas.load("scripted:alfworld"), actor=TEACHER),
            environment=lambda task: tasks[task].environment(),
            distiller=ScriptedDistiller(),
            pamphlets=memory.entries,
            demonstrations=memory.demonstrations,
            journal=journal,
        )
        async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
            for task in tasks:
                await advance(episode_graph(saver), context, arm="teacher", task=task)
        notes = MemoryStore(memory).search(("pamphlets",), limit=1_000)
        played = len(atlas.Run(folder).results())
        held = len(memory.demonstrations)
        print(f"{played} episodes played, {held} demonstrations, {len(notes)} notes, the first of them:")
        print(f"  when {notes[0].value['cue']}: {notes[0].value['action']}")


async def main(games: int = 6) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await play(Path(folder), games // 2)
        print("stopped; the same again, for all games: what was done is found, not played again")
        await play(Path(folder), games)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
