"""What a server keeps of a run beside its logs: open episodes as far as they are, and responses that clients go on
from. Read and written whole, for copies and for prunings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from atlas.jsontext import read_json
from atlas.traces.open_state import TALKS, OpenState, agent_of
from atlas.traces.server_connection import RunConnection

if TYPE_CHECKING:
    from atlas.traces.reader import StoredEpisode

_PART = 32
"""Rows that are read at once: a state or a response may have megabytes."""
NO_TALK = 2**63 - 1
"""Where the log of what was said begins for an open episode that is none of a server's: nothing is kept for it."""
_COPY = "copy"
"""Who is at an episode that was copied: nobody, so that whoever takes it looks into the trace for what came since."""


def read_open(found: RunConnection) -> dict[str, OpenState]:
    """The open episodes, by id."""
    talks: dict[str, dict[str, Any]] = {}
    for _, line in found.lines(TALKS, 0):
        event = read_json(line)
        if (begun := event.get("open")) is not None:
            talks[begun] = {"name": event["name"], "first": event["first"], "moments": [], "calls": [], "texts": []}
        elif (heard := talks.get(event.get("heard", ""))) is not None:
            for part in ("moments", "calls", "texts"):
                heard[part] += event[part]
    made = {}
    for id, state in states(found):
        talk = {part: tuple(x) if isinstance(x, list) else x for part, x in talks.get(id, {}).items()}
        made[id] = OpenState.of_row(read_json(state), **talk)
    return made


def write_open(found: RunConnection, those: Mapping[str, OpenState], episodes: Mapping[str, StoredEpisode]) -> None:
    """Keep that of open episodes, and nothing else. ``episodes`` are they as the trace has them."""
    rows: list[list[object]] = []
    told: list[dict[str, Any]] = []
    for id, state in those.items():
        of = episodes[id]
        row = state.row(id=id, task=of.task.model_dump(mode="json"), arm=of.arm, seed=of.seed)
        packed = json.dumps(row, separators=(",", ":")).encode()
        if whose := agent_of(state.owner):
            rows.append([found.run, id, whose, packed, NO_TALK, state.owner])
            continue
        rows.append([found.run, id, of.arm, packed, 0, _COPY])
        told.append({"open": id, "name": state.name, "first": state.first, "arm": of.arm})
        told.append({"heard": id, "moments": state.moments, "calls": state.calls, "texts": state.texts, "arm": of.arm})

    def writing() -> None:
        with found.transaction():
            found.write("DELETE FROM {s}.run_open WHERE run = %s", [found.run])
            found.write("DELETE FROM {s}.run_lines WHERE run = %s AND log = %s", [found.run, TALKS])
            for row in rows:
                found.write("INSERT INTO {s}.run_open VALUES (%s, %s, %s, 1, %s, %s, 0, %s)", row)

    found.whole(writing)
    if told:
        found.append(TALKS, [json.dumps({**event, "by": _COPY}).encode() for event in told], lasting=True)


def beside(found: RunConnection) -> Iterator[tuple[str, bytes]]:
    """What is kept beside the logs: (the episode that it is of, its text); of responses nobody knows the episode."""
    yield from states(found)
    query, after = "SELECT seq, talk FROM {s}.run_responses WHERE run = %s AND seq > %s ORDER BY seq LIMIT %s", 0
    while rows := found.rows(query, [found.run, after, _PART], binary=True):
        for seq, talk in rows:
            after = int(seq)
            yield "", bytes(talk)


def states(found: RunConnection) -> Iterator[tuple[str, bytes]]:
    """The open episodes as they are kept, with their ids."""
    query = "SELECT episode, state FROM {s}.run_open WHERE run = %s AND episode > %s ORDER BY episode LIMIT %s"
    after = ""
    while rows := found.rows(query, [found.run, after, _PART], binary=True):
        for episode, state in rows:
            after = str(episode)
            yield after, bytes(state)
