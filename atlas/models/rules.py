"""What each provider takes, where it differs from OpenAI's chat completions: one table, and nothing of it elsewhere.

A rule is known by the provider, the model's name, or both. All rules that fit a model count, the later ones first. What
a rule says of a setting holds for what this package sends of its own accord (a temperature, a seed, a limit); what the
caller set is sent as it is, and the provider's answer is told, unless the table says how it is put in other words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_RESPONSES = frozenset({"reasoning_items", "phase"})
"""What a model of OpenAI's Responses API thought, and whether it spoke by the way or in the end: both go back."""
REASONING = frozenset({"reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"}) | _RESPONSES
"""Fields of an assistant's message that hold what a model thought: what each provider calls it."""
_LITELLM = frozenset({"provider_specific_fields"})
"""What litellm adds to a message: no provider knows it."""


@dataclass(frozen=True)
class Rules:
    """How a model is asked."""

    tool_ids: str = ""
    """What an id of a tool call has to look like, as a pattern; other ids are rewritten, the same one always alike."""
    turn_after_tool: bool = True
    """Whether a user turn may follow a tool's result. Where not, what is recalled is added to that result."""
    several: bool = True
    """Whether it takes ``n``. Where not, as many requests are sent."""
    responses: bool = False
    """Whether OpenAI serves it by its Responses API alone."""
    limit: str = "max_tokens"
    """What it calls the limit of a reply."""
    needs_limit: bool = False
    """Whether it has to be told a limit: then it is the model's own where nobody set one."""
    unsent: frozenset[str] = frozenset()
    """Settings that it refuses: ours are not sent, and ``stop`` is kept to here, by cutting the reply."""
    one_of: tuple[str, str] | None = None
    """Two settings of which it takes one: where the caller set the second, ours of the first is not sent."""
    thinking: str = ""
    """Claude's thinking: ``budget`` has to be less than the limit of the reply, ``adaptive`` has none. Either takes no
    temperature but 1, and goes on only from a turn that shows its thinking."""
    fields: frozenset[str] | None = None
    """The fields of an assistant's message that it takes, the others are left out; None where it takes any."""
    foreign: frozenset[str] = _LITELLM
    """The fields of an assistant's message that are left out: what other providers call what they thought."""
    own: frozenset[str] = frozenset()
    """Fields of its own API that a caller may set: litellm gives them on by their names."""
    plain_json: bool = True
    """Whether it can be held to JSON without a schema."""
    lost: frozenset[str] = frozenset()
    """Types of parts of a message that litellm leaves out on the way, and says nothing."""
    by_address: frozenset[str] = frozenset()
    """Types of parts that go up with an address, for the provider to fetch. Others litellm would fetch, from here."""
    address: str = ""
    """How such an address begins."""
    marks: bool = False
    """Whether it caches what is marked: where the caller marks nothing, the stable part and the history are."""
    counts_thought: bool = True
    """Whether the count of reasoning tokens is its own; litellm guesses it where the provider does not tell."""


@dataclass(frozen=True)
class Rule:
    """A row of the table."""

    what: str
    """In words; with where it is known from."""
    providers: tuple[str, ...] = ()
    """Empty for all."""
    models: str = ""
    """A pattern that is looked for in the name without its provider; empty for all."""
    changes: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, provider: str, model: str) -> bool:
        known = not self.providers or provider in self.providers
        return known and (not self.models or re.search(self.models, model, re.IGNORECASE) is not None)


_OWN = r"(?:^|[./])"
"""Where a model's own name begins: behind a region, a vendor or an organisation."""
_CLAUDE = _OWN + r"claude-"
_MISTRAL = _OWN + r"(?:open-)?(?:mi[sx]tral|mini?stral|magistral|devstral|codestral|pixtral|voxtral)"

_COMPATIBLE = """aiml azure azure_ai baseten cerebras cloudflare dashscope databricks datarobot deepinfra featherless_ai
fireworks_ai github groq hosted_vllm huggingface hyperbolic lambda_ai litellm_proxy llamafile lm_studio meta_llama
minimax mistral moonshot morph nebius novita nscale nvidia_nim openrouter perplexity poe together_ai v0
vercel_ai_gateway volcengine wandb xai zai"""

