"""The key of a hosted model: found missing before anything is asked, for every provider, never where it is set."""

from __future__ import annotations

import os

import pytest

from atlas.errors import ConfigError, ModelError
from atlas.models.faults import as_transient, sentence, status_of
from atlas.models.keys import ACCOUNTS, OWN_SERVERS, missing_key
from atlas.records import Ask, Prompt, Task, View

litellm = pytest.importorskip("litellm")

from atlas.models.hosted import Hosted  # noqa: E402 - it needs litellm

PROVIDERS = sorted({str(getattr(provider, "value", provider)) for provider in litellm.provider_list})
UNCHECKED = {
    "ovhcloud": "serves some models without a key",
    "auto_router": "chooses among others",
    "dotprompt": "a template of another model",
    "humanloop": "a template of another model",
    "langfuse": "a template of another model",
    "litellm_agent": "chooses among others",
}
"""Providers of chat that may need no key."""


def chats(provider: str) -> bool:
    """Whether litellm holds anything to chat with at this provider."""
    try:
        found = litellm.ProviderConfigManager.get_provider_chat_config("x", litellm.LlmProviders(provider))
    except Exception:  # whatever its tables raise for what is no provider of chat
        return False
    return found is not None


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if any(mark in name.upper() for mark in ("KEY", "TOKEN", "SECRET", "CREDENTIAL")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("provider", [p for p in PROVIDERS if p not in OWN_SERVERS | ACCOUNTS | set(UNCHECKED)])
def test_every_provider_of_chat_tells_which_key_it_misses(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = missing_key(f"{provider}/x", litellm)
    if not variable:
        assert not chats(provider), "its key is found missing at the first call only"
        return
    with pytest.raises(ConfigError, match=f"needs a key, and {variable} is not set: set it"):
        Hosted(f"{provider}/x")
    monkeypatch.setenv(variable, "sk-any")
    assert missing_key(f"{provider}/x", litellm) == ""


@pytest.mark.parametrize("provider", sorted(OWN_SERVERS | ACCOUNTS))
def test_servers_of_ones_own_and_accounts_are_let_through(provider: str) -> None:
    assert missing_key(f"{provider}/x", litellm) == ""


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("gemini/gemini-2.5-flash", "GOOGLE_API_KEY"),
        ("gemini/gemini-2.5-flash", "GEMINI_API_KEY"),
        ("anthropic/claude-sonnet-4-5", "ANTHROPIC_AUTH_TOKEN"),
        ("anthropic/claude-sonnet-4-5", "ANTHROPIC_IDENTITY_TOKEN_FILE"),
        ("openrouter/qwen/qwen3-32b", "OR_API_KEY"),
        ("huggingface/together/x", "HF_TOKEN"),
        ("together_ai/x", "TOGETHER_API_KEY"),
        ("perplexity/sonar", "PERPLEXITY_API_KEY"),
        ("fireworks_ai/x", "FIREWORKS_API_KEY"),
        ("cohere/command-r", "CO_API_KEY"),
        ("qwencloud/qwen-max", "DASHSCOPE_API_KEY"),
        ("friendliai/x", "FRIENDLI_TOKEN"),
        ("text-completion-openai/x", "OPENAI_API_KEY"),
    ],
)
def test_any_variable_that_litellm_reads_counts(model: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_key(model, litellm)
    monkeypatch.setenv(variable, "")
    assert missing_key(model, litellm) or variable in ("GOOGLE_API_KEY", "ANTHROPIC_AUTH_TOKEN")
    monkeypatch.setenv(variable, "given")
    assert not missing_key(model, litellm)


def test_a_key_that_is_given_otherwise_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    Hosted("gemini/gemini-2.5-flash", api_key="given")
    Hosted("openai/mine", base_url="http://127.0.0.1:9/v1")
    Hosted("openai/mine", extra={"api_key": "given"})
    with monkeypatch.context() as patch:
        patch.setattr(litellm, "gemini_key", "given", raising=False)
        Hosted("gemini/gemini-2.5-flash")
    with pytest.raises(ConfigError, match="GEMINI_API_KEY"):
        Hosted("gemini/gemini-2.5-flash")


SAID = [
    "litellm.APIConnectionError: Missing Gemini API key. Set the GEMINI_API_KEY or GOOGLE_API_KEY environment variable",
    "litellm.InternalServerError: OpenAIException - Missing credentials. Please pass an `api_key`, or set",
    "litellm.APIConnectionError: Missing Cloudflare API Key - A call is being made to cloudflare but no key is set",
    "litellm.BadRequestError: MaritalkException - Missing API Key - A call is being made to LLM Provider but no key",
    "litellm.APIConnectionError: FAL_AI_API_KEY is not set",
    "litellm.APIConnectionError: GradientAI API key not found",
    "litellm.APIConnectionError: Missing Snowflake JWT key",
    "litellm.APIConnectionError: Missing CODESTRAL_API_Key - Please add CODESTRAL_API_Key",
    "litellm.APIConnectionError: API key is required",
    "litellm.BadRequestError: SagemakerException - Unable to locate credentials",
    "litellm.BadRequestError: SapException - No credentials found in any source",
    "litellm.AuthenticationError: GigachatException - GigaChat credentials not provided. Set GIGACHAT_CREDENTIALS",
]


@pytest.mark.parametrize("said", SAID)
def test_what_is_told_at_the_first_call_is_told_as_a_missing_key_and_not_tried_again(said: str) -> None:
    error = Exception(said)
    error.status_code = 500
    assert status_of(error) == 401 and as_transient(error, 1.0, None, ()) is None
    assert "set the key that x takes" in sentence(error, "x/y", "x", ())


async def test_a_login_that_is_missing_is_one_attempt() -> None:
    view = View(task=Task(id="t", goal="g"), opening="o")
    with pytest.raises(ModelError) as failed:
        await Hosted("azure/deployment", timeout=5).sample(Ask(view=view, prompt=Prompt(ask="hello"), n=1))
    assert "attempt" not in str(failed.value) and "set the key that azure takes" in str(failed.value)
