"""The nearest-demonstration student: no language model, only what the teacher did in moments like this one.

Each retrieved demonstration is read step by step beside the present episode (:mod:`atlas.copying.grounding`); its best
matching moment proposes the action the teacher took there, carried over to the things here. Plans among the entries of
pamphlets propose too (:mod:`atlas.copying.playbook`). The proposals vote.
Samples are drawn by bootstrap over the neighbours, with one more neighbour that stands for "something else": where few
demonstrations fit, or they propose different things, the samples disagree, and a cascade asks the teacher.

It is the cheapest student there is; a language model has to beat it to be worth its price.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from atlas.copying.advice import advised
from atlas.copying.free_text import copied, pointed, retold
from atlas.copying.grounding import Situation, Slot, purposes, states
from atlas.copying.playbook import follow
from atlas.copying.procedures import proceed
from atlas.copying.proposal import Proposal
from atlas.copying.values import told
from atlas.entities import entities, natural, skeleton
from atlas.goals import align, classes
from atlas.prompts import reply_text
from atlas.protocols import ReadsView
from atlas.records import Ask, Completion, DemoStep, Price, Reply, Usage, View, Window

# What a match is worth, in nats of vote weight. Set by hand on generated homes of the train split; see docs/results.md.
PROGRESS = 6.0
VISIBLE = 3.0
SHAPE = 1.5
LAST = 1.0
GOAL_WORD = 8.0
SAME_THINGS = 1.0
KIND = 2.5
ROLE = 8.0
BEEN = 5.0
HERE = 2.0
HOLDS = 3.0
USED = 2.0
AGAIN = 2.0
MOMENTS = 8
"""How many moments of a demonstration are carried over at most: the best by state."""

_MENTION = re.compile(r"\b([a-z]+)( \d+)?\b", re.IGNORECASE)


class Nearest(ReadsView):
    """A student that copies. ``temperature`` 0 takes the whole vote, anything else draws bootstrap samples."""

    shares_prompt = True
    reads_guidance = True

    def __init__(self, *, doubt: float = 10.0, draws: int = 5, price: Price | None = None) -> None:
        self.name = "nearest"
        self.price: Price | None = price or Price(prompt=0, completion=0, note="no language model: nothing is billed")
        self.doubt = doubt
        """Fit (nats) at which a neighbour weighs as much as "something else"."""
        self.draws = draws
        """Neighbours per bootstrap sample."""

    async def sample(self, ask: Ask) -> Completion:
        if ask.purpose == "plan":
            return Completion(replies=(Reply(text=_plan(ask.view)),), usage=Usage(calls=1))
        told = advised(ask.view)
        if told is not None:
            heeded = Reply(text=reply_text(told, "I was advised to."), logprob=0.0)
            return Completion(replies=(heeded,) * ask.n, usage=Usage(calls=1))
        found = proposals(ask.view)
        replies = tuple(self._draw(ask, found, ask.first + i) for i in range(ask.n))
        return Completion(replies=replies, usage=Usage(calls=1))

    def _draw(self, ask: Ask, found: Sequence[Proposal], number: int) -> Reply:
        view = ask.view
        rng = random.Random(f"{view.moment}/{number}")
        if ask.temperature > 0:
            pool: list[Proposal | None] = [*found, None]
            drawn = rng.choices(pool, weights=_weights([*(p.fit for p in found), self.doubt]), k=self.draws)
            votes = _count((p, 1.0) for p in drawn)
        else:
            votes = _count(zip(found, _weights([p.fit for p in found]), strict=True))
        best = max(votes, key=lambda action: votes[action], default=None)
        if best is None:
            # Nothing to copy: any action is as good as any other, and no two samples agree but by chance.
            action = rng.choice(view.admissible) if view.admissible else ""
            return Reply(text=reply_text(action, "Nothing like this was demonstrated."), logprob=_log(0.0))
        share = votes[best] / sum(votes.values())
        thought = next(p.thought for p in found if p.action == best)
        return Reply(text=reply_text(best, thought), logprob=_log(share))


def _count(weighted: Iterable[tuple[Proposal | None, float]]) -> dict[str | None, float]:
    votes: dict[str | None, float] = {}
    for proposal, weight in weighted:
        key = proposal.action if proposal is not None else None
        votes[key] = votes.get(key, 0.0) + weight
    return votes


def _weights(fits: Sequence[float]) -> list[float]:
    """In proportion to exp(fit), the largest 1: no fit is too large or too small for a number."""
    top = max(fits, default=0.0)
    return [math.exp(fit - top) for fit in fits]


def _log(share: float) -> float:
    return math.log(max(share, 1e-9))


def proposals(view: View) -> list[Proposal]:
    """One proposal per retrieved demonstration, and per plan among the entries shown, that has one; best fit first."""
    present: dict[frozenset[str], Present] = {}
    if view.admissible or view.tools or view.messages:
        found = [p for w in view.retrieved if (p := _propose(view, w, present)) is not None]
    else:
        pairs = pointed(view)
        found = [p for w in view.retrieved if (p := copied(view, w, pairs)) is not None] + proceed(view)
    found += follow(view)
    return sorted(found, key=lambda p: (-p.fit, p.action))


def _propose(view: View, window: Window, present: dict[frozenset[str], Present]) -> Proposal | None:
    pairs, odd = align(window.goal, view.task.goal, classes(window.steps))
    names = {theirs: ours for theirs, ours in pairs if ours}
    roles = frozenset(names.values())
    if roles not in present:
        present[roles] = Present(view, roles)
    now = present[roles]
    base = -GOAL_WORD * odd + SAME_THINGS * sum(a == b for a, b in pairs) + window.score
    moments = _moments(window.steps, tuple(sorted(names.items())), roles)
    ranked = sorted(((_likeness(now.state, m.situation), -i) for i, m in enumerate(moments)), reverse=True)[:MOMENTS]
    best: tuple[float, int, str] | None = None
    for like, minus in ranked:
        carried = now.carry(moments[-minus])
        if carried is not None and (best is None or like + carried[0] > best[0]):
            best = (like + carried[0], -minus, carried[1])
    if best is None:
        return None
    fit, index, action = best
    theirs = window.steps[index]
    return Proposal(action, _translate(theirs.thought, theirs.action, action, names), base + fit)


class Present:
    """The step to be decided, under one reading of the goal's roles."""

    def __init__(self, view: View, roles: frozenset[str]) -> None:
        turns = ((turn.action, turn.observation) for turn in view.turns)
        *_, self.state = states(view.opening, turns, roles, {})
        taken = Counter(turn.action for turn in view.turns)
        self._stale = {action: AGAIN * min(times, 3) for action, times in taken.items()}
        self._offers: dict[str, list[tuple[str, tuple[Slot, ...]]]] = {}
        for action in sorted(view.admissible, key=natural):
            self._offers.setdefault(skeleton(action), []).append((action, self.state.slots(action, roles, {})))
        self._carried: dict[tuple[str, tuple[Slot, ...]], tuple[float, str] | None] = {}

    def carry(self, moment: Moment) -> tuple[float, str] | None:
        """The admissible action that plays the same part now as the demonstration's did then, and how well it does."""
        key = (moment.form, moment.slots)
        if key not in self._carried:
            fits = [
                (sum(map(_suits, moment.slots, offered)) - self._stale.get(candidate, 0.0), candidate)
                for candidate, offered in self._offers.get(moment.form, ())
            ]
            # The first of the best: in a room of drawers the teacher begins with drawer 1.
            self._carried[key] = max(fits, key=lambda fit: fit[0], default=None)
        return self._carried[key]


