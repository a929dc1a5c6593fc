"""``python -m atlas.benchmarks.excytin.incidents FOLDER``: generated incidents in a folder laid out like the data."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.benchmarks.excytin.incidents import ROWS, Spec, export
from atlas.benchmarks.excytin.incidents.build import PER_SPLIT
from atlas.benchmarks.program import Program


@click.command(name="incidents", cls=Program)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(("test", "train")), default="test", show_default=True)
@click.option("--n", type=click.IntRange(1, PER_SPLIT), default=1, show_default=True, help="How many incidents.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--rows", type=click.IntRange(min=0), default=ROWS, show_default=True, help="Noise in each.")
def command(folder: Path, split: str, n: int, seed: int, rows: int) -> None:
    """Write generated incidents into FOLDER, for 'atlas play excytin --data FOLDER' and 'atlas bench excytin'."""
    specs = [Spec.model_validate({"split": split, "index": i, "seed": seed, "rows": rows}) for i in range(n)]
    for spec in specs:
        export([spec], folder)
        click.echo(f"incident {spec.number}: {spec.rows:,} rows of noise", err=True)


if __name__ == "__main__":
    command()
