"""Aggregates, windows, and what a SELECT that groups may name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlglot import exp

from atlas.benchmarks.excytin.emulated.comparing import dated
from atlas.benchmarks.excytin.emulated.conversions import (
    as_decimal,
    as_double,
    as_number,
    as_operand,
    as_text,
    as_whole,
    digits,
    together,
)
from atlas.benchmarks.excytin.emulated.scopes import Scope
from atlas.benchmarks.excytin.emulated.terms import (
    BIG,
    NUMBERS,
    Kind,
    Term,
    call,
    compared_by,
    decimal,
    double,
    literal,
    text,
    unsupported,
    whole,
)
from atlas.benchmarks.excytin.engine import SqlError

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.emulated.expressions import Expressions

_DEVIATIONS = {
    "STD": (0, 1), "STDDEV": (0, 1), "STDDEV_POP": (0, 1), "STDDEV_SAMP": (1, 1),
    "VARIANCE": (0, 0), "VAR_POP": (0, 0), "VAR_SAMP": (1, 0),
}  # fmt: skip
"""Of a sample, and its root."""
_BITS = {"BIT_AND": "and", "BIT_OR": "or", "BIT_XOR": "xor"}
AGGREGATES = frozenset(
    {"COUNT", "SUM", "AVG", "MIN", "MAX", "ANY_VALUE", "JSON_ARRAYAGG", "JSON_OBJECTAGG", *_DEVIATIONS, *_BITS}
)
_RANKS = dict.fromkeys(("ROW_NUMBER", "RANK", "DENSE_RANK", "NTILE"), BIG)
_SHARES = frozenset({"PERCENT_RANK", "CUME_DIST"})
_NEIGHBOURS = frozenset({"LAG", "LEAD", "FIRST_VALUE", "LAST_VALUE", "NTH_VALUE"})
WINDOWS = frozenset({*_RANKS, *_SHARES, *_NEIGHBOURS})


class Grouping:
    """Of the expressions of one statement."""

    def __init__(self, expressions: Expressions) -> None:
        self._expressions = expressions

    def named(self, node: exp.Column, scope: Scope) -> Term:
        """A column, or what an alias stands for where aliases may be used."""
        name, table = node.name, node.table
        alias = scope.aliases.get(name.lower()) if not table else None
        if alias is not None and scope.clause == "having clause":
            return self._aliased(alias, scope)
        # In the others, an alias alone goes before a column; within an expression a column does.
        if alias is not None and scope.clause in ("order clause", "group statement") and not scope.has(name):
            return self._aliased(alias, scope)
        return scope.column(name, table)

    def _aliased(self, node: exp.Expr, scope: Scope) -> Term:
        clause, scope.clause = scope.clause, "field list"
        try:
            return self._expressions.term(node, scope)
        finally:
            scope.clause = clause

    @contextmanager
    def _inside(self, name: str, scope: Scope) -> Iterator[None]:
        if scope.in_aggregate or scope.clause in ("where clause", "on clause", "group statement"):
            raise SqlError("ProgrammingError", "Invalid use of group function")
        scope.in_aggregate = True
        scope.aggregates += name != "ANY_VALUE"
        try:
            yield
        finally:
            scope.in_aggregate = False

    def aggregate(self, name: str, node: exp.Anonymous, scope: Scope) -> Term:
        """An aggregate of a group."""
        with self._inside(name, scope):
            nodes, distinct = node.expressions, False
            if len(nodes) == 1 and isinstance(nodes[0], exp.Distinct):
                nodes, distinct = nodes[0].expressions, True
            if name == "COUNT":
                return whole(self._count(nodes, distinct, scope), BIG)
            if any(isinstance(one, exp.Star | exp.Order | exp.Limit) for one in nodes):
                raise unsupported(f"{name} with * or ORDER BY in it")
            given = self._expressions.terms(nodes, scope)
            if name == "JSON_OBJECTAGG" and len(given) == 2:
                form = literal("n" if given[1].kind in NUMBERS else "t")
                return text(call("json_objectagg", form, as_text(given[0]), as_text(given[1])), *given)
            if len(given) != 1:
                raise SqlError("ProgrammingError", f"Incorrect parameter count in the call to native function '{name}'")
            return self._of_one(name, given[0], distinct)

    def _count(self, nodes: Sequence[exp.Expr], distinct: bool, scope: Scope) -> str:
        if len(nodes) == 1 and isinstance(nodes[0], exp.Star) and not distinct:
            return "COUNT(*)"
        given = self._expressions.terms(nodes, scope)
        if not distinct:
            if len(given) != 1:
                raise SqlError("ProgrammingError", "Incorrect parameter count in the call to native function 'COUNT'")
            return f"COUNT({given[0].sql})"
        keys = [self._expressions.comparing.grouped(term) for term in given]
        if len(keys) == 1:
            return f"COUNT(DISTINCT {keys[0]})"
        # A row with a NULL in it does not count.
        whole_row = " AND ".join(f"{term.sql} IS NOT NULL" for term in given)
        written = [
            f"quote({_text_key(term) if term.kind is Kind.TEXT else key})"
            for key, term in zip(keys, given, strict=True)
        ]
        return f"COUNT(DISTINCT CASE WHEN {whole_row} THEN {' || '.join(written)} END)"

    def _of_one(self, name: str, term: Term, distinct: bool) -> Term:
        once = "DISTINCT " if distinct else ""
        if name in ("MIN", "MAX"):
            found = f"{name}({self._expressions.comparing.greatest(dated(term, always=name == 'MIN'))})"
            if term.zeros and name == "MAX":
                found = call("dated_or_null", found, f"MAX({term.zeros})")
            return term.of(found, json=False, origin=term.origin)
        if name == "ANY_VALUE":
            return term.of(term.sql)
        if name in ("SUM", "AVG"):
            return _sum(name, once, term)
        if distinct:
            raise unsupported(f"{name} with DISTINCT")
        if name in _BITS:
            # Of no rows at all, SQLite asks no function.
            nothing = "'18446744073709551615'" if name == "BIT_AND" else "0"
            return whole(f"COALESCE(my_bits({as_whole(term).sql}, '{_BITS[name]}'), {nothing})", BIG, unsigned=True)
        if name == "JSON_ARRAYAGG":
            return text(call("json_arrayagg", literal("n" if term.kind in NUMBERS else "t"), as_text(term)), term)
        sample, root = _DEVIATIONS[name]
        number = as_operand(term)
        scale = min(31, digits(number) + 4)
        return double(call("variance", as_double(number), str(sample), str(root)), scale)

    def group_concat(self, node: exp.Expr, scope: Scope) -> Term:
        """GROUP_CONCAT with DISTINCT, ORDER BY and SEPARATOR."""
        with self._inside("GROUP_CONCAT", scope):
            inner, order, separator = node.this, None, node.args.get("separator")
            if isinstance(inner, exp.Limit) or node.args.get("limit") is not None:
                raise unsupported("GROUP_CONCAT with LIMIT")
            if isinstance(inner, exp.Order):
                inner, order = inner.this, inner.expressions
            distinct = isinstance(inner, exp.Distinct)
            parts = inner.expressions if isinstance(inner, exp.Distinct) else [inner]
            given = [as_text(term) for term in self._expressions.terms(parts, scope)]
            value = given[0] if len(given) == 1 else text(call("concat", *given), *given)
            keys, directions = [], ""
            for one in order or ():
                keys.append(_function_key(self._expressions.term(_placed(one.this, parts), scope)))
                directions += "d" if one.args.get("desc") else "a"
            once = _text_key(value) if distinct else value.sql
            mark = literal("," if separator is None else separator.this)
            arguments = [mark, literal(directions), value.sql, once if distinct else "NULL", *keys]
            return text(call("group_concat", *arguments), value, counted=True)

    def window(self, node: exp.Window, scope: Scope) -> Term:
        """A function OVER a window."""
        if scope.clause not in ("field list", "order clause"):
            raise SqlError("ProgrammingError", "You cannot use a window function in this context")
        inner = node.this
        name = inner.name.upper().removeprefix("MY_") if isinstance(inner, exp.Anonymous) else ""
        nodes = inner.expressions if isinstance(inner, exp.Anonymous) else []
        over = self._over(node, scope)
        given = [one for one in nodes if not isinstance(one, exp.Star)]
        terms = self._expressions.terms(given, scope)
        if any(isinstance(one, exp.Distinct) for one in nodes) or node.args.get("first") is not None:
            raise unsupported("DISTINCT in a window function")
        if name in _RANKS:
            return whole(f"{name}({', '.join(as_whole(term).sql for term in terms)}) {over}", _RANKS[name])
        if name in _SHARES:
            return double(f"{name}() {over}", 10)
        if name in _NEIGHBOURS and terms:
            return self._neighbour(name, terms, over)
        if name == "COUNT":
            return whole(f"COUNT({terms[0].sql if terms else '*'}) {over}", BIG)
        if name in ("MIN", "MAX") and len(terms) == 1:
            return terms[0].of(f"{name}({self._expressions.comparing.greatest(terms[0])}) {over}", json=False)
        if name in ("SUM", "AVG") and len(terms) == 1 and as_number(terms[0]).kind is not Kind.DECIMAL:
            return _sum(name, "", terms[0], over)
        raise unsupported(f"{name or 'this function'} OVER a window")

    def _neighbour(self, name: str, terms: Sequence[Term], over: str) -> Term:
        value, rest = terms[0], [as_whole(term).sql for term in terms[1:2]]
        if len(terms) == 3:
            default = terms[2]
            if together([value, default]).kind is not value.kind:
                raise unsupported(f"{name} with a default of another type")
            rest.append(default.sql)
        return value.of(f"{name}({', '.join([value.sql, *rest])}) {over}", json=False)

    def _over(self, node: exp.Window, scope: Scope) -> str:
        if node.args.get("alias") is not None:
            raise unsupported("a named window: write it behind OVER")
        parts = []
        if partition := node.args.get("partition_by"):
            keys = [self._expressions.comparing.grouped(term) for term in self._expressions.terms(partition, scope)]
            parts.append("PARTITION BY " + ", ".join(keys))
        if (order := node.args.get("order")) is not None:
            parts.append("ORDER BY " + ", ".join(self.ordered(one, scope) for one in order.expressions))
        spec = node.args.get("spec")
        if spec is not None:
            parts.append(_frame(spec))
        return f"OVER ({' '.join(parts)})"

    def ordered(self, node: exp.Ordered, scope: Scope) -> str:
        """One key of an ORDER BY."""
        key = self._expressions.comparing.sorted(self._expressions.term(node.this, scope))
        return key + (" DESC" if node.args.get("desc") else "")


def _frame(spec: exp.WindowSpec) -> str:
    sides = []
    for side in ("start", "end"):
        value = spec.args.get(side)
        if value is None:
            continue
        if isinstance(value, exp.Expr) and not (isinstance(value, exp.Literal) and not value.is_string):
            raise unsupported("a window frame with other bounds than numbers")
        bound = value if isinstance(value, str) else value.this
        sides.append(f"{bound} {spec.args.get(side + '_side') or ''}".strip())
    kind = str(spec.args.get("kind")).upper()
    if kind == "RANGE" and any(side[:1].isdigit() for side in sides):
        raise unsupported("a RANGE of numbers in a window frame")
    return f"{kind} BETWEEN {sides[0]} AND {sides[1]}" if len(sides) == 2 else f"{kind} {sides[0]}"


def _text_key(term: Term) -> str:
    how = compared_by([term], alone=True)
    return term.sql if term.blob else call(f"key_{how}", term)


def _function_key(term: Term) -> str:
    """A key to sort by, within a function, where collations are not seen."""
    if term.kind is Kind.TEXT:
        return _text_key(term)
    if term.kind is Kind.DECIMAL:
        return call("decimal_key", as_decimal(term))
    return call("time_key", term) if term.kind is Kind.TIME else term.sql


def _placed(key: exp.Expr, parts: Sequence[exp.Expr]) -> exp.Expr:
    """What GROUP_CONCAT is sorted by: a whole number is the place of one of its parts."""
    if not (isinstance(key, exp.Literal) and not key.is_string and key.this.isdecimal()):
        return key
    # Several are one CONCAT for sqlglot, which sees no other.
    parts = [one for part in parts for one in (part.expressions if isinstance(part, exp.Concat) else [part])]
    if not 0 < int(key.this) <= len(parts):
        raise SqlError("ProgrammingError", f"Unknown column '{key.this}' in 'order clause'")
    return parts[int(key.this) - 1]


def _sum(name: str, once: str, term: Term, over: str = "") -> Term:
    """SUM and AVG: text is added as DOUBLE, whole numbers and DECIMALs as DECIMAL."""
    number = as_operand(term)
    tail = f" {over}" if over else ""
    if number.kind is Kind.DOUBLE:
        scale = number.scale if number.scale == 31 else number.scale + 4 * (name == "AVG")
        return double(f"{name}({once}{number.sql}){tail}", min(scale, 31))
    if number.kind is Kind.INT:
        total = f"CAST(SUM({once}{number.sql}){tail} AS TEXT)"
    else:
        if once:
            raise unsupported(f"{name} of DECIMALs with DISTINCT")
        total = call("sum_decimal", number)
    scale = number.scale if number.kind is Kind.DECIMAL else 0
    if name == "SUM":
        return decimal(total, scale, fixed=number.fixed or number.kind is Kind.INT)
    count = f"COUNT({once}{number.sql}){tail}"
    return decimal(call("decimal_div", total, count, str(scale), "0"), scale + 4)
