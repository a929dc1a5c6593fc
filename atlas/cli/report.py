"""``atlas report``: a run as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.cli.collecting import collecting_rarely
from atlas.cli.newest import last_option, opened, since_option


@click.command(name="report")
@click.argument("run", type=str)
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
@click.option("--compare", metavar="A,B", help="Arms to compare: the first with each of the others, task by task.")
@click.option("--memory", metavar="FILE|URL", help="The memory of the agent, whose versions are told of.")
@last_option
@since_option
@click.option("--json", "as_json", is_flag=True, help="Print the report's figures as JSON and write no page.")
@collecting_rarely
def command(
    run: str, out: Path, compare: str | None, memory: str | None, last: int | None, since: str | None, as_json: bool
) -> None:
    """Turn RUN (a folder, or a name below ./runs) into one HTML page with pictures, transcripts and the account.

    The run of an agent that serves shows how it goes over time, what it costs and learned, and why episodes failed; one
    that has several arms compares them. With --last or --since it is of these episodes alone, and says so.
    """
    from atlas.report import gather, write_report

    found = opened(run, last=last, since=since)
    arms = [arm.strip() for arm in (compare or "").split(",") if arm.strip()]
    if as_json:
        click.echo(gather(found, compare=arms, memory=memory).model_dump_json())
        return
    click.echo(f"wrote {write_report(found, out, compare=arms, memory=memory)}")
