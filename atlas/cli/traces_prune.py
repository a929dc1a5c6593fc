"""``atlas traces prune``: episodes are taken out of runs, and what came of them out of a memory."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.ages import seconds
from atlas.cli.memory_common import by_option, opened, person
from atlas.errors import ConfigError

if TYPE_CHECKING:
    from atlas.memory.erase import Erased
    from atlas.traces.place import Place
    from atlas.traces.prune import Choice, Going


@click.command("prune")
@click.argument("run", type=str)
@click.option("--older", metavar="AGE", help="Episodes that began longer ago than this: 90d, 12w, 36h.")
@click.option("--arm", "arms", multiple=True, help="Episodes of this arm. May be given several times.")
@click.option("--episode", "episodes", multiple=True, help="Episodes whose id begins so. Several times, too.")
@click.option(
    "--containing", metavar="TEXT", multiple=True, help="Episodes in whose lines TEXT stands, in whatever case."
)
@click.option("--all", "everything", is_flag=True, help="All episodes.")
@click.option("--memory", multiple=True, metavar="FILE", help="A memory, FILE or URL, that forgets what came of them.")
@click.option(
    "--exports", multiple=True, metavar="FOLDER", type=click.Path(path_type=Path), help="Look for them in exports here."
)
@click.option("--reason", help="Why, for the logs, which keep it.  [default: how they were chosen, without TEXT]")
@by_option
@click.option("--yes", is_flag=True, help="Do it. Otherwise it is only said what would go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of sentences.")
def command(
    run: str,
    older: str | None,
    arms: tuple[str, ...],
    episodes: tuple[str, ...],
    containing: tuple[str, ...],
    everything: bool,
    memory: tuple[str, ...],
    exports: tuple[Path, ...],
    reason: str | None,
    by: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Take episodes out of RUN, a folder, a URL, or what holds several runs, for good.

    Those go that all given options name: their lines in the trace, what is kept of them beside it, and with --memory
    what was learned from them, out of every version. What they came to and cost stays, as one total. Nobody may write
    the run meanwhile. Without --yes nothing is changed.
    """
    from atlas.traces.prune import Choice, check_reason, going, prune

    before = None if older is None else time.time() - seconds(older)
    choice = Choice(everything=everything, before=before, arms=arms, episodes=episodes, containing=containing)
    if not choice.given:
        raise ConfigError("say which episodes: --older, --arm, --episode, --containing, or --all")
    why = reason or _reason(older, choice)
    check_reason(choice, why)
    places = _places(run)
    # Looked at before anything is changed: what the memory and exports hold is found by what the runs tell.
    found = [going(place, choice) for place in places]
    holding = [text for folder in exports for text in _exports(folder, found)]
    erased = [_erase(path, found, choice, person(by), why, dry=not yes) for path in memory]
    if yes:
        found = [prune(place, choice, by=person(by), reason=why) for place in places]
    if as_json:
        rows = [one.model_dump(mode="json") for one in found]
        click.echo(
            json.dumps(
                {"runs": rows, "memories": [one.model_dump() for one in erased], "exports": holding, "done": yes}
            )
        )
    else:
        _tell(found, erased, holding, yes)


def _places(run: str) -> list[Place]:
    """The run, or all that are below."""
    from atlas.traces.place import MANIFEST, below, is_server
    from atlas.traces.reader import find_run

    if is_server(run):
        return [find_run(run).place] if re.search(r"[?&]run=", run) else below(run)
    if Path(run).is_dir() and not (Path(run) / MANIFEST).is_file() and (found := below(run)):
        return found
    return [find_run(run).place]


def _reason(older: str | None, choice: Choice) -> str:
    parts = [f"older than {older}"] if older else []
    parts += [f"arm {arm}" for arm in choice.arms] + [f"episode {name}" for name in choice.episodes]
    parts += ["data of a person or a matter"] if choice.containing else []
    return "pruned: " + (", ".join(parts) or "all episodes")


def _erase(path: str, found: list[Going], choice: Choice, author: str, reason: str, *, dry: bool) -> Erased:
    from atlas.memory.erase import erase
    from atlas.traces.prune import needle

    episodes = {(one.run, name) for one in found for name in one.episodes}
    only = choice.containing if not (choice.before or choice.arms or choice.episodes) else ()
    with opened(path) as database:
        return erase(database, episodes, needle(only), author=author, reason=reason, dry=dry)


def _exports(folder: Path, found: list[Going]) -> list[str]:
    from atlas.export.holding import holding

    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}: name one that holds exports")
    return holding(folder, {one.run: one.episodes for one in found if one.episodes})


def _tell(found: list[Going], erased: list[Erased], holding: list[str], done: bool) -> None:
    from atlas.records import total
    from atlas.tables import console, plain
    from atlas.words import dollars

    out = console()
    went = "are gone" if done else "would go"
    for one in found:
        lines = sum(one.lines.values())
        if not lines and len(found) > 1 and not one.manifest:
            continue
        out.print(plain(f"{one.path}: {len(one.episodes):,} episodes, {lines:,} lines, {one.bytes:,} bytes {went}"))
        for arm in one.arms:
            what = f"{arm.episodes:,} episodes, {arm.succeeded:,} of {arm.scored:,} scored succeeded, "
            cost = dollars(total(arm.spend))
            out.print(plain(f"  {arm.arm}: {what}{arm.steps:,} steps, {cost}: kept as totals", "dim"))
        if one.lines:
            out.print(plain(f"  {', '.join(f'{log} {n:,}' for log, n in one.lines.items())}", "dim"))
        if one.manifest:
            out.print(plain("  the text stands in run.json as well, which is kept: change it there by hand", "yellow"))
    for memory in erased:
        parts = {
            "demonstrations": len(memory.demonstrations),
            "entries": len(memory.entries),
            "items that others gave too and that stay": len(memory.fewer),
            "outcomes": memory.outcomes,
            "trials": memory.trials,
            "notes": memory.notes,
        }
        said = ", ".join(f"{n:,} {what}" for what, n in parts.items() if n) or "nothing"
        out.print(plain(f"{memory.memory}: {said} {'erased' if done else 'would be erased'} from every version"))
    for text in holding:
        out.print(plain(text, "yellow"))
    if (not done and any(one.lines for one in found)) or (not done and any(one.something for one in erased)):
        out.print("nothing was changed: --yes does it")
