"""MySQL's text as a tree: what sqlglot would read otherwise is renamed before, what it alone accepts is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from atlas.benchmarks.excytin.emulated.choices import Choices
from atlas.benchmarks.excytin.emulated.dated import MOMENT_FUNCTIONS
from atlas.benchmarks.excytin.emulated.grouping import AGGREGATES, WINDOWS
from atlas.benchmarks.excytin.emulated.scalars import SCALARS
from atlas.benchmarks.excytin.engine import syntax_error
from atlas.benchmarks.excytin.sqltext import Piece, quoted

_PARSED = frozenset({"SUBSTRING", "SUBSTR", "CHAR"})
"""Functions with words between their arguments, which sqlglot knows by name."""
_UNITS = frozenset({"DATE_ADD", "DATE_SUB", "ADDDATE", "SUBDATE", "TIMESTAMPDIFF", "TIMESTAMPADD", "GET_FORMAT"})
NAMES = (
    frozenset(SCALARS) | frozenset(MOMENT_FUNCTIONS) | AGGREGATES | WINDOWS | _UNITS | Choices.NAMES
) - _PARSED  # fmt: skip
"""Functions whose calls sqlglot shall leave alone."""
_CALL = re.compile(rf"(?<![.\w])({'|'.join(sorted(NAMES, key=len, reverse=True))})(\s*\()", re.IGNORECASE)
_BARE = re.compile(
    r"(?<![.\w])(CURRENT_TIMESTAMP|CURRENT_DATE|CURRENT_TIME|CURRENT_USER|LOCALTIME|LOCALTIMESTAMP|UTC_DATE|UTC_TIME"
    r"|UTC_TIMESTAMP)\b(?!\s*\()",
    re.IGNORECASE,
)
_AS = re.compile(r"\bAS\s*\Z", re.IGNORECASE)
_INTERVAL = re.compile(r"\bINTERVAL\s*\Z", re.IGNORECASE)
_FOREIGN = re.compile(
    r"==|::|\[|\]|\b(?:ILIKE|QUALIFY|DATETIME\s*\(|NULLS\s+(?:FIRST|LAST)|FETCH\s+FIRST)", re.IGNORECASE
)
"""What sqlglot accepts in MySQL's name and MySQL does not. ``DATETIME`` is complained about from its parenthesis on."""
_CLOSE = re.compile(
    r"(?<![.\w])(COUNT|SUM|MIN|MAX|GROUP_CONCAT|SUBSTRING|SUBSTR|MID|TRIM|CAST|EXTRACT|POSITION|NOW|CURDATE|CURTIME"
    r"|DATE_ADD|DATE_SUB|ADDDATE|SUBDATE|BIT_AND|BIT_OR|BIT_XOR|STD|STDDEV|VARIANCE)\s+(\()",
    re.IGNORECASE,
)
"""Functions whose parenthesis stands right behind the name."""


_WORD = re.compile(r"\w+\Z")
_BEFORE_VALUES = frozenset(
    "SELECT DISTINCT DISTINCTROW ALL ANY SOME NOT AND OR XOR WHEN THEN ELSE CASE IN IS LIKE RLIKE REGEXP BETWEEN BY "
    "WHERE HAVING ON DIV MOD INTERVAL BINARY LIMIT OFFSET RETURNING ESCAPE VALUES SEPARATOR".split()
)
"""Words behind which a value begins."""


def parsed(parts: Sequence[Piece]) -> exp.Expr:
    """The tree of one query.

    Raises:
        SqlError: MySQL finds its syntax wrong.
    """
    _check_foreign(parts)
    text = "".join(_written(part, before) for part, before in zip(parts, [None, *parts], strict=False)).strip()
    try:
        trees = sqlglot.parse(text, read="mysql")
    except ParseError as error:
        found = error.errors[0] if error.errors else {}
        line, column = found.get("line") or 1, found.get("col") or 0
        begin = sum(len(one) for one in text.splitlines(keepends=True)[: line - 1])
        near = text[max(0, begin + column - len(found.get("highlight") or "")) :]
        raise syntax_error(_shown(near), line) from error
    except (SqlglotError, RecursionError) as error:
        raise syntax_error(_shown(text)) from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise syntax_error(_shown(text))
    return trees[0]


def _written(part: Piece, before: Piece | None) -> str:
    if not part.is_string:
        return _prepared(part.text, operand=before is not None and before.is_string)
    if before is not None and not before.is_string and _INTERVAL.search(before.text):
        # Told from a number, which sqlglot makes text of.
        return f"({quoted(part.text)})"
    return quoted(part.text)


def _prepared(code: str, *, operand: bool) -> str:
    """Calls of functions under names of our own, so that sqlglot leaves their arguments alone.

    Args:
        operand: whether a text stands before it.
    """

    def renamed(call: re.Match[str]) -> str:
        if call[1].upper() == "MOD" and _is_operand(code[: call.start()].rstrip(), operand):
            return f"%{call[2]}"
        return call[0] if _AS.search(code, max(0, call.start() - 8), call.start()) else f"MY_{call[1].upper()}{call[2]}"

    code = _BARE.sub(r"\1()", code)
    return _CALL.sub(renamed, code)


def _is_operand(before: str, operand: bool) -> bool:
    """Whether MOD behind it is an operator and no function."""
    if not before:
        return operand
    word = _WORD.search(before)
    return before[-1] in ")`" if word is None else word[0].upper() not in _BEFORE_VALUES


def _check_foreign(parts: Sequence[Piece]) -> None:
    before = ""
    for number, part in enumerate(parts):
        if not part.is_string:
            found = _FOREIGN.search(part.text)
            close = _CLOSE.search(part.text)
            if close is not None and (found is None or close.start() < found.start()):
                start = close.start(2) + 1 if close[1].upper() != "CAST" else close.start(2)
            elif found is not None:
                start = found.end() - 1 if found[0].endswith("(") else found.start()
            else:
                start = -1
            if start >= 0 and not _is_cast(part.text, found, close):
                rest = part.text[start:] + "".join(_source(p) for p in parts[number + 1 :])
                raise syntax_error(rest.rstrip(), (before + part.text[:start]).lstrip().count("\n") + 1)
        before += _source(part)


def _is_cast(code: str, found: re.Match[str] | None, close: re.Match[str] | None) -> bool:
    """``CAST(x AS DATETIME(3))`` is MySQL's."""
    if found is None or close is not None or not found[0].endswith("("):
        return False
    return _AS.search(code, max(0, found.start() - 8), found.start()) is not None


def _source(part: Piece) -> str:
    return quoted(part.text) if part.is_string else part.text


def _shown(text: str) -> str:
    return re.sub(r"\bMY_(\w+)", r"\1", text)
