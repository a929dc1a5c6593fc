"""Options of commands that show a part of a run, its newest episodes."""

from __future__ import annotations

import click

from atlas.cli.ages import moment
from atlas.traces.reader import Run, find_run

last_option = click.option(
    "--last", type=click.IntRange(min=1), metavar="N", help="Of the N episodes alone that began last."
)
since_option = click.option(
    "--since",
    metavar="WHEN",
    help="Of those alone that began since: an age (36h, 90d, 12w), a date (2026-11-30) or a moment (2026-11-30T07:45).",
)


def opened(run: str, *, last: int | None, since: str | None) -> Run:
    """The run that is named, or of it what the options choose."""
    begin = None if since is None else moment(since)
    found = find_run(run)
    if last is None and begin is None:
        return found
    from atlas.traces.newest import Newest

    return Newest(found, last=last, since=begin)
