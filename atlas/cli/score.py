"""``atlas score``: say how a recorded episode went, late or anew."""

from __future__ import annotations

import json

import click

from atlas.errors import ConfigError, StoreError
from atlas.records import Episode
from atlas.traces.late import rescored
from atlas.traces.reader import Run, StoredEpisode, find_run
from atlas.traces.writer import RunWriter


@click.command(name="score")
@click.argument("run", type=str)
@click.argument("episode", type=str)
@click.argument("value", type=float)
@click.option("--success-score", type=float, default=1.0, show_default=True, help="From which it counts as a success.")
@click.option("--memory", type=str, help="FILE of a memory that is to learn from it.")
@click.option("--embedder", help="By which the memory finds things.  [default: minilm]")
@click.option("--json", "as_json", is_flag=True, help="The episode as a JSON object.")
def command(
    run: str,
    episode: str,
    value: float,
    success_score: float,
    memory: str | None,
    embedder: str | None,
    as_json: bool,
) -> None:
    """Score EPISODE (an id, or the beginning of one) of RUN with VALUE. The last score counts."""
    found = find_run(run)
    stored = _only(found.episodes(), episode, run)
    if stored.result is None:
        raise StoreError(f"episode {stored.id} has not ended: score it where it runs, or when it has")
    late = rescored(stored.result, value, at_least=success_score)
    # The settings that the run has: it is gone on with, not begun anew.
    with RunWriter(found.folder, found.settings) as writer:
        writer.end(late)
        _follow(found, late, stored, writer, memory, embedder or "minilm")
    if as_json:
        click.echo(json.dumps(late.model_dump(mode="json")))
    else:
        before = "none" if stored.result.score is None else f"{stored.result.score:g}"
        click.echo(f"episode {late.id}: score {late.score:g} (it was {before}), success {str(late.success).lower()}")


def _follow(
    run: Run, late: Episode, stored: StoredEpisode, writer: RunWriter, memory: str | None, embedder: str
) -> None:
    """What the memory learns from the score, and what it says of the agent's success."""
    from atlas.wrap.supervision import scored_late

    if memory is None:
        if stored.result is not None and stored.result.success is None:
            scored_late(run, late, None, writer)
        return
    from atlas.memory import Memory

    with Memory(memory, embedder) as kept, kept.database.transaction():
        if kept.keep(late, stored.steps).outcome:
            scored_late(run, late, kept, writer)


def _only(episodes: list[StoredEpisode], beginning: str, run: str) -> StoredEpisode:
    found = [stored for stored in episodes if stored.id.startswith(beginning)]
    exact = [stored for stored in found if stored.id == beginning]
    if len(exact or found) != 1:
        many = f"{len(found)} episodes begin" if found else "no episode begins"
        raise ConfigError(f"{many} with {beginning!r} in {run}: see 'atlas traces show {run}'")
    return (exact or found)[0]
