"""A memory from logged runs: demonstrations of the successful ones, and a pamphlet of what they all teach by rule.

The logged runs are runs of test questions, so the split is by incident: a memory is built from some incidents, and has
to be tested on others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from atlas.benchmarks.excytin.lessons import InvestigationDistiller, worked
from atlas.errors import ConfigError
from atlas.memory import Demonstration, Memory, from_episode
from atlas.memory.backend import Status
from atlas.memory.pamphlets import PamphletStore
from atlas.protocols import Embedder
from atlas.regrade import stored_case
from atlas.traces.reader import Run, StoredEpisode

TRAIN = (5,)
"""The incident that the ATLAS paper seeds its memory on."""
LONGEST = 1_500
"""Characters of an observation in a demonstration: a prompt shows several steps of several of them."""
_INCIDENT = re.compile(r"incident_(\d+)/")

_QUARANTINED: tuple[Status, ...] = ("quarantined",)


@dataclass(frozen=True)
class Built:
    """What a memory was given."""

    incidents: tuple[int, ...]
    runs: int
    """Logged runs on those incidents."""
    successes: int
    """With the reward that was asked for."""
    demonstrations: int
    """Of those, new in the memory; the same trajectory twice counts once."""
    quarantined: int
    """Demonstrations in the memory that are never shown: their texts hold something suspicious."""
    entries: int
    """Entries of the pamphlet, new; what says the same is one."""


def build_memory(
    run: Run,
    path: str | Path,
    *,
    incidents: Collection[int] = TRAIN,
    at_least: float = 1.0,
    embedder: Embedder | str = "minilm",
) -> Built:
    """Add what the logged runs on ``incidents`` teach to the memory at ``path``. Again, it adds nothing.

    Args:
        run: as :func:`atlas.benchmarks.excytin.logged.importing.import_runs` writes it.
        path: a memory file, or a URL; made where there is none.
        incidents: the train incidents.
        at_least: the reward from which a run is a demonstration: 1.0, or 0.4 as in the ATLAS paper.
        embedder: as the bench that uses the memory has it.

    Raises:
        ConfigError: the run has none of these incidents.
        StoreError: the memory is frozen or cannot be written.
    """
    episodes = [e for e in run.episodes() if e.result is not None and _incident(e) in incidents]
    if not episodes:
        there = sorted({n for e in run.episodes() if (n := _incident(e)) is not None})
        raise ConfigError(
            f"the run {run.name} has no runs on incident {', '.join(map(str, sorted(incidents)))}: "
            f"choose one of {', '.join(map(str, there))}"
        )
    demos = [_demonstration(e, at_least) for e in episodes if e.result and (e.result.score or 0.0) >= at_least]
    shown = ", ".join(map(str, sorted(incidents)))
    why = f"logged runs of test questions on incident {shown}, reward {at_least:g} or more: test on other incidents"
    with Memory(path, embedder) as memory:
        new = memory.demonstrations.add_many(demos, author=f"import:{run.name}", reason=why)
        quarantined = memory.database.count("demonstration", _QUARANTINED)
        entries = _learn(run, memory.entries, episodes, at_least)
    return Built(
        incidents=tuple(sorted(incidents)),
        runs=len(episodes),
        successes=len(demos),
        demonstrations=new,
        quarantined=quarantined,
        entries=entries,
    )


def _incident(episode: StoredEpisode) -> int | None:
    found = _INCIDENT.match(episode.task.id)
    return int(found[1]) if found else None


def _demonstration(episode: StoredEpisode, at_least: float) -> Demonstration:
    """The steps that the database did not refuse, with long observations cut."""
    if episode.result is None:
        raise ValueError(f"episode {episode.id} has no result")
    # Success is what was asked for here, which may be less than the full reward.
    result = episode.result.model_copy(update={"success": (episode.result.score or 0.0) >= at_least})
    demo = from_episode(result, replace(episode).steps, worked)
    steps = tuple(step.model_copy(update={"observation": _cut(step.observation)}) for step in demo.steps)
    return demo.model_copy(update={"steps": steps})


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [... {len(text) - LONGEST:,} more characters]"


def _learn(run: Run, memory: PamphletStore, episodes: Sequence[StoredEpisode], at_least: float) -> int:
    distiller = InvestigationDistiller(worth=at_least)
    new: set[str] = set()
    for episode in episodes:
        score = episode.result.score if episode.result else None
        if score is None:
            continue
        taught = distiller.lessons(stored_case(replace(episode)), success=score >= at_least)
        entries = [
            entry.model_copy(update={"origins": tuple(o.model_copy(update={"run": run.name}) for o in entry.origins)})
            for entry in taught.entries
        ]
        added = memory.learn(f"{run.name}/{episode.id}", entries) if entries else None
        if added is not None:
            new.update(added.new)
    return len(new)
