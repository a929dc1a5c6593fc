"""Queries within expressions, and comparisons of rows: IN, ANY, ALL and queries that stand for a value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlglot import exp

from atlas.benchmarks.excytin.emulated.choices import Choices
from atlas.benchmarks.excytin.emulated.comparing import counted, near
from atlas.benchmarks.excytin.emulated.scopes import Scope
from atlas.benchmarks.excytin.emulated.terms import Kind, Term, call, truth, unsupported
from atlas.benchmarks.excytin.engine import SqlError

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.emulated.expressions import Expressions
    from atlas.benchmarks.excytin.emulated.queries import Queries


class Subqueries:
    """Of the expressions of one statement."""

    def __init__(self, expressions: Expressions, queries: Queries, choices: Choices) -> None:
        self._expressions = expressions
        self._queries = queries
        self._choices = choices

    def rows(self, left: exp.Expr, sign: str, right: exp.Expr, scope: Scope) -> Term:
        """``(a, b) = (c, d)``."""
        if not (isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple)) or sign not in ("=", "<>"):
            raise unsupported("a comparison of rows that is not = or <> with a row of values")
        if len(left.expressions) != len(right.expressions):
            raise SqlError("ProgrammingError", f"Operand should contain {len(left.expressions)} column(s)")
        pairs = zip(
            self._expressions.terms(left.expressions, scope),
            self._expressions.terms(right.expressions, scope),
            strict=True,
        )
        same = "(" + " AND ".join(self._expressions.comparing.compared(a, "=", b).sql for a, b in pairs) + ")"
        return truth(same if sign == "=" else f"(NOT {same})")

    def quantified(self, left: Term, sign: str, node: exp.Expr, scope: Scope) -> Term:
        """``= ANY``, ``> ALL`` and so on: what one row decides, another may not undo; NULL where none does."""
        query = self._queries.nested(node.this, scope)
        if len(query.columns) != 1:
            raise SqlError("ProgrammingError", "Operand should contain 1 column(s)")
        alias = self._queries.alias()
        inner = query.columns[0].term.of(f'"{alias}"."c1"')
        matches = self._expressions.comparing.compared(left, sign, inner).sql
        rows = f'SELECT 1 FROM ({query.sql}) AS "{alias}" WHERE '
        every = isinstance(node, exp.All)
        decided = f"NOT {matches}" if every else matches
        return truth(
            f"(CASE WHEN EXISTS ({rows}{decided}) THEN {int(not every)} "
            f"WHEN EXISTS ({rows}{matches} IS NULL) THEN NULL ELSE {int(every)} END)"
        )

    def among(self, node: exp.In, scope: Scope) -> Term:
        """IN."""
        query = node.args.get("query")
        if isinstance(node.this, exp.Tuple):
            return self._in_rows(node, scope)
        left = self._expressions.term(node.this, scope)
        if query is None:
            if not node.expressions:
                raise unsupported("IN without values")
            return self._choices.among(left, self._expressions.terms(node.expressions, scope))
        found = self._queries.nested(query.unnest(), scope)
        if len(found.columns) != 1:
            raise SqlError("ProgrammingError", "Operand should contain 1 column(s)")
        alias = self._queries.alias()
        inner = found.columns[0].term.of(f'"{alias}"."c1"', origin=found.columns[0].term.origin)
        _check_json([(left, inner)])
        left, inner = counted(left, inner), counted(inner, left)
        if near(left, inner):
            raise unsupported("IN of a rounded number and a query: cast both to DECIMAL")
        own = self._expressions.comparing.keys([left, inner], ordered=False)
        return truth(f'({own(left)} IN (SELECT {own(inner)} FROM ({found.sql}) AS "{alias}"))')

    def _in_rows(self, node: exp.In, scope: Scope) -> Term:
        rows = node.expressions
        if node.args.get("query") is not None:
            found = self._queries.nested(node.args["query"].unnest(), scope)
            left = self._expressions.terms(node.this.expressions, scope)
            if len(found.columns) != len(left):
                raise SqlError("ProgrammingError", f"Operand should contain {len(left)} column(s)")
            alias = self._queries.alias()
            pairs = [
                (one, column.term.of(f'"{alias}"."c{number}"', origin=column.term.origin))
                for number, (one, column) in enumerate(zip(left, found.columns, strict=True), 1)
            ]
            _check_json([*pairs, *((column, one) for one, column in pairs)])
            keys = [self._expressions.comparing.keys(pair, ordered=False) for pair in pairs]
            mine = ", ".join(own(pair[0]) for own, pair in zip(keys, pairs, strict=True))
            theirs = ", ".join(own(pair[1]) for own, pair in zip(keys, pairs, strict=True))
            return truth(f'(({mine}) IN (SELECT {theirs} FROM ({found.sql}) AS "{alias}"))')
        if len(rows) > 1:
            given = [self._expressions.terms(row.expressions, scope) for row in (node.this, *rows)]
            for row in given[1:]:
                _check_json([*zip(given[0], row, strict=False), *zip(row, given[0], strict=False)])
        return truth("(" + " OR ".join(self.rows(node.this, "=", row, scope).sql for row in rows) + ")")

    def scalar(self, node: exp.Expr, scope: Scope) -> Term:
        """A query that stands for a value: it may have one row."""
        query = self._queries.query(node.unnest(), scope, scope.tables, beneath="value")
        if len(query.columns) != 1:
            raise SqlError("ProgrammingError", "Operand should contain 1 column(s)")
        term = query.columns[0].term
        taken = term.json or term.taken
        if query.single and not term.zeros:
            return term.of(f"({query.sql})", origin=term.origin, json=False, taken=taken)
        # MariaDB shows zeros here.
        value = call("dated_or_null", "c1", "z1") if term.zeros else "c1"
        return term.of(f"(SELECT my_single({value}) FROM ({query.sql}))", origin=term.origin, json=False, taken=taken)


def _check_json(pairs: Iterable[tuple[Term, Term]]) -> None:
    """Text beside what is found in JSON, on the left: a list of rows and a query hold it with its quotes, an equation
    without."""
    if any(left.json and right.kind is Kind.TEXT for left, right in pairs):
        raise SqlError(
            "NotSupportedError",
            "The embedded engine does not compare a value of JSON_EXTRACT in a row, or with IN and a query: put "
            "JSON_UNQUOTE around it",
        )
