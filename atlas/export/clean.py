"""Secrets out of what is exported: every text of a JSON value, tool arguments so that they stay JSON."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from atlas.redact import HIDDEN, names_secret, scrubber

_HALF = re.compile("[\ud800-\udfff]")


class Cleaner:
    """:func:`atlas.redact.scrub` for whole JSON values. Texts that come again (histories do) are remembered."""

    def __init__(self) -> None:
        scrub = scrubber()
        # Half a surrogate pair, which environments do show, is no text for any reader of an export.
        self._text = lru_cache(maxsize=1 << 15)(lambda text: scrub(_HALF.sub("\ufffd", text)))

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
