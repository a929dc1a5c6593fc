"""How a student that reads no prose follows the entries of a pamphlet: by their patterns, literally.

An entry with several actions is a plan: its cue is laid beside the goal to learn what its slots stand for, what was
done so far tells how far it got, and its next action is carried over to the things that are here. An entry with a
single action says either what to do on seeing what its cue quotes, or where to turn when what its cue names is missing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from atlas.copying.proposal import Proposal
from atlas.entities import entities, natural, skeleton
from atlas.records import Guidance, View

# Fits in nats, on the scale of the demonstrations' (atlas.copying.nearest). Set by hand on generated homes of the train
# split; see docs/results.md.
DO = 16.0
"""The next action of the plan is possible."""
GO = 14.0
"""It is possible elsewhere, and where that is is known."""
ANSWER = 13.0
"""What was just seen calls for it."""
LOOK = 13.0
"""Something is missing, and an entry says where such things are; ``LATER`` less for each better place to look."""
LATER = 0.25
ELSEWHERE = 11.0
"""Something is missing, and no entry says where: any place not looked at yet."""
AGAIN = 7.0
"""All places were looked at: the one seen longest ago."""
UNMET = 8.0
"""Lost for each word of the goal that the plan's cue does not have: something is asked for that it does not do."""
EXTRA = 4.0
"""Lost for each word of the cue that the goal does not have: it does something that is not asked for."""
SMALL_WORD = 0.25
"""Either, for a word that says little."""

_SLOT = re.compile(r"\{([^{}]*)\}")
_QUOTED = re.compile(r'"([^"]+)"')
_WORD = re.compile(r"[a-z]+")
_SMALL = frozenset(
    "a an and any are at by each for from in into is it its of on one onto or some that the their them then this to "
    "under up with".split()
)
_REFUSED = "nothing happens."

Thing = tuple[str, str]


@dataclass(frozen=True)
class Action:
    """A step of a pattern: its form (``take _ from _``), and for each place in it the name of its slot."""

    form: str
    slots: tuple[str, ...]


@dataclass(frozen=True)
class Leg:
    """An action on several things, or the last one, with the actions that lead to where it is done."""

    action: Action
    ways: tuple[Action, ...] = ()


@lru_cache(maxsize=4096)
def read(pattern: tuple[str, ...]) -> tuple[Leg, ...]:
    """A pattern as legs."""
    legs: list[Leg] = []
    ways: list[Action] = []
    for number, step in enumerate(pattern):
        text = " ".join(step.casefold().split())
        action = Action(_SLOT.sub("_", text), tuple(_SLOT.findall(text)))
        if len(action.slots) == 1 and number < len(pattern) - 1:
            ways.append(action)
        else:
            legs.append(Leg(action, tuple(ways)))
            ways = []
    return tuple(legs)


@lru_cache(maxsize=4096)
def bind(cue: str, goal: str) -> tuple[tuple[tuple[str, str], ...], float] | None:
    """What each slot of ``cue`` stands for in ``goal``, and what the other words that differ cost (nats); None where a
    slot stands for nothing."""
    quoted = _QUOTED.search(cue)
    template = (quoted[1] if quoted else cue).casefold()
    marks: dict[str, str] = {}
    for slot in _SLOT.findall(template):
        # A word that no text contains, of letters alone, as the aligner reads words.
        marks.setdefault("qzx" + chr(ord("a") + len(marks) % 26), slot)
    by_slot = {slot: mark for mark, slot in marks.items()}
    theirs = _WORD.findall(_SLOT.sub(lambda match: f" {by_slot[match[1]]} ", template))
    ours = _WORD.findall(goal.casefold())
    telling = [word for word in ours if word not in _SMALL]
    bound: dict[str, str] = {}
    spare: list[str] = []
    wanted = [word for word in theirs if word not in _SMALL]
    for same, i1, i2, j1, j2 in SequenceMatcher(None, wanted, telling, autojunk=False).get_opcodes():
        if same != "equal":
            # The things come last: "a hot mug" is a mug.
            here = telling[j1:j2]
            paired = len(here) == i2 - i1
            for word in reversed(wanted[i1:i2]):
                if here and word in marks:
                    bound.setdefault(marks[word], here.pop())
                elif here and paired:
                    here.pop()
            spare += here
    for slot in reversed(by_slot):
        if slot not in bound:
            if not spare:
                return None
            bound[slot] = spare.pop()
    things = {slot: bound[slot] for slot in by_slot}
    said = Counter(word for word in theirs if word not in marks)
    asked = Counter(ours) - Counter(things.values())
    cost = _cost(asked - said, UNMET) + _cost(said - asked, EXTRA)
    return tuple(sorted(things.items())), cost


def _cost(words: Counter[str], each: float) -> float:
    return sum(n * (SMALL_WORD if word in _SMALL else each) for word, n in words.items())


