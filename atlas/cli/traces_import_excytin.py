"""``atlas traces import excytin``: the benchmark's logged runs of real models become a run."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.number import Number
from atlas.cli.stopping import goes_on
from atlas.errors import DataError

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.logged.importing import Imported
    from atlas.benchmarks.excytin.logged.memory import Built


@click.command("excytin")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/excytin-logged"),
    show_default=True,
    help="Folder of the run.",
)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with questions/, by which tasks are numbered.")
@click.option("--memory", help="FILE or URL of a memory: also put what train incidents teach into it.")
@click.option(
    "--train-incident",
    "incidents",
    type=int,
    multiple=True,
    default=(5,),
    show_default=True,
    help="With --memory: learn from this one, and test on others; may be given again.",
)
@click.option(
    "--at-least",
    type=Number(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="With --memory: reward.",
)
@click.option("--embedder", default="minilm", show_default=True, help="With --memory: as the bench that uses it has.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of text.")
def command(
    files: tuple[Path, ...],
    out: Path,
    data: Path | None,
    memory: str | None,
    incidents: tuple[int, ...],
    at_least: float,
    embedder: str,
    as_json: bool,
) -> None:
    """Import FILES as one run with an arm per model: agent_incident_N.json and env_incident_N.json, also .xz or .gz.

    A folder stands for all such files below it; the folder a file is in is named like its model. No model is called.
    The same command again adds nothing, and completes what was cut off.

    The logged runs are runs of test questions, so a memory is split by incident: test it on other incidents than it was
    learned from. It holds the successful runs as demonstrations, and a pamphlet that rules distil from all of them.
    """
    from atlas.benchmarks.excytin.logged.files import read_file
    from atlas.benchmarks.excytin.logged.importing import import_runs

    paths = _below(files)
    with click.progressbar(paths, label=f"Reading logged runs ({len(paths)})", file=sys.stderr) as shown:
        read = [read_file(path) for path in shown]
    built = None
    with goes_on():
        imported = import_runs(read, out, data)
        if memory is not None:
            from atlas.benchmarks.excytin.logged.memory import build_memory
            from atlas.traces.reader import Run

            click.echo(f"learning from the runs on incident {', '.join(map(str, incidents))}", err=True)
            built = build_memory(Run(out), memory, incidents=incidents, at_least=at_least, embedder=embedder)
    _show(imported, built, out, as_json=as_json)


def _below(given: tuple[Path, ...]) -> list[Path]:
    """The files named, and those below the folders named, each once."""
    paths: list[Path] = []
    for path in given:
        if path.is_dir():
            found = sorted(p for form in ("agent", "env") for p in path.rglob(f"{form}_incident_*.json*"))
            if not found:
                raise DataError(f"below {path} there is no agent_incident_N.json and no env_incident_N.json")
            paths += found
        elif path.exists():
            paths.append(path)
        else:
            raise DataError(f"{path} cannot be read, as it is not there: name logged runs, or a folder that holds them")
    return list(dict.fromkeys(p.resolve() for p in paths))


def _show(imported: Imported, built: Built | None, out: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps(
                {
                    "run": str(out),
                    "episodes": imported.episodes,
                    "new": imported.new,
                    "unpriced": imported.unpriced,
                    "left_out": [row.model_dump() for row in imported.left_out],
                    "memory": asdict(built) if built else None,
                    "prices": {model: price and price.setting() for model, price in imported.prices.items()},
                }
            )
        )
        return
    click.echo(f"{imported.episodes} logged runs in {out}, {imported.new} of them new")
    if imported.unpriced:
        click.echo(
            f"{imported.unpriced} without a price: their tokens were not logged, or their model has no known price"
        )
    for model, price in sorted(imported.prices.items()):
        shown = (
            f"${price.prompt:g}/{price.completion:g} per million tokens, {price.note}" if price else "no known price"
        )
        click.echo(f"  {model}: {shown}")
    for row in imported.left_out:
        click.echo(f"  left out: {row.nodes} of {row.file} ({row.why})")
    if built:
        shown = ", ".join(map(str, built.incidents))
        click.echo(
            f"memory from incident {shown}: {built.demonstrations} new demonstrations of {built.successes} successful "
            f"runs ({built.runs} in all), {built.entries} new entries; test it on other incidents"
        )
        if built.quarantined:
            click.echo(f"{built.quarantined} demonstrations are quarantined: 'atlas memory ls' says why")
