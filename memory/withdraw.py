"""What was learned from an episode that, as was said later, did not succeed: it is taken back, as a version."""

from __future__ import annotations

from atlas.memory.database import Database, Write, parsed
from atlas.memory.demonstration import Demonstration
from atlas.records import Episode


def withdraw(database: Database, episode: Episode) -> tuple[str, ...]:
    """Take back the demonstration that ``episode`` gave; the ids of what was there and is not, or is counted anew.

    One that other episodes gave as well stays, counted without this one. One that this episode alone gave is as if it
    had never been there: an episode that succeeds by the same steps gives it again. Raises FrozenMemory.
    """
    with database.transaction():
        writes = []
        for item in database.rows("demonstration"):
            if not item.searched or episode.id not in item.record:
                continue
            demo = parsed(item, Demonstration, database.path)
            left = demo.without(episode.run, episode.id)
            if left is None:
                writes.append(Write("demonstration", item.id, "absent"))
            elif left is not demo:
                writes.append(Write("demonstration", item.id, None, left.model_dump_json()))
        if writes:
            score = "none" if episode.score is None else f"{episode.score:g}"
            reason = f"withdrawn: the episode was scored again, {score}, and is no success"
            database.write(writes, author=f"trace:{episode.run or '-'}/{episode.id}", reason=reason)
        return tuple(write.id for write in writes)
