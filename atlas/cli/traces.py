"""``atlas traces``: list runs, read arms and episodes. Works while a run goes on."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from atlas import tables, words
from atlas.cli import traces_check, traces_copy, traces_export, traces_import, traces_pack, traces_prune
from atlas.cli.collecting import collecting_rarely
from atlas.cli.newest import last_option, opened, since_option
from atlas.errors import ConfigError, StoreError
from atlas.records import INTERRUPTED, Spend, total
from atlas.traces import place as places
from atlas.traces.account import COLLECT, ArmRow, BreakEven, arm_rows, break_even, cut_off, demo_users, lost_steps
from atlas.traces.events import Supervised
from atlas.traces.place import is_server
from atlas.traces.reader import Run, StoredEpisode
from atlas.traces.summary import summary_of


@click.group(name="traces")
def command() -> None:
    """List runs and read episodes, also while a run goes on."""


command.add_command(traces_import.command)
command.add_command(traces_check.command)
command.add_command(traces_copy.command)
command.add_command(traces_prune.command)
command.add_command(traces_pack.command)
command.add_command(traces_export.command)


@command.command("ls")
@click.argument("root", default="runs")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per run, a line each.")
@collecting_rarely
def list_runs(root: str, as_json: bool) -> None:
    """List the runs below the folder ROOT, or in the schema of that URL, newest last."""
    if not is_server(root) and not Path(root).is_dir():
        raise StoreError(f"there is no folder {root}: name the folder that holds your runs")
    found, broken = _runs(root)
    where = places.told(root)
    summaries = [_summary(run) for run in found]
    if as_json:
        for summary in summaries:
            click.echo(json.dumps(summary))
        return
    out = tables.console()
    if found:
        out.print(_runs_table(summaries))
    elif not broken:
        out.print(tables.plain(f"no runs below {where} yet: 'atlas demo' makes one"))
    for message in broken:
        out.print(tables.plain(message, "yellow"))


def _runs(root: str) -> tuple[list[Run], list[str]]:
    """All readable runs in order of creation, and why the others are not."""
    found, broken = [], []
    for place in places.below(root):
        try:
            found.append(Run(place))
        except StoreError as error:
            broken.append(str(error))
    return sorted(found, key=lambda run: float(run.manifest["created"])), broken


def _summary(run: Run) -> dict[str, Any]:
    found = summary_of(run)
    planned = _planned(run)
    return {
        "name": run.name,
        "folder": run.path,
        "created": run.manifest["created"],
        "episodes": sum(row.episodes for row in found.arms),
        "planned": sum(planned.values()) if planned else None,
        "open": found.open,
        "arms": {row.arm: row.success.model_dump() for row in found.arms},
        "dollars": found.dollars,
    }


def _planned(run: Run) -> dict[str, int]:
    """How many episodes each arm will have, where the run says so."""
    planned = run.about.get("planned")
    return {str(k): int(v) for k, v in planned.items()} if isinstance(planned, dict) else {}


def _runs_table(summaries: list[dict[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table

    from atlas.stats import Interval

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", style="bold", overflow="fold")
    table.add_column("made", no_wrap=True)
    table.add_column("episodes", justify="right")
    table.add_column("success [95 %]", overflow="fold")
    table.add_column("paid", justify="right")
    for run in summaries:
        done = str(run["episodes"]) if run["planned"] is None else f"{run['episodes']}/{run['planned']}"
        lines = [
            f"{arm} {tables.percent_interval(Interval.model_validate(interval))}"
            for arm, interval in run["arms"].items()
            if arm != COLLECT
        ]
        table.add_row(
            tables.plain(run["name"]),
            datetime.fromtimestamp(run["created"]).strftime("%Y-%m-%d %H:%M"),
            done + (f" ({run['open']} open)" if run["open"] else ""),
            tables.plain("\n".join(lines) or "-"),
            tables.money(run["dollars"]),
        )
    return table


@command.command("show")
@click.argument("run", type=str)
@click.argument("episode", required=False)
@click.option("--arm", help="Only this arm.")
@click.option("--failed", is_flag=True, help="List the episodes that did not succeed.")
@last_option
@since_option
@click.option("--prompts", is_flag=True, help="With an episode: the parts of every prompt.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
@collecting_rarely
def show(
    run: str,
    episode: str | None,
    arm: str | None,
    failed: bool,
    last: int | None,
    since: str | None,
    prompts: bool,
    as_json: bool,
) -> None:
    """Show a RUN (a folder, or a name below ./runs): its arms and its account, or one EPISODE step by step.

    EPISODE is the beginning of an episode's id; --arm and --failed list the ids. --last and --since choose before all
    other options do.
    """
    found = opened(run, last=last, since=since)
    # All of them where the arms have to be known.
    one = episode if arm is None else None
    episodes = found.episodes(among=None if one is None else lambda id: id.startswith(one))
    if arm is not None and arm not in {e.arm for e in episodes}:
        known = ", ".join(dict.fromkeys(e.arm for e in episodes)) or "none yet"
        raise ConfigError(f"the run {found.name} has no arm {arm!r}{_part(found)}: its arms are {known}")
    chosen = [e for e in episodes if arm is None or e.arm == arm]
    if episode is not None:
        _show_episode(_only(chosen, episode, _part(found)), prompts=prompts, as_json=as_json)
    elif arm is not None or failed:
        # A line of JSON is an episode, here as ever.
        if found.shown is not None:
            click.echo(f"{found.name}: {found.shown.said()}", err=as_json)
        _show_episodes([e for e in chosen if not failed or not (e.result and e.result.success)], as_json=as_json)
    else:
        _show_run(found, episodes, as_json=as_json)


def _part(run: Run) -> str:
    return f" in {run.shown.said()}" if run.shown is not None and run.shown.some else ""


def _only(episodes: list[StoredEpisode], prefix: str, part: str) -> StoredEpisode:
    found = [e for e in episodes if e.id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(f"no episode begins with {prefix!r}{part}: list them with --failed or --arm ARM")
    raise ConfigError(f"{len(found)} episodes begin with {prefix!r}: give more of the id")


def _show_episode(episode: StoredEpisode, *, prompts: bool, as_json: bool) -> None:
    from atlas.cli.transcript import print_episode

    if not as_json:
        print_episode(tables.console(), episode, prompts=prompts)
        return
    hidden: Any = {} if prompts else {"decision": {"prompt"}}
    click.echo(
        json.dumps(
            {
                "id": episode.id,
                "name": episode.name,
                "arm": episode.arm,
                "task": episode.task.model_dump(exclude={"instructions"}),
                "result": episode.result.model_dump(mode="json", exclude={"task"}) if episode.result else None,
                "lost": episode.lost,
                "resumed": episode.resumed,
                "steps": [step.model_dump(mode="json", exclude=hidden) for step in episode.steps],
            }
        )
    )


def _show_episodes(episodes: list[StoredEpisode], *, as_json: bool) -> None:
    rows = [_episode_row(e) for e in episodes]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("episode", "arm", "goal", "ended"):
        table.add_column(name, no_wrap=name != "goal", style="bold" if name == "episode" else "")
    for name in ("score", "steps", "teacher", "dollars"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            tables.plain(row["id"]),
            tables.plain(row["arm"]),
            tables.plain(tables.shorten(row["goal"], 60)),
            tables.plain(_ended(row), "red" if row["stop"] == "error" else ""),
            "-" if row["score"] is None else f"{row['score']:g}",
            f"{row['steps']} ({row['lost']} lost)" if row["lost"] else str(row["steps"]),
            str(row["teacher_steps"]),
            tables.money(row["dollars"]),
        )
    tables.console().print(table)


def _ended(row: dict[str, Any]) -> str:
    return f"{row['stop']}, retried" if row["retried"] else row["stop"] or "open"


def _episode_row(episode: StoredEpisode) -> dict[str, Any]:
    result = episode.result
    steps = [] if result else episode.steps
    return {
        "id": episode.id,
        "arm": episode.arm,
        "task": episode.task.id,
        "goal": episode.task.goal,
        "stop": result.stop.value if result else None,
        "retried": episode.retried,
        "success": result.success if result else None,
        "score": result.score if result else None,
        "steps": result.steps if result else len(steps) + episode.lost,
        "lost": episode.lost,
        "teacher_steps": result.teacher_steps if result else sum(s.decision.actor == "teacher" for s in steps),
        "dollars": total(episode.spend).dollars,
    }


def _show_run(run: Run, episodes: list[StoredEpisode], *, as_json: bool) -> None:
    from atlas.traces.roles import roles_of

    rows = arm_rows(e.result for e in episodes if e.result is not None and not e.retried)
    roles = roles_of(run, (e.arm for e in episodes))
    part = bool(_part(run))
    # What collecting all demonstrations has cost a part of the run does not know.
    even = [] if part else break_even(rows, roles, using=demo_users(episodes, roles))
    lost, lost_usage = cut_off(episodes)
    short = lost_steps(episodes)
    running = sum(e.result is None for e in lost)
    interrupted = sum(e.result is not None and e.result.stop in INTERRUPTED for e in lost)
    again = sum(e.retried for e in lost)
    changes = [event for event in run.events() if isinstance(event, Supervised)]
    gone = run.pruned()
    if as_json:
        account = {
            "name": run.name,
            "created": run.manifest["created"],
            "settings": run.settings,
            "shown": run.shown.model_dump() if run.shown else None,
            "arms": [row.model_dump() for row in rows],
            "break_even": [row.model_dump() for row in even],
            "supervision": [event.model_dump() for event in changes],
            "cut_off": {
                "open": running,
                "interrupted": interrupted,
                "retried": again,
                "usage": lost_usage.model_dump(),
            },
            "lost": short.model_dump(),
            "pruned": gone.model_dump(mode="json") if gone else None,
        }
        click.echo(json.dumps(account))
        return
    out = tables.console()
    _print_head(out, run)
    if run.shown is not None:
        out.print(tables.plain(f"{run.shown.said()}: all below is of these", "yellow" if part else "dim"))
    if not rows:
        out.print("no episode has ended yet")
    else:
        _print_account(out, rows, even, {} if part else _planned(run))
    for event in changes:
        when = datetime.fromtimestamp(event.time).strftime("%Y-%m-%d %H:%M")
        out.print(tables.plain(f"{when}, episode {event.episode}: {event.said}"))
    if lost:
        kinds = {"open or killed": running, "interrupted": interrupted, "played again after an error": again}
        said = ", ".join(f"{number} {kind}" for kind, number in kinds.items() if number)
        cost = words.dollars(lost_usage)
        out.print(tables.plain(f"attempts without a result: {said}: {cost}, in no row above", "yellow"))
    if short.steps:
        out.print(tables.plain(short.said(), "yellow"))
    if gone:
        out.print(tables.plain(words.pruned(gone)))


def _print_head(out: Any, run: Run) -> None:
    made = datetime.fromtimestamp(run.manifest["created"]).strftime("%Y-%m-%d %H:%M")
    about = run.about
    out.print(tables.plain(str(about.get("title") or run.name), "bold"))
    out.print(tables.plain(f"{run.path}, made {made} with atlas {run.manifest.get('atlas', '?')}", "dim"))
    for note in about.get("notes") or ():
        out.print(tables.plain(f"  {note}", "dim"))


def _print_account(out: Any, rows: list[ArmRow], even: list[BreakEven], planned: dict[str, int]) -> None:
    spends: list[tuple[str, Spend]] = [(row.arm, spend) for row in rows for spend in row.spend]
    out.print(tables.arms_table(rows, planned=planned, title="Arms"))
    out.print(tables.spend_table(spends, title="Spend by actor"))
    if even:
        out.print(tables.break_even_table(even, title="When the demonstrations have paid off"))
