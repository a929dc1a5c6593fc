"""``atlas trust select`` and ``atlas trust foresee``: which answer to take, and which task a student will manage,
learned from runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.number import Number
from atlas.errors import ConfigError

if TYPE_CHECKING:
    from atlas.chances.foreseen import Quality
    from atlas.chances.measure import ChainRow
    from atlas.chances.selector import Selector

_GRID = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@click.command("select")
@click.argument("run")
@click.option("--tiers", required=True, help="Arms of the run in the order they are asked, comma-separated.")
@click.option("--as", "called", help="What they are called in the file: arms of the bench that is to use it.")
@click.option("--threshold", type=Number(0, 1), help="No further tier is asked from this chance on. [default: all are]")
@click.option(
    "--within",
    type=Number(),
    help="Certify the threshold: success at most this share below the last tier's; 0.02 is 2 points.",
)
@click.option(
    "--delta", type=Number(), default=0.1, show_default=True, help="Chance that the target of --within is missed."
)
@click.option("--mark", "marks", multiple=True, metavar="NAME=PATTERN", help="One more figure: actions that hold it.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the selector here, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def select(
    run: str,
    tiers: str,
    called: str | None,
    threshold: float | None,
    within: float | None,
    delta: float,
    marks: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Learn from a RUN which of several arms' answers to take, and when to ask the next arm.

    The arms played the same tasks, each to its answer. The file is used as --arms select:FILE, and in Python as
    Select(tiers, Selector.load(FILE)). Figures are of tasks that were not learned from.
    """
    from atlas.chances.certify import certified
    from atlas.chances.logged import cases_of
    from atlas.chances.measure import chain_row, foretold
    from atlas.chances.selector import learn
    from atlas.traces.reader import find_run

    opened = find_run(run)
    names, given = _listed(tiers), _listed(called) if called else _listed(tiers)
    if len(given) != len(names):
        raise ConfigError(f"--as names {len(given)} tiers and --tiers {len(names)}: name as many")
    if within is not None and threshold is not None:
        raise ConfigError("--within chooses the threshold: leave --threshold out, or --within")
    patterns = dict(map(_mark, marks))
    episodes = opened.episodes()
    cases = cases_of(episodes, names)
    if not cases:
        known = ", ".join(dict.fromkeys(e.arm for e in episodes))
        raise ConfigError(
            f"the run {opened.name} has no task that all of {', '.join(names)} played to a score: its arms are {known}"
        )
    if not any(tried.attempt.answer for case in cases for tried in case.tried):
        raise ConfigError(
            f"no episode of {opened.name} ends with an answer, such as submit[...]: there is nothing to choose among"
        )
    if within is not None:
        selector = certified(
            cases, names, within=within, delta=delta, grid=_GRID, marks=patterns, run=opened.name,
            settings=opened.settings,
        )  # fmt: skip
    else:
        selector = learn(cases, names, marks=patterns, threshold=threshold, learned_from=opened.name)
    selectors = foretold(cases, names, marks=patterns)
    rows = [chain_row(cases, selectors, at) for at in dict.fromkeys((selector.threshold, *_GRID, None))]
    selector = selector.renamed(given)
    if out is not None:
        selector.save(out)
    if as_json:
        click.echo(json.dumps({"selector": selector.model_dump(), "rows": [row.model_dump() for row in rows]}))
    else:
        _print_chain(selector, rows)
        if out is not None:
            click.echo(f"Written: {out}   (atlas bench ... --arms select:{out})")
    if selector.certificate is not None and not selector.certificate.certified:
        # A script must not take the safe choice for a certified one.
        raise click.exceptions.Exit(1)


