"""Self-consistency cascades: where the student's samples can be trusted it acts, elsewhere the teacher, this step only.

In-context distillation with self-consistency cascades, arXiv 2512.02543: N samples over the same retrieved examples;
agreement is unanimity, not majority. Other rules of trust, calibrated to a target, are in :mod:`atlas.trust`.

One of them is learning to defer: a trained judge of steps says how likely success is if the student has its way, and
below a threshold the teacher acts. It is a signal of trust and not a policy of its own, so that it is calibrated,
audited, combined with votes and written in traces as the other signals are; with one sample and the signal ``judge``
alone it is a deferral rule around a student that acts by itself. The judge is trained apart from the student (post hoc:
Jitkrittum et al., arXiv 2307.02764), not with it (Mozannar and Sontag, arXiv 2006.01862).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time

from atlas.actions import Actions, TextActions
from atlas.asking import Answer, Desk
from atlas.errors import BudgetExceeded, ConfigError, ModelError
from atlas.given import check_actor, check_share, shown, whole
from atlas.policies.nesting import as_answer, as_student, as_teacher, asked, is_policy, name_of, tiers
from atlas.policies.solo import check_asking, decision
from atlas.protocols import Critic, Model, Policy
from atlas.records import STUDENT, TEACHER, Decision, View
from atlas.trust import UNANIMITY, Trust
from atlas.trust.score import Score, score

log = logging.getLogger("atlas.policies")

MOST_SAMPLES = 1_000
"""Votes of one step: each is paid for, and providers give some hundred at the most."""


class Cascade:
    """``samples`` draws of ``student``; where their score reaches ``trust`` it acts, anywhere else ``teacher`` does.

    By default that is unanimity. Where the student's samples are drawn one by one (its ``shares_prompt`` is false),
    drawing stops as soon as the rest could not let it act.

    ``audit`` is the share of the student's steps for which the teacher is asked too, at random: the student's action is
    taken all the same, and both stand in the votes. See :mod:`atlas.traces.audit` for what they say. A teacher that
    fails in an audit, or that no budget is left for, is told in the log, and the student's action is taken.

    ``critic`` is asked about the leading action where ``trust`` names the signal ``judge`` and the other signals do not
    rule the student out already; what it says stands in the votes.

    Either of the two may be a policy, another cascade too: ``Cascade(small, Cascade(middle, large))`` asks each next
    tier where the one before is not trusted; a student that is a policy decides once for each sample. Who acts is then
    named by place: see :mod:`atlas.policies.nesting`.

    Reasons: ``agreed`` and ``trusted`` (the student acts, with one voice or not), ``split``, ``student-no-action`` and
    ``distrusted`` (the teacher acts: samples differ, one holds no action, or they agree and the score is too low).
    """

    def __init__(
        self,
        student: Model | Policy,
        teacher: Model | Policy,
        *,
        samples: int = 3,
        temperature: float = 0.1,
        max_tokens: int | None = 256,
        teacher_sees_demos: bool = False,
        trust: Trust = UNANIMITY,
        audit: float = 0.0,
        critic: Critic | None = None,
        actions: Actions | None = None,
    ) -> None:
        for name, who in (("student", student), ("teacher", teacher)):
            check_actor(f"a cascade's {name}", who)
        if not isinstance(trust, Trust):
            raise ConfigError(f"a cascade's trust is an atlas.Trust, not {shown(trust)}: write Trust(threshold=...)")
        if trust.needs_critic and critic is None:
            raise ConfigError(f"the trust {trust.name} is by a judge of steps, and there is none: give one as critic")
        if critic is not None and not trust.asks_critic:
            raise ConfigError(f"the trust {trust.name} never asks the critic: name the signal judge, or leave it out")
        if not whole(samples) or not 1 <= samples <= MOST_SAMPLES:
            raise ConfigError(f"a cascade needs 1 to {MOST_SAMPLES:,} samples, not {shown(samples)}")
        check_share("the share of steps to audit", audit)
        check_asking(temperature, max_tokens, actions)
        self.student = student
        self.teacher = teacher
        self.samples = samples
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.teacher_sees_demos = teacher_sees_demos
        self.trust = trust
        self.audit = audit
        self.critic = critic
        self.actions = actions or TextActions()

    @property
    def tiers_within(self) -> int:
        """How many tiers decide in it."""
        return tiers(self.student) + tiers(self.teacher)

    async def decide(self, view: View, desk: Desk) -> Decision:
        if self.trust.threshold is None:
            return await self._handed_over(view, desk, "distrusted")
        answer, scored = await self._vote(view, desk)
        asked: dict[str, float] = {}
        if self.critic is not None and self._open(answer, scored):
            began = time.perf_counter()
            answer = await self._criticised(self.critic, view, answer, scored.lead)
            scored = self._score(answer, view)
            asked = {"judge": time.perf_counter() - began}
        decided = await self._decided(view, desk, answer, scored)
        return decided.replace(seconds={**decided.seconds, **asked}) if asked else decided

    async def _decided(self, view: View, desk: Desk, answer: Answer, scored: Score) -> Decision:
        known = [p.key for p in answer.parsed]
        if scored.value >= (self.trust.threshold or 0.0) and known[scored.lead] is not None:
            one_voice = len(known) >= self.samples and len(set(known)) == 1
            decided = decision(answer, reason="agreed" if one_voice else "trusted", chosen=scored.lead)
            decided = decided.replace(actor=answer.votes[scored.lead].actor)
            return await self._audited(view, desk, decided)
        reason = "student-no-action" if None in known else "split" if len(set(known)) > 1 else "distrusted"
        return await self._handed_over(view, desk, reason, answer)

    async def _handed_over(self, view: View, desk: Desk, reason: str, before: Answer | None = None) -> Decision:
        if not is_policy(self.teacher):
            return decision(await self._teacher(view, desk, self.teacher), reason=reason, before=before)
        decided = await self._next_tier(view, desk, self.teacher)
        votes, seconds = (before.votes, {STUDENT: before.seconds}) if before else ((), {})
        return decided.replace(
            reason=reason if decided.action else "no-action",
            votes=votes + decided.votes,
            seconds={**decided.seconds, **seconds},
        )

    async def _next_tier(self, view: View, desk: Desk, teacher: Policy) -> Decision:
        shown = view if self.teacher_sees_demos else view.replace(retrieved=())
        return await asked(teacher, shown, desk, as_teacher(teacher, tiers(self.student)))

    def _open(self, answer: Answer, scored: Score) -> bool:
        """Whether it is for the critic to say: there is an action, and what the other signals say is enough."""
        return bool(answer.parsed[scored.lead].action) and scored.best >= (self.trust.threshold or 0.0)

    async def _criticised(self, critic: Critic, view: View, answer: Answer, lead: int) -> Answer:
        """``answer``, with the critic's chance beside each vote for the leading action."""
        # In a thread, so that other episodes go on.
        chance = await asyncio.to_thread(critic.chance, view, answer.parsed[lead].action or "")
        if not 0.0 <= chance <= 1.0:
            raise ModelError(
                f"the critic {critic.name} said {chance}, and a chance is a number from 0 to 1: mend the critic"
            )
        leading = answer.votes[lead].action
        votes = (v.replace(chance=chance) if v.action == leading else v for v in answer.votes)
        return answer.replace(votes=tuple(votes))

    async def _audited(self, view: View, desk: Desk, decided: Decision) -> Decision:
        """``decided``, with the teacher's vote beside it where chance wants the step looked at."""
        if not self.audit or random.Random(f"audit/{view.moment}").random() >= self.audit:
            return decided
        try:
            if is_policy(self.teacher):
                looked = await self._next_tier(view, desk, self.teacher)
                votes, seconds = looked.votes, looked.seconds
            else:
                answer = await self._teacher(view, desk, self.teacher)
                votes, seconds = answer.votes, {TEACHER: answer.seconds}
        except (ModelError, BudgetExceeded) as error:
            # The step does not need the teacher: one that is away takes no answer from who waits for it.
            log.warning("the teacher was not there for an audit, and the student's action stands: %s", error)
            return decided
        return decided.replace(votes=decided.votes + votes, seconds={**seconds, **decided.seconds})

    async def _teacher(self, view: View, desk: Desk, teacher: Model) -> Answer:
        return await desk.ask(
            teacher,
            view if self.teacher_sees_demos else view.replace(retrieved=()),
            actor=TEACHER,
            actions=self.actions,
            max_tokens=self.max_tokens,
        )

    async def _vote(self, view: View, desk: Desk) -> tuple[Answer, Score]:
        together = not is_policy(self.student) and self.student.shares_prompt
        first = await self._sample(view, desk, n=self.samples if together else 1, first=0)
        scored = self._score(first, view)
        while len(first.votes) < self.samples and scored.best >= (self.trust.threshold or 0.0):
            first = first + await self._sample(view, desk, n=1, first=len(first.votes))
            scored = self._score(first, view)
        return first, scored

    def _score(self, answer: Answer, view: View) -> Score:
        # A model may give fewer samples than were asked for: those it did not give agree with nothing.
        return score(self.trust, answer.votes, max(self.samples, len(answer.votes)), view.retrieved)

    async def _sample(self, view: View, desk: Desk, *, n: int, first: int) -> Answer:
        if is_policy(self.student):
            draw = f"{view.draw}/sample {first}".lstrip("/") if first else view.draw
            decided = await asked(self.student, view.replace(draw=draw), desk, as_student(self.student))
            return as_answer(decided, view, self.actions)
        return await desk.ask(
            self.student,
            view,
            actor=STUDENT,
            actions=self.actions,
            n=n,
            first=first,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            voting=self.samples > 1,
        )

    def config(self) -> dict[str, object]:
        return {
            "policy": "cascade",
            "student": name_of(self.student),
            "teacher": name_of(self.teacher),
            "samples": self.samples,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "teacher_sees_demos": self.teacher_sees_demos,
            "trust": {"signals": list(self.trust.signals), "threshold": self.trust.threshold},
            "audit": self.audit,
            **({"judge": self.critic.name} if self.critic is not None else {}),
        }
