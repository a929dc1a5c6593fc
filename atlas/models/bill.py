"""What a request of a hosted model used: by the counts that came with its answer, estimated where none did."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atlas.asking import bounded
from atlas.models.answers import WORDS
from atlas.models.request import Request
from atlas.records import Ask, Price, Usage
from atlas.tokens import estimate_tokens

_ONE_OF_SEVERAL = 0.6
"""Below this share of what we estimate for all samples of a request its count is that of one: llama.cpp tells so. Our
estimate is within 0.86 and 1.08 of the truth, and half of it is what one of two samples takes."""


_MOST = 10**9
"""Tokens of one call: no model reads or writes as many, and a server that says so is wrong."""


@dataclass(frozen=True)
class Counts:
    """The tokens of one answer; None where they are not told, or impossible."""

    prompt: int | None
    completion: int | None
    cached: int = 0
    written: int = 0
    """To the cache, for the usual time."""
    written_hour: int = 0
    """To the cache, for an hour."""
    reasoning: int = 0
    tier: str = ""

    @classmethod
    def read(cls, usage: Any, *, tier: Any = None, counts_thought: bool = True) -> Counts:
        """From the ``usage`` of a chat completion, in any of the spellings that are about. ``tier`` is the answer's."""
        prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        more, inner = _part(usage, "prompt_tokens_details"), _part(usage, "completion_tokens_details")
        reasoning = (_count(inner, "reasoning_tokens") or 0) if counts_thought else 0
        total = _count(usage, "total_tokens")
        if prompt is not None and completion is not None and total is not None and total > prompt + completion:
            # Some count what the model thought in the total alone, and bill it as the rest of the reply.
            reasoning = max(reasoning, total - prompt - completion)
            completion = total - prompt
        room = prompt or 0
        cached = min(room, _first(more, "cached_tokens") or _first(usage, "prompt_cache_hit_tokens", "cached_tokens"))
        written = min(
            room - cached,
            _first(more, "cache_write_tokens", "cache_creation_tokens") or _first(usage, "cache_creation_input_tokens"),
        )
        kept = _part(more, "cache_creation_token_details") or _part(usage, "cache_creation")
        hour = min(written, _count(kept, "ephemeral_1h_input_tokens") or 0)
        said = tier or (usage.get("service_tier") if isinstance(usage, Mapping) else None)
        return cls(
            prompt,
            completion,
            cached,
            written - hour,
            hour,
            min(reasoning, completion or 0),
            said if isinstance(said, str) else "",
        )

    def one_of(self, texts: Sequence[str]) -> bool:
        """Whether they are those of one of several samples."""
        if len(texts) < 2 or not self.completion:
            return False
        return self.completion < _ONE_OF_SEVERAL * sum(map(estimate_tokens, texts))


def usage_of(ask: Ask, request: Request, counts: Counts, texts: Sequence[str], price: Price | None) -> Usage:
    """What one request used that was answered with ``texts``. Where the counts do not tell it, tokens are estimated and
    the dollars are unknown: a budget counts the most that they can be."""
    prompt, completion = counts.prompt, None if counts.one_of(texts) else counts.completion
    written = sum(map(estimate_tokens, texts))
    if not prompt or completion is None or (written and not completion):
        return Usage(
            calls=1,
            prompt_tokens=prompt or estimate_tokens(ask.prompt.text()),
            completion_tokens=completion or written,
            dollars=None,
            unmetered=1,
            most=most(ask, request, price),
        )
    dollars, saved = None, 0.0
    if price is not None:
        tier = counts.tier or _asked(request)
        dollars = price.dollars(
            prompt,
            completion,
            counts.cached,
            written=counts.written,
            written_hour=counts.written_hour,
            tier=tier,
        )
        if counts.cached or counts.written or counts.written_hour:
            saved = price.dollars(prompt, completion, tier=tier) - dollars
    return Usage(
        calls=1,
        prompt_tokens=prompt,
        cached_tokens=counts.cached,
        cache_write_tokens=counts.written + counts.written_hour,
        completion_tokens=completion,
        reasoning_tokens=counts.reasoning,
        dollars=dollars,
        saved=saved,
    )


def unanswered(ask: Ask, request: Request, price: Price | None, came: Sequence[Mapping[str, Any]] = ()) -> Usage:
    """What a request used at the least that was sent and whose answer nobody heard, or nothing of but the pieces that
    ``came``: it is billed all the same."""
    prompt, completion = estimate_tokens(ask.prompt.text()), estimate_tokens("".join(map(_words, came)))
    return Usage(
        calls=1,
        prompt_tokens=prompt,
        completion_tokens=completion,
        dollars=price.dollars(prompt, completion) if price else None,
        unmetered=1,
        most=most(ask, request, price),
    )


def _words(delta: Mapping[str, Any]) -> str:
    """What the model wrote in a piece of a chat completion."""
    said = [delta.get(name) for name in ("content", *WORDS)]
    for call in delta.get("tool_calls") or ():
        made = call.get("function") or call.get("custom") or {}
        said += [made.get(name) for name in ("name", "arguments", "input")]
    return "".join(text for text in said if isinstance(text, str))


def most(ask: Ask, request: Request, price: Price | None) -> float | None:
    """Dollars that it may have cost; None where there is no price."""
    said = [request.body.get(name) for name in ("max_tokens", "max_completion_tokens")]
    limits = [limit for limit in said if isinstance(limit, int)]
    dear = price.tiers.get(_asked(request), price) if price else None
    if dear is not None and (write := _write_price(request, dear)) > dear.prompt:
        dear = dear.replace(prompt=write)
    asked = ask.replace(max_tokens=max(limits), bound=True) if limits else ask
    return bounded(asked, dear, replies=request.count)


def _asked(request: Request) -> str:
    """The tier that was asked for, where it is a dearer one: what an answer that does not say is charged by."""
    return "priority" if request.body.get("service_tier") == "priority" else ""


def _write_price(request: Request, price: Price) -> float:
    """What a token of the prompt costs where all of it is written to a cache; 0 where nothing is marked."""
    sent = json.dumps(request.body.get("messages"), default=str)
    if "cache_control" not in sent:
        return 0.0
    hour = price.cache_write_hour if '"1h"' in sent else None
    return max(price.cache_write or 0.0, hour or 0.0)


def _part(counts: Any, name: str) -> Mapping[str, Any]:
    found = counts.get(name) if isinstance(counts, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _first(counts: Any, *names: str) -> int:
    return next((found for name in names if (found := _count(counts, name))), 0)


def _count(counts: Any, name: str) -> int | None:
    """One of the counts; None where it was not told, or is none: a server may send anything."""
    found = counts.get(name) if isinstance(counts, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= _MOST else None
