"""MySQL's functions: what each wants of its arguments, and what it gives.

A letter for each argument: ``t`` text, ``i`` a whole number, ``d`` a double, ``m`` what tells a moment, ``c`` what
tells a time of day, ``y`` what tells a day, ``x`` whatever it is; ``?`` behind one that may be left out, ``*`` behind
one that may stand again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from atlas.benchmarks.excytin.emulated.arithmetic import bits
from atlas.benchmarks.excytin.emulated.conversions import (
    as_double,
    as_text,
    as_whole,
    day_argument,
    moment_argument,
    span_argument,
)
from atlas.benchmarks.excytin.emulated.terms import (
    BIG,
    QUOTED,
    Kind,
    Term,
    call,
    compared_by,
    double,
    literal,
    text,
    truth,
    unsupported,
    whole,
)
from atlas.benchmarks.excytin.engine import DATABASE, SqlError

Build = Callable[[list[Term]], Term]


def argument_error(name: str) -> SqlError:
    return SqlError("ProgrammingError", f"Incorrect parameter count in the call to native function '{name}'")


class Scalar:
    """A function.

    Args:
        pattern: its arguments.
        build: makes the call of the converted arguments.
    """

    def __init__(self, pattern: str, build: Build) -> None:
        self._letters = pattern.replace("?", "").replace("*", "")
        self._least = len(self._letters) - pattern.count("?") - pattern.count("*")
        self._most = len(self._letters) if "*" not in pattern else 10**6
        self._build = build

    def term(self, name: str, arguments: Sequence[Term]) -> Term:
        """The call. SqlError: there are too few arguments, or too many."""
        if not self._least <= len(arguments) <= self._most:
            raise argument_error(name)
        letters = self._letters + self._letters[-1:] * (len(arguments) - len(self._letters))
        return self._build([_CONVERT[letter](one) for letter, one in zip(letters, arguments, strict=False)])


_CONVERT: dict[str, Callable[[Term], Term]] = {
    "t": as_text,
    "i": as_whole,
    "d": as_double,
    "m": moment_argument,
    "c": span_argument,
    "y": day_argument,
    "x": lambda term: term,
}


def _wholes(name: str, digits: int, unsigned: bool = False) -> Build:
    return lambda given: whole(call(name, *given), digits, unsigned=unsigned)


def _doubles(name: str) -> Build:
    return lambda given: double(call(name, *given))


def _texts(name: str) -> Build:
    return lambda given: text(call(name, *given), *given)


def _plain(name: str) -> Build:
    """Text of the connection's collation, of whatever it is made."""
    return lambda given: text(call(name, *given))


def _truths(name: str) -> Build:
    return lambda given: truth(call(name, *given))


def _never_null(name: str) -> Build:
    return lambda given: truth(f"COALESCE({call(name, *given)}, 0)")


def _blobs(name: str) -> Build:
    return lambda given: Term(call(name, *given), Kind.TEXT, collation="b", blob=True, counted=name == "unhex")


def _with_collation(name: str, at: int) -> Build:
    """The collation is handed on, as argument ``at``."""

    def build(given: list[Term]) -> Term:
        parts = [one.sql for one in given]
        parts.insert(at, literal(compared_by(given)))
        return whole(call(name, *parts), 10)

    return build


def _cased(name: str) -> Build:
    def build(given: list[Term]) -> Term:
        if given[0].blob:
            return given[0]
        return text(call(name, *given), *given)

    return build


def _concat(given: list[Term]) -> Term:
    found = text(call("concat", *given), *given)
    if any(one.blob for one in given):
        raise unsupported("CONCAT of bytes")
    return found


def _compared_texts(name: str) -> Build:
    """Text that is made by looking for one in the other."""

    def build(given: list[Term]) -> Term:
        compared_by(given)
        return text(call(name, *given), *given)

    return build


def _quoted(given: list[Term]) -> Term:
    return Term(call("json_quote", *given), Kind.TEXT, collation=QUOTED)


def _hex(given: list[Term]) -> Term:
    one = given[0]
    if one.kind is Kind.DECIMAL or one.kind is Kind.DOUBLE:
        one = as_whole(one)
    return text(call("hex", one if one.kind is Kind.INT else as_text(one)))


def _format(given: list[Term]) -> Term:
    number = given[0]
    if number.kind is Kind.TEXT:
        number = as_double(number)
    return text(call("format", number, given[1]))


