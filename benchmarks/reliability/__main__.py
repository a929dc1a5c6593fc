"""``python -m atlas.benchmarks.reliability [WHAT ...] [--n N] [--json]``: break things, print, check aims."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click

from atlas.benchmarks.perf.__main__ import show
from atlas.benchmarks.perf.table import Table, machine
from atlas.benchmarks.program import Program, Written
from atlas.benchmarks.reliability.plan import Plan
from atlas.cli.number import Number
from atlas.errors import ConfigError

PARTS = {
    "kills": "kill -9 at random moments of runs and of commands that write (N of each)",
    "processes": "8 processes on one memory and one run, one of them killed (N seconds)",
    "provider": "a provider that fails 30 % of its calls (N episodes)",
    "machine": "a full disk, few files, a clock that goes back, damaged files (N of each)",
    "replies": "fuzzed replies of a model through every door (N replies)",
    "clients": "clients of the server, a tenth of them hostile (N clients)",
    "poison": "hostile texts through the real learning path (N texts of each set)",
}


@click.command(cls=Program, epilog="\n\n".join(f"{name}: {what}" for name, what in PARTS.items()))
@click.argument("names", metavar="[WHAT]...", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--n", type=click.IntRange(1), help="The size of each part, in its own unit; moderate ones otherwise.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn at random.")
@click.option("--minutes", type=Number(0.01), default=15.0, show_default=True, help="For each part.")
@click.option("--only", multiple=True, metavar="ROW", help="Only these rows of the parts; may be repeated.")
@click.option(
    "--log",
    type=Written(),
    help="Write each trial of kills to this file, and go on after those that it has: a measurement in parts.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def main(
    names: tuple[str, ...],
    n: int | None,
    seed: int,
    minutes: float,
    only: tuple[str, ...],
    log: Path | None,
    as_json: bool,
) -> None:
    """Break what atlas stands on, and count what was lost: everything, or the parts named by WHAT.

    A part that comes to the end of its time says how far it has come. What is measured on PostgreSQL needs
    ATLAS_POSTGRES=postgresql://USER@HOST/DATABASE. Needs a system with fork and signals.
    """
    where = machine()
    tables: list[Table] = []
    rows: dict[str, None] = {}
    for name in dict.fromkeys(names or PARTS):
        measure: Callable[[Plan], Table] = import_module(f"atlas.benchmarks.reliability.{name}").measure
        began = time.monotonic()
        told = lambda text, name=name, began=began: click.echo(  # noqa: E731
            f"{name}, {time.monotonic() - began:.0f} s: {text}", err=True
        )
        tables.append(measure(Plan(n=n, seed=seed, seconds=60 * minutes, only=only, log=log, said=told, rows=rows)))
        if not as_json and (not only or any(name in rows for name in only)):
            show(tables[-1])
    if unknown := [name for name in only if name not in rows]:
        # Which rows there are, some parts know when they measure.
        raise ConfigError(f"no row is called {', '.join(unknown)} here: --only names some of {', '.join(rows)}")
    if as_json:
        content = [table.model_dump() | {"met": [aim.met for aim in table.aims]} for table in tables]
        click.echo(json.dumps({"machine": where, "seed": seed, "tables": content}, indent=2))
    else:
        click.echo(f"Measured on {where}.")


if __name__ == "__main__":
    main()
