"""Choices between values and tests against several: what they are compared as, and which kind comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from atlas.benchmarks.excytin.emulated import arithmetic
from atlas.benchmarks.excytin.emulated.comparing import Comparing, dated, zeros
from atlas.benchmarks.excytin.emulated.conversions import (
    as_double,
    as_operand,
    as_text,
    as_truth,
    together,
    turned,
    written,
)
from atlas.benchmarks.excytin.emulated.scalars import argument_error
from atlas.benchmarks.excytin.emulated.terms import (
    BINARY,
    MOMENTS,
    NUMBERS,
    Kind,
    Term,
    call,
    literal,
    text,
    truth,
    unsupported,
    whole,
)

Function = Callable[[list[Term]], Term]


class Choices:
    """Functions whose result has a kind of several arguments."""

    NAMES = frozenset(
        {"IF", "IFNULL", "NVL", "NVL2", "COALESCE", "NULLIF", "ISNULL", "GREATEST", "LEAST", "FIELD", "ROUND",
         "TRUNCATE", "ABS", "FLOOR", "CEIL", "CEILING", "MOD", "JSON_ARRAY", "JSON_OBJECT"}
    )  # fmt: skip

    def __init__(self, comparing: Comparing) -> None:
        self._comparing = comparing
        self._functions: dict[str, tuple[int, int, Function]] = {
            "IF": (3, 3, lambda given: self.case([as_truth(given[0]).sql], [given[1]], given[2])),
            "IFNULL": (2, 2, self._first),
            "NVL": (2, 2, self._first),
            "NVL2": (3, 3, lambda given: self.case([f"{given[0].sql} IS NOT NULL"], [given[1]], given[2])),
            "COALESCE": (1, 1000, self._first),
            "NULLIF": (2, 2, self._nullif),
            "ISNULL": (1, 1, lambda given: truth(f"({given[0].sql} IS NULL)")),
            "GREATEST": (2, 100, lambda given: self._extreme(given, greatest=True)),
            "LEAST": (2, 100, lambda given: self._extreme(given, greatest=False)),
            "FIELD": (2, 1000, self._field),
            "ROUND": (1, 2, lambda given: arithmetic.rounded("ROUND", given)),
            "TRUNCATE": (2, 2, lambda given: arithmetic.rounded("TRUNCATE", given)),
            "ABS": (1, 1, lambda given: arithmetic.absolute(given[0])),
            "FLOOR": (1, 1, lambda given: arithmetic.floored("FLOOR", given[0])),
            "CEIL": (1, 1, lambda given: arithmetic.floored("CEILING", given[0])),
            "CEILING": (1, 1, lambda given: arithmetic.floored("CEILING", given[0])),
            "MOD": (2, 2, lambda given: arithmetic.computed(given[0], "%", given[1])),
            "JSON_ARRAY": (
                0,
                1000,
                lambda given: text(call("json_array", literal(_forms(given)), *_members(given)), *given),
            ),
            "JSON_OBJECT": (0, 1000, _object),
        }

    def call(self, name: str, given: list[Term]) -> Term | None:
        """None: there is no such function here."""
        found = self._functions.get(name)
        if found is None:
            return None
        least, most, build = found
        if not least <= len(given) <= most:
            raise argument_error(name)
        return build(given)

    def case(self, conditions: Sequence[str], values: Sequence[Term], default: Term) -> Term:
        """CASE of conditions."""
        model = together([*values, default])
        parts = [f"WHEN {test} THEN {turned(value, model)}" for test, value in zip(conditions, values, strict=True)]
        found = model.of(f"(CASE {' '.join(parts)} ELSE {turned(default, model)} END)")
        if model.kind not in MOMENTS or not any(one.zeros for one in (*values, default)):
            return found
        return found.of(found.sql, zeros=self.case(conditions, [zeros(one) for one in values], zeros(default)).sql)

    def same(self, left: Term, right: Term) -> str:
        """A test of ``CASE left WHEN right``: what is found in JSON is compared with text as it is written."""
        return self._comparing.compared(*_beside(left, right), exact=True).sql

    def among(self, left: Term, values: Sequence[Term]) -> Term:
        """``left IN (values)``: with values of one kind together, with others each by itself."""
        if len(values) == 1:
            return self._comparing.compared(left, "=", values[0])
        if left.kind in MOMENTS and len({value.kind for value in values} - {Kind.NULL, left.kind}) > 1:
            raise unsupported("IN of a moment with values of several kinds")
        kinds = {value.kind for value in values} - {Kind.NULL}
        if len(kinds) <= 1 or (kinds <= NUMBERS and left.kind not in (Kind.INT, Kind.DECIMAL)):
            texts = left.kind is Kind.TEXT and kinds == {Kind.TEXT}
            # Beside numbers, what is found in JSON is a number, without its quotes.
            side, *given = [written(term) for term in (left, *values)] if texts else [left, *values]
            own = self._comparing.keys([side, *given], ordered=False)
            return truth(f"({own(side)} IN ({', '.join(own(value) for value in given)}))")
        found = [self._comparing.compared(*_beside(left, value), exact=True).sql for value in values]
        return truth(f"({' OR '.join(found)})")

    def between(self, value: Term, low: Term, high: Term) -> Term:
        """All three are compared as one kind."""
        given = [value, low, high]
        if all(term.kind is Kind.TEXT for term in given):
            given = [written(term) for term in given]
        if any(term.kind is Kind.NULL for term in given):
            parts = [self._comparing.compared(given[0], sign, side).sql for sign, side in
                     ((">=", given[1]), ("<=", given[2]))]  # fmt: skip
            return truth(f"({' AND '.join(parts)})")
        own = self._comparing.keys(given, ordered=True)
        first, last, end = (own(term) for term in given)
        return truth(f"({first} BETWEEN {last} AND {end})")

    def _first(self, given: list[Term]) -> Term:
        model = together(given)
        if len(given) == 1:
            return written(given[0])
        return model.of(f"COALESCE({', '.join(turned(term, model) for term in given)})")

    def _nullif(self, given: list[Term]) -> Term:
        first = given[0]
        same = self._comparing.compared(first, "=", given[1]).sql
        found = first.of(f"(CASE WHEN {same} THEN NULL ELSE {first.sql} END)", json=False)
        return found.of(found.sql, zeros=first.zeros and f"(CASE WHEN {same} THEN NULL ELSE {first.zeros} END)")

    def _extreme(self, given: list[Term], *, greatest: bool) -> Term:
        kinds = {term.kind for term in given} - {Kind.NULL}
        if kinds & MOMENTS and len(kinds) > 1:
            raise unsupported("GREATEST or LEAST of a moment and something else: cast one of them")
        if Kind.TEXT in kinds and len(kinds) > 1:
            given = [as_double(as_operand(term)) for term in given]
        given = [dated(term) for term in given]
        if len({term.collation == BINARY for term in given if term.kind is Kind.TEXT and term.value is None}) > 1:
            raise unsupported("GREATEST or LEAST of text with its case and text without: write COLLATE behind one")
        model = together(given)
        terms = [model.of(turned(written(term), model)) for term in given]
        own = self._comparing.keys(terms, ordered=True, alone=True)
        found = arithmetic.extreme(terms, [own(term) for term in terms], greatest=greatest)
        return model.of(found, extreme=model.kind is Kind.TEXT)

    def _field(self, given: list[Term]) -> Term:
        kinds = {term.kind for term in given} - {Kind.NULL}
        if kinds & MOMENTS:
            given, kinds = [as_text(term) for term in given], {Kind.TEXT}
        if Kind.TEXT in kinds and len(kinds) > 1:
            given = [as_double(term) for term in given]
        own = self._comparing.keys([written(term) for term in given], ordered=True)
        # A function sees no collation: text is told apart by its keys.
        keys = [own(term).removesuffix(" COLLATE NOCASE").removesuffix(" COLLATE BINARY") for term in given]
        if kinds == {Kind.TEXT}:
            keys = [call("key_u", term) for term in given]
        return whole(call("field", *keys), 3)


def _beside(left: Term, right: Term) -> tuple[Term, str, Term]:
    """Both sides of an equation that is one of several."""
    if left.kind is Kind.TEXT and right.kind is Kind.TEXT:
        left, right = written(left), written(right)
    return left, "=", right


def _forms(given: Sequence[Term]) -> str:
    return "".join("b" if term.truth else "n" if term.kind in NUMBERS else "j" if term.json else "t" for term in given)


def _members(given: Sequence[Term]) -> list[Term]:
    return [term if term.kind is Kind.INT else as_text(term) for term in given]


def _object(given: list[Term]) -> Term:
    if len(given) % 2:
        raise argument_error("JSON_OBJECT")
    pairs = [
        one for name, value in zip(given[::2], given[1::2], strict=True) for one in (as_text(name), *_members([value]))
    ]
    return text(call("json_object", literal(_forms(given[1::2])), *pairs), *given)
