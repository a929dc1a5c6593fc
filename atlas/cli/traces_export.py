"""``atlas traces export``: episodes as they end, a line each."""

from __future__ import annotations

import sys
import time

import click

EVERY = 0.5
"""Seconds between two looks at a run that is followed."""


@click.command("export")
@click.argument("run")
@click.option("--format", "form", default="otel-json", show_default=True, help="otel-json (spans, OTLP/JSON), or atif.")
@click.option("--follow", is_flag=True, help="Go on with those that end later, until Ctrl-C.")
def command(run: str, form: str, follow: bool) -> None:
    """Write the episodes of RUN that have ended to standard output, one JSON object a line.

    They are those of 'atlas export', of whatever outcome, and secrets are hidden. Ids are the same each time, so that a
    backend that gets an episode again has it once; one that is scored late is told again. RUN is a folder or a URL.
    """
    from atlas.export.stream import streamed
    from atlas.traces.reader import find_run

    def more() -> bool:
        if follow:
            time.sleep(EVERY)
        return follow

    try:
        for line in streamed(find_run(run), form, more):
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()
    except KeyboardInterrupt:
        if not follow:
            raise
