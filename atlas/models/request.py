"""What is sent for an ask: a body of the chat-completions API, as the provider's rules want it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from atlas.asking import ACT
from atlas.models.chat import seed_of, to_dicts
from atlas.models.rules import Rules
from atlas.record import whole_texts
from atlas.records import Ask, Message

OURS = ("temperature", "seed", "max_tokens", "max_completion_tokens")
"""Settings that this package sends where the caller does not say: what the provider refuses of them is left out."""
HINTS = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "temperature",
        "thinking",
        "user",
        "verbosity",
    }
)
"""The caller's settings without which a reply is still the one that was asked for: where a provider does not take one,
it is left out, and that is said. All others are an error then."""

FIELDS = frozenset(
    """audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata
    modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_retention
    reasoning_effort response_format safety_identifier seed service_tier stop store temperature tool_choice tools
    top_logprobs top_p user verbosity web_search_options""".split()
)
"""Settings of the chat-completions API."""
_KNOWN = FIELDS.union(
    "thinking top_k reasoning reasoning_summary output_config output_format context_management container".split(),
    # Of the wire, which lets nobody else set them.
    ("extra_headers", "extra_query"),
)
"""The caller's settings that are given to a client library by their names. All others are for the provider's eyes: a
library takes names of its own among them, an address to send its key to."""

_SUMMARY = "reasoning_summary"
"""What a client of the Responses API wants to be told of the reasoning: other models tell theirs, or do not."""
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
"""Thinking tokens by effort: what litellm 1.106 makes of ``reasoning_effort`` for a model that takes a budget."""
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MARK = {"type": "ephemeral"}


@dataclass(frozen=True)
class Request:
    """One request."""

    body: dict[str, Any]
    """Of the chat-completions API, without the model's name."""
    stop: tuple[str, ...] = ()
    """Where replies are cut here, since the provider takes no ``stop``."""
    told: tuple[str, ...] = ()
    """What of the caller's wishes is done in another way: a sentence each."""

    @property
    def count(self) -> int:
        """How many samples it asks for."""
        found = self.body.get("n")
        return found if isinstance(found, int) else 1


def request_of(
    ask: Ask,
    rules: Rules,
    *,
    sample: int = 0,
    count: int = 1,
    extra: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
    longest: int | None = None,
) -> Request:
    """The request for ``count`` samples from number ``sample`` on.

    extra: settings of the model, which go before the caller's.
    without: settings that the provider has refused before.
    longest: tokens of the model's longest reply, where that is known.
    """
    asked, further = _parted(ask.view.options, rules)
    given = {**asked, **(extra or {})}
    if further:
        given["extra_body"] = {**further, **(given.get("extra_body") or {})}
    refused = rules.unsent.union(without)
    body: dict[str, Any] = {"messages": _messages(ask, rules)}
    ours: dict[str, Any] = {"temperature": ask.temperature, "seed": seed_of(ask, sample)}
    if ask.bound:
        ours["max_tokens"] = ask.max_tokens
    body |= {name: value for name, value in ours.items() if name not in refused}
    if count > 1:
        body["n"] = count
    if ask.view.tools:
        body["tools"] = list(ask.view.tools)
    body |= given
    told = _left_out(body, given, refused)
    if rules.one_of is not None and rules.one_of[1] in given and rules.one_of[0] not in given:
        body.pop(rules.one_of[0], None)
    if rules.needs_limit and not _limited(body):
        body["max_tokens"] = longest or 8192
    form = body.get("response_format")
    if not rules.plain_json and isinstance(form, Mapping) and form.get("type") == "json_object":
        del body["response_format"]
        told.append("is held to no JSON without a schema: response_format json_object is left out")
    if rules.thinking:
        told += _think(body, given, rules)
    if rules.limit != "max_tokens" and "max_tokens" in body:
        limit = body.pop("max_tokens")
        body.setdefault(rules.limit, limit)
    stop: tuple[str, ...] = ()
    if "stop" in refused and body.get("stop"):
        words = body.pop("stop")
        stop = (words,) if isinstance(words, str) else tuple(words)
    return Request(whole_texts(body), stop, tuple(told))


def _parted(options: Mapping[str, Any], rules: Rules) -> tuple[dict[str, Any], dict[str, Any]]:
    """The caller's settings by their names, and those that nothing but the provider may read."""
    names = _KNOWN | rules.own
    known = {n: value for n, value in options.items() if n in names and (rules.responses or n != _SUMMARY)}
    return known, {n: value for n, value in options.items() if n not in names}


def _limited(body: Mapping[str, Any]) -> bool:
    return body.get("max_tokens") is not None or body.get("max_completion_tokens") is not None


def _left_out(body: dict[str, Any], given: Mapping[str, Any], refused: Collection[str]) -> list[str]:
    """Take what the provider refuses out of ``body``; what of it the caller had set."""
    told = []
    for name in sorted(HINTS.intersection(refused, given)):
        del body[name]
        told.append(f"does not take {name}: it is left out")
    return told


# --- Claude's thinking ------------------------------------------------------------------------------------------------


