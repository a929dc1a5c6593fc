"""Which key a hosted model takes, and whether it is there: a run that would end without one costs nothing."""

from __future__ import annotations

import os
import re
from types import ModuleType

OWN_SERVERS = frozenset(
    "custom custom_openai docker_model_runner hosted_vllm langflow langgraph lemonade litellm_proxy llamafile "
    "lm_studio ollama ollama_chat oobabooga openai_like petals ragflow triton vllm xinference".split()
)
"""Servers of the user's own: most check no key."""

ACCOUNTS = frozenset(
    "a2a azure azure_ai azure_text bedrock bedrock_mantle chatgpt databricks gdc gigachat github_copilot oci sagemaker "
    "sagemaker_chat sagemaker_nova sap snowflake vertex_ai vertex_ai_beta watsonx watsonx_text".split()
)
"""Providers whose clients find an account in more ways than by variables: a login, a role, a file."""

_OTHERS = {
    "cohere": ("CO_API_KEY",),
    "friendliai": ("FRIENDLI_TOKEN",),
    "huggingface": ("HF_TOKEN",),
    "meta_llama": ("LLAMA_API_KEY",),
    "openrouter": ("OR_API_KEY",),
    "qwen_ai_platform": ("DASHSCOPE_API_KEY",),
    "qwencloud": ("DASHSCOPE_API_KEY",),
}
"""Variables that litellm reads as well, whose names do not hold the provider's."""

_ALSO_CALLED = {
    "ai21_chat": "ai21",
    "aiohttp_openai": "openai",
    "anthropic_text": "anthropic",
    "cohere_chat": "cohere",
    "text-completion-openai": "openai",
}

_TELL_LATE = frozenset("amazon_nova bytez compactifai fal_ai gradient_ai heroku maritalk minimax predibase".split())
"""Providers that need a key of the usual name, of which litellm tells at the first call only."""

_SECRET = re.compile(r"KEY|TOKEN|CREDENTIAL|IDENTITY|SECRET")


def missing_key(name: str, litellm: ModuleType) -> str:
    """The variable that holds the key of the hosted model ``name``, where neither it nor any like it is set; else ''.

    Nothing is asked over the network. In doubt a key counts as there: a provider that misses it says so at the first
    call, and that is told without another attempt (:func:`atlas.models.faults.status_of`).
    """
    given, _, model = name.partition("/")
    provider = _ALSO_CALLED.get(given, given)
    if provider in OWN_SERVERS or provider in ACCOUNTS or litellm.secret_manager_client is not None:
        return ""
    takes = _variable(provider, model, litellm)
    usual = f"{provider.upper()}_API_KEY"
    if not takes and os.environ.get(usual) == "":
        takes = usual  # litellm counts it as set, and sends a header that no client can send
    return "" if not takes or _is_set(provider, takes, litellm) else takes


def _variable(provider: str, model: str, litellm: ModuleType) -> str:
    """The variable that litellm names for a key that is missing; '' where it needs none, or does not say."""
    told = [key for key in litellm.validate_environment(f"{provider}/{model}")["missing_keys"] if _SECRET.search(key)]
    if told:
        return str(told[-1])  # of Google's two, the one of this provider
    from litellm.llms.openai_like.json_loader import JSONProviderRegistry

    listed = JSONProviderRegistry.get(provider)
    if listed is not None:
        return str(listed.api_key_env)
    if provider in _TELL_LATE:
        return f"{provider.upper()}_API_KEY"
    # Their clients refuse to be made without one, or take the key of OpenAI where that is set.
    return (
        _OTHERS.get(provider, (f"{_core(provider)}_API_KEY",))[0]
        if provider in litellm.openai_compatible_providers
        else ""
    )


def _is_set(provider: str, takes: str, litellm: ModuleType) -> bool:
    fields = (f"{provider}_key", f"{provider}_api_key", f"{provider.replace('_', '')}_api_key", "api_key")
    if any(getattr(litellm, field, None) for field in fields):
        return True
    core = _core(provider)
    return any(
        value and (key == takes or key in _OTHERS.get(provider, ()) or (core in _plain(key) and _SECRET.search(key)))
        for key, value in os.environ.items()
    )


def _core(provider: str) -> str:
    """What the names of a provider's variables have in common: TOGETHER of ``together_ai``."""
    return _plain(re.sub(r"[_-]ai$", "", provider))


def _plain(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())