def follow(view: View) -> list[Proposal]:
    """One proposal per plan among the view's guidance that has one."""
    plans = [entry for entry in view.guidance if len(entry.pattern) > 1]
    if not plans or not view.admissible:
        return []
    book = Playbook(view)
    return [proposal for entry in plans if (proposal := book.follow(entry)) is not None]


class Playbook:
    """The step to be decided, and what the entries with a single action have to say to it."""

    def __init__(self, view: View) -> None:
        self._goal = view.task.goal
        self._offers = [(action, skeleton(action), entities(action)) for action in sorted(view.admissible, key=natural)]
        self._known = {kind for kind, _ in entities(view.opening)}
        self._known |= {kind for _, _, things in self._offers for kind, _ in things}
        self._history = [
            (skeleton(turn.action), entities(turn.action), entities(turn.observation))
            for turn in view.turns
            if turn.observation.strip().casefold() != _REFUSED
        ]
        self._observation = view.observation
        self._answers: list[Guidance] = []
        self._tips: list[tuple[frozenset[str], Action]] = []
        for entry in view.guidance:
            if len(entry.pattern) != 1:
                continue
            (leg,) = read(entry.pattern)
            if _QUOTED.search(entry.cue):
                self._answers.append(entry)
            elif len(leg.action.slots) == 1:
                self._tips.append((frozenset(_WORD.findall(entry.cue.casefold())), leg.action))
        self._seen_at, self._visits = self._sightings()

    def follow(self, plan: Guidance) -> Proposal | None:
        """What ``plan`` has to be done next, as far as it can be done here."""
        bound = bind(plan.cue, self._goal)
        if bound is None:
            return None
        names = dict(bound[0])
        legs = read(plan.pattern)
        progress = self._progress(legs, names)
        found = self._next(legs, names, progress)
        if found is None:
            return None
        action, fit, why = found
        return Proposal(action, f"{why} (entry {plan.id}).", fit + plan.score - bound[1])

    # --- how far the plan has got -------------------------------------------------------------------------------------

    def _progress(self, legs: Sequence[Leg], names: dict[str, str]) -> list[tuple[tuple[Thing, ...], int]]:
        """For each leg that is done: the things it was done with, and after how many actions."""
        done: list[tuple[tuple[Thing, ...], int]] = []
        for moment, (form, things, _) in enumerate(self._history, 1):
            if len(done) == len(legs):
                break
            if self._fits(legs[len(done)].action, names, form, things) and self._fresh(legs, done, things):
                done.append((things, moment))
        return done

    @staticmethod
    def _fresh(legs: Sequence[Leg], done: Sequence[tuple[tuple[Thing, ...], int]], things: Sequence[Thing]) -> bool:
        """A leg that comes twice is done with another thing the second time."""
        form = legs[len(done)].action.form
        before = {used[0] for leg, (used, _) in zip(legs, done, strict=False) if leg.action.form == form and used}
        return not things or things[0] not in before

    def _fits(self, wanted: Action, names: dict[str, str], form: str, things: Sequence[Thing]) -> bool:
        if form != wanted.form or len(things) != len(wanted.slots):
            return False
        kinds = (self._kind(slot, names) for slot in wanted.slots)
        return all(kind in (None, thing[0]) for kind, thing in zip(kinds, things, strict=True))

    def _kind(self, slot: str, names: dict[str, str]) -> str | None:
        """The class a slot stands for: the goal's, its own name's where there is such a thing; None for anything."""
        return names.get(slot) or (slot if slot in self._known else None)

    # --- what comes next ----------------------------------------------------------------------------------------------

    def _next(
        self, legs: Sequence[Leg], names: dict[str, str], done: list[tuple[tuple[Thing, ...], int]]
    ) -> tuple[str, float, str] | None:
        if len(done) == len(legs):
            return None
        leg = legs[len(done)]
        used = {
            slot: thing
            for past, (things, _) in zip(legs, done, strict=False)
            for slot, thing in zip(past.action.slots, things, strict=True)
        }
        offers = [
            (sum(used.get(s) == t for s, t in zip(leg.action.slots, things, strict=True)), -place, action)
            for place, (action, form, things) in enumerate(self._offers)
            if self._fits(leg.action, names, form, things) and self._fresh(legs, done, things)
        ]
        if offers:
            return max(offers)[2], DO, "It comes next"
        since = done[-1][1] if done else 0
        spent = {things[0] for things, _ in done if things}
        ways = frozenset(way.form for s in legs for way in s.ways) | {tip.form for _, tip in self._tips}
        target = self._target(leg, names)
        if target is None:
            return self._answer(None)
        slot, kind = target
        places = [(action, things[0]) for action, form, things in self._offers if form in ways and len(things) == 1]
        if any(thing[0] == kind for _, thing in places) or (self._history and self._here()[0] == kind):
            return self._approach(kind, used.get(slot), places, since) or self._again(legs, names, done)
        return self._find(kind, places, spent)

    def _target(self, leg: Leg, names: dict[str, str]) -> tuple[str, str] | None:
        """The slot to be reached for ``leg`` and its class: the last one that is not just anything."""
        for slot in reversed(leg.action.slots):
            if (kind := self._kind(slot, names)) is not None:
                return slot, kind
        return None

    def _approach(
        self, kind: str, usual: Thing | None, places: Sequence[tuple[str, Thing]], since: int
    ) -> tuple[str, float, str] | None:
        """To a place of class ``kind``: the one used before, else the first where that was not tried since."""
        if (answer := self._answer(kind)) is not None:
            return answer
        tried = {things[-1] for _, things, _ in self._history[since:] if things}
        wanted = [(thing != usual, place, action) for place, (action, thing) in enumerate(places) if thing[0] == kind]
        open_ = [row for row in wanted if places[row[1]][1] not in tried]
        return (min(open_)[2], GO, f"What comes next is done at a {kind}") if open_ else None

    def _again(
        self, legs: Sequence[Leg], names: dict[str, str], done: list[tuple[tuple[Thing, ...], int]]
    ) -> tuple[str, float, str] | None:
        """Nothing could be done where it should be: what the plan thinks is in hand is not. Back by one leg."""
        return self._next(legs, names, done[:-1]) if done else None

    def _find(self, kind: str, places: Sequence[tuple[str, Thing]], spent: set[Thing]) -> tuple[str, float, str] | None:
        """To where a thing of class ``kind`` was seen, else to where one may be."""
        here = self._here() if self._history else None
        for thing, place in self._seen_at.items():
            if thing[0] == kind and thing not in spent and place != here:
                for action, offered in places:
                    if offered == place:
                        return action, GO, f"I saw the {' '.join(thing)} there"
        if (answer := self._answer(None)) is not None:
            return answer
        hints = [tip for words, tip in self._tips if kind in words]
        unseen = [(action, thing) for action, thing in places if thing not in self._visits]
        for rank, tip in enumerate(hints):
            for action, thing in unseen:
                if thing[0] == tip.slots[0]:
                    return action, LOOK - LATER * rank, f"A {kind} may be there"
        if unseen:
            return unseen[0][0], ELSEWHERE, f"I have not looked for a {kind} there"
        seen = [(self._visits[thing], action) for action, thing in places if thing != here]
        return (min(seen)[1], AGAIN, f"I look for a {kind} there again") if seen else None

    def _answer(self, kind: str | None) -> tuple[str, float, str] | None:
        """What an entry says to do on what was just seen; with ``kind``, only about such a thing."""
        for entry in self._answers:
            template = _QUOTED.search(entry.cue)
            things = _observed(template[1], self._observation) if template else None
            if things is None:
                continue
            (leg,) = read(entry.pattern)
            for action, form, offered in self._offers:
                named = tuple(things.get(slot) for slot in leg.action.slots)
                if form == leg.action.form and offered == named and (kind is None or offered[-1][0] == kind):
                    return action, ANSWER, "What I see calls for it"
        return None

    # --- what was seen ------------------------------------------------------------------------------------------------

    def _here(self) -> Thing:
        return next((things[-1] for _, things, _ in reversed(self._history) if things), ("", ""))

    def _sightings(self) -> tuple[dict[Thing, Thing], dict[Thing, int]]:
        """Where each thing was seen last, newest last, and when each place was last visited."""
        at: dict[Thing, Thing] = {}
        visits: dict[Thing, int] = {}
        for moment, (_, things, seen) in enumerate(self._history):
            if not things:
                continue
            place = things[-1]
            visits[place] = moment
            if len(things) > 1:
                at.pop(things[0], None)
            elif seen:
                for gone in [thing for thing, where in at.items() if where == place]:
                    del at[gone]
            for thing in seen:
                if thing not in things:
                    at.pop(thing, None)
                    at[thing] = place
        return at, visits


@lru_cache(maxsize=4096)
def _observed(template: str, observation: str) -> dict[str, Thing] | None:
    """The things for the slots of ``template`` where it is what ``observation`` says, word for word; else None."""
    pattern = _expression(template)
    match = pattern.fullmatch(" ".join(observation.casefold().split()))
    if match is None:
        return None
    found: dict[str, Thing] = {}
    for name, text in zip(_SLOT.findall(template.casefold()), match.groups(), strict=True):
        thing = entities(text)[0]
        if found.setdefault(name, thing) != thing:
            return None
    return found


@lru_cache(maxsize=1024)
def _expression(template: str) -> re.Pattern[str]:
    parts = _SLOT.split(" ".join(template.casefold().split()))
    return re.compile("".join("([a-z]+ [0-9]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts)))
