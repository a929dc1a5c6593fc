"""The base of all records, and the identity of their content."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of all records: immutable, and strict about field names so that a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def content_hash(value: Any, length: int = 16) -> str:
    """Hex identity of a JSON-serialisable value; equal content gives an equal hash on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Models do write lone surrogates; they have an identity like everything else.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
