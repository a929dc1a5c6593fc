"""``atlas export``: runs as training data, and as what other tools read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from atlas import tables
from atlas.cli.number import Number
from atlas.cli.progress import following
from atlas.errors import ConfigError
from atlas.export.formats import FORMATS

if TYPE_CHECKING:
    from atlas.export.manifest import Manifest

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _list(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Values given once each or separated by commas."""
    return tuple(dict.fromkeys(part.strip() for value in values for part in value.split(",") if part.strip()))


def _many(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """An option that may be given several times."""
    return click.option(*names, multiple=True, callback=_list, **settings)


@click.command(name="export")
@click.argument("runs", nargs=-1, required=True)
@click.option("--format", "form", required=True, help=f"One of {', '.join(FORMATS)}.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the export.")
@click.option(
    "--success/--any-outcome",
    default=None,
    help="Only successful episodes, or all; the sft formats take successful ones unless --min-score is given.",
)
@click.option("--min-score", type=Number(), help="Only episodes with at least this score.")
@click.option("--judge", help="Scores of this judge (name, or beginning of its hash) from 'atlas regrade'.")
@_many("--split", "splits", help="Only tasks of this split.")
@_many("--actor", "actors", help="Only steps on which this actor acted: student or teacher.")
@_many("--family", "families", help="Only tasks of this family.")
@_many("--arm", "arms", help="Only episodes of this arm.")
@_many("--permitted", metavar="MODEL,...", help="Models whose terms allow training on their outputs (openai/* too).")
@click.option("--permitted-only", is_flag=True, help="Leave out other models' words; training formats always do.")
@_many("--without", help="Render prompts without these parts: demonstrations, pamphlets, advice, actions.")
@click.option("--holdout", type=Number(), default=0.0, show_default=True, help="Share of tasks held out, by hash.")
@click.option("--group", default="task", show_default=True, help="What the split keeps whole: task or family.")
@click.option("--near", type=Number(0), default=0.9, show_default=True, help="Similarity of near-duplicates.")
@click.option("--keep-duplicates", is_flag=True, help="Keep exact and near-duplicates in training formats.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest instead of tables.")
def command(
    runs: tuple[str, ...],
    form: str,
    out: Path,
    success: bool | None,
    min_score: float | None,
    judge: str | None,
    splits: tuple[str, ...],
    actors: tuple[str, ...],
    families: tuple[str, ...],
    arms: tuple[str, ...],
    permitted: tuple[str, ...],
    permitted_only: bool,
    without: tuple[str, ...],
    holdout: float,
    group: str,
    near: float,
    keep_duplicates: bool,
    as_json: bool,
) -> None:
    """Export RUNS (folders, or names below ./runs) to a folder with a manifest.json.

    Training formats leave out what hosted models wrote unless you name them with --permitted, and duplicates. Secrets
    are hidden in all formats. The folder is replaced as a whole, or left as it was.
    """
    from atlas.export.build import ExportPlan, export
    from atlas.export.select import Filters
    from atlas.records import STUDENT, TEACHER
    from atlas.traces.reader import find_run

    if form not in FORMATS:
        raise ConfigError(f"there is no export format {form!r}: choose one of {', '.join(FORMATS)}")
    if unknown := [actor for actor in actors if actor not in (STUDENT, TEACHER)]:
        raise ConfigError(f"there is no actor {unknown[0]!r}: choose {STUDENT} or {TEACHER}")
    filters = Filters(
        success=success,
        min_score=min_score,
        judge=judge,
        splits=splits,
        families=families,
        arms=arms,
        actors=actors,
        permitted_only=permitted_only,
    )
    plan = ExportPlan(
        format=form,
        filters=filters,
        without=without,
        permitted=permitted,
        holdout=holdout,
        group=group,
        near=near,
        keep_duplicates=keep_duplicates,
    )
    found = [find_run(name) for name in runs]
    with following("episodes") as seen:
        manifest = export(found, out, plan, seen)
    if as_json:
        click.echo(manifest.model_dump_json(indent=2))
    else:
        _print(out, manifest)


def _print(out: Path, manifest: Manifest) -> None:
    from rich import box
    from rich.table import Table

    console = tables.console()
    unit = "trajectories" if FORMATS[manifest.format].unit == "episode" else "rows"
    console.print(
        tables.plain(f"{manifest.rows:,} {unit} of {manifest.episodes:,} episodes, {manifest.tasks:,} tasks: {out}")
    )
    if manifest.context_rows:
        console.print(f"and {manifest.context_rows:,} rows of context, so that no episode has gaps")
    files = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    files.add_column("file", style="bold", overflow="fold")
    for name in (unit, "bytes", "sha256"):
        files.add_column(name, justify="right" if name != "sha256" else "left")
    for name, file in list(manifest.files.items())[:10]:
        files.add_row(tables.plain(name), f"{file.rows:,}", f"{file.bytes:,}", file.sha256[:12])
    if len(manifest.files) > 10:
        files.add_row(f"and {len(manifest.files) - 10:,} more", "", "", "")
    console.print(files)
    counts = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Steps", title_justify="left", title_style="bold")
    counts.add_column("by")
    counts.add_column("", overflow="fold")
    for name, by in manifest.counts.model_dump().items():
        told = ", ".join(f"{key or 'none'} {count:,}" for key, count in by.items())
        counts.add_row(name.removeprefix("by_"), tables.plain(tables.shorten(told, 400)))
    console.print(counts)
    if manifest.left_out:
        left = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Left out", title_justify="left", title_style="bold")
        left.add_column("because", overflow="fold")
        for name in ("steps", "whole episodes"):
            left.add_column(name, justify="right")
        for reason, amount in manifest.left_out.items():
            left.add_row(tables.plain(reason), f"{amount.rows:,}", f"{amount.episodes:,}")
        console.print(left)
    for model, why in manifest.permitted.items():
        console.print(tables.plain(f"training on {model or 'an unnamed model'}: {why}", "dim"))
    for note in manifest.notes:
        console.print(tables.plain(note, "yellow"))
    if manifest.rows_with_secrets:
        console.print(tables.plain(f"secrets were hidden in {manifest.rows_with_secrets:,} {unit}", "yellow"))
