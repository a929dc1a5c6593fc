"""The desk: the only place that asks a model. Whatever happens to an answer, what it cost is in the book by then."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

from atlas.actions import Actions, Parsed
from atlas.budget import Meter
from atlas.money import Tally
from atlas.prompts import render
from atlas.protocols import Model, RanksActions, ReadsView
from atlas.record import whole_texts
from atlas.records import (
    CHAT,
    STUDENT,
    Ask,
    Completion,
    Form,
    Light,
    Price,
    Prompt,
    Reply,
    Spend,
    ToolCall,
    Usage,
    View,
    Vote,
    by_actor,
)
from atlas.tokens import estimate_tokens, most_tokens

ACT = "act"
"""The purpose of asking for the next action: the only one that the agent's tools and call options go with."""

UNSAID = 1024
"""Tokens of a reply where nobody sets a limit and the model has none of its own."""
_LONGEST = 32_768
"""Tokens that a reply without a limit is taken to have at the most, where its provider does not tell them."""
_OF_ONE = frozenset({"temperature", "seed"})


Heard = Callable[[str, dict[str, Any]], None]


class Account:
    """What was used, and the ``meters`` that it counts against. Shared by threads."""

    def __init__(self, meters: Sequence[Meter] = ()) -> None:
        self.meters = tuple(meters)
        self._rows: dict[tuple[str, str], Tally] = {}
        self._lock = threading.Lock()

    @property
    def spent(self) -> tuple[Spend, ...]:
        """What was used so far, a row per actor and model, in order of first appearance."""
        with self._lock:
            return tuple(
                Spend(actor=actor, model=model, usage=tally.usage) for (actor, model), tally in self._rows.items()
            )

    def charge(self, spend: Spend) -> None:
        """Enter what is paid."""
        self.carry(spend, self.meters)

    def carry(self, spend: Spend, meters: Sequence[Meter]) -> None:
        """Enter what is paid, where it counts against these meters alone."""
        with self._lock:
            row = self._rows.get((spend.actor, spend.model))
            if row is None:
                row = self._rows[spend.actor, spend.model] = Tally()
            row.add(spend.usage)
        for meter in meters:
            meter.add(spend.usage)

    def check(self, model: Model | None = None) -> None:
        """Raise what :meth:`atlas.budget.Meter.check` does: nothing further may start, or ``model`` not be asked."""
        for meter in self.meters:
            meter.check(model)


class Answer(Light, kw_only=True):
    """The samples of one model for one question: the replies, what they say, and the prompt they were given."""

    actor: str
    model: str
    replies: tuple[Reply, ...]
    parsed: tuple[Parsed, ...]
    """The action in each reply, where one was asked for."""
    votes: tuple[Vote, ...]
    """The same for the trace."""
    prompt: Prompt
    seconds: float

    @property
    def text(self) -> str:
        """The first reply."""
        return self.replies[0].text

    def __add__(self, other: Answer) -> Answer:
        """Further samples for the same question."""
        return Answer(
            actor=self.actor,
            model=self.model,
            replies=self.replies + other.replies,
            parsed=self.parsed + other.parsed,
            votes=self.votes + other.votes,
            prompt=self.prompt,
            seconds=self.seconds + other.seconds,
        )


