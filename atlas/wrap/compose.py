"""What a wrapped agent is made of: the policy that its arguments name, and what is kept of its episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from atlas.actions import Actions
from atlas.errors import ConfigError
from atlas.memory import Demonstration, Memory
from atlas.policies import Cascade, Coach, Guided, LaneRules, Lanes, Paired, Probe, Recall, Solo, TeacherReview
from atlas.protocols import Demonstrations, Model, Policy
from atlas.records import TEACHER
from atlas.trust import Trust


class Learns(Demonstrations, Protocol):
    """A demonstration memory of your own that also takes new ones. It has no entries, and keeps no outcomes."""

    def add(self, demo: Demonstration) -> bool: ...


@dataclass(frozen=True)
class Composer:
    """Puts policies together."""

    memory: Memory | Learns | None
    trials: float
    """Share of episodes in which a coin decides for each entry whether it is shown."""
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
        if student is None or teacher is None or not isinstance(self.memory, Memory):
            raise ConfigError("lanes need a student, a teacher and a memory (a path, or an atlas.Memory)")
        auto = self._reminded(Solo(student, max_tokens=self.max_tokens, actions=self.actions))
        return Lanes(
            auto,
            Coach(auto, teacher, max_tokens=self.max_tokens),
            Probe(self.memory.outcomes),
            paired=Paired(auto, TeacherReview(teacher)),
            rules=rules if isinstance(rules, LaneRules) else None,
        )

    def _reminded(self, inner: Policy) -> Policy:
        """With what the memory holds: demonstrations, and entries of pamphlets."""
        policy = inner if self.memory is None else Recall(inner, self.memory, self.k)
        if not isinstance(self.memory, Memory) or not self.guidance:
            return policy
        return Guided(policy, self.memory.entries, self.guidance, share=self.trials)
