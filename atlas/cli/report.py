"""``atlas report``: a run as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.traces.reader import find_run


@click.command(name="report")
@click.argument("run", type=str)
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
@click.option("--compare", metavar="A,B", help="Arms to compare: the first with each of the others, task by task.")
@click.option("--memory", metavar="FILE|URL", help="The memory of the agent, whose versions are told of.")
@click.option("--json", "as_json", is_flag=True, help="Print the report's figures as JSON and write no page.")
def command(run: str, out: Path, compare: str | None, memory: str | None, as_json: bool) -> None:
    """Turn RUN (a folder, or a name below ./runs) into one HTML page with pictures, transcripts and the account.

    The run of an agent that serves shows how it goes over time, what it costs and learned, and why episodes failed; one
    that has several arms compares them.
    """
    from atlas.report import gather, write_report

    opened = find_run(run)
    arms = [arm.strip() for arm in (compare or "").split(",") if arm.strip()]
    if as_json:
        click.echo(gather(opened, compare=arms, memory=memory).model_dump_json())
        return
    click.echo(f"wrote {write_report(opened, out, compare=arms, memory=memory)}")
