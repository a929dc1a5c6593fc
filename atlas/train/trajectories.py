"""What a student learns from: trajectories, read from runs or from exported rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from atlas.calling import call_lines, tools_text
from atlas.errors import DataError
from atlas.export import Row, read_rows, run_rows
from atlas.export.rows import asks_for_lines
from atlas.goals import lasting
from atlas.prompts import REPLY_FORMAT
from atlas.protocols import Demonstrations
from atlas.record import whole_characters
from atlas.records import Prompt
from atlas.traces.reader import Run
from atlas.traces.writer import MANIFEST
from atlas.trained.trajectory import Moment, Trajectory, view_of


def read(places: Sequence[str | Path], *, permitted: Sequence[str] = ()) -> list[Trajectory]:
    """The trajectories of runs and of files or folders of exported rows.

    A step of a model that may not be trained on is context only; ``permitted`` are further models that may. Raises
    DataError where there is nothing to train on.
    """
    found = [t for place in places for t in _trajectories(_rows(Path(place), permitted))]
    if not found:
        raise DataError(f"{' and '.join(map(str, places))} holds no finished episode: give a run or an export of one")
    if not any(m.weight for t in found for m in t.moments):
        raise DataError(
            f"no step in {' and '.join(map(str, places))} may be trained on: name with --permitted whose words may"
        )
    return found


def _rows(place: Path, permitted: Sequence[str]) -> Iterator[Row]:
    if (place / MANIFEST).is_file():
        return run_rows(Run(place), permitted=permitted)
    if not place.exists():
        raise DataError(f"{place} does not exist: give a run's folder, or what 'atlas export --format rows' wrote")
    return read_rows(place)


def _trajectories(rows: Iterable[Row]) -> Iterator[Trajectory]:
    for _, grouped in groupby(rows, key=lambda row: (row.run, row.episode)):
        # A retried episode begins anew with each attempt; only the last one's steps led to its result.
        own = [row for row in grouped if row.last_attempt]
        if not own:
            continue
        if any(later.index != row.index + 1 for row, later in pairwise(own)):
            raise DataError(f"steps are missing of episode {own[0].episode}: make the rows anew with 'atlas export'")
        yield _trajectory(own)


def _trajectory(rows: Sequence[Row]) -> Trajectory:
    first = rows[0]
    talk = is_talk(first.prompt, first.goal)
    return Trajectory(
        task=first.task,
        goal=first.goal,
        stable=whole_characters(_stable(first)),
        talk=talk,
        tools=whole_characters(tools_text(first.prompt.tools)) if talk else "",
        family=first.family,
        success=first.success,
        holdout=first.part == "holdout",
        moments=tuple(
            Moment(
                # A trace keeps what it was told, halves of characters too; an export of it and a student do not.
                observation=whole_characters(row.observation),
                action=whole_characters(row.action),
                thought="" if talk else whole_characters(row.thought),
                reply=whole_characters(call_lines(row.completion.content, row.completion.tool_calls)) if talk else "",
                actor=row.actor,
                model=row.model,
                escalated=row.escalated,
                guidance=whole_characters(row.prompt.guidance),
                weight=float(row.trainable and bool(row.action) and not row.context),
            )
            for row in rows
        ),
    )


def is_talk(prompt: Prompt, goal: str) -> bool:
    """Whether ``prompt`` is of a wrapped agent: it asks for no lines of ours, and is no transcript."""
    return not asks_for_lines(prompt) and not _is_transcript(prompt, goal)


def _is_transcript(prompt: Prompt, goal: str) -> bool:
    first = prompt.history[0].content if prompt.history else ""
    return prompt.lasting and not asks_for_lines(prompt) and first.startswith(f"Task: {goal}\n")


def _stable(row: Row) -> str:
    """The part of a prompt that stays, as a chat has it. A transcript asks for no two lines: its reader only ranks."""
    prompt = row.prompt
    if _is_transcript(prompt, row.goal):
        return "\n\n".join(filter(None, (prompt.stable, REPLY_FORMAT)))
    first = prompt.history[0] if prompt.history else None
    # A system message that is more than text stands with the others.
    return first.content if not prompt.stable and first is not None and first.role == "system" else prompt.stable


def shown(trajectories: Sequence[Trajectory], demos: Demonstrations, k: int = 1) -> list[Trajectory]:
    """The trajectories with the ``k`` demonstrations beside each that its player would be shown for the whole episode
    (``Recall(..., every="episode")``). Of its own task none is found."""
    return [t.model_copy(update={"shown": lasting(demos, view_of(t, 0), k)}) for t in trajectories]


def fingerprint(trajectories: Iterable[Trajectory]) -> str:
    """A hash of all that is trained on, in its order."""
    digest = hashlib.sha256()
    for trajectory in trajectories:
        # Without what was not there before students could read and talk, so that their hashes hold.
        absent: dict[str, Any] = {} if trajectory.shown else {"shown": True}
        if not trajectory.talk:
            absent |= {"talk": True, "tools": True, "moments": {"__all__": {"reply"}}}
        digest.update(trajectory.model_dump_json(exclude=absent).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()[:16]
