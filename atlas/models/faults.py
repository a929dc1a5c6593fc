"""What went wrong at a provider: whether to try again, and one sentence about it without any key."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from atlas.errors import MissingExtra
from atlas.jsontext import TooDeep
from atlas.models.answers import Unreadable
from atlas.models.retry import Transient
from atlas.redact import scrub

_LONGEST = 240
"""Characters of a provider's own message that are worth showing."""

_NOT_A_RATE = ("insufficient_quota", "billing", "exceeded your current quota")
"""A 429 with one of these says that the account is empty, which waiting does not mend."""

_NO_KEY = re.compile(
    r"missing credentials|missing (?:\w+ ){0,2}api[ _]key|missing \w+_api_key|missing (?:\w+ )?jwt key"
    r"|api[ _]key (?:client option must be set|is missing|is required|is not set|not found)"
    r"|credentials not provided|no credentials found|unable to locate credentials"
)
"""Clients say so before they send anything, and litellm passes it on as an error of the server's (500)."""

_MALFORMED = ("invalid response object", "that is not a list", "raw keys:")
"""What litellm says of an answer that it cannot read: it came, so it is paid."""

_ILLEGIBLE = (Unreadable, json.JSONDecodeError, UnicodeDecodeError, RecursionError, TooDeep)
"""What reading an answer ends with that is none."""

_UNCONNECTED = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "gaierror")
"""What clients call a connection that did not come about."""

_TOO_LONG = ("context_length_exceeded", "maximum context length", "context window", "prompt is too long")
"""Providers that refuse a prompt for its length say one of these."""

_SEVERAL = ("n_cmpl", "number of slots", "candidate")
"""Servers that answer 500 to a request for several samples say one of these."""

_UNTAKEN = re.compile(
    r"unsupported|(?:not|n't) (?:\w+ )?support|unrecogni[sz]ed|unknown|not permitted|unexpected keyword|extra fields",
    re.IGNORECASE,
)
"""What a server says of a setting that it does not take."""

_COUNT = r"""['"]%s['"]\s*:\s*(-?\d+)"""


def used_by(error: Exception) -> Mapping[str, Any] | None:
    """The token counts of an answer that came with ``error``, or that no client could read: it is paid all the same."""
    body = getattr(error, "body", None)
    if isinstance(body, Mapping) and isinstance(body.get("usage"), Mapping):
        return dict(body["usage"])
    said = f"{getattr(error, 'body', '')} {_answered(error)} {error}"
    found = {name: re.search(_COUNT % name, said) for name in ("prompt_tokens", "completion_tokens")}
    counts = {name: int(match[1]) for name, match in found.items() if match is not None}
    return counts or None


def _answered(error: Exception) -> str:
    """The text of the answer, where ``error`` still has it."""
    response: Any = getattr(error, "response", None)
    try:
        return str(getattr(response, "text", ""))
    except Exception:  # an answer that was streamed and not read has no text: whichever client it was says so its way
        return ""


def missing_extra(error: Exception) -> MissingExtra | None:
    """What has to be installed for this model: litellm passes it on as an error of the server's."""
    if "no module named 'mcp" in str(error).casefold():
        return MissingExtra("a model of OpenAI's Responses API", "responses")
    return None


def one_at_a_time(error: Exception) -> bool:
    """Whether a request for several samples may be refused for their number alone."""
    text = str(error).casefold()
    return status_of(error) in (400, 422) or any(mark in text for mark in _SEVERAL)


def blamed(error: Exception, names: Iterable[str]) -> str | None:
    """Which of the settings ``names`` the server refuses to take, whatever its value; None where it is none of them."""
    text = str(error)
    if status_of(error) not in (400, 422) or not _UNTAKEN.search(text):
        return None
    body = getattr(error, "body", None)
    param = body.get("param") if isinstance(body, Mapping) else None
    for name in sorted(names, key=len, reverse=True):
        if name == param or re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text):
            return name
    return None


