"""What went wrong at a provider: whether to try again, and one sentence about it without any key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from atlas.models.retry import Transient
from atlas.redact import scrub

_LONGEST = 240
"""Characters of a provider's own message that are worth showing."""

_NOT_A_RATE = ("insufficient_quota", "billing", "exceeded your current quota")
"""A 429 with one of these says that the account is empty, which waiting does not mend."""

_NO_KEY = ("missing credentials", "api_key client option must be set", "api key is missing", "missing api key")
"""Clients say so before they send anything, and litellm passes it on as an error of the server's (500)."""


def as_transient(error: Exception, timeout: float, base_url: str | None, secrets: Iterable[str]) -> Transient | None:
    """``error`` as something to try again, or None where the same call would fail in the same way."""
    status = status_of(error)
    text = str(error).casefold()
    if status == 429 and not any(mark in text for mark in _NOT_A_RATE):
        wait = _retry_after(error)
        asked = f", asking to wait {wait:g} s" if wait else ""
        return Transient(f"refused for its rate limit (429{asked})", "lower the concurrency", retry_after=wait)
    if status == 408 or "timed out" in text:
        return Transient(f"gave no answer within {timeout:g} s", "raise its timeout", sent=True)
    if "connection error" in text or isinstance(error, ConnectionError):
        where = f"the server at {scrub(base_url, secrets)}" if base_url else "the network"
        return Transient("could not be reached, or cut the connection", f"check {where}")
    if status == 409 or (status is not None and status >= 500):
        cause = f"failed on its side ({status}: {brief(error, secrets)})"
        return Transient(cause, "try again later", retry_after=_retry_after(error))
    return None


def sentence(error: Exception, model: str, provider: str, secrets: Iterable[str]) -> str:
    """The message for the user about an error that no retry mends."""
    status = status_of(error)
    mends = {
        401: f"set the key that {provider} takes, such as {provider.upper()}_API_KEY",
        402: "top up the account",
        403: "use a key that may use this model",
        404: "check the model's name",
        413: "shorten the prompt",
        429: "top up the account, or raise its limit",
    }
    mend = mends.get(status or 0, "check the model's name, its options and the length of the prompt")
    answered = f"answered {status}" if status else f"failed with {type(error).__name__}"
    return f"model {model!r} {answered} ({brief(error, secrets)}): {mend}"


def status_of(error: Exception) -> int | None:
    """The HTTP status of ``error``; 401 for a key that was missing from the start."""
    if any(mark in str(error).casefold() for mark in _NO_KEY):
        return 401
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def brief(error: Exception, secrets: Iterable[str]) -> str:
    """The provider's own words: scrubbed, one line, without the layers of class names that wrap them."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    for _ in range(4):
        head, separator, rest = first.partition(": ")
        if separator and " " not in head and head.endswith(("Error", "Timeout")):
            first = rest
    _, separator, rest = first.partition("Exception - ")
    text = scrub(rest if separator and rest else first, secrets).strip().rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _retry_after(error: Exception) -> float | None:
    """Seconds, from whichever header the provider sent. Dates are not understood and give None."""
    headers: Any = getattr(error, "litellm_response_headers", None) or getattr(
        getattr(error, "response", None), "headers", None
    )
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name) if headers is not None else None
        try:
            if value is not None and float(value) >= 0:
                return float(value) * unit
        except ValueError:
            continue
    return None