def _think(body: dict[str, Any], given: Mapping[str, Any], rules: Rules) -> list[str]:
    """Make ``body`` one that Claude takes while it thinks; what that changed of the caller's wishes."""
    budget = _budget(body)
    if budget is None:
        return []
    if _thoughtless(body["messages"]):
        for name in ("thinking", "reasoning_effort"):
            body.pop(name, None)
        return ["goes on from a tool call of another model, which shows no thinking: it does not think in this turn"]
    told = []
    if body.pop("temperature", 1) != 1 and "temperature" in given:
        told = ["takes no temperature while it thinks: it is left out"]
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    if rules.thinking != "budget" or not isinstance(limit, int) or limit > budget:
        return told
    body.pop("max_completion_tokens", None)
    body["max_tokens"] = budget + limit
    if "max_tokens" not in given and "max_completion_tokens" not in given:
        return told
    return [
        *told,
        f"thinks for up to {budget:,} tokens, which its limit has to hold: {limit:,} became {budget + limit:,}",
    ]


def _budget(body: Mapping[str, Any]) -> int | None:
    """Tokens it may think; None where it is not to think."""
    thinking, effort = body.get("thinking"), body.get("reasoning_effort")
    if isinstance(thinking, Mapping):
        if thinking.get("type") not in ("enabled", "adaptive"):
            return None
        budget = thinking.get("budget_tokens")
        return budget if isinstance(budget, int) else 0
    name = effort.get("effort") if isinstance(effort, Mapping) else effort
    return _BUDGETS.get(str(name))


def _thoughtless(messages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the turn that goes on has a tool call without the thinking before it."""
    turn: list[Mapping[str, Any]] = []
    for message in messages:
        if message["role"] == "user":
            if turn and turn[-1]["role"] == "tool":
                continue  # what is recalled, behind a tool's result
            turn = []
        else:
            turn.append(message)
    return any(m["role"] == "assistant" and m.get("tool_calls") and not m.get("thinking_blocks") for m in turn)


# --- messages ---------------------------------------------------------------------------------------------------------


def _messages(ask: Ask, rules: Rules) -> list[dict[str, Any]]:
    prompt = ask.prompt
    if rules.marks and ask.purpose == ACT and not _marked(prompt.history) and not _has_mark(ask.view.tools):
        sent = _with_marks(ask, rules)
    else:
        sent = to_dicts(prompt.messages(turn_after_tool=rules.turn_after_tool))
    return [_taken(message, rules) for message in sent]


def _with_marks(ask: Ask, rules: Rules) -> list[dict[str, Any]]:
    """The messages with two marks: where the stable part ends, and where the history does. What changes from step to
    step is behind them."""
    prompt = ask.prompt
    head = prompt.head
    system = [Message(role="system", content=head)] if head else []
    sent = to_dicts([*system, *prompt.history])
    marked = {len(sent) - 1}
    if sent and sent[0]["role"] == "system":
        marked.add(0)
    sent = [_mark(message) if i in marked else message for i, message in enumerate(sent)]
    tail = prompt.tail
    if not tail:
        return sent
    part = {"type": "text", "text": tail}
    if sent and sent[-1]["role"] == "user" and isinstance(sent[-1]["content"], list):
        sent[-1] = {**sent[-1], "content": [*sent[-1]["content"], part]}
    else:
        sent.append({"role": "user", "content": [part]})
    return sent


def _mark(message: dict[str, Any]) -> dict[str, Any]:
    """``message`` marked at its end: as it is where it holds nothing that can be marked."""
    content = message.get("content")
    if not content or message["role"] == "assistant":
        return message
    if message["role"] == "tool":
        return {**message, "cache_control": _MARK}
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    if not isinstance(parts[-1], Mapping):
        return message
    return {**message, "content": [*parts[:-1], {**parts[-1], "cache_control": _MARK}]}


def _marked(messages: Iterable[Message]) -> bool:
    return any(message.sent is not None and _has_mark(message.sent) for message in messages)


def _has_mark(value: Any) -> bool:
    """Whether the caller has marked something."""
    if isinstance(value, Mapping):
        return "cache_control" in value or any(map(_has_mark, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_mark, value))


def _taken(message: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """``message`` with the ids and the fields that the provider takes."""
    calls, answers = message.get("tool_calls"), message.get("tool_call_id")
    if message["role"] == "assistant":
        kept = {
            name: value
            for name, value in message.items()
            if name not in rules.foreign and (rules.fields is None or name in rules.fields)
        }
        if len(kept) < len(message):
            message = kept if kept.get("content") or calls else {**kept, "content": message.get("refusal") or ""}
    if rules.tool_ids and calls:
        calls = [{**call, "id": call_id(call.get("id") or "", rules.tool_ids)} for call in calls]
        message = {**message, "tool_calls": calls}
    if rules.tool_ids and answers is not None:
        message = {**message, "tool_call_id": call_id(answers, rules.tool_ids)}
    return message


def call_id(given: str, pattern: str) -> str:
    """``given`` where it is like ``pattern``, else nine letters and digits that every provider takes: the same for the
    same id, so that calls and results stay together."""
    if re.fullmatch(pattern, given):
        return given
    number = int.from_bytes(hashlib.blake2b(given.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    letters = []
    for _ in range(9):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)
