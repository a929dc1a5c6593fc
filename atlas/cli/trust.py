"""``atlas trust``: how far a student is trusted, calibrated to a target; audits of what it did alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from atlas.traces.audit import AuditRow
    from atlas.trust import Trust


@click.group(help="Calibrate when a cascade's student acts alone; look at audits of what it did.")
def command() -> None:
    pass


@command.command("calibrate")
@click.argument("run")
@click.option("--within", type=float, help="Target: success at most this share below the teacher's; 0.02 is 2 points.")
@click.option("--at-most-dollars", type=float, help="Target: at most so many dollars per episode on average.")
@click.option("--delta", default=0.1, show_default=True, help="Chance that the target is missed.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the trust here, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
def calibrate(
    run: str,
    within: float | None,
    at_most_dollars: float | None,
    delta: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Choose the threshold that meets a target from a RUN with the arms teacher and cascade:T for several T.

    Such a run is made by: atlas bench alfworld --n 200 --samples 5 --arms teacher,cascade:1,cascade:0.8,cascade:0.6
    """
    from atlas.traces.reader import find_run
    from atlas.trust.calibrate import Target
    from atlas.trust.calibrate import calibrate as choose

    opened = find_run(run)
    target = Target(within=within, dollars=at_most_dollars)
    trust = choose(opened.results(), target, delta=delta, run=opened.name, settings=opened.settings)
    if out is not None:
        trust.save(out)
    if as_json:
        click.echo(trust.model_dump_json())
        return
    _print(trust)
    if out is not None:
        click.echo(f"Written: {out}   (atlas trust show {out}; in Python: Cascade(..., trust=Trust.load(...)))")


@command.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
def show(file: Path, as_json: bool) -> None:
    """Show what a FILE of 'atlas trust calibrate' trusts, and why."""
    from atlas.trust import Trust

    trust = Trust.load(file)
    if as_json:
        click.echo(trust.model_dump_json())
    else:
        _print(trust)


@command.command("audit")
@click.argument("run")
@click.option(
    "--differences",
    default=3,
    type=click.IntRange(min=0),
    show_default=True,
    help="How many such steps to list per arm.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
def audit(run: str, differences: int, as_json: bool) -> None:
    """Show how often the student of a cascade acted where the teacher would have acted otherwise.

    Audits are made while a RUN is played: atlas bench alfworld --arms cascade --audit 0.02
    """
    from atlas.traces.audit import audit_rows
    from atlas.traces.reader import find_run

    opened = find_run(run)
    rows = audit_rows(opened.episodes())
    if as_json:
        click.echo(json.dumps([row.model_dump(mode="json") for row in rows]))
        return
    if not any(row.audited for row in rows):
        click.echo(f"no step of {opened.name} was audited: play it with --audit 0.02, or Cascade(audit=0.02)")
        return
    _print_audit(rows, differences)


def _print(trust: Trust) -> None:
    from atlas.cli.tables import console, plain

    out = console()
    found = trust.certificate
    out.print(plain(f"Trust {trust.name}:", "bold"), plain(_meaning(trust)))
    if found is None:
        out.print("It was not calibrated.")
        return
    if found.certified:
        out.print(plain(f"Certified: {found.target}, at confidence {1 - found.delta:g}.", "green"))
    elif trust.threshold is None:
        out.print(plain(f"NOT certified: no threshold passed for {found.target}. The teacher always acts.", "red"))
    else:
        out.print(plain(f"NOT certified: no threshold passed for {found.target}. This is the cheapest played.", "red"))
    out.print(plain(f"Method: {found.method}. Assumes that {found.assumes}.", "dim"))
    out.print(_tested_table(trust))


def _meaning(trust: Trust) -> str:
    if trust.threshold is None:
        return "the teacher always acts"
    if trust.signals == ("votes",) and trust.threshold == 1.0:
        return "the student acts where all its samples agree"
    return f"the student acts where {' x '.join(trust.signals)} is at least {trust.threshold:g}"


def _tested_table(trust: Trust) -> Any:
    from atlas.cli.tables import money, percent
    from atlas.words import p_value

    table = _table(f"On {trust.certificate.n if trust.certificate else 0} calibration tasks")
    for name in ("trust", "tasks", "unscored", "success", "teacher's", "teacher acts", "$/episode", "p", "passed"):
        table.add_column(name, justify="left" if name == "trust" else "right")
    found = trust.certificate
    for row in found.tested if found else ():
        table.add_row(
            f"{'+'.join(row.signals)}:{row.threshold:g}",
            str(row.tasks),
            str(row.unscored),
            percent(row.success),
            percent(row.teacher_success),
            percent(row.teacher_share),
            money(row.dollars),
            p_value(row.p),
            "yes" if row.passed else "no",
        )
    if found is not None:
        table.add_row("teacher alone", "", "", "", "", percent(1.0), money(found.teacher_dollars), "", "")
    return table


def _print_audit(rows: list[AuditRow], differences: int) -> None:
    from atlas.cli.tables import console, percent_interval, plain, shorten

    out = console()
    table = _table("Audited steps on which the student acted")
    for name in (
        "arm",
        "student steps",
        "audited",
        "in episodes",
        "teacher differs [95 %]",
        "and it failed [95 %]",
        "no answer",
    ):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for row in rows:
        table.add_row(
            plain(row.arm),
            f"{row.student_steps:,}",
            f"{row.audited:,}",
            f"{row.episodes:,}",
            percent_interval(row.differs),
            percent_interval(row.differs_and_failed),
            str(row.unread),
        )
    out.print(table)
    for row in rows:
        for found in row.differences[:differences]:
            text = f"{row.arm} {found.episode} step {found.index}: {shorten(found.goal, 60)}"
            out.print(plain(f"{text}: student {found.student!r}, teacher {found.teacher!r}", "dim"))


def _table(title: str) -> Any:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, title_style="bold")
