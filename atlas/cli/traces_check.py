"""``atlas traces check``: whether a run needs somebody's eye, as an exit code for who watches over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from atlas import tables
from atlas.traces.reader import Run, find_run

if TYPE_CHECKING:
    from atlas.traces.check import Checked


@click.command(name="check")
@click.argument("run", type=str)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def command(run: str, as_json: bool) -> int:
    """Look whether RUN (a folder, or a name below ./runs) needs somebody's eye.

    Exit code 0 where all is fine, 1 where there is something to look at: the success of a wrapped agent has dropped,
    recent episodes ended with errors, none of them has a score, audits found the student agreeing on something wrong,
    lessons are paid and come to nothing, or the trace has lost steps or holds a packed segment that is damaged. All of
    the trace is read, packed or not.
    """
    from atlas.traces.check import check

    opened = find_run(run)
    found = check(opened)
    if as_json:
        click.echo(found.model_dump_json())
    else:
        _print(found, opened)
    return 0 if found.ok else 1


def _print(found: Checked, run: Run) -> None:
    from rich import box
    from rich.table import Table

    out = tables.console()
    if found.arms:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("arm", style="bold", overflow="fold")
        for name in ("episodes", "scored", "success [95 %]", "recent [95 %]"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("supervision", no_wrap=True)
        for arm in found.arms:
            table.add_row(
                tables.plain(arm.arm),
                str(arm.episodes),
                str(arm.scored),
                tables.percent_interval(arm.success),
                tables.percent_interval(arm.recent),
                arm.supervision,
            )
        out.print(table)
    for finding in found.findings:
        of = f"{finding.arm}: " if finding.arm else ""
        out.print(tables.plain(f"{of}{finding.said.removeprefix(of)}", "yellow"))
        for name in finding.episodes:
            out.print(tables.plain(f"  atlas traces show {run.path} {name}", "dim"))
    if found.ok:
        out.print("fine: nothing to look at" if found.arms else "fine so far: no episode has ended yet")
