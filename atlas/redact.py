"""Keeping secrets out of errors, logs, traces and exports.

Providers and client libraries echo keys in their messages ("Incorrect API key provided: sk-..."), so every text that
came from one passes through :func:`scrub` before it is shown or stored. What agents read (files, logs, environment
variables) passes wherever it is shown or kept: on a terminal (:mod:`atlas.cli.output`), in reports, exports, memories,
verdicts and the facts of a run. The trace alone has it as it was: a run goes on, and is judged again, from that.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

HIDDEN = "[hidden]"
_SHORTEST = 8
"""Characters. Shorter values are words such as "true" or "none", not secrets."""

_NAMED = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)

_BEGINNINGS = (
    "sk pk rk gsk xai hf ghp gho ghu ghs ghr glpat npm pypi dop_v1 r8 xoxa xoxb xoxe xoxo xoxp xoxr xoxs".split()
)
"""As providers begin their keys. The mark after the letters tells a key from a word ("skateboard", "hfill")."""
_SHAPES = (
    rf"\b(?:{'|'.join(_BEGINNINGS)})[-_][-_.A-Za-z0-9*]{{7,}}",
    r"\bgithub_pat_[A-Za-z0-9_]{10,}",
    r"\bAIza[-_A-Za-z0-9*]{8,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9*]{8,}",
    r"\bya29\.[-_.A-Za-z0-9*]{8,}",
    r"\bSG\.[-_A-Za-z0-9]{16,}\.[-_A-Za-z0-9]{16,}",
    # A JSON web token: three base64url parts, the first of which begins with {" in base64.
    r"\beyJ[-_A-Za-z0-9]{8,2000}+\.[-_A-Za-z0-9]{8,}\.[-_A-Za-z0-9]*",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    # user:password in an address
    r"(?<=://)(?!user:password@)[^/\s:@\"']*:[^/?#\s\"']+(?=@)",
)
_SHAPED = re.compile("|".join(_SHAPES))
_MARKS = ("github_pat_", "AIza", "AKIA", "ASIA", "ya29.", "SG.", "eyJ", "PRIVATE KEY-----", "://")
_ENDS = "|".join(rf"(?<=\b{letters}[-_])" for letters in _BEGINNINGS)
_BEGUN = re.compile(f"[-_](?:{_ENDS})")
"""One of these is in whatever has such a shape. Most texts hold none, and need no closer look. Beginning with the mark,
the pattern passes over all other characters at once."""
_HEADS = r"authorization|x-api-key|api[-_ ]?key"
_SETTINGS = (
    r"account_?key|shared_?access_?key|shared_?access_?signature|client_?secret|secret_?(?:access_?)?key|"
    r"access_?token|refresh_?token|auth_?token|session_?token|private_?key|passwo?r?d|passphrase|\bpwd"
)
_HEADER = re.compile(
    rf"((?:{_HEADS})[\"']?\s*[:=]\s*[\"']?(?:bearer\s+|basic\s+)?)([^\s\"',}}]{{6,}})"
    # In prose ("the bearer arrived") what follows is a word; a token has digits or marks in it, or is long.
    r"|(\bbearer\s+)((?=[^\s\"',}]*(?:[\d_=]|\.\w))[^\s\"',}]{6,}|[^\s\"',}]{20,})",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    # As settings and connection strings write them: "AccountKey=...;", "pwd=...;", 'password: "..."'.
    # Quotes may be escaped: JSON within JSON. A backslash before a quote ends the value.
    rf"((?:{_SETTINGS})\\{{0,8}}[\"']?\s*[:=]\s*\\{{0,8}}[\"']?)"
    r"((?:[^\s\"',;&}<>\\]|\\+(?![\"'\\])){4,})",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(rf"(?:.*[-_.])?(?:{_HEADS}|{_SETTINGS})", re.IGNORECASE)


@lru_cache(maxsize=4096)
def names_secret(field: str) -> bool:
    """Whether what a field of this name holds is a secret: ``password``, ``db_password``, ``Authorization``..."""
    return _SECRET_NAME.fullmatch(field) is not None


@lru_cache(maxsize=4096)
def _named(variable: str) -> bool:
    """Whether an environment variable is named like a key: asked for each text, and looking costs more than a text."""
    return _NAMED.search(variable) is not None


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without ``secrets``, values of environment variables named like keys, and key-shaped words."""
    return scrubber(secrets)(text)


def scrubber(secrets: Iterable[str] = ()) -> Callable[[str], str]:
    """:func:`scrub` for many texts: looks at the environment once."""
    named = (os.environ[name] for name in os.environ if _named(name))
    known = {value for value in (*secrets, *named) if len(value) >= _SHORTEST}
    ordered = sorted(known, key=len, reverse=True)

    def clean(text: str) -> str:
        for value in ordered:
            text = text.replace(value, HIDDEN)
        assigns = ":" in text or "=" in text
        if assigns or "bearer" in text.lower():
            text = _HEADER.sub(lambda m: f"{m[1] or m[3]}{HIDDEN}", text)
        if assigns:
            text = _ASSIGNED.sub(rf"\1{HIDDEN}", text)
        return _SHAPED.sub(HIDDEN, text) if any(mark in text for mark in _MARKS) or _BEGUN.search(text) else text

    return clean


_HALF = re.compile("[\ud800-\udfff]")


class Cleaner:
    """:func:`atlas.redact.scrub` for whole JSON values. Texts that come again (histories do) are remembered."""

    def __init__(self, *, halves: bool = False) -> None:
        """``halves`` keeps half surrogate pairs, which environments do show and which no reader of an export takes."""
        scrub = scrubber()
        self._text = lru_cache(maxsize=1 << 15)(lambda text: scrub(text if halves else _HALF.sub("\ufffd", text)))

    def record(self, value: Any) -> tuple[Any, bool]:
        """A record without secrets, and whether one was hidden."""
        cleaned = self.value(value)
        return cleaned, cleaned != value and HIDDEN in repr(cleaned)

    def value(self, value: Any) -> Any:
        """``value`` without secrets; names of fields stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: HIDDEN if _secret(key, inner) else self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value

    def text(self, text: str) -> str:
        """A text without secrets. A text that is JSON, as tool arguments are, stays JSON."""
        cleaned = self._text(text)
        if cleaned != text and text[:1] in "{[" and (inner := _json(text)) is not None:
            return json.dumps(self.value(inner), ensure_ascii=False)
        return cleaned


def _secret(key: object, value: Any) -> bool:
    """Whether a field's name says that its value is a secret; numbers too, but no yes or no."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    return isinstance(key, str) and names_secret(key) and len(f"{value}") >= 4


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
