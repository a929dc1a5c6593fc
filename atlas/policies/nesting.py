"""Policies in the place of models: who acts in a cascade of cascades is named by their place in it.

The first tier is the student, the last one the teacher, those between them ``tier-2``, ``tier-3``...: so each has rows
of its own in the account, and what a run's teacher did is what its last tier did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from atlas.actions import Actions, Parsed
from atlas.asking import Answer, Desk
from atlas.protocols import Model, Policy
from atlas.records import STUDENT, TEACHER, Decision, Reply, View, Vote, reply_text

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Who = Model | Policy


def is_policy(who: Who) -> TypeIs[Policy]:
    return hasattr(who, "decide")


def name_of(who: Who) -> object:
    """What a configuration says of it."""
    return who.config() if is_policy(who) else who.name


def tiers(who: Who) -> int:
    """How many tiers decide in it: 1 where it is no cascade."""
    inner = getattr(who, "inner", None)
    own = getattr(who, "tiers_within", None)
    return int(own) if own is not None else tiers(inner) if inner is not None else 1


def as_student(who: Who) -> dict[str, str]:
    """What its actors are called where it stands in a student's place."""
    count = tiers(who)
    return {TEACHER: f"tier-{count}"} if count > 1 else {TEACHER: STUDENT}


def as_teacher(who: Who, before: int) -> dict[str, str]:
    """What its actors are called where it is the teacher of ``before`` tiers."""
    if tiers(who) == 1:
        return {STUDENT: TEACHER}
    middle = {f"tier-{place}": f"tier-{place + before}" for place in range(2, tiers(who))}
    return {STUDENT: f"tier-{1 + before}", **middle}


async def asked(policy: Policy, view: View, desk: Desk, names: Mapping[str, str]) -> Decision:
    """What ``policy`` decides, under other names."""
    return await policy.decide(view, desk.renamed(names))


def as_answer(decided: Decision, view: View, actions: Actions) -> Answer:
    """A decision as one sample: its vote is by who acted."""
    said = Reply(text=decided.text or reply_text(decided.action), tool_calls=decided.tool_calls)
    key = actions.parse(said, view).key if decided.action else None
    parsed = Parsed(decided.action or None, key, decided.thought)
    model = next((vote.model for vote in decided.votes if vote.actor == decided.actor), "")
    vote = Vote(actor=decided.actor, model=model, action=key, text=decided.text)
    reply = Reply(text=decided.text, tool_calls=decided.tool_calls, finish=decided.finish, message=decided.message)
    return Answer(
        actor=STUDENT,
        model=model,
        replies=(reply,),
        parsed=(parsed,),
        votes=(vote,),
        prompt=decided.prompt,
        seconds=sum(decided.seconds.values()),
    )
