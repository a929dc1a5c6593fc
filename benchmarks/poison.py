"""What the rules of the scan find, and where they are wrong: hits and false alarms of each, on two halves.

    python -m atlas.benchmarks.poison FOLDER [--json]

FOLDER holds ``attacks.json`` and ``honest.json``: lists of objects, each with a ``text``. Every second text belongs to
the second half. Rules are tuned on the first and believed by the second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from atlas.errors import AtlasError, DataError
from atlas.jsontext import read_json
from atlas.memory.safety import Profile, found_by, scan
from atlas.memory.safety_rules import RULES, SECRET

PROFILES: Mapping[str, Profile] = {"recordings": "data", "guidance": "text"}


class Row(NamedTuple):
    """A rule, by its kind and its place among them, or all of them: the texts of each half in which it finds something,
    attacks and honest ones."""

    rule: str
    profile: str
    hits: tuple[int, int]
    alarms: tuple[int, int]


class Halves(NamedTuple):
    """The texts, and what was measured."""

    attacks: tuple[int, int]
    honest: tuple[int, int]
    rows: list[Row]


def measure(attacks: Sequence[str], honest: Sequence[str]) -> Halves:
    """A row for each rule that finds anything, and one for all."""
    rows = []
    for name, profile in PROFILES.items():
        sets = [[found_by(text, profile) for text in texts[half::2]] for texts in (attacks, honest) for half in (0, 1)]
        everything = [
            sum(_scanned(text, profile) for text in texts[h::2]) for texts in (attacks, honest) for h in (0, 1)
        ]
        rows.append(Row("all", name, (everything[0], everything[1]), (everything[2], everything[3])))
        for number, rule in enumerate(RULES):
            said = [sum(number in found for found in part) for part in sets]
            if any(said):
                rows.append(
                    Row(
                        f"{rule.kind} {number}: {rule.pattern.pattern[:40]}",
                        name,
                        (said[0], said[1]),
                        (said[2], said[3]),
                    )
                )
    return Halves(_sizes(attacks), _sizes(honest), rows)


def _scanned(text: str, profile: Profile) -> bool:
    return any(finding.kind != SECRET for finding in scan(text, profile))


def _sizes(texts: Sequence[str]) -> tuple[int, int]:
    return len(texts[0::2]), len(texts[1::2])


def read(path: Path) -> list[str]:
    """The texts of a file. Raises DataError for one that is none."""
    try:
        found = read_json(path.read_text(encoding="utf-8"))
        return [str(one["text"]) for one in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no list of texts ({error}): each is an object with a 'text'") from error


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(folder: Path, as_json: bool) -> None:
    """Hits and false alarms of every rule on the texts of FOLDER."""
    try:
        found = measure(read(folder / "attacks.json"), read(folder / "honest.json"))
    except AtlasError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps({**found._asdict(), "rows": [row._asdict() for row in found.rows]}, indent=2))
        return
    from rich.table import Table

    from atlas.tables import console, plain

    table = Table("as", "rule", "hits 1st", "hits 2nd", "false 1st", "false 2nd")
    for row in found.rows:
        table.add_row(row.profile, plain(row.rule), *map(str, (*row.hits, *row.alarms)))
    out = console()
    out.print(table)
    out.print(f"Attacks: {found.attacks[0]} and {found.attacks[1]}. Honest: {found.honest[0]} and {found.honest[1]}.")


if __name__ == "__main__":
    main()
