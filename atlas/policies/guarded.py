"""Actions that always need the teacher's word: a user's own rules, whatever the student's samples agree on.

A smuggled action in a demonstration or an observation that everybody agrees on is taken by a cascade: agreement says
that the student is sure, not that the goal called for it. What may not happen on a student's word is a list that only
its user can write.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from atlas.actions import Actions, TextActions, canonical_call
from atlas.asking import Desk
from atlas.errors import ActionRefused, ConfigError
from atlas.given import check_model, check_policy, shown
from atlas.policies.solo import check_asking, decision
from atlas.protocols import Model, Policy
from atlas.records import TEACHER, Decision, ToolCall, View

ASKED_FOR = "ask-for "
"""What the reason of a step begins with that a rule gave to the teacher; the rule follows."""

_LABEL = re.compile(r"\W{0,8}action\W{0,8}?:", re.IGNORECASE)
_NAME = re.compile(r"[\w.-]+(?=\s?[\[(])")
_MARKS = "`\"'*_ \t"
"""What an action may be wrapped in."""
_SHOWN = 120
"""Characters of an action that a refusal quotes."""


class Guarded:
    """``inner`` decides, but an action of anybody else than the teacher that one of ``ask_for`` fits is not taken:
    ``teacher`` decides that step, knowing nothing of the action, and its word is taken whatever it is.

    A rule is a text that an action has to equal, in any case and spacing, with ``*`` for anything; nothing else is
    special. It is compared with a tool call's name (``refund``), its call in one line, arguments sorted
    (``refund(*"amount": 9*``), and each text in its arguments (``*@elsewhere.example``, ``rm *``); with a text action,
    each of its lines, and what stands before its bracket (``execute``). One call in a batch is enough.

    The reason of such a step is ``ask-for RULE``, and the votes before it stay. Without a teacher the action is
    refused: ActionRefused ends the episode with an error that names the rule.
    """

    def __init__(
        self,
        inner: Policy,
        ask_for: Sequence[str],
        teacher: Model | None = None,
        *,
        max_tokens: int | None = 256,
        actions: Actions | None = None,
    ) -> None:
        if isinstance(ask_for, str):
            raise ConfigError(f"ask_for is a list of rules: write ask_for=[{ask_for!r}]")
        if not isinstance(ask_for, Iterable):
            raise ConfigError(f"ask_for is a list of rules, not {shown(ask_for)}")
        ask_for = tuple(ask_for)  # of a generator, before it is looked through
        if not ask_for or not all(isinstance(rule, str) and _plain(rule) for rule in ask_for):
            raise ConfigError("a rule of ask_for is a text such as 'refund' or 'delete *', and there is at least one")
        check_policy("what ask_for guards", inner)
        if teacher is not None:
            check_model("the teacher of ask_for", teacher)
        check_asking(0.0, max_tokens, actions)
        self.inner = inner
        self.ask_for = ask_for
        self.teacher = teacher
        self.max_tokens = max_tokens
        self.actions = actions or TextActions()
        self._parts = [(rule, _plain(rule).split("*")) for rule in self.ask_for]

    async def decide(self, view: View, desk: Desk) -> Decision:
        decided = await self.inner.decide(view, desk)
        rule = None if decided.actor == TEACHER else self.rule(decided)
        if rule is None:
            return decided
        if self.teacher is None:
            raise ActionRefused(
                f"the action {decided.action[:_SHOWN]!r} needs a teacher's word (ask_for {rule!r}) and there is no "
                "teacher: give one, or take the rule away"
            )
        answer = await desk.ask(
            self.teacher,
            view.replace(retrieved=()),
            actor=TEACHER,
            actions=self.actions,
            max_tokens=self.max_tokens,
        )
        word = decision(answer, reason="")
        spent = decided.seconds.get(TEACHER, 0.0) + answer.seconds
        return decided.replace(
            action=word.action,
            actor=TEACHER,
            reason=f"{ASKED_FOR}{rule}",
            thought=word.thought,
            votes=decided.votes + word.votes,
            tool_calls=word.tool_calls,
            text=word.text,
            finish=word.finish,
            message=word.message,
            seconds={**decided.seconds, TEACHER: spent},
        )

    def rule(self, decided: Decision) -> str | None:
        """The first rule that fits what ``decided`` would do; None where there is none."""
        done = [plain for text in _done(decided) if (plain := _plain(text))]
        return next((rule for rule, parts in self._parts if any(_fits(parts, text) for text in done)), None)

    def config(self) -> dict[str, object]:
        return {
            "policy": "guarded",
            "ask_for": list(self.ask_for),
            "teacher": self.teacher.name if self.teacher else None,
            "max_tokens": self.max_tokens,
            "inner": self.inner.config(),
        }


def _plain(text: str) -> str:
    """In one spelling: case, spacing and the width of letters tell no two actions apart."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _fits(parts: Sequence[str], text: str) -> bool:
    """Whether ``text`` is ``parts`` with anything between them. Each is looked for once, from where the last ended:
    linear, whatever the rule."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return text == first
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in parts[1:-1]:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _done(decided: Decision) -> Iterator[str]:
    """What rules are compared with."""
    if decided.tool_calls:
        for call in decided.tool_calls:
            yield from _called(call)
        return
    yield decided.action
    for line in decided.action.splitlines():
        label = _LABEL.match(line)
        said = line[label.end() if label else 0 :].strip(_MARKS)
        yield said
        if name := _NAME.match(said):
            yield name[0]


def _called(call: ToolCall) -> Iterator[str]:
    yield call.name
    yield canonical_call(call)
    # Also as it is written: who reads it may take the first of two arguments of one name.
    yield f"{call.name}({call.arguments})"
    try:
        yield from _texts(json.loads(call.arguments or "{}"))
    except (ValueError, RecursionError):
        return


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
