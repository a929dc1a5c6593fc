"""Queries within expressions, and comparisons of rows: IN, ANY, ALL and queries that stand for a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from atlas.benchmarks.excytin.emulated.choices import Choices
from atlas.benchmarks.excytin.emulated.scopes import Scope
from atlas.benchmarks.excytin.emulated.terms import Term, truth, unsupported
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
            keys = [self._expressions.comparing.keys(pair, ordered=False) for pair in pairs]
            mine = ", ".join(own(pair[0]) for own, pair in zip(keys, pairs, strict=True))
            theirs = ", ".join(own(pair[1]) for own, pair in zip(keys, pairs, strict=True))
            return truth(f'(({mine}) IN (SELECT {theirs} FROM ({found.sql}) AS "{alias}"))')
        return truth("(" + " OR ".join(self.rows(node.this, "=", row, scope).sql for row in rows) + ")")

    def scalar(self, node: exp.Expr, scope: Scope) -> Term:
        """A query that stands for a value: it may have one row."""
        query = self._queries.nested(node.unnest(), scope)
        if len(query.columns) != 1:
            raise SqlError("ProgrammingError", "Operand should contain 1 column(s)")
        term = query.columns[0].term
        if query.single:
            return term.of(f"({query.sql})", origin=term.origin, json=False)
        return term.of(f"(SELECT my_single(c1) FROM ({query.sql}))", origin=term.origin, json=False)
