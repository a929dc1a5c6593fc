"""``atlas score``: say how a recorded episode went, late or anew."""

from __future__ import annotations

import json

import click

from atlas.cli.number import Number
from atlas.errors import ConfigError, StoreError
from atlas.records import Episode
from atlas.traces.events import Named
from atlas.traces.late import rescored
from atlas.traces.reader import Run, StoredEpisode, find_run
from atlas.traces.writer import RunWriter


@click.command(name="score")
@click.argument("run", type=str)
@click.argument("episode", type=str)
@click.argument("value", type=Number())
@click.option(
    "--success-score", type=Number(), default=1.0, show_default=True, help="From which it counts as a success."
)
@click.option("--memory", type=str, help="FILE or URL of a memory that is to learn from it.")
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
    """Score EPISODE of RUN with VALUE: its id, the beginning of that, or the name that its client gave it, of several
    the newest. The last score counts."""
    found = find_run(run)
    named = _named(found, episode)
    stored = _only(found.episodes(among=lambda id: id == named or id.startswith(episode)), episode, named, found)
    if stored.result is None:
        raise StoreError(f"episode {stored.id} has not ended: score it where it runs, or when it has")
    late = rescored(stored.result, value, at_least=success_score)
    # The settings that the run has: it is gone on with, not begun anew.
    with RunWriter(found.place, found.settings) as writer:
        writer.end(late)
        gone = _follow(found, late, stored, writer, memory, embedder or "minilm")
    if as_json:
        click.echo(json.dumps(late.model_dump(mode="json")))
    else:
        before = "none" if stored.result.score is None else f"{stored.result.score:g}"
        click.echo(f"episode {late.id}: score {late.score:g} (it was {before}), success {str(late.success).lower()}")
        if gone:
            click.echo(f"withdrawn from the memory: {', '.join(gone)}")
        elif memory is None and stored.result.success and not late.success:
            click.echo("a memory that learned from it has it still: name that with --memory to withdraw it")


def _follow(
    run: Run, late: Episode, stored: StoredEpisode, writer: RunWriter, memory: str | None, embedder: str
) -> tuple[str, ...]:
    """What the memory learns from the score, and what it says of the agent's success; what it takes back."""
    from atlas.wrap.supervision import scored_late

    if memory is None:
        if stored.result is not None and stored.result.success is None:
            scored_late(run, late, None, writer)
        return ()
    from atlas.memory import Memory

    with Memory(memory, embedder) as kept, kept.database.transaction():
        said = kept.keep(late, stored.steps)
        if said.outcome:
            scored_late(run, late, kept, writer)
        return said.withdrawn


def _named(run: Run, name: str) -> str:
    """The id of the newest episode of that name; empty where none has it."""
    ids = [event.episode for event in run.events() if isinstance(event, Named) and event.name == name]
    return ids[-1] if ids else ""


def _only(episodes: list[StoredEpisode], given: str, named: str, run: Run) -> StoredEpisode:
    """The one of that id, else of that name, else the only one whose id begins so."""
    begin = [stored for stored in episodes if stored.id.startswith(given)]
    for exact in (given, named):
        for stored in episodes:
            if stored.id == exact:
                return stored
    if len(begin) != 1:
        many = f"{len(begin)} episodes begin" if begin else "no episode is named so, or begins"
        raise ConfigError(f"{many} with {given!r} in {run.path}: see 'atlas traces show {run.path}'")
    return begin[0]
