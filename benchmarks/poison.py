"""What the rules of the scan find, and where they are wrong: hits and false alarms of each, on two halves.

    python -m atlas.benchmarks.poison FOLDER [--json]
    python -m atlas.benchmarks.poison --installed [--json]

FOLDER holds ``attacks.json`` and ``honest.json``: lists of objects, each with a ``text``. Every second text belongs to
the second half. Rules are tuned on the first and believed by the second. ``--installed`` counts the false alarms among
honest texts that nobody wrote for it: the descriptions of the packages that are installed beside this one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple

import click

from atlas.benchmarks.program import Program
from atlas.errors import DataError
from atlas.jsontext import read_json
from atlas.memory.safety import Profile, found_by, scan
from atlas.memory.safety_rules import RULES, SECRET
from atlas.stats import Interval, wilson

_BLANK = re.compile(r"\n[ \t\r]*\n")
_LEAST = 40
"""Characters of a paragraph that says something."""

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


class Alarms(NamedTuple):
    """Of honest texts, those in which something is found."""

    texts: str
    profile: str
    n: int
    flagged: int
    share: Interval


def installed() -> dict[str, list[str]]:
    """The descriptions of the packages in this environment, whole and by paragraph, each text once."""
    whole = [text for each in distributions() if (text := _description(each))]
    parts = [part.strip() for text in whole for part in _BLANK.split(text)]
    return {"documents": [*dict.fromkeys(whole)], "paragraphs": [*dict.fromkeys(p for p in parts if len(p) >= _LEAST)]}


def _description(package: Distribution) -> str:
    said = package.metadata.json.get("description", "") if package.metadata is not None else ""
    return said if isinstance(said, str) else ""


def alarms(texts: Mapping[str, Sequence[str]]) -> list[Alarms]:
    """A row for each set of honest ``texts`` and each way in which texts are looked at."""
    rows = []
    for name, some in texts.items():
        for said, profile in PROFILES.items():
            flagged = sum(_scanned(text, profile) for text in some)
            rows.append(Alarms(name, said, len(some), flagged, wilson(flagged, len(some))))
    return rows


def read(path: Path) -> list[str]:
    """The texts of a file. Raises DataError for one that is none."""
    try:
        found = read_json(path.read_text(encoding="utf-8"))
        return [str(one["text"]) for one in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no list of texts ({error}): each is an object with a 'text'") from error


@click.command(cls=Program)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option(
    "--installed", "beside", is_flag=True, help="False alarms among the descriptions of the packages installed here."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(folder: Path | None, beside: bool, as_json: bool) -> None:
    """Hits and false alarms of every rule on the texts of FOLDER."""
    if (folder is None) != beside:
        raise click.UsageError(
            "name a folder with attacks.json and honest.json, or ask about what is installed: one of the two"
        )
    if folder is None:
        _show(alarms(installed()), as_json)
        return
    found = measure(read(folder / "attacks.json"), read(folder / "honest.json"))
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


def _show(rows: Sequence[Alarms], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([{**row._asdict(), "share": row.share.model_dump()} for row in rows], indent=2))
        return
    from rich.table import Table

    from atlas.tables import console

    table = Table("honest texts", "as", "n", "flagged", "share [95 %]")
    for row in rows:
        share = f"{row.share.mean:.1%} [{row.share.low:.1%}, {row.share.high:.1%}]"
        table.add_row(row.texts, row.profile, f"{row.n:,}", f"{row.flagged:,}", share.replace("[", "\\["))
    console().print(table)


if __name__ == "__main__":
    main()
