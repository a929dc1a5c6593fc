"""Asking one model, in the way every policy asks."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from atlas.actions import Actions, Parsed
from atlas.errors import ModelError
from atlas.prompts import render
from atlas.protocols import Model, RanksActions, ReadsView
from atlas.records import Ask, Prompt, Reply, Spend, ToolCall, View, Vote

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair: JSON can spell it and models do write it, but no text encoding or database takes it."""


@dataclass(frozen=True)
class Answer:
    """The samples of one model for one step: replies and what they say, the votes for the trace, and the spend."""

    replies: tuple[Reply, ...]
    parsed: tuple[Parsed, ...]
    votes: tuple[Vote, ...]
    spend: Spend
    prompt: Prompt
    seconds: float

    def tool_calls(self, index: int) -> tuple[ToolCall, ...]:
        return self.replies[index].tool_calls

    def __add__(self, other: Answer) -> Answer:
        spend = self.spend.model_copy(update={"usage": self.spend.usage + other.spend.usage})
        return Answer(
            replies=self.replies + other.replies,
            parsed=self.parsed + other.parsed,
            votes=self.votes + other.votes,
            spend=spend,
            prompt=self.prompt,
            seconds=self.seconds + other.seconds,
        )


async def consult(
    model: Model,
    view: View,
    *,
    actor: str,
    actions: Actions,
    n: int = 1,
    first: int = 0,
    temperature: float = 0.0,
    max_tokens: int = 256,
) -> Answer:
    """Ask ``model`` for ``n`` samples of the next action. No reply at all counts as one empty reply.

    What a failing model used is charged to ``actor`` in the error's ``spend``.
    """
    began = time.perf_counter()
    view = view.replace(guidance=tuple(entry for entry in view.guidance if entry.audience == actor))
    prompt = render(_read(model, view), list_actions=not isinstance(model, RanksActions))
    limit = int(view.options.get("max_tokens", max_tokens))
    ask = Ask(view=view, prompt=prompt, n=n, first=first, temperature=temperature, max_tokens=limit)
    try:
        completion = await model.sample(ask)
    except ModelError as error:
        error.spend = tuple(s if s.actor else s.model_copy(update={"actor": actor}) for s in error.spend)
        raise
    replies = tuple(map(_sayable, completion.replies)) or (Reply(text=""),)
    parsed = tuple(actions.parse(reply, view) for reply in replies)
    votes = tuple(
        Vote(actor=actor, model=model.name, action=p.key, text=r.text, logprob=r.logprob)
        for p, r in zip(parsed, replies, strict=True)
    )
    return Answer(
        replies=replies,
        parsed=parsed,
        votes=votes,
        spend=Spend(actor=actor, model=model.name, usage=completion.usage),
        prompt=prompt,
        seconds=time.perf_counter() - began,
    )


def _read(model: Model, view: View) -> View:
    """``view`` less what ``model`` does not read."""
    if not isinstance(model, ReadsView):
        return view
    return view.replace(retrieved=(), advice="", guidance=view.guidance if model.reads_guidance else ())


def _sayable(reply: Reply) -> Reply:
    """``reply`` with a replacement character for each half of a surrogate pair."""
    if not _HALF.search(reply.text) and not any(_HALF.search(c.id + c.name + c.arguments) for c in reply.tool_calls):
        return reply
    calls = tuple(
        ToolCall(
            id=_HALF.sub("\ufffd", c.id), name=_HALF.sub("\ufffd", c.name), arguments=_HALF.sub("\ufffd", c.arguments)
        )
        for c in reply.tool_calls
    )
    return reply.model_copy(update={"text": _HALF.sub("\ufffd", reply.text), "tool_calls": calls})
