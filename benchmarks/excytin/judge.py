"""The rule judge of ExCyTIn-Bench: an answer by rule, and partial credit for the steps of the solution.

The benchmark asks a model whether the submitted answer is the golden one, up to wording, and otherwise which steps of
the solution the answer got right (arXiv 2507.14201, section on evaluation). Here rules stand in for it.
``python -m atlas.benchmarks.excytin.agreement`` says how often they agree with the recorded verdicts of the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from atlas.asking import Desk
from atlas.evaluators.answer import items, normal, same
from atlas.evaluators.verdict import Case, Verdict

MOST_ITEMS = 15
"""An answer that lists more than this is wrong, whatever it lists."""
DECAY = 0.4

_EXTENSION = re.compile(r"(?<=\w)\.(?:exe|dll|ps1|bat|cmd|vbs|js|docm?|xlsx?|7z|zip|txt|lnk|sys|msi)$")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[t ](\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?(?: utc)?")
_COMPOUND = re.compile(r"(?P<pid>\d+)__(?P<time>[^_]*)__(?P<command>.+)", re.DOTALL)
"""How the benchmark names a process: id, creation time and command line. The command line alone answers for it."""
_LABELLED = re.compile(r"(?:^|, )(?:[a-z][a-z ]{1,24}): ")
_QUOTED = re.compile(r"`([^`]+)`")
_NOTHING = re.compile(
    r"\b(?:no (?:[\w-]+ ){0,3}(?:evidence|records?|log|logs|data|information|entries|results)"
    r"|(?:not|n't) (?:be )?(?:[\w-]+ )?(?:found|identified|determined|available|identify|determine|contain)"
    r"|(?:cannot|unable to) (?:be )?(?:[\w-]+ )?(?:determine|identify|find|confirm)|none found)"
    r"|^no\b"
)
"""How an answer says that it found nothing. It then often repeats the question, which may hold the golden answer."""
_SHORT = 8
"""Words: in a longer answer ``PowerShell`` is the product, in a shorter one it is ``powershell.exe``."""
_LONG, _PREFIX = 200, 80
"""Characters: models copy long command lines with mistakes; those over the first are told by their beginning."""


def correct(submitted: str, golden: str) -> bool:
    """Whether ``submitted`` says what ``golden`` says: it holds it as whole words, or every part of it.

    Forgiven: writing (:func:`atlas.evaluators.answer.normal`), quotes, a file extension, the seconds of a time, the
    slash that ends a URL, and the id and time of a process whose command line is right.
    """
    if not submitted.strip() or not golden.strip():
        return False
    if len(items(submitted)) > max(MOST_ITEMS, len(items(golden))):
        return False
    if same(submitted, golden):
        return True
    said = _form(submitted)
    if _NOTHING.search(said):
        return False
    return any(all(_holds(said, part) for part in parts) for parts in _ways(golden))


def _ways(golden: str) -> list[tuple[str, ...]]:
    """The ways to say ``golden``: for each, the parts that must all be said."""
    whole = _form(golden)
    ways: list[tuple[str, ...]] = [(whole,)]
    labelled = tuple(part for part in _LABELLED.split(whole) if part)
    if len(labelled) > 1 and _LABELLED.match(whole):
        ways.append(labelled)
    if compound := _COMPOUND.fullmatch(whole):
        ways.append((compound["command"],))
    listed = items(golden)
    if len(listed) > 1 and len(labelled) == 1:
        ways.append(tuple(_form(item) for item in listed))
    return ways


def _form(text: str) -> str:
    """The normal form without inner quotes, with times to the minute."""
    text = normal(text).replace('"', "").replace("'", "")
    return _TIME.sub(r"\1t\2", text).rstrip("/")


def _holds(said: str, part: str) -> bool:
    """Whether ``part`` stands in ``said`` as whole words; in a short answer also without its file extension."""
    part = part.strip().rstrip("/")
    forms = {part}
    if len(said.split()) <= _SHORT:
        forms.add(_EXTENSION.sub("", part))
    if any(re.search(rf"(?<!\w){re.escape(form)}(?!\w)", said) for form in forms if form):
        return True
    return len(part) > _LONG and part[:_PREFIX] in said


def found_nothing(submitted: str) -> bool:
    """Whether an answer is empty, or says that nothing was found."""
    return not submitted.strip() or bool(_NOTHING.search(_form(submitted)))


def step_correct(submitted: str, step: str) -> bool:
    """Whether the answer holds all values that ``step`` of a solution puts between code marks."""
    said, values = _form(submitted), _QUOTED.findall(step)
    if not values or len(items(submitted)) > MOST_ITEMS or _NOTHING.search(said):
        return False
    return all(_holds(said, _form(value)) for value in values)


def credit(steps: Sequence[bool]) -> float:
    """Partial credit for the solution's steps: the sum of 0.4^k over those that are right, at most 1.

    ``k`` counts back from 1 at the step before last; the last one, the answer itself, is skipped:
    ``[True, True, False]`` gives 0.4 + 0.16.
    """
    return min(1.0, sum(DECAY**k for k, right in enumerate(reversed(steps[:-1]), 1) if right))


class RuleJudge:
    """The benchmark's reward by rule: 1 for a correct answer, else the partial credit; 0 for no answer."""

    name = "excytin-rule"

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        if case.reference is None:
            return Verdict(judge=self.name, score=None, missing="no golden answer is known")
        return self.verdict(case.answer, case.reference, case.solution)

    def verdict(self, submitted: str, golden: str, solution: Sequence[str]) -> Verdict:
        """The verdict on an answer; without ``solution`` there is no partial credit."""
        if correct(submitted, golden):
            return Verdict(judge=self.name, score=1.0, rationale="the golden answer", decided_by=self.name)
        steps = [step_correct(submitted, step) for step in solution] if submitted.strip() else []
        told = f"steps {', '.join('right' if s else 'wrong' for s in steps)}" if any(steps) else "not the golden answer"
        return Verdict(judge=self.name, score=credit(steps), rationale=told, decided_by=self.name)

    def config(self) -> dict[str, object]:
        return {"judge": self.name, "version": 1}
