"""``atlas traces import``: what other programs logged, as atlas runs. Formats load when they are called."""

from __future__ import annotations

import importlib

import click

FORMATS: dict[str, tuple[str, str]] = {
    "atif": ("atlas.cli.traces_import_atif", "Trajectories in the Agent Trajectory Interchange Format, v1."),
    "excytin": ("atlas.cli.traces_import_excytin", "Logged runs of ExCyTIn-Bench, as the benchmark writes them."),
}
"""Name -> (module that defines a click command called ``command``, one line of help)."""


class Formats(click.Group):
    """A group whose commands are imported when they are needed; the help list needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(FORMATS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in FORMATS:
            return None
        found: click.Command = importlib.import_module(FORMATS[name][0]).command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Formats"):
            formatter.write_dl([(name, FORMATS[name][1]) for name in self.list_commands(ctx)])


@click.group("import", cls=Formats)
def command() -> None:
    """Turn logged runs of other programs into an atlas run."""
