"""What the scripted expert says of an attempt: whether its text shows the goal reached, and if not, how to reach it.

It reads what the agent read and nothing else, so it knows only the places that the attempt has looked into.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atlas.benchmarks.alfworld.belief import Belief, class_of, number_of
from atlas.benchmarks.alfworld.expert_words import APPLIANCES, STATE, plan_for, within
from atlas.benchmarks.alfworld.goal import Goal, parse_goal
from atlas.benchmarks.alfworld.priors import CLOSABLE

History = Sequence[tuple[str, str]]


def reached(task: Goal, opening: str, history: History) -> bool:
    """Whether the goal was reached, as far as the text shows."""
    belief = Belief.from_history(opening, history)
    if task.kind == "look":
        used = history[-1][0] if history else ""
        return bool(belief.held) and class_of(belief.held or "") == task.object and used.startswith(f"use {task.place}")
    wanted = STATE.get(task.kind)
    there: dict[str, int] = {}
    for name, place in belief.holders(task.object):
        if class_of(place) == task.place and (wanted is None or wanted in belief.states.get(name, ())):
            there[place] = there.get(place, 0) + 1
    return max(there.values(), default=0) >= (2 if task.kind == "two" else 1)


def feedback(task: Goal, opening: str, history: History) -> str:
    """The plan, what was seen where at first, and the actions that follow from it, one ``Action:`` line each."""
    receptacles = Belief.from_history(opening, history).receptacles
    seen = _first_seen(task.object, opening, history)
    lines = [f"Plan: {plan_for(task, receptacles)}"]
    if not seen:
        looked = Belief.from_history(opening, history).last_seen
        rest = [place for place in receptacles if place not in looked]
        where = f" Not looked into yet: {', '.join(rest)}." if rest else ""
        return f"{lines[0]}\nThe {task.object} was never found.{where}"
    lines.append(" ".join(f"The {name} is {within(place)}." for name, place in seen))
    lines += [f"Action: {action}" for action in _actions(task, opening, history, seen)]
    return "\n".join(lines)


def _first_seen(kind: str, opening: str, history: History) -> list[tuple[str, str]]:
    """Each object of a class with the place where it was first seen: a new attempt finds it there again."""
    found: dict[str, str] = {}
    for end in range(len(history) + 1):
        for name, place in Belief.from_history(opening, history[:end]).holders(kind):
            found.setdefault(name, place)
    return list(found.items())


def _actions(task: Goal, opening: str, history: History, seen: list[tuple[str, str]]) -> Iterator[str]:
    receptacles = sorted(Belief.from_history(opening, history).receptacles, key=number_of)
    target = next((place for place in receptacles if class_of(place) == task.place), None)
    for name, place in seen[: 2 if task.kind == "two" else 1]:
        yield from _reach(place)
        yield f"take {name} from {place}"
        if task.kind == "look":
            lamps = _first_seen(task.place, opening, history)
            if lamps:
                lamp, stand = lamps[0]
                yield from (f"go to {stand}", f"use {lamp}")
            return
        tool = next((p for p in receptacles if class_of(p) in APPLIANCES.get(task.kind, ())), None)
        if tool:
            yield f"go to {tool}"
            yield f"{task.kind} {name} with {tool}"
        if target:
            yield from _reach(target)
            yield f"move {name} to {target}"


def _reach(place: str) -> Iterator[str]:
    yield f"go to {place}"
    if class_of(place) in CLOSABLE:
        yield f"open {place}"


def review(goal: str, opening: str, history: History) -> str:
    """The expert's review, worded as reviewers are asked to word it."""
    task = parse_goal(goal) or parse_goal(opening)
    if task is None:
        return "Feedback: I am not sure what was asked."
    if reached(task, opening, history):
        return "Verdict: yes"
    return f"Verdict: no\nFeedback: {feedback(task, opening, history)}"
