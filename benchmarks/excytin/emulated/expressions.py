"""Expressions: each node of the tree becomes a term, or is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from atlas.benchmarks.excytin.emulated import arithmetic
from atlas.benchmarks.excytin.emulated.casts import cast
from atlas.benchmarks.excytin.emulated.choices import Choices
from atlas.benchmarks.excytin.emulated.comparing import Columns, Comparing
from atlas.benchmarks.excytin.emulated.conversions import as_text, as_truth
from atlas.benchmarks.excytin.emulated.dated import MOMENT_FUNCTIONS, extracted, shifted, timestampdiff
from atlas.benchmarks.excytin.emulated.grouping import AGGREGATES, Grouping
from atlas.benchmarks.excytin.emulated.scalars import SCALARS
from atlas.benchmarks.excytin.emulated.scopes import Scope
from atlas.benchmarks.excytin.emulated.subqueries import Subqueries
from atlas.benchmarks.excytin.emulated.terms import (
    NULL,
    Kind,
    Term,
    call,
    compared_by,
    decimal,
    double,
    literal,
    text,
    truth,
    unsupported,
    whole,
)
from atlas.benchmarks.excytin.engine import SqlError

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.emulated.queries import Queries

_COMPARED: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=", exp.NullSafeEQ: "IS",
}  # fmt: skip
_COMPUTED: dict[type[exp.Expr], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.IntDiv: "DIV",
    exp.BitwiseAnd: "&", exp.BitwiseOr: "|", exp.BitwiseXor: "^", exp.BitwiseLeftShift: "<<",
    exp.BitwiseRightShift: ">>",
}  # fmt: skip
_BITWISE = (exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseXor, exp.BitwiseLeftShift, exp.BitwiseRightShift)
_CHAINED = (*_COMPARED, exp.Like, exp.RegexpLike, exp.In, exp.Between, exp.Is)
_PARTS = frozenset({"this", "expression", "expressions"})
_MORE_PARTS: dict[type[exp.Expr], frozenset[str]] = {
    **dict.fromkeys(_COMPUTED, frozenset({"typed", "safe"})),
    exp.Literal: frozenset({"is_string"}),
    exp.Column: frozenset({"table", "db"}),
    exp.Like: frozenset({"negate"}),
    exp.Cast: frozenset({"to"}),
    exp.In: frozenset({"query"}),
    exp.Between: frozenset({"low", "high"}),
    exp.Case: frozenset({"ifs", "default"}),
    exp.Concat: frozenset({"safe"}),
    exp.Trim: frozenset({"position"}),
    exp.Substring: frozenset({"start", "length"}),
    exp.StrPosition: frozenset({"substr"}),
    exp.Window: frozenset({"alias", "partition_by", "order", "spec", "over", "first"}),
    exp.GroupConcat: frozenset({"separator", "limit"}),
    exp.Chr: frozenset({"charset"}),
    exp.Select: frozenset(exp.Select.arg_types),
    exp.Subquery: frozenset(exp.Subquery.arg_types),
}
_MORE_PARTS = {kind: parts | _PARTS for kind, parts in _MORE_PARTS.items()}
"""What a node may have besides."""
_SHIFTS = {"DATE_ADD": 1, "ADDDATE": 1, "DATE_SUB": -1, "SUBDATE": -1}


class Expressions:
    """The expressions of one statement."""

    def __init__(self, columns: Columns, queries: Queries) -> None:
        self.comparing = Comparing(columns)
        self._columns = columns
        self._queries = queries
        self._choices = Choices(self.comparing)
        self._grouping = Grouping(self)
        self._subqueries = Subqueries(self, queries, self._choices)
        self._rules: dict[type[exp.Expr], Callable[..., Term]] = {
            **dict.fromkeys(_COMPARED, self._compared),
            **dict.fromkeys(_COMPUTED, self._computed),
            exp.Paren: lambda node, scope: self.term(node.this, scope),
            exp.Literal: lambda node, scope: _literal(node),
            exp.Null: lambda node, scope: NULL,
            exp.Boolean: lambda node, scope: truth(str(int(node.this))),
            exp.Column: self._column,
            exp.Neg: self._negative,
            exp.Not: lambda node, scope: truth(f"(NOT {as_truth(self.term(node.this, scope)).sql})"),
            exp.And: lambda node, scope: self._joined(node, scope, "AND"),
            exp.Or: lambda node, scope: self._joined(node, scope, "OR"),
            exp.Xor: self._xor,
            exp.Is: self._is,
            exp.In: self._subqueries.among,
            exp.Between: self._between,
            exp.Like: lambda node, scope: self._like(node, scope, "\\"),
            exp.Escape: self._escape,
            exp.RegexpLike: self._regexp,
            exp.BitwiseNot: lambda node, scope: arithmetic.inverted(self.term(node.this, scope)),
            exp.Case: self._case,
            exp.Cast: lambda node, scope: cast(node.to, self.term(node.this, scope)),
            exp.Collate: self._collate,
            exp.Concat: self._adjacent,
            exp.Anonymous: self._call,
            exp.Substring: self._substring,
            exp.StrPosition: self._position,
            exp.Trim: self._trim,
            exp.Extract: lambda node, scope: extracted(node.name, self.term(node.expression, scope)),
            exp.JSONExtract: self._arrow,
            exp.JSONExtractScalar: self._arrow,
            exp.Exists: lambda node, scope: truth(f"EXISTS ({self._queries.nested(node.this, scope).sql})"),
            exp.Subquery: self._subqueries.scalar,
            exp.Select: self._subqueries.scalar,
            exp.Window: self._grouping.window,
            exp.GroupConcat: self._grouping.group_concat,
            exp.Chr: self._char,
        }

    def term(self, node: exp.Expr, scope: Scope) -> Term:
        """What a node is. SqlError: MySQL would not run it, or this engine does not."""
        rule = self._rules.get(type(node))
        known = _MORE_PARTS.get(type(node), _PARTS)
        # A part that no rule looks at would be dropped without a word.
        if rule is None or any(value and part not in known for part, value in node.args.items()):
            raise _refused(node)
        return rule(node, scope)

    def terms(self, nodes: Sequence[exp.Expr], scope: Scope) -> list[Term]:
        return [self.term(node, scope) for node in nodes]

    def condition(self, node: exp.Expr, scope: Scope) -> str:
        return as_truth(self.term(node, scope)).sql

    def _column(self, node: exp.Column, scope: Scope) -> Term:
        if isinstance(node.this, exp.Star):
            raise unsupported("* in an expression")
        return self._grouping.named(node, scope)

    def _negative(self, node: exp.Neg, scope: Scope) -> Term:
        inner = node.this.unnest()
        found = arithmetic.negative(self.term(inner, scope))
        if isinstance(inner, exp.Literal) and not inner.is_string and found.kind is Kind.INT:
            return found.of(found.sql, value=-int(inner.this))
        return found

    def _joined(self, node: exp.Expr, scope: Scope, sign: str) -> Term:
        # Long chains lean to the left: they are walked, not descended.
        parts, kind = [], type(node)
        while type(node) is kind:
            parts.append(node.expression)
            node = node.this
        sides = [as_truth(self.term(part, scope)).sql for part in [node, *reversed(parts)]]
        return truth("(" + f" {sign} ".join(sides) + ")")

    def _xor(self, node: exp.Expr, scope: Scope) -> Term:
        left, right = (as_truth(self.term(side, scope)).sql for side in (node.this, node.expression))
        return truth(f"((NOT {left}) <> (NOT {right}))")

    def _compared(self, node: exp.Expr, scope: Scope) -> Term:
        left, right, sign = node.this, node.expression, _COMPARED[type(node)]
        _check_chain(left, right)
        if isinstance(right, exp.Any | exp.All):
            return self._subqueries.quantified(self.term(left, scope), sign, right, scope)
        if isinstance(left, exp.Tuple) or isinstance(right, exp.Tuple):
            return self._subqueries.rows(left, sign, right, scope)
        first, last = self.term(left, scope), self.term(right, scope)
        if last.json and not first.json and first.kind is Kind.TEXT and sign not in ("=", "<>", "IS"):
            # MariaDB has a text greater than no value at all, where that is a condition.
            raise unsupported(
                f"text {sign} a value of JSON_EXTRACT: put that first, as in JSON_EXTRACT(x, '$.a') < 'b'"
            )
        return self.comparing.compared(first, sign, last)

    def _computed(self, node: exp.Expr, scope: Scope) -> Term:
        left, right, sign = node.this, node.expression, _COMPUTED[type(node)]
        if isinstance(node, _BITWISE):
            _check_bits(left, right)
        if isinstance(right, exp.Interval) and sign in "+-":
            return self._shifted(left, right, 1 if sign == "+" else -1, scope)
        if isinstance(left, exp.Interval) and sign == "+":
            return self._shifted(right, left, 1, scope)
        return arithmetic.computed(self.term(left, scope), sign, self.term(right, scope))

    def _shifted(self, moment: exp.Expr, interval: exp.Interval, sign: int, scope: Scope) -> Term:
        unit, amount = interval.args.get("unit"), interval.this
        if unit is None or amount is None:
            raise unsupported("an INTERVAL without a unit")
        name = unit.name.upper()
        if (
            isinstance(inner := amount.unnest(), exp.Literal)
            and "." in inner.this
            and name != "SECOND"
            and "_" not in name
        ):
            raise unsupported(f"a fraction of a {name} in an INTERVAL")
        given = self.term(amount, scope)
        # sqlglot makes text of a number, and what was text stands in parentheses.
        given = given if isinstance(amount, exp.Literal) else given.of(given.sql, moment=given.moment)
        return shifted(self.term(moment, scope), given, name, sign)

    def _is(self, node: exp.Is, scope: Scope) -> Term:
        value = self.term(node.this, scope)
        if isinstance(node.expression, exp.Null):
            return truth(f"({value.sql} IS NULL)")
        if isinstance(node.expression, exp.Boolean):
            sign = "" if node.expression.this else "NOT "
            return truth(f"(COALESCE({sign}{as_truth(value).sql}, 0))")
        if node.expression.name.upper() == "UNKNOWN":
            return truth(f"({value.sql} IS NULL)")
        raise _refused(node)

    def _between(self, node: exp.Between, scope: Scope) -> Term:
        value, low, high = self.terms([node.this, node.args["low"], node.args["high"]], scope)
        return self._choices.between(value, low, high)

    def _like(self, node: exp.Expr, scope: Scope, escape: str) -> Term:
        found = self.comparing.like(self.term(node.this, scope), self.term(node.expression, scope), escape)
        return truth(f"(NOT {found.sql})") if node.args.get("negate") else found

    def _escape(self, node: exp.Escape, scope: Scope) -> Term:
        if not isinstance(node.this, exp.Like) or not isinstance(node.expression, exp.Literal):
            raise _refused(node)
        return self._like(node.this, scope, node.expression.this)

    def _regexp(self, node: exp.Expr, scope: Scope) -> Term:
        given = [as_text(self.term(side, scope)) for side in (node.this, node.expression)]
        return truth(call("regexp_matches", *given, literal(compared_by(given))))

    def _case(self, node: exp.Case, scope: Scope) -> Term:
        tests = [one.this for one in node.args["ifs"]]
        values = [self.term(one.args["true"], scope) for one in node.args["ifs"]]
        default = node.args.get("default")
        last = NULL if default is None else self.term(default, scope)
        if node.this is None:
            conditions = [self.condition(test, scope) for test in tests]
        else:
            wanted = self.term(node.this, scope)
            conditions = [self._choices.same(wanted, self.term(test, scope)) for test in tests]
        return self._choices.case(conditions, values, last)

    def _collate(self, node: exp.Expr, scope: Scope) -> Term:
        name = node.expression.name.lower()
        how = {"utf8mb4_bin": "b", "utf8mb4_general_ci": "g", "utf8mb4_unicode_ci": "u"}.get(name)
        if how is None:
            raise unsupported(f"COLLATE {name}")
        value = as_text(self.term(node.this, scope))
        return value.of(value.sql, collation=how, value=value.value, origin=value.origin)

    def _adjacent(self, node: exp.Concat, scope: Scope) -> Term:
        """Literals side by side are one; GROUP_CONCAT's several arguments are put together."""
        if all(isinstance(part, exp.Literal) for part in node.expressions):
            value = "".join(part.this for part in node.expressions)
            return Term(literal(value), Kind.TEXT, value=value)
        return SCALARS["CONCAT"].term("CONCAT", self.terms(node.expressions, scope))

    def _call(self, node: exp.Anonymous, scope: Scope) -> Term:
        name = node.name.upper().removeprefix("MY_")
        if name in AGGREGATES:
            return self._grouping.aggregate(name, node, scope)
        nodes = node.expressions
        if name == "TIMESTAMPDIFF" and nodes:
            return timestampdiff(nodes[0].name, self.terms(nodes[1:], scope))
        if name == "TIMESTAMPADD" and len(nodes) == 3:
            unit = nodes[0].name.upper().removeprefix("SQL_TSI_")
            return shifted(self.term(nodes[2], scope), self.term(nodes[1], scope), unit, 1)
        if name in _SHIFTS and len(nodes) == 2:
            if isinstance(nodes[1], exp.Interval):
                return self._shifted(nodes[0], nodes[1], _SHIFTS[name], scope)
            return shifted(self.term(nodes[0], scope), self.term(nodes[1], scope), "DAY", _SHIFTS[name])
        if name == "GET_FORMAT" and len(nodes) == 2:
            kind = nodes[0].name.upper().replace("TIMESTAMP", "DATETIME")
            return text(call("get_format", literal(kind), as_text(self.term(nodes[1], scope))))
        given = self.terms(nodes, scope)
        if name in ("LOWER", "UPPER", "LCASE", "UCASE") and len(given) == 1:
            one = given[0]
            if one.origin is not None and one.kind is Kind.TEXT and not one.blob and self._columns.plain(one.origin):
                native = "LOWER" if name in ("LOWER", "LCASE") else "UPPER"
                return one.of(f"{native}({one.sql})", origin=one.origin)
        if name in SCALARS:
            return SCALARS[name].term(name, given)
        if name in MOMENT_FUNCTIONS:
            return MOMENT_FUNCTIONS[name].term(name, given)
        found = self._choices.call(name, given)
        if found is None:
            raise SqlError("ProgrammingError", f"FUNCTION env_monitor_db.{name} does not exist")
        return found

    def _substring(self, node: exp.Substring, scope: Scope) -> Term:
        nodes = [part for part in (node.this, node.args.get("start"), node.args.get("length")) if part is not None]
        return SCALARS["SUBSTRING"].term("SUBSTRING", self.terms(nodes, scope))

    def _position(self, node: exp.Expr, scope: Scope) -> Term:
        return SCALARS["LOCATE"].term("LOCATE", self.terms([node.args["substr"], node.this], scope))

    def _trim(self, node: exp.Trim, scope: Scope) -> Term:
        value = as_text(self.term(node.this, scope))
        what = node.args.get("expression")
        mark = as_text(self.term(what, scope)) if what is not None else Term("' '", Kind.TEXT, value=" ")
        side = (node.args.get("position") or "BOTH").upper()
        return text(call("trim", value, mark, literal(side)), value)

    def _arrow(self, node: exp.Expr, scope: Scope) -> Term:
        path = node.expression.sql(dialect="mysql").strip("'")
        given = [self.term(node.this, scope), Term(literal(path), Kind.TEXT, value=path)]
        found = SCALARS["JSON_EXTRACT"].term("JSON_EXTRACT", given)
        return (
            SCALARS["JSON_UNQUOTE"].term("JSON_UNQUOTE", [found]) if isinstance(node, exp.JSONExtractScalar) else found
        )

    def _char(self, node: exp.Expr, scope: Scope) -> Term:
        found = SCALARS["CHAR"].term("CHAR", self.terms(node.expressions, scope))
        return text(f"CAST({found.sql} AS TEXT)") if node.args.get("charset") else found


