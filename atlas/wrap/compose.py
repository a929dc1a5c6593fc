"""What a wrapped agent is made of: the policy that its arguments name, and what is kept of its episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from atlas.actions import Actions
from atlas.chances import Foresight
from atlas.errors import ConfigError
from atlas.given import real, shown
from atlas.memory import Demonstration, Memory
from atlas.policies import (
    Cascade,
    Coach,
    Guided,
    LaneRules,
    Lanes,
    Paired,
    Probe,
    Recall,
    Solo,
    TeacherReview,
    Watch,
)
from atlas.policies.taught import Taught
from atlas.policies.triggers import DEFAULT, Trigger
from atlas.protocols import Demonstrations, Model, Policy
from atlas.records import TEACHER
from atlas.trust import UNANIMITY, Trust
from atlas.trust.given import trust_for

LanesBy = bool | LaneRules | Foresight
"""Whether lanes are chosen for each episode, by which rules, or by what was learned of the student elsewhere."""


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
    max_tokens: int | None
    guidance: int
    """Tokens for entries of pamphlets; 0 for none."""
    audit: float
    """Share of the student's steps that the teacher looks at."""
    triggers: tuple[Trigger, ...]
    """Signs by which the teacher takes a step; none for no watch."""

    def plain(self, student: Model | None, teacher: Model | None, trust: Trust) -> Policy:
        """A cascade of the two, watched, audited and taught where success has dropped; or one of them alone."""
        if student is not None and teacher is not None:
            policy = self._recalling(
                Cascade(
                    student,
                    teacher,
                    samples=self.samples,
                    max_tokens=self.max_tokens,
                    actions=self.actions,
                    trust=trust,
                    audit=self.audit,
                )
            )
            # Around what is recalled, which is for the student; within guidance, which may be for the teacher.
            if self.triggers:
                policy = Watch(
                    policy, teacher, triggers=self.triggers, max_tokens=self.max_tokens, actions=self.actions
                )
            return self._guided(Taught(policy, self._alone(teacher)))
        if student is not None:
            return self._reminded(Solo(student, max_tokens=self.max_tokens, actions=self.actions))
        if teacher is not None:
            # Collecting: the teacher needs no demonstrations.
            return self._alone(teacher)
        raise ConfigError("an agent needs someone who acts: a student, a teacher, or a policy")

    def lanes(self, student: Model | None, teacher: Model | None, rules: LanesBy) -> Policy:
        """The student under the supervision that each task needs."""
        if student is None or teacher is None or not isinstance(self.memory, Memory):
            raise ConfigError("lanes need a student, a teacher and a memory (a path, or an atlas.Memory)")
        auto = self._reminded(Solo(student, max_tokens=self.max_tokens, actions=self.actions))
        foresight = rules if isinstance(rules, Foresight) else None
        return Lanes(
            auto,
            Coach(auto, teacher, max_tokens=self.max_tokens),
            Probe(self.memory.outcomes, foresight=foresight, student=student.name),
            paired=Paired(auto, TeacherReview(teacher)),
            rules=rules if isinstance(rules, LaneRules) else None,
        )

    def _alone(self, teacher: Model) -> Solo:
        return Solo(teacher, actor=TEACHER, max_tokens=self.max_tokens, actions=self.actions)

    def _reminded(self, inner: Policy) -> Policy:
        """With what the memory holds: demonstrations, and entries of pamphlets."""
        return self._guided(self._recalling(inner))

    def _recalling(self, inner: Policy) -> Policy:
        return inner if self.memory is None else Recall(inner, self.memory, self.k)

    def _guided(self, inner: Policy) -> Policy:
        if not isinstance(self.memory, Memory) or not self.guidance:
            return inner
        return Guided(inner, self.memory.entries, self.guidance, share=self.trials)


def signs(watch: bool | Sequence[Trigger] | None) -> tuple[Trigger, ...]:
    """The signs of a watch: those that are given, the usual ones where it is told or not said, none for False.

    Raises ConfigError for what is no sign.
    """
    if watch is None or watch is True:
        return DEFAULT
    if watch is False:
        return ()
    given = tuple(watch) if isinstance(watch, list | tuple) else (watch,)
    if odd := [sign for sign in given if not callable(getattr(sign, "fires", None))]:
        raise ConfigError(
            f"an agent's watch is True, False or a list of signs, not {shown(odd[0])}: "
            "write watch=[Stall(4)], say, of atlas.policies.triggers"
        )
    return given


def trusted(given: Trust | float | str | Path | None, student: Model | str | None) -> Trust:
    """By what the student is trusted: what is given, else as it was promoted, else unanimity.

    Raises DataError for a file that holds no trust, and ConfigError for a share that is none and for a trust that asks
    a judge of steps, which an agent has not.
    """
    if given is None:
        found = trust_for(student) if isinstance(student, str) else UNANIMITY
    elif isinstance(given, Trust):
        found = given
    elif isinstance(given, str | Path):
        found = Trust.load(given)
    else:
        if not real(given) or not 0.0 <= given <= 1.0:
            raise ConfigError(f"an agent's trust is a share of the student's samples from 0 to 1, not {shown(given)}")
        found = Trust(threshold=float(given))
    if found.needs_critic:
        raise ConfigError(
            f"the trust {found.name} asks a judge of steps, which no agent has: give a policy, Cascade(..., critic=...)"
        )
    return found


def model_of(given: Model | str | None) -> Model | None:
    """A model, or the one of that name."""
    if not isinstance(given, str):
        return given
    from atlas.models import load

    return load(given)
