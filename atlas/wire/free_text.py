"""Free text that a model writes as the one argument of a function, read while it is written."""

from __future__ import annotations

import json
import re

_WRAPPED = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_END = re.compile(r'"\s*\}?\s*')
_PAIR = r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# Not taken yet: half an escape, and the first half of a pair of them.
_WRITTEN = re.compile(
    rf"""(?:[^"\\]|\\(?:{_PAIR}|u(?![dD][89abAB])[0-9a-fA-F]{{4}}|[^u]
    |u[dD][89abAB][0-9a-fA-F]{{2}}(?=[^\\]|\\[^u]|\\u[^dD]|\\u[dD][^c-fC-F])|u(?=[0-9a-fA-F]{{0,3}}[^0-9a-fA-F])))*""",
    re.VERBOSE,
)
_ESCAPED = re.compile(rf"\\({_PAIR}|u[0-9a-fA-F]{{4}}|[^u])", re.DOTALL)
_NAMED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}


class FreeText:
    """The text of a call to a custom tool that a model makes as a function with one text in it, which is what models
    without such tools are offered. Its arguments are read as they come, each character once."""

    def __init__(self) -> None:
        self._at: int | None = None
        """How far they were read; None where the text has not begun."""
        self.text = ""

    def read(self, written: str) -> bool:
        """Take the arguments so far, which go on from those of before; whether the text has begun."""
        if self._at is None:
            begun = _WRAPPED.match(written)
            if begun is None:
                return False
            self._at = begun.end()
        while True:
            whole = _WRITTEN.match(written, self._at)
            assert whole is not None
            end = whole.end()
            self.text += _ESCAPED.sub(_unescaped, written[self._at : end])
            self._at = end
            # A quotation mark within the text, which the model forgot to escape, has more behind it than an end.
            if not written.startswith('"', end) or _END.fullmatch(written, end):
                return True
            self.text += '"'
            self._at = end + 1


def _unescaped(found: re.Match[str]) -> str:
    """What an escape stands for; one that JSON does not know, as models write them in patterns, is itself."""
    code = found[1]
    return str(json.loads(f'"\\{code}"')) if code[0] == "u" else _NAMED.get(code, found[0])