def as_transient(error: Exception, timeout: float, base_url: str | None, secrets: Iterable[str]) -> Transient | None:
    """``error`` as something to try again, or None where the same call would fail in the same way."""
    status = status_of(error)
    text = str(error).casefold()
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if any(mark in text for mark in _MALFORMED) or isinstance(error, _ILLEGIBLE):
        return Transient("answered with what is no chat completion", "check what its server sends", sent=True)
    if status == 429 and not any(mark in text for mark in _NOT_A_RATE):
        wait = _retry_after(error)
        asked = f", asking to wait {wait:g} s" if wait else ""
        return Transient(
            f"refused for its rate limit (429{asked})", "lower the concurrency", retry_after=wait, status=429
        )
    if status == 408 or "timed out" in text or "TimeoutException" in kinds:
        return Transient(f"gave no answer within {timeout:g} s", "raise its timeout", sent=True, status=504)
    # In the middle of a stream clients pass on what their HTTP library raised, by its own name.
    if "connection error" in text or isinstance(error, ConnectionError) or "TransportError" in kinds:
        where = f"the server at {scrub(base_url, secrets)}" if base_url else "the network"
        sent = not _unsent(error)
        return Transient("could not be reached, or cut the connection", f"check {where}", sent=sent)
    if status == 409 or (status is not None and status >= 500):
        cause = f"failed on its side ({status}: {brief(error, secrets)})"
        return Transient(cause, "try again later", retry_after=_retry_after(error), status=status)
    return None


def _unsent(error: BaseException | None) -> bool:
    """Whether there was no connection that the request could have been sent on. Of one that broke later nobody knows
    whether the server has done the work by then."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError) or type(error).__name__ in _UNCONNECTED:
            return True
        error = error.__cause__ or error.__context__
    return False


def sentence(error: Exception, model: str, provider: str, secrets: Iterable[str], base_url: str | None = None) -> str:
    """The message for the user about an error that no retry mends; ``base_url`` is of a server of one's own."""
    status = status_of(error)
    key = f"set the key that {provider} takes, such as {provider.upper()}_API_KEY"
    if base_url:  # which is sent no provider's key
        key = f"give the key of the server at {scrub(base_url, secrets)}: api_key, or ATLAS_SERVER_KEY"
    mends = {
        401: key,
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
    if _NO_KEY.search(str(error).casefold()):
        return 401
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def code_of(error: Exception) -> str | None:
    """What the provider calls the error, as OpenAI's API names such errors; None where it does not say."""
    text = str(error).casefold()
    if type(error).__name__ == "ContextWindowExceededError" or any(mark in text for mark in _TOO_LONG):
        return "context_length_exceeded"
    body = getattr(error, "body", None)
    found = body.get("code") if isinstance(body, dict) else getattr(error, "code", None)
    return found if isinstance(found, str) and found else None


def brief(error: Exception, secrets: Iterable[str]) -> str:
    """The provider's own words: scrubbed, one line, without the layers of class names that wrap them."""
    # A library's traceback, and what follows it, is for its authors.
    said, _, _ = (_message(error) or str(error)).partition("Traceback (most recent call last)")
    first = next((line for line in said.splitlines() if line.strip()), type(error).__name__)
    for _ in range(4):
        head, separator, rest = first.partition(": ")
        if separator and " " not in head and head.endswith(("Error", "Timeout")):
            first = rest
    _, separator, rest = first.partition("Exception - ")
    text = scrub(rest if separator and rest else first, secrets).strip().rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _message(error: Exception) -> str:
    """The message in the body of the answer, as OpenAI's client hands it on; empty where there is none."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    message = inner.get("message") if isinstance(inner, Mapping) else inner
    return message if isinstance(message, str) else ""


def _retry_after(error: Exception) -> float | None:
    """Seconds, from whichever header the provider sent: a number, or the time of a clock."""
    headers: Any = getattr(error, "litellm_response_headers", None) or getattr(
        getattr(error, "response", None), "headers", None
    )
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name) if headers is not None else None
        try:
            if value is not None and float(value) >= 0:
                return float(value) * unit
        except ValueError:
            then = _time(value)
            if then is not None:
                # By the server's own clock where it tells it: ours may be minutes off.
                return max(0.0, then - (_time(headers.get("date")) or time.time()))
    return None


def _time(date: object) -> float | None:
    """Unix time of a date as HTTP writes it; None for anything else."""
    try:
        return parsedate_to_datetime(str(date)).timestamp()
    except ValueError:
        return None