class Desk:
    """Asks models on an account: one desk per decision, so that ``spent`` is what this decision used."""

    def __init__(self, account: Account | None = None) -> None:
        self.account = account or Account()
        self.heard: Heard | None = None
        """Where set, what is asked here for the next action is the answer, whatever it says, and who waits for it is
        told of its pieces as they come: the name of the model, and a delta of the chat-completions API."""
        self._rows: list[Spend] = []
        self._names: tuple[Mapping[str, str], ...] = ()

    @property
    def spent(self) -> tuple[Spend, ...]:
        """What was used at this desk, a row per actor and model."""
        return by_actor(self._rows)

    def apart(self) -> Desk:
        """A desk on the same account that tells what was used at it alone: for a part of what this one is asked for."""
        desk = copy(self)
        desk.account, desk._rows = _Upwards(self), []
        return desk

    def renamed(self, names: Mapping[str, str]) -> Desk:
        """The same desk, at which who is asked as one of ``names`` is in the account and the votes under another."""
        desk = copy(self)
        desk._names = (names, *self._names)
        return desk

    async def ask(
        self,
        model: Model,
        view: View,
        *,
        actor: str,
        purpose: str = ACT,
        prompt: Prompt | None = None,
        actions: Actions | None = None,
        n: int = 1,
        first: int = 0,
        temperature: float = 0.0,
        max_tokens: int | None = 256,
        proposal: str = "",
        voting: bool = False,
        schema: dict[str, Any] | None = None,
        grammar: str = "",
    ) -> Answer:
        """``n`` samples of ``model``, charged to ``actor``. No reply at all counts as one empty reply.

        Asked for the next action, the model gets the prompt that the view makes, with the agent's tools and call
        options, and ``actions`` reads its replies. For any other ``purpose`` it gets ``prompt`` and nothing of those.
        ``voting`` says that the samples are compared with each other: the temperature and the seed that the agent asked
        for, which are meant for one answer, are not theirs. ``max_tokens`` None sets no limit. ``schema`` is of the
        replies, and ``grammar`` the form of those that are lines (:mod:`atlas.grammar`), for models that can be held to
        one.

        Raises BudgetExceeded and ConfigError before the call where a meter is spent or cannot count the model, and what
        the model raises: by then what was used is charged.
        """
        self.account.check(model)
        began = time.perf_counter()
        if purpose == ACT:
            view = _meant(view, actor)  # what is meant for a student is, wherever it stands
            ranks = isinstance(model, RanksActions)
            form, remind = (
                (model.form, model.remind) if isinstance(model, RanksActions) and view.admissible else _AS_CHAT
            )
            prompt = render(_read(model, view), list_actions=not ranks, form=form, remind=remind)
            max_tokens = view.options.get("max_tokens", max_tokens)
            if voting and not _OF_ONE.isdisjoint(view.options):
                view = view.replace(options={k: v for k, v in view.options.items() if k not in _OF_ONE})
            temperature = view.options.get("temperature", temperature)
        elif view.tools or view.options:
            view = view.replace(tools=(), options={})

        for names in self._names:
            actor = names.get(actor, actor)
        question = prompt or Prompt()
        limit, bound = (UNSAID, False) if max_tokens is None else (int(max_tokens), True)

        def charge(usage: Usage) -> None:
            # It holds parts of the ask and not the ask, which holds it: the garbage collector would find that circle,
            # with its prompt, after every step.
            if not _told(usage, model.price):
                usage = _sound(usage, Ask(view, question, n=n, max_tokens=limit, bound=bound), model.price)
            self._charge(Spend(actor=actor, model=model.name, usage=usage))

        heard = partial(self.heard, model.name) if self.heard is not None and purpose == ACT and n == 1 else None
        ask = Ask(
            view, question, n, first, temperature, limit, bound, purpose, proposal, charge, heard, schema, grammar
        )
        completion = await self._complete(model, ask)
        charge(completion.usage)
        replies = tuple(map(_sayable, completion.replies)) or (Reply(text=""),)
        parsed = tuple([actions.parse(reply, view) for reply in replies]) if actions is not None else ()
        votes = tuple([_vote(actor, model.name, p, r) for p, r in zip(parsed, replies, strict=bool(parsed))])
        return Answer(
            actor=actor,
            model=model.name,
            replies=replies,
            parsed=parsed,
            votes=votes,
            prompt=ask.prompt,
            seconds=time.perf_counter() - began,
        )

    async def _complete(self, model: Model, ask: Ask) -> Completion:
        """The model's completion. A desk that has it from elsewhere overrides this."""
        return await model.sample(ask)

    def _charge(self, spend: Spend) -> None:
        self._rows.append(spend)
        self.account.charge(spend)


