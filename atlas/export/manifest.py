"""What an export says of itself: where it is from, what it holds, and why the rest was left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

from atlas.export.rows import Row
from atlas.export.select import Filters
from atlas.records import Record

SCHEMA = 1


class File(Record):
    """A file of the export."""

    rows: int
    """Lines: rows, those of context included; trajectories where a row is a whole episode."""
    bytes: int
    sha256: str


class Source(Record):
    """A run that was exported, as it was then."""

    run: str
    config: str
    trace_sha256: str
    verdicts_sha256: str | None = None


class Left(Record):
    """How much one reason left out."""

    episodes: int = 0
    """Left out as a whole."""
    rows: int = 0
    """Steps, those of whole episodes included; for preference formats also pairs."""


class Counts(Record):
    """Steps by what they are; for preference formats pairs."""

    by_actor: dict[str, int]
    by_model: dict[str, int]
    by_arm: dict[str, int]
    by_family: dict[str, int]
    by_split: dict[str, int]
    by_part: dict[str, int]


class Lengths(Record):
    """How long rows are, in tokens as :func:`atlas.tokens.estimate_tokens` counts them: a trainer cuts or drops what is
    longer than its ``max_length``."""

    longest: int
    longer_than: dict[str, int]
    """Tokens -> rows that are longer."""


class Manifest(Record):
    """``manifest.json``. Equal input gives equal bytes: it holds no time of its own."""

    schema_version: int = SCHEMA
    atlas: str
    format: str
    rows: int
    context_rows: int
    """Further rows that are there only so that no episode has gaps: ``context`` says why they are not trained on."""
    episodes: int
    tasks: int
    files: dict[str, File]
    counts: Counts
    left_out: dict[str, Left]
    permitted: dict[str, str]
    """Model -> why what it wrote may be trained on."""
    filters: Filters
    scored_by: tuple[str, ...]
    without: tuple[str, ...]
    """Parts that prompts were rendered without."""
    holdout: dict[str, Any]
    duplicates: dict[str, Any] | None
    """How duplicates were found; None where they were kept."""
    rows_with_secrets: int
    """Rows in which something was hidden."""
    lengths: Lengths | None = None
    """None for formats that no trainer of a fixed length reads."""
    notes: tuple[str, ...] = ()
    sources: tuple[Source, ...]


class Tally:
    """Counts while an export is written."""

    def __init__(self) -> None:
        self.rows = 0
        self.context = 0
        self.secrets = 0
        self.files: Counter[str] = Counter()
        self.left: dict[str, Left] = {}
        self.permitted: dict[str, str] = {}
        self.scored_by: dict[str, None] = {}
        self._episodes: set[str] = set()
        self._tasks: set[str] = set()
        self._by: dict[str, Counter[str]] = {name: Counter() for name in Counts.model_fields}

    def leave(self, reason: str, *, rows: int = 1, episodes: int = 0) -> None:
        """Something was left out."""
        before = self.left.get(reason, Left())
        self.left[reason] = Left(episodes=before.episodes + episodes, rows=before.rows + rows)

    def take(self, row: Row, file: str, *, count: int = 1, hidden: bool = False) -> None:
        """A row was written to ``file``; for whole episodes ``count`` is 0 after the first of its steps."""
        self.rows += count
        self.files[file] += count
        self.secrets += hidden
        self._episodes.add(f"{row.run}/{row.episode}")
        self._tasks.add(row.task)
        self.permitted.update({model: why for model, why in row.permitted.items() if model == row.model})
        for name, value in (
            ("by_actor", row.actor),
            ("by_model", row.model),
            ("by_arm", row.arm),
            ("by_family", row.family),
            ("by_split", row.split),
            ("by_part", row.part),
        ):
            self._by[name][value] += 1

    def take_context(self, file: str) -> None:
        """A row was written to ``file`` that is not to be trained on."""
        self.context += 1
        self.files[file] += 1

    def counts(self) -> Counts:
        return Counts(**{name: dict(sorted(counter.items())) for name, counter in self._by.items()})

    @property
    def episodes(self) -> int:
        return len(self._episodes)

    @property
    def tasks(self) -> int:
        return len(self._tasks)
