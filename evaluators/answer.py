"""Whether an answer is the expected one: letter for letter, or up to how it is written.

:func:`normal` forgives what carries no meaning in an answer: case, whitespace, quotes, code marks, escaped characters,
the direction of slashes, a final full stop. :func:`same` forgives also how numbers are written and how lists are
delimited and ordered. Neither forgives a different answer: nothing here looks at meaning.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from decimal import Decimal, InvalidOperation

from atlas.jsontext import read_json

_PAIRS = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019"}
_SPACE = re.compile(r"\s+")
_SLASHES = re.compile(r"[\\/]+")
"""Slashes of either kind, however many, are one separator."""
_NUMBER = re.compile(r"[-+]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d{1,3})?%?", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")


def exact(submitted: str, expected: str) -> bool:
    """Equal letter for letter, but for whitespace around them."""
    return submitted.strip() == expected.strip()


def normal(text: str) -> str:
    """``text`` in one of the many ways to write it. Two answers with the same normal form are the same answer."""
    text = unicodedata.normalize("NFKC", unquoted(text))
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    text = _SLASHES.sub("/", text.replace("`", "").replace('\\"', '"'))
    return _SPACE.sub(" ", text).strip().rstrip(".").rstrip().casefold()


def unquoted(text: str) -> str:
    """``text`` without the quotes around it, however many, and without the escapes that go with them."""
    text = text.strip()
    for _ in range(len(text) // 2):
        if len(text) < 2 or _PAIRS.get(text[0]) != text[-1]:
            break
        text = _decoded(text).strip()
    return text


def _decoded(text: str) -> str:
    """What stands between the first and the last quote."""
    if text[0] == '"':
        try:
            value = read_json(text)
        except ValueError:
            value = None
        if isinstance(value, str):
            return value
    return text[1:-1]


def number(text: str) -> Decimal | None:
    """The number that ``text`` is, also with thousands separators, currency or percent sign; None for other text."""
    text = unquoted(text).strip()
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(re.sub(r"[,$€£%]", "", text))
    except InvalidOperation:
        return None


def items(text: str) -> tuple[str, ...]:
    """The items of a list: a JSON or Python list, lines, or parts between semicolons or commas; else the text alone.

    A comma within a number (``1,234``) separates nothing.
    """
    text = unquoted(text)
    listed = _literal_list(text)
    if listed is not None:
        return listed
    for separator in ("\n", ";", ","):
        pattern = r",(?!\d{3}(?!\d))" if separator == "," else re.escape(separator)
        parts = [_BULLET.sub("", part).strip() for part in re.split(pattern, text)]
        parts = [re.sub(r"^and\s+", "", part) for part in parts if part]
        if len(parts) > 1:
            return tuple(parts)
    return (text,)


def _literal_list(text: str) -> tuple[str, ...] | None:
    """The items of text that is a list in JSON or Python, else None."""
    if not (text[:1] in "[({" and text[-1:] in "])}") or len(text) < 2 or len(text) > 20_000:
        return None
    for read in (read_json, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, list | tuple | set):
            return tuple(str(item) for item in value)
    return None


def same(submitted: str, expected: str) -> bool:
    """The same answer up to writing: normal forms, numbers by value, lists regardless of their order and delimiters."""
    if not submitted.strip() or not expected.strip():
        return submitted.strip() == expected.strip()
    if _same_item(submitted, expected):
        return True
    ours, theirs = items(submitted), items(expected)
    if len(ours) != len(theirs) or len(theirs) < 2:
        return False
    return sorted(map(_key, ours)) == sorted(map(_key, theirs))


def _same_item(submitted: str, expected: str) -> bool:
    return _key(submitted) == _key(expected)


def _key(text: str) -> str:
    value = number(text)
    if value is None:
        return normal(text)
    percent = "%" if unquoted(text).strip().endswith("%") else ""
    return f"{value.normalize():f}{percent}" if abs(value.adjusted()) < 400 else normal(text)