class _Upwards(Account):
    """The account of a desk apart: the desk it belongs to."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def charge(self, spend: Spend) -> None:
        self._desk._charge(spend)

    def check(self, model: Model | None = None) -> None:
        self._desk.account.check(model)


Desks = Callable[[Account], Desk]
"""Makes the desk of a decision on an account: :class:`Desk` itself, or one that keeps a journal."""


def bounded(ask: Ask, price: Price | None, *, calls: int = 1, replies: int = 1) -> float | None:
    """Dollars that ``calls`` for ``ask`` cost at the most, where they do not tell their tokens: the prompt estimated
    upwards, and ``replies`` as long as they may be. None where there is no price."""
    if price is None:
        return None
    # The tools are sent beside the text, and are billed as a part of it.
    sent = ask.prompt.text() + (json.dumps(ask.view.tools, default=str) if ask.view.tools else "")
    return price.dollars(calls * most_tokens(sent), replies * (ask.max_tokens if ask.bound else _LONGEST))


def _counted(usage: Usage) -> bool:
    """Whether no figure is below 0."""
    return (
        usage.prompt_tokens >= 0
        and usage.cached_tokens >= 0
        and usage.completion_tokens >= 0
        and usage.cache_write_tokens >= 0
        and usage.reasoning_tokens >= 0
        and (usage.dollars is None or usage.dollars >= 0)
    )


def _told(usage: Usage, price: Price | None) -> bool:
    """Whether ``usage`` may be entered as it is."""
    return _counted(usage) and (usage.dollars is not None or usage.most is not None or price is None)


def _sound(usage: Usage, ask: Ask, price: Price | None) -> Usage:
    """``usage`` as it is entered: figures below 0 are taken as not told, and dollars that are not told are bounded."""
    calls = max(1, usage.calls)
    most = bounded(ask, price, calls=calls, replies=max(ask.n, calls))
    if _counted(usage):
        return usage.replace(most=most)
    prompt = calls * estimate_tokens(ask.prompt.text())
    completion = max(ask.n, calls) * ask.max_tokens
    return Usage(
        calls=calls, prompt_tokens=prompt, completion_tokens=completion, dollars=None, unmetered=calls, most=most
    )


def _meant(view: View, actor: str) -> View:
    """``view`` less the entries that are meant for others; what is told in short is meant for students."""
    if view.told is not None and actor != STUDENT:
        view = view.replace(told=None)
    if not view.guidance:
        return view
    return view.replace(guidance=tuple(entry for entry in view.guidance if entry.audience == actor))


_AS_CHAT: tuple[Form, bool] = (CHAT, False)


def _read(model: Model, view: View) -> View:
    """``view`` less what ``model`` does not read in its prompt."""
    if not isinstance(model, ReadsView):
        return view
    return view.replace(
        retrieved=view.retrieved if model.reads_windows else (),
        advice="",
        guidance=view.guidance if model.reads_guidance else (),
    )


def _vote(actor: str, model: str, parsed: Parsed, reply: Reply) -> Vote:
    return Vote(actor=actor, model=model, action=parsed.key, text=reply.text, logprob=reply.logprob)


def _sayable(reply: Reply) -> Reply:
    """``reply`` with a replacement character for each half of a surrogate pair."""
    # Nearly all text is ASCII, of which Python knows it without looking.
    if not reply.tool_calls and reply.message is None and reply.text.isascii():
        return reply
    calls = [call.replace(**whole_texts(_spelt(call))) for call in reply.tool_calls]
    changed = reply.replace(text=whole_texts(reply.text), tool_calls=tuple(calls), message=whole_texts(reply.message))
    return reply if changed == reply else changed


def _spelt(call: ToolCall) -> dict[str, str]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}