@click.command("foresee")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--arm", "arms", multiple=True, help="Only this arm; may be given twice.")
@click.option("--embedder", default="minilm", show_default=True, help="As --embedder of the bench that is to use it.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the foresight here, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def foresee(runs: tuple[str, ...], arms: tuple[str, ...], embedder: str, out: Path | None, as_json: bool) -> None:
    """Learn from RUNs how likely a student is to succeed by itself, before its first step and after some.

    Episodes in which a teacher had a part are left out. The file is used as --foresight FILE by the arms lanes and
    atlas, and in Python as Probe(history, foresight=Foresight.load(FILE), student=NAME). Figures are of tasks that were
    not learned from.
    """
    from atlas.chances.foreseen import foreseen, quality
    from atlas.chances.foresight import learn
    from atlas.chances.logged import past_of
    from atlas.memory.embed import load_embedder
    from atlas.traces.reader import find_run

    opened = [find_run(run) for run in dict.fromkeys(runs)]
    past = [one for run in opened for one in past_of(run.episodes()) if not arms or one.arm in arms]
    loaded = load_embedder(embedder)
    made = learn(past, loaded, learned_from=", ".join(run.name for run in opened))
    rows = [quality(stated, after) for after, stated in sorted(foreseen(past, loaded).items())]
    if out is not None:
        made.save(out)
    if as_json:
        click.echo(json.dumps([row.model_dump() for row in rows]))
        return
    _print_quality(rows)
    if out is not None:
        click.echo(f"Written: {out}   (atlas bench ... --arms lanes --foresight {out})")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _mark(text: str) -> tuple[str, str]:
    name, _, pattern = text.partition("=")
    if not name or not pattern:
        raise ConfigError(f"--mark takes NAME=PATTERN, such as alerts=SecurityAlert, not {text!r}")
    return name, pattern


def _print_chain(selector: Selector, rows: Sequence[ChainRow]) -> None:
    from rich import box
    from rich.table import Table

    from atlas.tables import console, money, percent, plain

    out = console()
    at = "all tiers are asked" if selector.threshold is None else f"stops from a chance of {selector.threshold:g} on"
    out.print(plain(f"{' -> '.join(selector.tiers)}: {at}; learned from {selector.tasks} tasks.", "bold"))
    if (found := selector.certificate) is not None:
        said = "Certified" if found.certified else "NOT certified: no threshold passed for"
        out.print(plain(f"{said} {found.target}, at confidence {1 - found.delta:g}, on {found.n} tasks of their own."))
    table = Table(title="On tasks that were not learned from", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("stops at", "asked", "score [95 %]", "best single", "minus it [95 %]", "$ of it"):
        table.add_column(name, justify="left" if name == "stops at" else "right")
    for row in rows:
        table.add_row(
            "all asked" if row.threshold is None else f"{row.threshold:g}",
            " / ".join(percent(share) for share in row.asked),
            f"{row.score.mean:.3f} [{row.score.low:.3f}, {row.score.high:.3f}]",
            plain(f"{row.single_score.mean:.3f} {row.single}"),
            f"{row.gain.mean:+.3f} [{row.gain.low:+.3f}, {row.gain.high:+.3f}]",
            "-" if row.dollars is None or row.single_dollars is None
            else f"{money(row.dollars.mean)} of {money(row.single_dollars)}",
        )  # fmt: skip
    out.print(table)


def _print_quality(rows: Sequence[Quality]) -> None:
    from rich import box
    from rich.table import Table

    from atlas.tables import console

    out = console()
    table = Table(title="On tasks that were not learned from", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("after", "episodes", "succeeded", "AUROC [95 %]", "ECE"):
        table.add_column(name, justify="right")
    for row in rows:
        auroc = f"{row.auroc.mean:.3f} [{row.auroc.low:.3f}, {row.auroc.high:.3f}]"
        table.add_row(f"{row.after} steps", str(row.episodes), f"{row.base:.3f}", auroc, f"{row.ece:.3f}")
    out.print(table)
    table = Table(title="Stated against what happened", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("after", "stated", "episodes", "mean stated", "happened [95 %]"):
        table.add_column(name, justify="right")
    for row in rows:
        for one in row.bins:
            happened = f"{one.happened.mean:.3f} [{one.happened.low:.3f}, {one.happened.high:.3f}]"
            between = f"{one.low:g} to {one.high:g}"
            table.add_row(f"{row.after} steps", between, str(one.happened.n), f"{one.stated:.3f}", happened)
    out.print(table)
