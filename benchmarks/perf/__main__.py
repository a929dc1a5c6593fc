"""``python -m atlas.benchmarks.perf [NAME ...] [--against REVISION] [--json]``: measure, print, check aims."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial

import click

from atlas.benchmarks.perf import against, concurrency, imports, orchestration, watch
from atlas.benchmarks.perf.table import Aim, Table, machine
from atlas.benchmarks.program import Program


def _retrieval() -> Table:
    """The retrieval measurement, which has options and a command of its own, as a table with aims."""
    from atlas.benchmarks.perf import retrieval

    printed = io.StringIO()
    with redirect_stdout(printed):
        retrieval.main(["--json", "--no-chroma", "--queries", "100"], standalone_mode=False)
    rows = json.loads(printed.getvalue())
    largest = max(row["windows"] for row in rows)
    aims = []
    for row in rows:
        if row["windows"] == largest and row["search"] == "auto":
            what = f"{row['data']}, {largest:,} windows"
            aims.append(Aim(what=f"{what}: p50 ms", limit=2, measured=row["p50_ms"]))
            aims.append(Aim(what=f"{what}: recall", limit=0.98, measured=row["recall"], at_least=True))
    return Table(
        name="retrieval",
        title="Retrieval, milliseconds per query (embedding the query not counted)",
        columns=tuple(rows[0]),
        rows=tuple(tuple(row.values()) for row in rows),
        aims=tuple(aims),
        note="With Chroma, which takes minutes to fill: python -m atlas.benchmarks.perf.retrieval",
    )


def _upstream() -> Table:
    """Loaded when it is wanted: it needs the clients of hosted models."""
    from atlas.benchmarks.perf import upstream

    return upstream.measure()


def _excytin() -> Table:
    """The benchmark's own measurement, loaded when it is wanted: its suite is no part of what is measured here."""
    from atlas.benchmarks.excytin.perf import measure

    return measure()


def _serve() -> Table:
    """Loaded when it is wanted: it starts servers."""
    from atlas.benchmarks.perf.serve import measure

    return measure()


def _memory() -> Table:
    from atlas.benchmarks.perf.remembering import measure

    return measure()


def _stores() -> Table:
    """Loaded when it is wanted: it starts processes."""
    from atlas.benchmarks.perf.stores import measure

    return measure()


def _runs() -> Table:
    """Loaded when it is wanted: it starts processes."""
    from atlas.benchmarks.perf.runs import measure

    return measure()


def _traces() -> Table:
    """Loaded when it is wanted: it starts processes."""
    from atlas.benchmarks.perf.traces import measure

    return measure()


def _local() -> Table:
    """Loaded when it is wanted: it takes a language model, and minutes."""
    from atlas.benchmarks.perf.local import measure

    return measure()


def _fanned() -> Table:
    """Loaded when it is wanted: it starts processes."""
    from atlas.benchmarks.perf.fanned import measure

    return measure()


MEASURES: dict[str, Callable[[], Table]] = {
    "imports": imports.measure,
    "orchestration": orchestration.measure,
    "concurrency": concurrency.measure,
    "retrieval": _retrieval,
    "excytin": _excytin,
    "watch": watch.measure,
    "upstream": _upstream,
    "serve": _serve,
    "memory": _memory,
    "stores": _stores,
    "runs": _runs,
    "traces": _traces,
    "local": _local,
    "fanned": _fanned,
}
WHEN_NAMED = {"local", "fanned"}
"""Measurements that take too long to be part of everything."""


@click.command(cls=Program)
@click.argument("names", nargs=-1, type=click.Choice(list(MEASURES)))
@click.option("--against", "revision", metavar="REVISION", help="Beside the build at this git revision.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def main(names: tuple[str, ...], revision: str | None, as_json: bool) -> None:
    """Measure what atlas costs in time on this machine: everything but local and fanned, or what NAMES says.

    With --against, orchestration, concurrency, watch and memory are measured beside an earlier build, in a few minutes.
    """
    where = machine()
    tables = []
    with _wanted(names, revision) as measures:
        for measure in measures:
            tables.append(measure())
            if not as_json:
                show(tables[-1])
    if as_json:
        content = {"machine": where, "tables": [table.model_dump() | {"met": _met(table)} for table in tables]}
        click.echo(json.dumps(content, indent=2))
    else:
        click.echo(f"Measured on {where}.")


@contextmanager
def _wanted(names: tuple[str, ...], revision: str | None) -> Iterator[list[Callable[[], Table]]]:
    """The measurements to make, of this build or beside an earlier one, which is there until the end of the block."""
    if revision is None:
        yield [MEASURES[name] for name in names or [name for name in MEASURES if name not in WHEN_NAMED]]
    else:
        compared = against.comparable(names)
        with against.earlier(revision) as build:
            yield [partial(build.compare, name) for name in compared]


def _met(table: Table) -> list[bool]:
    return [aim.met for aim in table.aims]


def show(table: Table) -> None:
    """The table, its note, and a line for each aim."""
    from rich.table import Table as Grid

    from atlas.tables import console

    grid = Grid(title=table.title, title_justify="left", caption=table.note or None, caption_justify="left")
    for number, column in enumerate(table.columns):
        grid.add_column(column, justify="right" if number else "left")
    for row in table.rows:
        grid.add_row(*("-" if cell is None else f"{cell:,}" if isinstance(cell, int | float) else cell for cell in row))
    out = console()
    out.print(grid)
    for aim in table.aims:
        sign = ">=" if aim.at_least else "<="
        word = "[green]met[/]" if aim.met else "[red]not met[/]"
        out.print(f"  {aim.what} {sign} {aim.limit:g}: {aim.measured:g}, {word}")
    out.print()


if __name__ == "__main__":
    main()
