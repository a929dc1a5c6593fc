"""What the scripted analyst says besides acting: a plan, a word on a step, a review of an investigation.

It reads what the student read and nothing else. Of an answer it says whether it would have given the same one on what
was seen; whether that is the right one it does not know.
"""

from __future__ import annotations

from atlas.benchmarks.excytin.actions import Submit, parse
from atlas.benchmarks.excytin.analyst import MOST_CLUES, Analyst, Move
from atlas.benchmarks.excytin.analyst_fields import asked_for
from atlas.benchmarks.excytin.analyst_reading import clues, sentences
from atlas.evaluators.answer import same

_SHOWN = 2
"""Values of a question that a plan names."""


def plan_for(question: str) -> str:
    """How it goes about a question."""
    fields = asked_for((sentences(question) or [""])[-1])
    wanted = f"the {fields[0].name}" if fields else "what is asked for"
    values = " and ".join(clues(question)[: min(_SHOWN, MOST_CLUES)])
    told = f"that has to do with {values}" if values else "that the question tells of"
    last = f"give {wanted}"
    if fields and fields[0].lookup is not None:
        last = f"look up {wanted} in {fields[0].lookup.table}"
    return (
        f"Look at the tables. Find the alert {told}. Read the other alerts of its incident. Take the one asked about, "
        f"and {last}."
    )


def guidance(move: Move, proposal: str) -> str:
    """A word on what a student wants to do, where it would do ``move`` itself."""
    return "Verdict: good" if _alike(move.action, proposal) else f"Advice: {move.reason}\nAction: {move.action}"


def review(analyst: Analyst, last: str) -> str:
    """Its review of an investigation that ended with the action ``last``, worded as reviewers are asked to word it."""
    move = analyst.act()
    if isinstance(parse(last), Submit) and _alike(move.action, last):
        return "Verdict: yes"
    actions = [f"execute[{sql}]" for sql in analyst.relied] + [move.action]
    return "\n".join(["Verdict: no", f"Feedback: {move.reason}", *(f"Action: {action}" for action in actions)])


def _alike(ours: str, theirs: str) -> bool:
    """The same answer up to writing, or the same query."""
    one, other = parse(ours), parse(theirs)
    if isinstance(one, Submit) or isinstance(other, Submit):
        return isinstance(one, Submit) and isinstance(other, Submit) and same(other.answer, one.answer)
    return " ".join(one.sql.split()).casefold() == " ".join(other.sql.split()).casefold()
