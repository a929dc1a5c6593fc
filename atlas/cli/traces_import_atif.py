"""``atlas traces import atif``: trajectories of other agents, or exported ones, become a run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

from atlas.cli.stopping import goes_on
from atlas.errors import DataError
from atlas.jsontext import read_json
from atlas.records import STUDENT, TEACHER


@click.command("atif")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option(
    "--actor",
    type=click.Choice([STUDENT, TEACHER]),
    default=TEACHER,
    show_default=True,
    help="Who acted, in trajectories that do not tell.",
)
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    help="JSON: trajectory id, task, file name or FOLDER/NAME -> score, in place of what a trial's result.json says.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(files: tuple[Path, ...], out: Path, actor: str, scores: Path | None, as_json: bool) -> None:
    """Import FILES (ATIF trajectories, or folders of them) as a run. What is in the run already is left as it is."""
    from atlas.export.atif_read import import_into

    notes: list[str] = []
    given = _scores(scores) if scores else None
    with goes_on():
        written, there = import_into(out, files, actor=actor, scores=given, say=notes.append)
    if as_json:
        click.echo(json.dumps({"run": str(out), "imported": written, "known": there, "notes": notes}))
        return
    click.echo(f"{written} trajectories imported, {there} there already: {out}")
    for note in notes:
        click.echo(note)


def _scores(path: Path) -> dict[str, float]:
    try:
        content = read_json(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is not one JSON object")
        found = {str(name): float(score) for name, score in content.items()}
        if odd := [name for name, score in found.items() if not math.isfinite(score)]:
            raise ValueError(f"the score of {odd[0]} is no finite number")
        return found
    except (OSError, ValueError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} does not map trajectories to scores ({reason}): write JSON {{id: score}}") from error
