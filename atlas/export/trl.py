"""What TRL's trainers need to know of a file besides its rows: its columns, and how long the rows are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from atlas.export.manifest import Lengths
from atlas.tokens import estimate_tokens

CARD = "README.md"
DATASETS = "4.7"
"""The first release of ``datasets`` with a type for JSON."""
DEFAULT_LENGTH = 1024
LENGTHS = (1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
_MESSAGE = 4
"""Tokens that a chat template writes around a message."""


def card(parts: Sequence[str], columns: Sequence[str]) -> str:
    """A dataset card that names the columns. Messages and tools are JSON of any shape: left to itself, ``datasets``
    takes the types of the first 10 MB and fails at later rows that hold other tools."""
    files = "".join(f"  - split: {part}\n    path: {part}.jsonl\n" for part in parts)
    features = "".join(f"  - name: {name}\n    list: json\n" for name in columns)
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}dataset_info:\n  features:\n{features}---\n\n"
        f"Exported by atlas for TRL. Load the folder, with datasets >= {DATASETS}:\n\n"
        f'    datasets.load_dataset("FOLDER", split="{parts[0]}")\n'
    )


class Measured:
    """The lengths of rows while they are written."""

    def __init__(self) -> None:
        self.rows = 0
        self.longest = 0
        self._longer: Counter[int] = Counter()

    def take(self, record: dict[str, Any]) -> None:
        """A row was written."""
        answers = [record[name] for name in ("completion", "chosen", "rejected") if name in record]
        tools = record.get("tools")
        tokens = _tokens(record["prompt"]) + max(map(_tokens, answers), default=0) + (_json(tools) if tools else 0)
        self.rows += 1
        self.longest = max(self.longest, tokens)
        self._longer.update(length for length in LENGTHS if tokens > length)

    def lengths(self) -> Lengths:
        return Lengths(longest=self.longest, longer_than={str(length): self._longer[length] for length in LENGTHS})

    def note(self) -> str | None:
        """What to do where TRL would cut rows unless it is told; None where it would not."""
        if not (longer := self._longer[DEFAULT_LENGTH]):
            return None
        return (
            f"about {longer:,} of {self.rows:,} rows are longer than {DEFAULT_LENGTH:,} tokens, TRL's max_length if "
            "you set none: it cuts their ends and drops those whose prompt alone is longer; the longest row has about "
            f"{self.longest:,}"
        )


def _tokens(messages: Sequence[dict[str, Any]]) -> int:
    return sum(
        _MESSAGE + _text(message["content"] or "") + (_json(calls) if (calls := message.get("tool_calls")) else 0)
        for message in messages
    )


def _json(value: Any) -> int:
    return _text(json.dumps(value, ensure_ascii=False))


def _text(text: str) -> int:
    paragraphs = text.split("\n\n")
    return sum(map(_paragraph, paragraphs)) + len(paragraphs) - 1


@lru_cache(maxsize=1 << 14)
def _paragraph(text: str) -> int:
    """Remembered: a step's prompt holds the messages of the steps before it, and examples that others show too."""
    return estimate_tokens(text)
