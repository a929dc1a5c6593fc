"""``atlas trust``: how far a student is trusted, calibrated to a target; audits of what it did; what agreement says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.cli.number import Number
from atlas.cli.trust_chances import foresee, select
from atlas.cli.trust_judge import judge

if TYPE_CHECKING:
    from atlas.stats import Interval
    from atlas.traces.audit import AuditRow
    from atlas.trust import Trust
    from atlas.trust.agreement import AgreementRow, SignalQuality

RIGHT = (
    "Right: the student's first choice, which most of its samples name, is what the teacher did. Another action that "
    "would have been as good counts as wrong, another order of search too."
)
METHOD = (
    "AUROC: ties count half. ECE: a bin per share of samples; of probabilities 10 bins of equal width. Intervals: "
    "bootstrap over tasks."
)


@click.group(help="Calibrate when a cascade's student acts alone; look at audits, and at what its agreement is worth.")
def command() -> None:
    pass


command.add_command(judge)
command.add_command(select)
command.add_command(foresee)


@command.command("calibrate")
@click.argument("run")
@click.option(
    "--within", type=Number(), help="Target: success at most this share below the teacher's; 0.02 is 2 points."
)
@click.option("--at-most-dollars", type=Number(), help="Target: at most so many dollars per episode on average.")
@click.option("--delta", type=Number(), default=0.1, show_default=True, help="Chance that the target is missed.")
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
    from atlas.traces.roles import roles_of
    from atlas.trust.calibrate import Target
    from atlas.trust.calibrate import calibrate as choose

    opened = find_run(run)
    episodes = opened.results()
    trust = choose(
        episodes,
        Target(within=within, dollars=at_most_dollars),
        roles=roles_of(opened, (e.arm for e in episodes)),
        delta=delta,
        run=opened.name,
        settings=opened.settings,
    )
    if out is not None:
        trust.save(out)
    if as_json:
        click.echo(trust.model_dump_json())
    else:
        _print(trust)
        if out is not None:
            click.echo(f"Written: {out}   (atlas trust show {out}; in Python: Cascade(..., trust=Trust.load(...)))")
    if trust.certificate is not None and not trust.certificate.certified:
        # A script must not take the safe choice for a certified one.
        raise click.exceptions.Exit(1)


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

    Audits are made while a RUN is played: an agent asks about 0.02 of the student's steps, a bench with
    --arms cascade --audit 0.02.
    """
    from atlas.traces.audit import audit_rows
    from atlas.traces.reader import find_run

    opened = find_run(run)
    rows = audit_rows(opened.episodes())
    if as_json:
        click.echo(json.dumps([row.model_dump(mode="json") for row in rows]))
        return
    if not any(row.audited for row in rows):
        served = opened.settings.get("kind") == "wrapped"
        more = "have its agent ask about more (audit=0.1)" if served else "play it with 'atlas bench ... --audit 0.02'"
        click.echo(f"no step of {opened.name} was audited: {more}")
        return
    _print_audit(rows, differences)


@command.command("agreement")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
def agreement(runs: tuple[str, ...], as_json: bool) -> None:
    """Show how well agreement of a cascade's student tells where it is right, in one RUN or in several side by side.

    Such a run is made by: atlas bench alfworld --arms cascade --audit 1 -o runs/before
    """
    from atlas.traces.reader import find_run
    from atlas.trust.agreement import agreement_rows

    opened = [find_run(run) for run in dict.fromkeys(runs)]
    names = [run.name for run in opened]
    rows = [
        row
        for run in opened
        for row in agreement_rows(run.name if names.count(run.name) == 1 else run.path, run.episodes())
    ]
    if as_json:
        click.echo(json.dumps([row.model_dump(mode="json") for row in rows]))
    else:
        _print_agreement(rows)


def _print(trust: Trust) -> None:
    from atlas.tables import console, plain

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
    from atlas.figures import p_value
    from atlas.tables import money, percent

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
    from atlas.tables import console, percent_interval, plain, shorten

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


def _print_agreement(rows: list[AgreementRow]) -> None:
    from atlas.tables import console, percent, percent_interval, plain

    def rate(interval: Interval | None) -> str:
        return "-" if interval is None else percent_interval(interval)

    out = console()
    names = ("run/arm", "steps\nknown", "unanimous", "right if\nunanimous", "right if\nsplit", "AUROC", "ECE")
    table = _figures("Agreement of the student's samples as a signal that it is right [95 %]", *names)
    for row in rows:
        known = f"{row.known:,}" if row.known == row.steps else f"{row.known:,} of {row.steps:,}"
        rates = (percent_interval(row.unanimous), rate(row.right_unanimous), rate(row.right_split))
        table.add_row(plain(_name(row)), known, *rates, *_signal(row.votes))
    out.print(table)
    if any(row.probability for row in rows):
        table = _figures(
            "The student's probability of its first choice as such a signal", names[0], names[1], *names[5:]
        )
        for row in rows:
            if row.probability is not None:
                table.add_row(plain(_name(row)), f"{row.probability_steps:,}", *_signal(row.probability))
        out.print(table)
    table = _figures("Right, by share of the samples (of known steps)", "share")
    for row in rows:
        table.add_column(plain(_name(row)), justify="right", overflow="fold")
    for share in sorted({level.share for row in rows for level in row.levels}):
        levels = [next((x for x in row.levels if x.share == share), None) for row in rows]
        table.add_row(percent(share), *(f"{percent(x.right)} ({x.steps:,})" if x else "" for x in levels))
    out.print(table)
    for row in rows:
        for note in _notes(row):
            out.print(plain(f"{_name(row)}: {note}.", "yellow"))
    out.print(plain(f"{RIGHT} {METHOD}", "dim"))


def _figures(title: str, *names: str) -> Any:
    """A table whose first column says what the figures in the others are of."""
    table = _table(title)
    for index, name in enumerate(names):
        table.add_column(name, justify="right" if index else "left", overflow="fold")
    return table


def _notes(row: AgreementRow) -> list[str]:
    """What the reader of a row has to know besides."""
    notes = []
    if row.right is None:
        notes.append("the student acted, and what the teacher would have done is not known: play it with --audit 1")
    elif row.audited < row.acted:
        notes.append(f"{row.audited:,} of {row.acted:,} steps of the student were audited, and stand for all of them")
    if row.unread:
        notes.append(f"the teacher named no action at {row.unread:,} steps, which are in no rate")
    if row.stopped:
        notes.append(f"drawing stopped early at {row.stopped:,} steps: the shares are of the samples drawn")
    return notes


def _name(row: AgreementRow) -> str:
    return f"{row.run}/{row.arm}"


def _signal(signal: SignalQuality) -> tuple[str, str]:
    def shown(interval: Interval | None) -> str:
        return "-" if interval is None else f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"

    return shown(signal.auroc), shown(signal.ece)


def _table(title: str) -> Any:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, title_style="bold")
