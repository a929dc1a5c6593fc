"""What a wrapped agent is made of: the policy that its arguments name, and what is kept of its episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from atlas.actions import Actions
from atlas.errors import ConfigError
from atlas.memory import DemonstrationStore
from atlas.memory.demonstration import Demonstration
from atlas.memory.evidence import EvidenceTable, trials_of
from atlas.memory.gate import Rule
from atlas.memory.history import History
from atlas.memory.pamphlets import PamphletStore
from atlas.policies import Cascade, Coach, Guided, LaneRules, Lanes, Paired, Probe, Recall, Solo, TeacherReview
from atlas.policies.probe import outcome
from atlas.protocols import Demonstrations, Model, Policy
from atlas.records import INTERRUPTED, TEACHER, Episode, Step
from atlas.trust import Trust

COIN = 0.5
"""The chance that an entry is shown, where a coin decides."""


class Memory(Demonstrations, Protocol):
    """A demonstration memory that also takes new ones."""

    def add(self, demo: Demonstration) -> bool: ...


class Books:
    """What is kept in a memory's file of every episode: its outcome, and evidence for the entries it was shown, which
    are admitted or quarantined as soon as it suffices."""

    def __init__(self, memory: DemonstrationStore, trials: float) -> None:
        self.trials = trials
        self.pamphlets = PamphletStore(memory.database, memory.embedder)
        self.history = History(memory.database, memory.embedder)
        self._evidence = EvidenceTable(memory.database)
        self._rule = Rule()

    def keep(self, episode: Episode, steps: Sequence[Step]) -> None:
        """Keep what an episode says. Raises FrozenMemory where nothing may be written."""
        if episode.stop not in INTERRUPTED:
            self.history.add(outcome(episode, steps))
            trials = trials_of(episode, steps, COIN)
            self._evidence.add(trials)
            if trials:
                self._evidence.judge(self._rule, {trial.entry for trial in trials})


@dataclass(frozen=True)
class Composer:
    """Puts policies together."""

    memory: Memory | None
    books: Books | None
    actions: Actions
    samples: int
    k: int
    max_tokens: int
    guidance: int
    """Tokens for entries of pamphlets; 0 for none."""

    def plain(self, student: Model | None, teacher: Model | None, trust: Trust) -> Policy:
        """A cascade of the two, or one of them alone."""
        if student is not None and teacher is not None:
            return self._reminded(
                Cascade(
                    student,
                    teacher,
                    samples=self.samples,
                    max_tokens=self.max_tokens,
                    actions=self.actions,
                    trust=trust,
                )
            )
        if student is not None:
            return self._reminded(Solo(student, max_tokens=self.max_tokens, actions=self.actions))
        if teacher is not None:
            # Collecting: the teacher needs no demonstrations.
            return Solo(teacher, actor=TEACHER, max_tokens=self.max_tokens, actions=self.actions)
        raise ConfigError("an agent needs someone who acts: a student, a teacher, or a policy")

    def lanes(self, student: Model | None, teacher: Model | None, rules: bool | LaneRules) -> Policy:
        """The student under the supervision that each task needs."""
        if student is None or teacher is None or self.books is None:
            raise ConfigError("lanes need a student, a teacher and a memory (a path, or a DemonstrationStore)")
        auto = self._reminded(Solo(student, max_tokens=self.max_tokens, actions=self.actions))
        return Lanes(
            auto,
            Coach(auto, teacher, max_tokens=self.max_tokens),
            Probe(self.books.history),
            paired=Paired(auto, TeacherReview(teacher)),
            rules=rules if isinstance(rules, LaneRules) else None,
        )

    def _reminded(self, inner: Policy) -> Policy:
        """With what the memory holds: demonstrations, and entries of pamphlets."""
        policy = inner if self.memory is None else Recall(inner, self.memory, self.k)
        if self.books is None or not self.guidance:
            return policy
        return Guided(policy, self.books.pamphlets, self.guidance, share=self.books.trials, p=COIN)
