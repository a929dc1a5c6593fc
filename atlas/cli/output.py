"""What a command prints, on its way out: secrets are hidden, whoever wrote the text and whichever form it has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from atlas.redact import Cleaner


class Scrubbed:
    """A stream that hides secrets in what is written to it. A JSON object or list, written whole, stays JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._clean = Cleaner(halves=True)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("a stream of text takes text")
        line = text.rstrip("\n")
        self._stream.write(self._clean.text(line) + text[len(line) :])
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def scrubbed() -> Iterator[None]:
    """Both standard streams hide secrets inside."""
    with redirect_stdout(cast(TextIO, Scrubbed(sys.stdout))), redirect_stderr(cast(TextIO, Scrubbed(sys.stderr))):
        yield


@contextmanager
def as_written() -> Iterator[None]:
    """For what a command tells once and on purpose: the password of an account that it has just made."""
    stream: Any = sys.stdout
    with redirect_stdout(stream._stream if isinstance(stream, Scrubbed) else stream):
        yield
