"""``atlas data``: benchmark data into the form that the benchmarks read."""

from __future__ import annotations

import click

from atlas.cli.data_excytin import import_command


@click.group(name="data")
def command() -> None:
    """Prepare the data of benchmarks."""


@command.group(name="excytin")
def excytin() -> None:
    """ExCyTIn-Bench: its log tables."""


excytin.add_command(import_command)
