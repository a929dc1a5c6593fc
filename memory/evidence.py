"""Trials of entries, kept in the memory file beside the entries: from traces to evidence to a status.

Trials are facts about past episodes. They are no part of the memory's versions: going back to an earlier version does
not undo what was observed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from atlas.evaluators import success
from atlas.memory.database import Database, Write
from atlas.memory.gate import AUTHOR, Gated, Rule, gate
from atlas.memory.uplift import Evidence, Trial, evidence
from atlas.records import INTERRUPTED, Episode, Step, total

_TABLE = """
CREATE TABLE trials (
    entry TEXT NOT NULL,
    episode TEXT NOT NULL,
    task TEXT NOT NULL,
    seed INTEGER NOT NULL,
    family TEXT NOT NULL,
    shown INTEGER NOT NULL,
    p REAL NOT NULL,
    reward REAL,
    dollars REAL,
    started REAL NOT NULL,
    PRIMARY KEY (entry, episode)
) WITHOUT ROWID
"""


def trials_of(episode: Episode, steps: Iterable[Step], p: float) -> list[Trial]:
    """One trial for each entry that a coin of probability ``p`` switched on or off in ``episode``.

    A coin counts from the first step that the entry fitted, shown or not. The reward is the score where it lies between
    0 and 1, else 1 or 0 by success; an interrupted episode gives none, as it will be played again.
    """
    if episode.stop in INTERRUPTED:
        return []
    shown = {c.id: c.shown for step in steps for c in step.decision.guidance if c.randomised}
    return [
        Trial(
            entry=entry,
            episode=episode.id,
            task=episode.task.id,
            seed=episode.seed,
            family=episode.task.family,
            shown=on,
            p=p,
            reward=_reward(episode.score),
            dollars=total(episode.spend).dollars,
            started=episode.started,
        )
        for entry, on in shown.items()
    ]


def _reward(score: float | None) -> float | None:
    if score is None or 0.0 <= score <= 1.0:
        return score
    return float(bool(success(score)))


class EvidenceTable:
    """The trials in a memory file."""

    def __init__(self, db: Database) -> None:
        self._db = db
        db.define("trials", _TABLE)

    def add(self, trials: Iterable[Trial]) -> None:
        """Store trials in one transaction. What is there already for an entry and an episode is replaced, so that an
        episode may be added again after its reward changed. Raises StoreError when the memory is frozen."""
        rows = [
            (t.entry, t.episode, t.task, t.seed, t.family, t.shown, t.p, t.reward, t.dollars, t.started) for t in trials
        ]
        if rows:
            with self._db.transaction():
                self._db.executemany("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def trials(self, entry: str) -> list[Trial]:
        """Those of one entry, in order of their start."""
        query = "SELECT * FROM trials WHERE entry = ? ORDER BY started, episode"
        return [_trial(row) for row in self._db.execute(query, (entry,))]

    def of(self, entry: str, *, alpha: float = 0.05) -> Evidence:
        """What is known of one entry; an entry without trials has evidence that says nothing."""
        return evidence(self.trials(entry), alpha=alpha)

    def all(self, *, alpha: float = 0.05) -> dict[str, Evidence]:
        """What is known of each entry that has trials."""
        return {entry: self.of(entry, alpha=alpha) for entry in self._entries()}

    def verdicts(self, rule: Rule, only: Collection[str] | None = None) -> dict[str, Gated]:
        """What ``rule`` says of the entries whose status it would change, of all or of ``only`` some."""
        statuses = {item.id: item.status for item in self._db.rows("entry") if item.searched}
        entries = [e for e in self._entries() if e in statuses and (only is None or e in only)]
        said = {entry: gate(statuses[entry], self.of(entry, alpha=rule.alpha), rule) for entry in entries}
        return {entry: verdict for entry, verdict in said.items() if verdict is not None}

    def judge(self, rule: Rule, only: Collection[str] | None = None) -> dict[str, Gated]:
        """Give the entries (all, or ``only`` some) the status that ``rule`` says, each as a version of its own with its
        reason; what changed. The intervals stay valid however often this is done. Raises StoreError when the memory is
        frozen."""
        # In one transaction, so that no status is overruled that a person gives meanwhile.
        with self._db.transaction():
            changed = self.verdicts(rule, only)
            for entry, said in changed.items():
                self._db.write([Write("entry", entry, status=said.status)], author=AUTHOR, reason=said.reason)
        return changed

    def _entries(self) -> list[str]:
        return [str(row[0]) for row in self._db.execute("SELECT DISTINCT entry FROM trials ORDER BY entry")]


def _trial(row: Sequence[object]) -> Trial:
    return Trial.model_validate(dict(zip(Trial.model_fields, row, strict=True)))