RULES: tuple[Rule, ...] = (
    Rule(
        "Servers of OpenAI's API: the address of an image or a film goes up as it is, and they fetch it (what litellm "
        "1.106.2 was seen to send; a file's address it fetches itself)",
        providers=tuple(_COMPATIBLE.split()),
        changes={"by_address": frozenset({"image_url", "video_url"})},
    ),
    Rule(
        "What litellm 1.106.2 leaves out of messages without a word: all but text",
        providers=("deepseek", "sambanova", "heroku", "text-completion-openai"),
        changes={"lost": frozenset({"image_url", "video_url", "input_audio", "file", "document"})},
    ),
    Rule(
        "The same of sound and films",
        providers=("anthropic", "bedrock", "mistral"),
        changes={"lost": frozenset({"input_audio", "video_url"})},
    ),
    Rule(
        "The same of all but text and images",
        providers=("ollama", "ollama_chat"),
        changes={"lost": frozenset({"input_audio", "video_url", "file", "document"})},
    ),
    Rule(
        "Anthropic's API takes https addresses of images and documents; those of http litellm 1.106.2 fetches itself",
        providers=("anthropic",),
        changes={"by_address": frozenset({"image_url", "file", "document"}), "address": "https://"},
    ),
    Rule(
        "Gemini's API takes the addresses of files that were sent to it before; all others litellm 1.106.2 fetches",
        providers=("gemini",),
        changes={
            "by_address": frozenset({"image_url", "file"}),
            "address": "https://generativelanguage.googleapis.com/v1beta/files/",
        },
    ),
    Rule(
        "Mistral's API: a tool call's id has nine letters or digits (its error 3280), a user turn may not follow a "
        "tool's result (error 3230), and a message has no fields but its own ('Extra inputs are not permitted')",
        providers=("mistral", "codestral"),
        changes={
            "tool_ids": r"[a-zA-Z0-9]{9}",
            "turn_after_tool": False,
            "fields": frozenset({"role", "content", "tool_calls", "name", "prefix"}),
        },
    ),
    Rule(
        "Mistral's models elsewhere: their chat template asks the same of ids and turns",
        models=_MISTRAL,
        changes={"tool_ids": r"[a-zA-Z0-9]{9}", "turn_after_tool": False},
    ),
    Rule(
        "Groq: 'n' is 1 at the most (its API reference), and a message has no fields but its own ('property is "
        "unsupported')",
        providers=("groq",),
        changes={"several": False, "fields": frozenset({"role", "content", "tool_calls", "name", "reasoning"})},
    ),
    Rule(
        "Gemini 3: 'Multiple candidates is not enabled for this model' (its answer to candidateCount 2)",
        models=_OWN + r"gemini-(?:[3-9]|\d\d)",
        changes={"several": False},
    ),
    Rule(
        "OpenAI: a tool call's id has 40 characters at the most, and a message has no fields of other providers (its "
        "answers 400), nor a setting of Claude's",
        providers=("openai", "azure"),
        models=_OWN + r"(?:gpt-\d|o\d|chatgpt|codex)",
        changes={
            "tool_ids": r"(?s:.{1,40})",
            "foreign": _LITELLM | REASONING,
            "unsent": frozenset({"thinking"}),
        },
    ),
    Rule(
        "OpenAI's reasoning models: the limit is max_completion_tokens, and stop is not supported (OpenAI's guide to "
        "reasoning; the answer 400 of o3 and o4-mini)",
        models=_OWN + r"(?:o\d(?:-|$)|gpt-[5-9](?!.*-chat)|codex-)",
        changes={"limit": "max_completion_tokens", "unsent": frozenset({"stop", "thinking"})},
    ),
    Rule(
        "Those that always reason take no sampling either: 'Only the default (1) value is supported' (later GPT-5 "
        "models do while their effort is none, and are asked)",
        models=_OWN + r"(?:o\d(?:-|$)|gpt-5(?:-(?!chat)|$)|codex-)",
        changes={"unsent": frozenset({"stop", "temperature", "thinking"})},
    ),
    Rule(
        "Models of OpenAI's Responses API alone: 'This is not a chat model' (the 404 of v1/chat/completions); it takes "
        "neither n nor seed nor stop",
        providers=("openai",),
        models=_OWN + r"(?:gpt-[5-9][\w.]*(?:-[\w.]+)*-(?:pro|codex)(?:-|$)|o\d-pro|codex-|.*-deep-research)",
        changes={
            "responses": True,
            "several": False,
            "unsent": frozenset({"stop", "temperature", "seed", "thinking"}),
            "foreign": _LITELLM | (REASONING - _RESPONSES),
        },
    ),
    Rule(
        "Claude: no n; from 4.1 on temperature or top_p, not both (its answer 400); max_tokens has to be given; ids by "
        "'^[a-zA-Z0-9_-]+$'; thinking goes back with its signature and takes no temperature but 1 (Anthropic's guide "
        "to extended thinking)",
        models=_CLAUDE,
        changes={
            "several": False,
            "one_of": ("temperature", "top_p"),
            "needs_limit": True,
            "tool_ids": r"[a-zA-Z0-9_-]{1,64}",
            "thinking": "adaptive",
            "counts_thought": False,
            "foreign": _LITELLM | (REASONING - {"thinking_blocks"}),
        },
    ),
    Rule(
        "Claude has no JSON without a schema: litellm 1.106.2 leaves that form of response_format out without a word",
        providers=("anthropic", "bedrock", "vertex_ai", "azure_ai"),
        models=_CLAUDE,
        changes={"plain_json": False},
    ),
    Rule(
        "Bedrock's Converse API has fields beside those of the models (its API reference)",
        providers=("bedrock",),
        changes={"own": frozenset({"guardrailConfig", "requestMetadata"})},
    ),
    Rule(
        "Claude up to 4.5: thinking has a budget, which is less than max_tokens (Anthropic's guide to extended "
        "thinking)",
        models=_CLAUDE + r"(?:3|(?:opus|sonnet|haiku)-4(?:-[0-5](?!\d)|[-@]\d{8}|$))",
        changes={"thinking": "budget"},
    ),
    Rule(
        "Claude on Azure is asked by Anthropic's API: litellm 1.106.2 fetches the http addresses of images",
        providers=("azure_ai",),
        models=_CLAUDE,
        changes={"lost": frozenset({"input_audio", "video_url"}), "address": "https://"},
    ),
    Rule(
        "Claude caches what is marked with cache_control (Anthropic's guide to prompt caching; Vertex has that API)",
        providers=("anthropic", "vertex_ai"),
        models=_CLAUDE,
        changes={"marks": True},
    ),
)


def rules_of(provider: str, name: str) -> Rules:
    """The rules for a model, by its provider and its name as that provider knows it."""
    rules = Rules()
    for rule in RULES:
        if rule.fits(provider, name):
            rules = replace(rules, **rule.changes)
    return rules
