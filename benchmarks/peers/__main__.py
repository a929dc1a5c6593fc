"""``python -m atlas.benchmarks.peers``: this package, arc-atlas and icrl-py, side by side in one run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from atlas.benchmarks.peers.compared import Plan, compare
from atlas.benchmarks.peers.measured import Peer, environment
from atlas.benchmarks.perf.__main__ import show
from atlas.benchmarks.perf.table import machine
from atlas.benchmarks.program import Program
from atlas.cli.number import Number
from atlas.errors import ConfigError

OURS = "this package"


@click.command(cls=Program)
@click.option(
    "--place",
    type=click.Path(path_type=Path),
    help="FOLDER with the peers' environments: arc (Python with arc-atlas==0.1.16) and icrl (Python 3.12 or newer "
    "with icrl-py==0.1.0). Without it, this package alone.",
)
@click.option("--sessions", default=Plan.sessions, show_default=True, type=click.IntRange(2), help="At once.")
@click.option(
    "--killed", default=Plan.killed, show_default=True, type=click.IntRange(2), help="Of which one is cut by kill -9."
)
@click.option("--imports", default=Plan.imports, show_default=True, type=click.IntRange(1), help="Of each package.")
@click.option("--limit", default=Plan.limit, show_default=True, type=Number(1), help="Seconds for a program.")
@click.option("--json", "as_json", is_flag=True)
def main(place: Path | None, sessions: int, killed: int, imports: int, limit: float, as_json: bool) -> None:
    """This package beside its peers: imports, what a session costs, many at once, a kill. Takes some minutes."""
    where = machine()
    peers, left_out = those_in(place)
    plan = Plan(sessions, killed, imports, limit)
    table = compare(peers, plan, left_out, lambda what: click.echo(what, err=True))
    if as_json:
        click.echo(json.dumps({"machine": where, "table": table.model_dump()}, indent=2))
    else:
        show(table)
        click.echo(f"Measured on {where}.")


def those_in(place: Path | None) -> tuple[list[Peer], list[str]]:
    """This package and those that are there, and why the others are left out.

    Raises:
        ConfigError: there is a folder, and neither is in it.
    """
    peers = [Peer(OURS, Path(sys.executable), "from atlas import Agent", "drive_atlas.py")]
    if place is None:
        return peers, ["the peers, as no --place was named"]
    left_out = []
    for folder, name, version, imports, driver in (
        ("arc", "arc-atlas", "0.1.16", "from atlas.core import arun", "drive_arc.py"),
        ("icrl", "icrl-py", "0.1.0", "from icrl import Agent", "drive_icrl.py"),
    ):
        try:
            python = environment(place.absolute() / folder, f"{name}=={version}")
            peers.append(Peer(f"{name} {version}", python, imports, driver))
        except ConfigError as error:
            left_out.append(f"{name}: {error}")
    if len(peers) == 1:
        raise ConfigError("; ".join(left_out))
    return peers, left_out


if __name__ == "__main__":
    main()
