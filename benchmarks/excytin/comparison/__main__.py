"""``python -m atlas.benchmarks.excytin.comparison``: generated statements on the embedded engine and on a server.

The server is the one that ATLAS_MYSQL names, or root without a password on this machine. The rows go into a database of
their own, ``atlas_compare_PROCESS``, which is dropped in the end.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from atlas.benchmarks.excytin.comparison.compared import DIFFERENT, EQUAL, MORE, REFUSED, Judged, Tally, compare, digest
from atlas.benchmarks.excytin.comparison.statements import Statements
from atlas.benchmarks.excytin.comparison.tables import write
from atlas.benchmarks.excytin.load_mysql import drop, load
from atlas.benchmarks.excytin.mysql_engine import MysqlEngine
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine
from atlas.benchmarks.program import Program, Written
from atlas.figures import figure

SERVER = "mysql://root@127.0.0.1:3306/"


def measured(count: int, seed: int, url: str) -> Tally:
    """``count`` statements of a seed on both engines.

    Raises:
        DataError: the server cannot be reached, or no database be made on it.
    """
    name = f"atlas_compare_{os.getpid()}"
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "incident.sqlite")
        embedded, server = SqliteEngine(path), None
        try:
            server = MysqlEngine(load(path, url, name))
            return compare(Statements(seed).some(count), embedded, server)
        finally:
            embedded.close()
            if server is not None:
                server.close()
                drop(url, name)


@click.command(cls=Program)
@click.option("--n", "count", type=click.IntRange(1), default=7000, show_default=True, help="Statements.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another gives other statements.")
@click.option("--show", type=click.IntRange(0), default=10, show_default=True, help="Statements to show that differ.")
@click.option("--record", type=Written(), help="Keep the server's answers, in short, in this file.")
def main(count: int, seed: int, show: int, record: Path | None) -> None:
    """Compare, and print a table: equal, refused, different, by what the statements are about."""
    tally = measured(count, seed, os.environ.get("ATLAS_MYSQL", SERVER))
    table(tally)
    if record is not None:
        record.write_text(recorded(tally))
    for one in sorted(tally.others, key=lambda judged: judged.verdict != DIFFERENT)[:show]:
        click.echo(told(one))


def recorded(tally: Tally) -> str:
    """Statements that both answer with the same rows: a line for each, with the digest of the rows."""
    rows = [(one.statement, one.theirs) for one in tally.equal if not isinstance(one.theirs, str)]
    return "".join(
        json.dumps([one.kind, one.sql, one.ordered, digest(theirs, one.ordered)], ensure_ascii=False) + "\n"
        for one, theirs in rows
    )


def told(one: Judged) -> str:
    """A statement on which the engines do not agree, with the first rows that differ."""
    ours, theirs = one.ours, one.theirs
    if not isinstance(ours, str) and not isinstance(theirs, str):
        first = next(
            (pair for pair in zip(ours, theirs, strict=False) if repr(pair[0]) != repr(pair[1])), (ours, theirs)
        )
        ours, theirs = first[0], first[1]  # type: ignore[assignment]
    return f"\n{one.verdict}: {one.statement.sql}\n  here:   {str(ours)[:200]}\n  server: {str(theirs)[:200]}"


def table(tally: Tally) -> None:
    """Print the counts."""
    from rich.table import Table

    from atlas.tables import console

    columns = (EQUAL, REFUSED, MORE, DIFFERENT)
    shown = Table(title="Generated statements beside a server", title_justify="left")
    for name in ("statements on", *columns, "equal"):
        shown.add_column(name, justify="left" if name == "statements on" else "right")
    for kind, counts in [*tally.counts.items(), ("all", tally.total())]:
        share = counts[EQUAL] / sum(counts.values())
        shown.add_row(kind, *(f"{counts[name]:,}" for name in columns), f"{figure(share, 2)}%")
    console().print(shown)


if __name__ == "__main__":
    main()
