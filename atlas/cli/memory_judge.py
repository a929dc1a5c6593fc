"""``atlas memory judge``: the rule that turns the evidence of entries into their status."""

from __future__ import annotations

import json

import click

from atlas.cli.memory_common import counted, memory_argument, opened
from atlas.cli.number import Number


@click.command()
@memory_argument
@click.option(
    "--alpha",
    default=0.05,
    show_default=True,
    type=Number(0, 1, min_open=True, max_open=True),
    help="Chance that an entry that neither helps nor saves is ever admitted.",
)
@click.option(
    "--margin", default=0.02, show_default=True, type=Number(0, 1), help="Reward it may cost to save dollars."
)
@click.option(
    "--effect",
    default=0.1,
    show_default=True,
    type=Number(0, 1, min_open=True),
    help="The smallest gain in reward that is worth waiting for.",
)
@click.option(
    "--patience", default=300, show_default=True, type=click.IntRange(min=1), help="Trials after which it leaves."
)
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per change, a line each.")
def judge(path: str, alpha: float, margin: float, effect: float, patience: int, dry_run: bool, as_json: bool) -> None:
    """Admit or quarantine the entries in PATH by their evidence.

    Evidence comes from episodes in which a coin decided whether an entry was shown. It may be judged as often as
    wanted.
    """
    from atlas.memory.evidence import EvidenceTable
    from atlas.memory.gate import Rule
    from atlas.tables import console, plain

    rule = Rule(alpha=alpha, margin=margin, effect=effect, patience=patience)
    with opened(path) as database:
        table = EvidenceTable(database)
        changed = table.due(rule) if dry_run else table.settle(rule)
        tried = len(table.all(alpha=alpha))
    if as_json:
        for entry, said in changed.items():
            click.echo(json.dumps({"entry": entry, "status": said.status, "reason": said.reason}))
        return
    out = console()
    for entry, said in changed.items():
        out.print(plain(f"{entry}  {said.status}: {said.reason}", "green" if said.status == "admitted" else "red"))
    done = "would change" if dry_run else "changed"
    out.print(plain(f"tried so far: {counted(tried, 'entry')}; {len(changed)} {done}"))