def _likeness(now: Situation, then: Situation) -> float:
    union = len(now.shape | then.shape)
    return (
        PROGRESS * (now.progress == then.progress)
        + VISIBLE * (now.visible == then.visible)
        + SHAPE * (len(now.shape & then.shape) / union if union else 1.0)
        + LAST * (now.last == then.last)
    )


def _suits(wanted: Slot, offered: Slot) -> float:
    matters = wanted.role or offered.role or wanted.meant
    fit = ROLE / 4 if matters else 0.0
    if wanted.kind != offered.kind:
        fit = -ROLE if matters else -KIND
    if not wanted.meant:
        fit -= BEEN * (wanted.visited != offered.visited)
    fit -= HERE * (wanted.here != offered.here)
    fit -= HOLDS * len(wanted.holds ^ offered.holds)
    fit -= USED * len(wanted.used ^ offered.used)
    return fit


@dataclass(frozen=True)
class Moment:
    """A step of a demonstration, read in our words: the situation before it, and its action as form and parts."""

    situation: Situation
    form: str
    slots: tuple[Slot, ...]


@lru_cache(maxsize=4096)
def _moments(
    steps: tuple[DemoStep, ...], names: tuple[tuple[str, str], ...], roles: frozenset[str]
) -> tuple[Moment, ...]:
    turns = [(before.action, after.observation) for before, after in pairwise(steps)]
    ours = dict(names)
    meant = purposes([step.action for step in steps])
    if not steps:
        return ()
    return tuple(
        Moment(state.situation(), skeleton(step.action), state.slots(step.action, roles, ours, things))
        for step, things, state in zip(steps, meant, states(steps[0].observation, turns, roles, ours), strict=True)
    )


def _translate(thought: str, theirs: str, ours: str, names: Mapping[str, str]) -> str:
    """The teacher's reason, told of the things that are here."""
    pairs = zip(entities(theirs), entities(ours), strict=False)
    return _retell(thought, {f"{a} {b}": f"{c} {d}" for (a, b), (c, d) in pairs}, names)


def _retell(text: str, things: Mapping[str, str], names: Mapping[str, str]) -> str:
    """``text`` with things and classes renamed in one pass, so that no new name is taken for an old one."""

    def renamed(match: re.Match[str]) -> str:
        thing, word = match[0].casefold(), match[1].casefold()
        if thing in things:
            return things[thing]
        if word in names:
            return names[word] + match[0][len(match[1]) :]
        if word.endswith("s") and word[:-1] in names:
            return names[word[:-1]] + "s" + match[0][len(match[1]) :]
        return match[0]

    return _MENTION.sub(renamed, text)


def _plan(view: View) -> str:
    """The plan of the most similar task, told of ours."""
    for window in view.retrieved:
        if window.plan and not view.admissible and told(window.goal):
            return retold(window.plan, window.goal, view.task.goal)
        if window.plan:
            pairs, _ = align(window.goal, view.task.goal, classes(window.steps))
            return _retell(window.plan, {}, {theirs: ours for theirs, ours in pairs if ours})
    return ""