def _literal(node: exp.Literal) -> Term:
    if node.is_string:
        return Term(literal(node.this), Kind.TEXT, value=node.this)
    number = node.this
    if re.fullmatch(r"\d+", number):
        value = int(number)
        if value < 2**63:
            return whole(str(value), len(str(value)), value=value)
        return decimal(literal(str(value)), 0).of(literal(str(value)), value=str(value))
    if re.fullmatch(r"\d*\.\d*", number):
        digits = number.partition(".")[2]
        shown = ("0" if number.startswith(".") else "") + number + ("" if digits else "0")
        return decimal(literal(shown), len(digits), fixed=True).of(literal(shown), value=shown)
    return double(repr(float(number)))


def _check_chain(left: exp.Expr, right: exp.Expr) -> None:
    """MySQL reads comparisons from the left, sqlglot some before others."""
    if isinstance(left, _CHAINED) or isinstance(right, _CHAINED):
        raise unsupported("comparisons side by side without parentheses")


def _check_bits(left: exp.Expr, right: exp.Expr) -> None:
    if isinstance(left, tuple(_COMPUTED)) or isinstance(right, tuple(_COMPUTED)) or isinstance(left, exp.Neg):
        raise unsupported("operators on bits beside others without parentheses")


def _refused(node: exp.Expr) -> SqlError:
    return unsupported(re.sub(r"\bMY_(\w+)", lambda m: m[1].upper(), node.sql(dialect="mysql", comments=False))[:80])
