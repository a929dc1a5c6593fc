"""One memory: what worked, what was distilled from it, how tasks went, what entries are worth, and who changed what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from atlas.errors import ConfigError
from atlas.given import check_record, check_records, shown
from atlas.memory import versions
from atlas.memory.database import Change, Database, Freeze
from atlas.memory.demonstration import Demonstration, demo_steps, from_episode
from atlas.memory.evidence import EvidenceTable, trials_of
from atlas.memory.gate import Gated, Rule, check_rule
from atlas.memory.history import History, outcome
from atlas.memory.index import DEFAULT_KEYS
from atlas.memory.pamphlets import CAP, PamphletStore
from atlas.memory.store import DemonstrationStore, Progress
from atlas.memory.withdraw import withdraw
from atlas.protocols import Embedder
from atlas.records import INTERRUPTED, Episode, Step, View, Window


class Kept(NamedTuple):
    """What a memory took from an episode that it had not taken before."""

    outcome: bool = False
    demonstration: bool = False
    settled: Mapping[str, Gated] = {}
    """Entries whose status the evidence has changed, by id."""
    withdrawn: tuple[str, ...] = ()
    """Demonstrations that it gave when it was said to have succeeded, and gives no more."""


class Memory:
    """All that is learned, in one database, which any number of processes may have open.

        with atlas.Memory("memory.sqlite") as memory:
            policy = atlas.Guided(atlas.Recall(student, memory), memory.entries)
            ...
            memory.keep(episode, steps)

    It is read as demonstrations are (:class:`atlas.protocols.Demonstrations`). Its parts are there too, each with all
    that it can do: ``demonstrations``, ``entries``, ``outcomes`` and ``trials``.
    """

    demonstrations: DemonstrationStore
    entries: PamphletStore
    outcomes: History
    trials: EvidenceTable
    rule: Rule
    """By which evidence admits and quarantines entries."""

    def __init__(
        self,
        path: str | Path | Database,
        embedder: Embedder | str = "minilm",
        *,
        index: str = "auto",
        keys: Sequence[str] = DEFAULT_KEYS,
        weights: Mapping[str, float] | None = None,
        window: int = 5,
        cap: int = CAP,
        rule: Rule | None = None,
    ) -> None:
        """
        path: file to open or create, ``":memory:"``, a URL of another database (``name://...``, see
            :mod:`atlas.memory.backend`), or a database that is open, which its owner closes.
        embedder: an object, or a name for :func:`atlas.memory.embed.load_embedder`; loaded at the first search.
        index, keys, weights, window: how demonstrations are found, as :class:`DemonstrationStore` has it; entries are
            found by the same index.
        cap: entries kept at most.
        rule: by which evidence admits and quarantines entries; :class:`Rule` as it comes where None.
        """
        if rule is not None:
            check_rule(rule)
        demonstrations = DemonstrationStore(path, embedder, index, keys, weights, window)
        try:
            self._put_together(demonstrations, cap, rule)
        except BaseException:
            demonstrations.close()
            raise
        self._close = demonstrations.close

    @classmethod
    def around(cls, demonstrations: DemonstrationStore, *, cap: int = CAP, rule: Rule | None = None) -> Self:
        """The whole memory that an open store of demonstrations is a part of; closing that stays its owner's affair."""
        if not isinstance(demonstrations, DemonstrationStore):
            raise ConfigError(f"a memory is around a DemonstrationStore, not {shown(demonstrations)}: open one first")
        memory = cls.__new__(cls)
        memory._put_together(demonstrations, cap, rule)
        memory._close = lambda: None
        return memory

    def _put_together(self, demonstrations: DemonstrationStore, cap: int, rule: Rule | None) -> None:
        self.database = demonstrations.database
        self.path = demonstrations.path
        self.demonstrations = demonstrations
        self.entries = PamphletStore(self.database, demonstrations.embedder, cap=cap, index=demonstrations.index)
        self.outcomes = History(self.database, demonstrations.embedder)
        self.trials = EvidenceTable(self.database)
        self.rule = rule or Rule()

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        """How many demonstrations may be searched."""
        return len(self.demonstrations)

    def __bool__(self) -> bool:
        """A memory is one, also where it is empty."""
        return True

    # --- what is shown ------------------------------------------------------------------------------------------------

    @property
    def embedder(self) -> Embedder:
        return self.demonstrations.embedder

    def search(self, view: View, k: int) -> list[Window]:
        """As :meth:`DemonstrationStore.search`."""
        return self.demonstrations.search(view, k)

    def similar(self, view: View, k: int) -> list[Window]:
        """As :meth:`DemonstrationStore.similar`."""
        return self.demonstrations.similar(view, k)

    def config(self) -> dict[str, object]:
        """What determines how demonstrations are found, besides themselves."""
        return self.demonstrations.config()

    def warm(self, progress: Progress | None = None) -> int:
        """Embed all that it holds and fill its index now; how many texts had to be embedded. ``progress(done, of)``
        counts those of demonstrations."""
        embedded = 0

        def seen(done: int, of: int) -> None:
            nonlocal embedded
            embedded = max(embedded, done)
            if progress:
                progress(done, of)

        self.demonstrations.warm(seen)
        self.entries.warm()
        self.outcomes.near("", 0)
        return embedded

    # --- what is learned ----------------------------------------------------------------------------------------------

    def add(self, demo: Demonstration) -> bool:
        """As :meth:`DemonstrationStore.add`."""
        return self.demonstrations.add(demo)

    def keep(self, episode: Episode, steps: Sequence[Step], *, learn: bool = True) -> Kept:
        """Keep what an episode says, all of it or nothing: how it went, what its coins say of entries, and, where it
        succeeded and ``learn`` is true, a demonstration. Entries are admitted or quarantined as soon as the evidence
        suffices.

        Keeping an episode twice is keeping it once, but that trials follow a reward that has changed, and that what it
        gave is withdrawn where it is no success any more. One that was interrupted says nothing: it is played again.
        Raises FrozenMemory where nothing may be written.
        """
        check_record("what a memory keeps", episode, Episode, "give the result of a rollout, with its steps")
        steps = check_records("what was done in an episode", steps, Step, "give all of them, in order")
        if episode.stop in INTERRUPTED:
            return Kept()
        trials = trials_of(episode, steps)
        last = [step for step in steps if step.attempt == steps[-1].attempt]
        worked = learn and episode.success and demo_steps(last)

        def kept() -> Kept:
            with self.database.transaction():
                new = self.outcomes.add(outcome(episode, steps))
                self.trials.add(trials)
                settled = self.trials.settle(self.rule, {trial.entry for trial in trials}) if trials else {}
                gone = withdraw(self.database, episode) if not new and not episode.success else ()
                learned = bool(worked) and self._learn(from_episode(episode, steps), again=new)
                return Kept(new, learned, settled, gone)

        return self.database.whole(kept)

    def _learn(self, demo: Demonstration, *, again: bool) -> bool:
        """Add ``demo``; where it is there already it is counted only ``again``, for an episode not kept before."""
        return self.add(demo) if again or self.demonstrations.find(demo) is None else False

    # --- who changed what ---------------------------------------------------------------------------------------------

    def log(self) -> list[versions.Logged]:
        """Every version with what it did, oldest first."""
        return versions.log(self.database)

    def diff(self, first: int, second: int | None = None) -> list[Change]:
        """How the memory at version ``second``, by default now, differs from that at ``first``."""
        with self.database.reading():
            return versions.diff(self.database, first, self.database.head() if second is None else second)

    def rollback(self, to: int, *, author: str, reason: str) -> list[Change]:
        """Bring back the memory as it was at version ``to``, as a new version; what that changed."""
        return self.database.rollback(to, author=author, reason=reason)

    @property
    def frozen(self) -> Freeze | None:
        """Who froze it and why; None where it may be written."""
        return self.database.frozen()

    def freeze(self, *, author: str, reason: str) -> bool:
        """Let nobody write it from now on; False where it was frozen already."""
        return self.database.set_frozen(True, author=author, reason=reason)

    def unfreeze(self, *, author: str, reason: str) -> bool:
        """Let it be written again; False where it was not frozen."""
        return self.database.set_frozen(False, author=author, reason=reason)
