"""Verdicts beside a run: ``verdicts.jsonl``, one line per judged episode, appended and never rewritten.

The trace stays as it was recorded. A judge is told from another by the hash of its configuration; of several lines for
one episode and judge the last one counts, while the spend of all of them was paid.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from atlas.errors import StoreError
from atlas.evaluators.verdict import Verdict
from atlas.records import Record, Spend, by_actor
from atlas.redact import Cleaner
from atlas.traces.place import Place, place_of, values

VERDICTS = "verdicts.jsonl"
SCHEMA = 1


class VerdictLine(Record):
    """One line: which episode, which judge, what it said. A verdict without a score is in it as missing."""

    schema_version: int = SCHEMA
    episode: str
    arm: str
    task: str
    config: str
    """Hash of the judge's configuration and of the answers it knew."""
    time: float
    """Unix time."""
    verdict: Verdict


def append_verdict(folder: Path | Place, line: VerdictLine) -> None:
    """Append ``line`` durably; a line that a killed process left unfinished is closed first."""
    place_of(folder).log(VERDICTS).append(Cleaner().text(line.model_dump_json(exclude_defaults=True)).encode())


def read_verdicts(folder: Path | Place, config: str | None = None) -> list[VerdictLine]:
    """All whole lines in order, or those of the judge with the configuration hash ``config``."""
    log = place_of(folder).log(VERDICTS)
    lines = []
    for number, value in values(log):
        if not isinstance(value, dict) or value.get("schema_version", SCHEMA) != SCHEMA:
            raise StoreError(
                f"{log.path}, line {number}, is no verdict that this atlas reads: use the atlas that wrote it"
            )
        try:
            lines.append(VerdictLine.model_validate(value))
        except ValidationError as error:
            raise StoreError(
                f"{log.path}, line {number}, does not fit the verdict format: mend or remove it"
            ) from error
    return [line for line in lines if config is None or line.config == config]


def newest(lines: Iterable[VerdictLine]) -> dict[str, VerdictLine]:
    """The line that counts for each episode."""
    return {line.episode: line for line in lines}


def paid(lines: Iterable[VerdictLine]) -> tuple[Spend, ...]:
    """What all lines cost, those that a later one replaced and those without a verdict included."""
    return by_actor(spend for line in lines for spend in line.verdict.spend)
