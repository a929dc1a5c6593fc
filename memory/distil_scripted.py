"""Entries from a trajectory, by rule and without a model: the same episode always teaches the same.

It reads text worlds whose things have a class and a number (``cabinet 3``) and whose environment lists what can be
done. From a success it takes the order of the actions that join things of the goal, and what was done on seeing what;
from any episode, where things lay; from trouble, what to leave; and from steps that the teacher took over, what the
student gets wrong.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from atlas.asking import Desk
from atlas.entities import ENTITY, entities, skeleton
from atlas.errors import ConfigError
from atlas.evaluators.verdict import Case, Verdict
from atlas.memory.demonstration import had_effect
from atlas.memory.distil import DISTILLER, MOST_STEPS, Distilled, objection, unjudged
from atlas.memory.pamphlet import Entry, Kind, Origin
from atlas.protocols import Critic
from atlas.records import TEACHER, Step, Task, Turn, View

Thing = tuple[str, str]

ANYWHERE = "somewhere"
"""The slot of a place that luck decides: where the thing happened to be."""
_ROUNDS = 3
"""So many times the same action with the same answer is a loop."""


class ScriptedDistiller:
    """The distiller that needs no model. ``worth`` is the verdict from which an episode counts as a success.

    A success holds slips too. With a ``critic`` (:class:`atlas.train.critic.StepCritic`) what was done on seeing
    something is learnt only from steps that did not lower its chance of success by more than ``fall``.
    """

    name = "scripted"

    def __init__(
        self, *, worth: float = 0.5, scope: Sequence[str] = (), critic: Critic | None = None, fall: float = 0.2
    ) -> None:
        if not 0.0 <= fall <= 1.0:
            raise ConfigError(f"the fall of a chance is a number from 0 to 1, not {fall}")
        self.worth = worth
        self.scope = tuple(scope)
        self.critic = critic
        self.fall = fall

    async def distil(self, case: Case, verdict: Verdict, desk: Desk) -> Distilled:
        if (missing := unjudged(verdict)) is not None:
            return missing
        success = verdict.score is not None and verdict.score >= self.worth
        last = max((step.attempt for step in case.steps), default=0)
        steps = [step for step in case.steps if step.attempt == last]
        if not any(step.admissible for step in steps):
            return Distilled(missing="the environment lists no actions: nothing that rules could read")
        origin = Origin(task=case.task.id, episode=case.id, actor=DISTILLER, model=self.name)
        slips: frozenset[int] = frozenset()
        if success and self.critic is not None:
            # In a thread, so that other episodes go on.
            slips = await asyncio.to_thread(slips_of, self.critic, case.task, steps, self.fall)
        made = [
            entry.model_copy(update={"origins": (origin,), "scope": self.scope})
            for entry in _entries(case, steps, success, slips)
        ]
        unique = {entry.id: entry for entry in made}
        objections = {key: objection(entry, case) for key, entry in unique.items()}
        kept = {entry.id for entry in _reflexes(steps, slips)}
        slipped = {entry.id: entry for entry in _reflexes(steps) if entry.id not in kept}
        return Distilled(
            entries=tuple(entry for key, entry in unique.items() if not objections[key]),
            dropped=(
                *(f"{unique[key].cue}: {why}" for key, why in objections.items() if why),
                *(f"{entry.cue}: the critic's chance of success fell" for entry in slipped.values()),
            ),
        )

    def config(self) -> dict[str, object]:
        asked = {"judge": self.critic.name, "fall": self.fall} if self.critic is not None else {}
        return {"distiller": self.name, "worth": self.worth, "scope": list(self.scope), **asked}


def slips_of(critic: Critic, task: Task, steps: Sequence[Step], fall: float) -> frozenset[int]:
    """The :attr:`Step.index` of the steps whose action lowered the critic's chance of success by more than ``fall``.

    The first action has no chance before it, and is none of them; a step without an action has no chance.
    """
    chances: list[tuple[int, float]] = []
    turns: tuple[Turn, ...] = ()
    for step in steps:
        action = step.decision.action
        if action:
            view = View(task=task, opening=steps[0].observation, turns=turns)
            chances.append((step.index, critic.chance(view, action)))
        turns += (Turn(action=action, observation=step.outcome.text),)
    return frozenset(index for (_, before), (index, after) in pairwise(chances) if before - after > fall)


def _entries(case: Case, steps: Sequence[Step], success: bool, slips: frozenset[int]) -> Iterator[Entry]:
    slots = _slots(case.task.goal, steps)
    if success:
        yield from _schema(case.task.goal, steps, slots)
        yield from _reflexes(steps, slips)
    yield from _places(steps)
    yield from _trouble(steps, success)
    yield from _for_the_teacher(steps)


# --- how a task is done -----------------------------------------------------------------------------------------------


def _slots(goal: str, steps: Sequence[Step]) -> dict[str, str]:
    """The classes of things that the goal names, each with the part it plays."""
    actions = [entities(step.decision.action) for step in steps]
    seen = {kind for step in steps for kind, _ in entities(step.observation) + entities(step.outcome.text)}
    seen |= {kind for things in actions for kind, _ in things}
    named = [word for word in dict.fromkeys(goal.casefold().replace(".", " ").split()) if word in seen]
    joined = [things for things in actions if len(things) > 1]
    first, last = {things[0][0] for things in joined}, {things[-1][0] for things in joined}
    slots: dict[str, str] = {}
    for word in named:
        part = "object" if word in first else "place" if word in last else "tool"
        taken = sum(slot.startswith(part) for slot in slots.values())
        slots[word] = part if not taken else f"{part}{taken + 1}"
    return slots


def _schema(goal: str, steps: Sequence[Step], slots: dict[str, str]) -> Iterator[Entry]:
    """The actions on things of the goal, in order, each with how its place was reached."""
    if not slots:
        return
    pattern: list[str] = []
    known: set[Thing] = set()
    since: list[Step] = []
    effective = [step for step in steps if had_effect(step)]
    for step in effective:
        action = step.decision.action
        things = entities(action)
        known_before = frozenset(known)
        known.update(things)
        ends = step is effective[-1] and step.outcome.done
        if not ((len(things) > 1 and things[0][0] in slots) or (things and ends)):
            since.append(step)
            continue
        names = {thing: "{" + slots.get(thing[0], thing[0]) + "}" for thing in things}
        if len(things) > 1 and things[0] not in known_before:
            names[things[-1]] = "{" + ANYWHERE + "}"
        pattern += [*_way(things[-1], names, since), _worded(action, names)]
        since = []
    if not pattern or len(pattern) > MOST_STEPS:
        return
    template = " ".join("{" + slots[word] + "}" if word in slots else word for word in _words(goal))
    yield Entry(
        cue=f'the task is "{template}"',
        action="do these in order",
        effect="the task is done",
        pattern=tuple(pattern),
        kind=Kind.SCHEMA,
    )


def _words(goal: str) -> list[str]:
    return goal.casefold().strip().rstrip(".").split()


def _way(target: Thing, names: dict[Thing, str], since: Sequence[Step]) -> list[str]:
    """How ``target`` was reached: the first action on it alone, or on the place where it was seen."""
    alone = [(step, things[0]) for step in since if len(things := entities(step.decision.action)) == 1]
    for step, thing in alone:
        if thing == target:
            return [_worded(step.decision.action, names)]
    for step, thing in reversed(alone):
        if target in entities(step.outcome.text):
            return [_worded(step.decision.action, {thing: "{" + ANYWHERE + "}"})]
    return []


def _worded(action: str, names: dict[Thing, str]) -> str:
    """``action`` with its things replaced by slots."""
    return ENTITY.sub(lambda match: names.get((match[1], match[2]), match[0]), action.casefold())


def _reflexes(steps: Sequence[Step], slips: frozenset[int] = frozenset()) -> Iterator[Entry]:
    """What was done on seeing something about one thing alone: an answer that calls for an action."""
    for before, step in pairwise(steps):
        if step.index in slips:
            continue
        seen, things = set(entities(before.outcome.text)), entities(step.decision.action)
        same_form = skeleton(step.decision.action) == skeleton(before.decision.action)
        if len(things) != 1 or seen != set(things) or same_form or not had_effect(step) or step.outcome.done:
            continue
        names = {things[0]: "{thing}"}
        yield Entry(
            cue=f'you observe "{_template(before.outcome.text, names)}"',
            action=_worded(step.decision.action, names),
            pattern=(_worded(step.decision.action, names),),
            kind=Kind.GUARD,
        )


def _template(text: str, names: dict[Thing, str]) -> str:
    return " ".join(_worded(text, names).replace('"', "'").split())


# --- where things are -------------------------------------------------------------------------------------------------


def _places(steps: Sequence[Step]) -> Iterator[Entry]:
    """Which class of thing lay at which class of place. What the opening names are the places themselves."""
    if not steps:
        return
    places = {kind for kind, _ in entities(steps[0].observation)}
    found: dict[tuple[str, str], str] = {}
    reached: dict[Thing, str] = {}
    moved: set[Thing] = set()
    for step in steps:
        things = entities(step.decision.action)
        if len(things) == 1 and things[0][0] in places:
            kind = things[0][0]
            way = reached.setdefault(things[0], _worded(step.decision.action, {things[0]: "{" + kind + "}"}))
            for thing in entities(step.outcome.text):
                if thing[0] not in places and thing not in moved:
                    found.setdefault((thing[0], kind), way)
        moved.update(things)
    for (kind, place), form in found.items():
        yield Entry(
            cue=f"you need a {kind}",
            action=f"look at a {place}",
            effect="one was there",
            pattern=(form,),
            kind=Kind.PRINCIPLE,
        )


# --- what goes wrong --------------------------------------------------------------------------------------------------


def _trouble(steps: Sequence[Step], success: bool) -> Iterator[Entry]:
    """Actions that were refused, and going round in circles."""
    for step in steps:
        if not had_effect(step):
            yield Entry(
                cue=f'the answer to an action is "{step.outcome.text.strip()}"',
                action="do not repeat it: it was not possible there; do what comes before it, or something else",
                effect="fewer wasted actions",
                kind=Kind.FAILURE,
            )
            break
    if success:
        return
    rounds = Counter((step.decision.action, step.outcome.text) for step in steps)
    if rounds and max(rounds.values()) >= _ROUNDS:
        (action, _), _ = rounds.most_common(1)[0]
        yield Entry(
            cue=f'you do "{_worded(action, dict.fromkeys(entities(action), "{thing}"))}" again and see the same',
            action="stop going round: do what was not tried yet, or ask for help",
            effect="an end to the loop",
            kind=Kind.STOP,
        )


def _for_the_teacher(steps: Sequence[Step]) -> Iterator[Entry]:
    """Where the teacher took over and did another sort of thing than the student wanted."""
    for before, step in pairwise(steps):
        decision = step.decision
        if decision.actor != TEACHER:
            continue
        wanted = Counter(skeleton(v.action) for v in decision.votes if v.actor != TEACHER and v.action)
        done = skeleton(decision.action)
        if not wanted or done in wanted:
            continue
        (wrong, times), last, right = wanted.most_common(1)[0], skeleton(before.decision.action), done
        if times < min(2, wanted.total()):
            continue  # samples that all differ say that it knew nothing, not that it was wrong in a way of its own
        yield Entry(
            cue=f'the student has just done "{_blanks(last)}"',
            action=f'expect it to want "{_blanks(wrong)}" where "{_blanks(right)}" is called for',
            kind=Kind.FAILURE,
            audience="teacher",
        )


def _blanks(form: str) -> str:
    return form.replace("_", "{thing}")
