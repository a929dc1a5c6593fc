"""Trials of entries, kept in the memory file beside the entries: from traces to evidence to a status.

Trials are facts about past episodes. They are no part of the memory's versions: going back to an earlier version does
not undo what was observed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from atlas.evaluators import success
from atlas.given import check_records
from atlas.memory.database import Database, Write
from atlas.memory.gate import AUTHOR, Gated, Rule, check_rule, gate
from atlas.memory.uplift import Evidence, Trial, evidence
from atlas.records import INTERRUPTED, Citation, Episode, Step, total

FAIR = 0.5
"""The chance of the coins whose citation does not say: those of traces from before citations did."""


def trials_of(episode: Episode, steps: Iterable[Step]) -> list[Trial]:
    """One trial for each entry that a coin switched on or off in ``episode``, with the chance that its citation says.

    A coin counts from the first step that the entry fitted, shown or not. The reward is the score where it lies between
    0 and 1, else 1 or 0 by success; an interrupted episode gives none, as it will be played again.

    A coin holds for a whole episode. Where an entry was both shown and withheld in one, or shown by a coin and without
    one, what came of it is no evidence for either: the trial is void, and there is none.
    """
    if episode.stop in INTERRUPTED:
        return []
    coins: dict[str, set[tuple[bool, float] | None]] = {}
    for step in steps:
        for cited in step.decision.guidance:
            coins.setdefault(cited.id, set()).add(_coin(cited))
    tossed = {entry: found.pop() for entry, found in coins.items() if len(found) == 1}
    return [
        Trial(
            entry=entry,
            episode=episode.id,
            task=episode.task.id,
            seed=episode.seed,
            family=episode.task.family,
            shown=coin[0],
            p=coin[1],
            reward=_reward(episode.score),
            dollars=total(episode.spend).dollars,
            started=episode.started,
        )
        for entry, coin in tossed.items()
        if coin is not None
    ]


def _coin(cited: Citation) -> tuple[bool, float] | None:
    """How the coin fell, and its chance to show the entry; None where none was tossed."""
    return (cited.shown, FAIR if cited.p is None else cited.p) if cited.randomised else None


def _reward(score: float | None) -> float | None:
    if score is None or 0.0 <= score <= 1.0:
        return score
    return float(bool(success(score)))


class EvidenceTable:
    """The trials in a memory."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, trials: Iterable[Trial]) -> None:
        """Store trials in one transaction. What is there already for an entry and an episode is replaced, so that an
        episode may be added again after its reward changed. Raises StoreError when the memory is frozen."""
        found = check_records("what is known of an entry", trials, Trial, "trials_of(episode, steps) makes them")
        if found:
            self._db.whole(lambda: self._put(found))

    def _put(self, trials: list[Trial]) -> None:
        with self._db.transaction():
            self._db.backend.put_trials(trials)

    def trials(self, entry: str) -> list[Trial]:
        """Those of one entry, in order of their start."""
        return self._db.backend.trials(entry)

    def of(self, entry: str, *, alpha: float = 0.05) -> Evidence:
        """What is known of one entry; an entry without trials has evidence that says nothing."""
        return evidence(self.trials(entry), alpha=alpha)

    def all(self, *, alpha: float = 0.05) -> dict[str, Evidence]:
        """What is known of each entry that has trials."""
        return {entry: self.of(entry, alpha=alpha) for entry in self._db.backend.tried()}

    def due(self, rule: Rule, only: Collection[str] | None = None) -> dict[str, Gated]:
        """What ``rule`` says of the entries whose status it would change, of all or of ``only`` some."""
        check_rule(rule)
        statuses = {item.id: item.status for item in self._db.rows("entry") if item.searched}
        entries = [e for e in self._db.backend.tried() if e in statuses and (only is None or e in only)]
        said = {entry: gate(statuses[entry], self.of(entry, alpha=rule.alpha), rule) for entry in entries}
        return {entry: gated for entry, gated in said.items() if gated is not None}

    def settle(self, rule: Rule, only: Collection[str] | None = None) -> dict[str, Gated]:
        """Give the entries (all, or ``only`` some) the status that ``rule`` says, each as a version of its own with its
        reason; what changed. The intervals stay valid however often this is done. Raises StoreError when the memory is
        frozen."""
        return self._db.whole(lambda: self._settle(rule, only))

    def _settle(self, rule: Rule, only: Collection[str] | None) -> dict[str, Gated]:
        # In one transaction, so that no status is overruled that a person gives meanwhile.
        with self._db.transaction():
            changed = self.due(rule, only)
            for entry, said in changed.items():
                self._db.write([Write("entry", entry, status=said.status)], author=AUTHOR, reason=said.reason)
        return changed