def _log(given: list[Term]) -> Term:
    return double(call("log", *given) if len(given) == 1 else call("log_base", *given))


def _strcmp(given: list[Term]) -> Term:
    return whole(call("strcmp", *given, literal(compared_by(given))), 1)


def _based(source: str | None, target: str) -> Build:
    """BIN, OCT: CONV of what is written."""
    return lambda given: text(call("conv", as_text(given[0]), source or "10", target))


def _char(given: list[Term]) -> Term:
    return Term(call("char", *given), Kind.TEXT, collation="b", blob=True)


def _regexp(name: str) -> Build:
    def build(given: list[Term]) -> Term:
        sql = call(f"regexp_{name}", *given, literal(compared_by(given)))
        return whole(sql, 10) if name == "instr" else text(sql, *given)

    return build


def _regexp_like(given: list[Term]) -> Term:
    flags = given[2:]
    return truth(call("regexp_matches", *given[:2], literal(compared_by(given[:2])), *flags))


def _elt(given: list[Term]) -> Term:
    return text(call("elt", as_whole(given[0]), *map(as_text, given[1:])), *map(as_text, given[1:]))


def _constant(value: str) -> Build:
    return lambda _: Term(literal(value), Kind.TEXT, value=value)


def _unquoted(given: list[Term]) -> Term:
    # What is unquoted is compared with its case, but beside a column as the column is.
    return Term(call("json_unquote", *given), Kind.TEXT, collation=QUOTED)


def _extracted(given: list[Term]) -> Term:
    return text(call("json_extract", *given), *given[:1], json=True)


def _json_path(name: str) -> Build:
    return lambda given: text(call(name, *given), *given[:1])


def _pad(left: int) -> Build:
    def build(given: list[Term]) -> Term:
        fill: Term | str = given[2] if len(given) > 2 else "' '"
        return text(call("pad", given[0], given[1], fill, str(left)), *given[:1])

    return build


def _trim(side: str) -> Build:
    return lambda given: text(call("trim", given[0], "' '", literal(side)), *given)


def _pi(_: list[Term]) -> Term:
    return double("3.141592653589793", 6)


def _space(given: list[Term]) -> Term:
    return text(call("repeat", "' '", given[0]))


