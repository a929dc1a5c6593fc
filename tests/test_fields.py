"""What of a caller's fields goes up to each provider, and where: none is lost in silence."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from atlas.errors import ModelError
from atlas.models.retry import Retry
from atlas.records import Ask, Message, Prompt, Task, View
from tests.providers_upstream import Both

pytest.importorskip("litellm", reason="needs the extra litellm")

from atlas.models.hosted import Hosted

CLAUDE = "anthropic/claude-sonnet-4-5"
BEDROCK = "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "bedrock/amazon.nova-pro-v1:0"
GEMINI = "gemini/gemini-2.5-flash"
AZURE = "azure/gpt-4.1"
THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    for name, value in (("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION_NAME", "us-east-1")):
        monkeypatch.setenv(name, value)
    made = Both()
    yield made
    made.close()


async def up(both: Both, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """What goes up when a caller sets these."""
    url = f"{both.root}/v1" if name.startswith(("openai/", "hosted_vllm/", "groq/")) else both.root
    extra = {"api_version": "2025-01-01"} if name.startswith("azure/") else {}
    hosted = Hosted(name, base_url=url, api_key="k", retry=Retry(retries=0), extra=extra)
    view = View(task=Task(id="t", goal="g"), opening="o", options=options)
    prompt = Prompt(stable="s", history=(Message(role="user", content="hi"),))
    await hosted.sample(Ask(view=view, prompt=prompt, max_tokens=64, temperature=0.5))
    body: dict[str, Any] = json.loads(both.sent[-1])
    return body


@pytest.mark.parametrize(
    ("name", "options", "sent"),
    [
        (BEDROCK, {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}, None),
        (NOVA, {"requestMetadata": {"a": "b"}}, None),
        (BEDROCK, {"top_k": 5}, {"additionalModelRequestFields": {"top_k": 5}}),
        (BEDROCK, {"stop": ["x"]}, {"inferenceConfig": {"temperature": 0.5, "stopSequences": ["x"], "maxTokens": 64}}),
        (GEMINI, {"safetySettings": [{"category": "c", "threshold": "t"}]}, None),
        (GEMINI, {"labels": {"a": "b"}}, None),
        (GEMINI, {"service_tier": "flex"}, {"serviceTier": "flex"}),
        (AZURE, {"data_sources": [{"type": "azure_search"}]}, None),
        (AZURE, {"metadata": {"a": "b"}}, None),
        (AZURE, {"user": "u", "prompt_cache_key": "k", "logit_bias": {"1": 1}}, None),
        ("azure/gpt-5", {"verbosity": "low", "reasoning_effort": "low"}, None),
        ("mistral/mistral-small-latest", {"safe_prompt": True, "prompt_mode": "reasoning"}, None),
        ("groq/llama-4", {"reasoning_format": "parsed", "include_reasoning": True}, None),
        ("openrouter/x/y", {"provider": {"order": ["a"]}, "plugins": [{"id": "web"}], "top_k": 3}, None),
        ("hosted_vllm/own", {"guided_json": {}, "chat_template_kwargs": {"a": 1}, "top_k": 3}, None),
        ("openai/own", {"thinking": THINKING, "min_p": 0.1, "metadata": {"a": "b"}}, None),
        ("xai/grok-4", {"search_parameters": {"mode": "auto"}}, None),
        (CLAUDE, {"top_k": 3, "context_management": {"edits": []}}, None),
        (CLAUDE, {"user": "u"}, {"metadata": {"user_id": "u"}}),
    ],
)
async def test_what_a_provider_takes_goes_up(
    both: Both, name: str, options: dict[str, Any], sent: dict[str, Any] | None
) -> None:
    body = await up(both, name, options)
    expected = options if sent is None else sent
    assert {field: body.get(field) for field in expected} == expected


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        (GEMINI, "metadata", {"a": "b"}),
        ("groq/llama-4", "metadata", {"a": "b"}),
        (AZURE, "thinking", THINKING),
        ("openai/gpt-4.1", "thinking", THINKING),
        ("openai/gpt-5", "thinking", THINKING),
        ("xai/grok-4", "thinking", THINKING),
        (CLAUDE, "response_format", {"type": "json_object"}),
        (BEDROCK, "response_format", {"type": "json_object"}),
    ],
)
async def test_what_it_does_not_take_is_left_out_and_told(
    both: Both, name: str, field: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        body = await up(both, name, {field: value})
    assert field not in body and not any(str(inner) in json.dumps(body) for inner in ("json_object", "budget_tokens"))
    assert any(field in record.message and "left out" in record.message for record in caplog.records)


@pytest.mark.parametrize("name", [CLAUDE, BEDROCK])
async def test_what_would_go_up_within_another_field_is_refused(both: Both, name: str) -> None:
    with pytest.raises(ModelError, match="does not take inference_geo, min_p: leave it out"):
        await up(both, name, {"min_p": 1, "inference_geo": "us"})
    assert not both.sent


async def test_a_library_writes_nothing_into_what_a_caller_set(both: Both) -> None:
    metadata = {"a": "b"}
    await up(both, AZURE, {"metadata": metadata})
    await up(both, "mistral/mistral-small-latest", {"metadata": metadata})
    assert metadata == {"a": "b"}
