"""What a run holds as words, and foreign text made fit to be shown: for tables in a terminal and for the report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atlas.figures import money, percent
from atlas.records import total
from atlas.redact import scrub

if TYPE_CHECKING:
    from atlas.records import Decision, Usage
    from atlas.traces.account import ArmRow, BreakEven
    from atlas.traces.pruned import Pruned

# Operating-system commands (up to BEL or ST), control sequences, and the two-character escapes, in this order.
_ESCAPES = re.compile(
    r"\x1b[\]PX^_](?:[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c))?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
# Control characters but tab and newline, and the marks that reorder text on the screen.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f\ud800-\udfff]")


def clean(text: str) -> str:
    """``text`` without terminal escapes, control characters and text-direction overrides, and without secrets."""
    # In this order: an escape in the middle of a key would hide what it is.
    return scrub(_CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n"))))


def shorten(text: str, width: int) -> str:
    """``text`` cleaned, on one line, at most ``width`` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= width else line[: max(0, width - 1)].rstrip() + "…"


def count_tokens(count: float, usage: Usage) -> str:
    """``count`` of the tokens of ``usage``: ``1,234``; ``1,234 + ?`` where some calls did not tell theirs, ``-`` where
    none did."""
    if not usage.unmetered:
        return f"{count:,.0f}"
    return f"{count:,.0f} + ?" if count else "-"


def dollars(usage: Usage, parts: int = 1) -> str:
    """What ``usage`` cost, or each of ``parts`` of it: ``≤ $0.43`` where some calls did not tell what they used."""
    if usage.dollars is None and usage.at_most is not None:
        return f"≤ {money(usage.at_most / parts)}"
    return money(None if usage.dollars is None else usage.dollars / parts)


def pruned(gone: Pruned) -> str:
    """What was taken out of a run, in a sentence."""
    one = gone.episodes == 1
    return (
        f"{gone.episodes:,} episode{'' if one else 's'} of {gone.steps:,} steps {'was' if one else 'were'} taken out "
        f"of the run, in no row above: {dollars(total(gone.spend))}"
    )


def tokens(usage: Usage) -> str:
    """All tokens of ``usage`` in words."""
    return "tokens unknown" if usage.told(usage.tokens) is None else f"{count_tokens(usage.tokens, usage)} tokens"


def count_of(row: ArmRow, planned: int | None = None) -> str:
    """How many episodes a rate rests on: ``scored``, ``scored/planned``, and how many ended without a score."""
    text = str(row.scored) if planned is None or planned == row.scored else f"{row.scored}/{planned}"
    return text if row.scored == row.episodes else f"{text} (+{row.episodes - row.scored} unscored)"


def acts(row: ArmRow) -> str:
    """The share of steps that the teacher took, and how often it was asked where that is more."""
    text = percent(row.teacher_share)
    return text if row.asked_share - row.teacher_share < 0.0005 else f"{text} (asked {percent(row.asked_share)})"


def pays_off(row: BreakEven) -> str:
    """The break-even point in words."""
    return "never" if row.episodes is None else f"{row.episodes:,.0f} episodes"


_REASONS = {
    "solo": "acts alone",
    "split": "the student's samples disagree, so the teacher acts",
    "student-no-action": "a sample of the student held no action, so the teacher acts",
    "no-action": "the reply held no action",
    "imported": "taken from another program's log",
    "dispatched": "a program acts, no model was asked",
    "untold": "taken from another program's log, which does not tell all of the prompt",
    "trusted": "the student's leading action is trusted",
    "distrusted": "the student's samples are not trusted, so the teacher acts",
    "supervised": "success had dropped, so the teacher acts",
    "loop": "the episode goes in circles, so the teacher acts",
    "errors": "the environment refuses one action after another, so the teacher acts",
    "stall": "nothing new is seen any more, so the teacher acts",
}


def why(decision: Decision) -> str:
    """In words, why the actor of a decision acted, and what a judge of steps said of the student's action."""
    chance = next((v.chance for v in decision.votes if v.chance is not None), None)
    judged = "" if chance is None else f"; judged {percent(chance)} likely to succeed"
    return f"{_why(decision)}{judged}"


def _why(decision: Decision) -> str:
    if decision.reason == "routed":
        return f"chance routed this step to the {decision.actor}"
    if decision.reason == "agreed":
        votes = sum(v.actor == decision.actor for v in decision.votes)
        return f"{votes} of {votes} samples agree"
    if decision.reason.startswith("ask-for "):
        return f"{decision.reason.removeprefix('ask-for ')} always needs the teacher's word, so the teacher acts"
    return _REASONS.get(decision.reason, decision.reason)