SCALARS: dict[str, Scalar] = {
    **{name: Scalar("d", _doubles(name.lower())) for name in
       "ACOS ASIN COS COT EXP LOG10 LOG2 SIN SQRT TAN".split()},
    **{name: Scalar("t", _plain(own)) for name, own in
       {"MD5": "md5", "SHA": "sha1", "SHA1": "sha1", "TO_BASE64": "to_base64"}.items()},
    **{name: Scalar("t", _wholes("length", 10)) for name in ("LENGTH", "OCTET_LENGTH")},
    **{name: Scalar("t", lambda given: whole(f"LENGTH({given[0].sql})", 10))
       for name in ("CHAR_LENGTH", "CHARACTER_LENGTH")},
    **{name: Scalar("t", _cased("lower")) for name in ("LOWER", "LCASE")},
    **{name: Scalar("t", _cased("upper")) for name in ("UPPER", "UCASE")},
    **{name: Scalar("tii?", _texts("substring")) for name in ("SUBSTRING", "SUBSTR", "MID")},
    **{name: Scalar("dd", _doubles("pow")) for name in ("POW", "POWER")},
    **{name: Scalar("", _constant(value)) for name, value in
       {"DATABASE": DATABASE, "SCHEMA": DATABASE, "USER": "root@localhost", "CURRENT_USER": "root@localhost",
        "SESSION_USER": "root@localhost", "SYSTEM_USER": "root@localhost", "VERSION": "9.0.1"}.items()},
    "ASCII": Scalar("t", _wholes("ascii", 3)),
    "ATAN": Scalar("dd?", lambda given: double(call("atan2" if len(given) > 1 else "atan", *given))),
    "ATAN2": Scalar("dd?", lambda given: double(call("atan2" if len(given) > 1 else "atan", *given))),
    "BIN": Scalar("x", _based(None, "2")),
    "BIT_COUNT": Scalar("x", lambda given: whole(call("bit_count", bits(given[0])), 2)),
    "BIT_LENGTH": Scalar("t", lambda given: whole(f"({call('length', *given)} * 8)", 11)),
    "CHAR": Scalar("i*", _char),
    "CONCAT": Scalar("tt*", _concat),
    "CONCAT_WS": Scalar("ttt*", _texts("concat_ws")),
    "CONV": Scalar("tii", _plain("conv")),
    "CRC32": Scalar("t", _wholes("crc32", 10, unsigned=True)),
    "DEGREES": Scalar("d", lambda given: double(f"({given[0].sql} * 57.29577951308232)")),
    "ELT": Scalar("xx*", _elt),
    "FIND_IN_SET": Scalar("tt", _with_collation("find_in_set", 2)),
    "FORMAT": Scalar("xi", _format),
    "FROM_BASE64": Scalar("t", _blobs("from_base64")),
    "HEX": Scalar("x", _hex),
    "INET_ATON": Scalar("t", _wholes("inet_aton", BIG, unsigned=True)),
    "INET_NTOA": Scalar("i", _plain("inet_ntoa")),
    "INSERT": Scalar("tiit", _texts("insert")),
    "INSTR": Scalar("tt", lambda given: _with_collation("locate", 2)([given[1], given[0]])),
    "IS_IPV4": Scalar("t", _never_null("is_ipv4")),
    "IS_IPV6": Scalar("t", _never_null("is_ipv6")),
    "JSON_COMPACT": Scalar("t", _json_path("json_compact")),
    "JSON_CONTAINS": Scalar("ttt?", _truths("json_contains")),
    "JSON_CONTAINS_PATH": Scalar("tttt*", _truths("json_contains_path")),
    "JSON_DEPTH": Scalar("t", _wholes("json_depth", 10)),
    "JSON_EXISTS": Scalar("tt", _truths("json_exists")),
    "JSON_EXTRACT": Scalar("ttt*", _extracted),
    "JSON_KEYS": Scalar("tt?", _json_path("json_keys")),
    "JSON_LENGTH": Scalar("tt?", _wholes("json_length", 10)),
    "JSON_LOOSE": Scalar("t", _json_path("json_loose")),
    "JSON_OVERLAPS": Scalar("tt", _truths("json_overlaps")),
    "JSON_QUOTE": Scalar("t", _quoted),
    "JSON_SEARCH": Scalar("tttt*", _json_path("json_search")),
    "JSON_TYPE": Scalar("t", _plain("json_type")),
    "JSON_UNQUOTE": Scalar("t", _unquoted),
    "JSON_VALID": Scalar("t", _truths("json_valid")),
    "JSON_VALUE": Scalar("tt", _json_path("json_value")),
    "LEFT": Scalar("ti", _texts("left")),
    "LN": Scalar("d", _doubles("log")),
    "LOCATE": Scalar("tti?", _with_collation("locate", 2)),
    "LOG": Scalar("dd?", _log),
    "LPAD": Scalar("tit?", _pad(1)),
    "LTRIM": Scalar("t", _trim("LEADING")),
    "OCT": Scalar("x", _based(None, "8")),
    "ORD": Scalar("t", _wholes("ord", 10)),
    "PI": Scalar("", _pi),
    "QUOTE": Scalar("t", _texts("quote")),
    "RADIANS": Scalar("d", lambda given: double(f"({given[0].sql} * 0.017453292519943295)")),
    "REGEXP_INSTR": Scalar("tt", _regexp("instr")),
    "REGEXP_LIKE": Scalar("ttt?", _regexp_like),
    "REGEXP_REPLACE": Scalar("ttt", _regexp("replace")),
    "REGEXP_SUBSTR": Scalar("tt", _regexp("substr")),
    "REPEAT": Scalar("ti", _texts("repeat")),
    "REPLACE": Scalar("ttt", _compared_texts("replace")),
    "REVERSE": Scalar("t", _texts("reverse")),
    "RIGHT": Scalar("ti", _texts("right")),
    "RPAD": Scalar("tit?", _pad(0)),
    "RTRIM": Scalar("t", _trim("TRAILING")),
    "SHA2": Scalar("ti", _plain("sha2")),
    "SIGN": Scalar("d", lambda given: whole(f"SIGN({given[0].sql})", 1)),
    "SOUNDEX": Scalar("t", _texts("soundex")),
    "SPACE": Scalar("i", _space),
    "STRCMP": Scalar("tt", _strcmp),
    "SUBSTRING_INDEX": Scalar("tti", _compared_texts("substring_index")),
    "UNHEX": Scalar("t", _blobs("unhex")),
}  # fmt: skip
"""By MySQL's name. Those that need to know more than their arguments' values stand in :mod:`special`."""
