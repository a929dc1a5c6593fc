"""How many tokens a text would take, without a tokenizer: for models that have none, and servers that do not count."""

from __future__ import annotations

import math
import re

_PIECE = re.compile(r"[A-Za-z]+|[^\W\d_A-Za-z]+|[ \t]?\d{1,3}|[^\w\s]+|_+|\n\s*|[ \t]{2,}")
_IDEOGRAPHS = "\u2e80"
"""From here on mostly scripts where a character is about a token."""


def estimate_tokens(text: str) -> int:
    """About the tokens of ``text`` for current hosted models.

    Against the mean of three tokenizers of hosted models (cl100k, o200k, Claude's published one), estimate / real was
    0.97 on ALFWorld transcripts, 1.01 on a prompt with demonstrations, 0.97 to 0.99 on English, 1.04 on JSON, 1.08 on
    Python, 0.97 on Chinese, 0.86 on Russian. SmolLM2's tokenizer makes about a tenth more of the same text.
    """
    return round(sum(_piece(match[0]) for match in _PIECE.finditer(text)))


def most_tokens(text: str) -> int:
    """More than ``text`` takes in any of them: what a budget counts where nobody counted."""
    return math.ceil(1.25 * estimate_tokens(text))


def _piece(piece: str) -> float:
    first = piece[0]
    if first.isalpha():
        if first.isascii():
            return 1 + max(0, len(piece) - 8) // 3
        return sum(1.0 if char >= _IDEOGRAPHS else 0.45 for char in piece)
    if piece[-1].isdigit():
        # Tokenizers keep a space before a number as a token of its own.
        return 1 if first.isdigit() else 2
    return 1 if first.isspace() or first == "_" else 1 + (len(piece) - 1) // 3
