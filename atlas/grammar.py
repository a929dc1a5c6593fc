"""The forms of replies that are lines as grammars (GBNF), for models in llama.cpp: what these write is bound to them.

Other models are asked for the same form in words. A grammar stands beside the code that reads the reply; replies in
JSON have a schema in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

LINE = 240
"""Letters of a line at most, so that a small model comes to an end."""


def grammar(root: str) -> str:
    """A grammar with this root; ``line`` in it is any line."""
    return f"root ::= {root}\nline ::= [^\\x00-\\x1F\\x7F]{{1,{LINE}}}\n"


def one_of(texts: Iterable[str]) -> str:
    """One of these texts."""
    return "(" + " | ".join(json.dumps(text, ensure_ascii=False) for text in texts) + ")"
