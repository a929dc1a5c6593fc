"""``python -m atlas.benchmarks.excytin.logged.selecting RUN``: cascades that choose among answers, no model called.

RUN is what ``atlas traces import excytin`` made. The selector of each question was learned from the other incidents.
Its figures and settings were chosen on incidents 34, 38 and 166; the others (``--incident 5 --incident 134``) were
looked at once, when all was fixed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from atlas.benchmarks.excytin.logged.tables import listing
from atlas.benchmarks.program import Program
from atlas.chances.logged import cases_of
from atlas.chances.measure import ChainRow, chain_row, foretold
from atlas.errors import ConfigError
from atlas.stats import Interval
from atlas.traces.reader import find_run

CHAINS = (
    "gpt-4.1-mini,gpt-4.1,o4-mini",
    "gpt-4.1-nano,gpt-4.1-mini,gpt-4.1,o4-mini",
    "gpt-4.1-mini,o4-mini",
    "gpt-4.1-nano,gpt-4.1-mini,o4-mini",
)
THRESHOLDS = (0.2, 0.25, 0.3, 0.4, None)
MARKS = {"alerts": "SecurityAlert|SecurityIncident|AlertEvidence|AlertInfo"}
"""The tables that alerts are kept in: questions are about alerts."""


def _print(rows: Sequence[ChainRow]) -> None:
    from atlas.tables import console, money, percent, plain

    out = console()
    scores = listing(
        "Selecting cascades: score, and what it is beyond (paired by question, 95 %)",
        ("tiers", "stops at"),
        ("questions", "asked", "score", "best single", "- single", "- random routing", "- random picking",
         "- agreement", "oracle"),
    )  # fmt: skip
    for r in rows:
        scores.add_row(
            plain(" -> ".join(r.tiers)),
            _stop(r.threshold),
            str(r.tasks),
            " / ".join(percent(share) for share in r.asked),
            _figure(r.score),
            plain(f"{r.single_score.mean:.3f} {r.single}"),
            _figure(r.gain, sign=True),
            _figure(r.over_routing, sign=True),
            _figure(r.over_picking, sign=True),
            _figure(r.over_agreement, sign=True),
            f"{r.oracle:.3f}",
        )
    out.print(scores)
    dollars = listing(
        "The same, on questions whose tokens were logged for all tiers: dollars, all that were asked included",
        ("tiers", "stops at"),
        ("questions", "score", "best single", "$ / question", "of the single's", "- mixture of singles, same $"),
    )
    for r in rows:
        if r.dollars and r.share_of_dollars and r.over_mixture and r.priced_score is not None:
            dollars.add_row(
                plain(" -> ".join(r.tiers)),
                _stop(r.threshold),
                str(r.priced),
                f"{r.priced_score:.3f}",
                f"{r.priced_single_score:.3f}",
                money(r.dollars.mean),
                f"{r.share_of_dollars.mean:.2f} [{r.share_of_dollars.low:.2f}, {r.share_of_dollars.high:.2f}]",
                _figure(r.over_mixture, sign=True),
            )
    if dollars.row_count:
        out.print(dollars)


def _stop(threshold: float | None) -> str:
    return "all asked" if threshold is None else f"{threshold:g}"


def _figure(interval: Interval, *, sign: bool = False) -> str:
    form = "+.3f" if sign else ".3f"
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


@click.command(name="selecting", cls=Program)
@click.argument("run")
@click.option(
    "--tiers", "chains", multiple=True, default=CHAINS, show_default=True, help="Models in the order they are asked."
)
@click.option(
    "--incident", "incidents", multiple=True, type=int, help="Show only these; what is learned from stays the same."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def command(run: str, chains: tuple[str, ...], incidents: tuple[int, ...], as_json: bool) -> None:
    """Show what cascades that choose among answers would have scored and cost, from the logged runs in RUN."""
    opened = find_run(run)
    episodes = opened.episodes()
    only = {f"incident_{number}" for number in incidents} or None
    rows = []
    for chain in chains:
        tiers = tuple(part for part in chain.split(",") if part)
        cases = cases_of(episodes, tiers)
        if not cases or (only and not any(case.group in only for case in cases)):
            raise ConfigError(
                f"the run {opened.name} has no question that all of {', '.join(tiers)} attempted: its models are "
                f"{', '.join(dict.fromkeys(e.arm for e in episodes))}"
            )
        selectors = foretold(cases, tiers, marks=MARKS)
        rows += [chain_row(cases, selectors, threshold, only=only) for threshold in THRESHOLDS]
    if as_json:
        click.echo(json.dumps({"rows": [row.model_dump() for row in rows]}))
    else:
        _print(rows)


if __name__ == "__main__":
    command()
