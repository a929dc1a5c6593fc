"""FROM: tables, queries in their place, and how they are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from atlas.benchmarks.excytin.catalog import CASED, INFORMATION, NUMBERED, RESERVED
from atlas.benchmarks.excytin.emulated.expressions import Expressions
from atlas.benchmarks.excytin.emulated.query_parts import check_twice, renamed
from atlas.benchmarks.excytin.emulated.scopes import Column, Scope, Source, placed
from atlas.benchmarks.excytin.emulated.terms import BINARY, COLUMN, Kind, Term, unsupported, whole
from atlas.benchmarks.excytin.engine import DATABASE, SqlError, denied, syntax_error, unknown_column, unknown_table

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.emulated.queries import Queries

_JOINS = {"LEFT": "LEFT JOIN", "RIGHT": "RIGHT JOIN", "": "JOIN"}


class Sources:
    """What the queries of one statement read from.

    Args:
        tables: the tables there are, with their columns.
    """

    def __init__(self, tables: Mapping[str, Sequence[str]], queries: Queries, expressions: Expressions) -> None:
        self._tables = tables
        self._queries = queries
        self._expressions = expressions

    def read(self, node: exp.Select, scope: Scope) -> str:
        """FROM in SQL; what it names goes into the scope."""
        if node.args.get("from_") is None:
            return ""
        first = node.args["from_"].this
        if isinstance(first, exp.Table) and first.name.upper() == "DUAL" and not first.db:
            if node.args.get("joins"):
                raise syntax_error("DUAL")
            return ""
        scope.clause = "on clause"
        sql = " FROM " + self._table(first, scope)
        for join in [*(first.args.get("joins") or ()), *(node.args.get("joins") or ())]:
            sql += self._join(join, scope)
        return sql

    def _join(self, join: exp.Join, scope: Scope) -> str:
        side, kind, method = (str(join.args.get(part) or "").upper() for part in ("side", "kind", "method"))
        if (
            side not in _JOINS
            or method not in ("", "NATURAL")
            or kind not in ("", "INNER", "CROSS", "OUTER", "STRAIGHT")
        ):
            raise unsupported(f"{method} {side} {kind} JOIN".strip())
        before = list(scope.sources)
        table = self._table(join.this, scope)
        added = scope.sources[len(before) :]
        names = [one.name for one in join.args.get("using") or ()]
        if method:
            mine = {c.name.lower() for source in before for c in source.columns}
            names = [c.name for source in added for c in source.columns if c.name.lower() in mine]
        conditions = []
        for name in names:
            if len(added) != 1 or added[0].find(name) is None:
                raise unknown_column(name, "from clause")
            left, right = Scope(before, shared=dict(scope.shared)).column(name), added[0].find(name)
            assert right is not None
            conditions.append(self._expressions.comparing.compared(left, "=", right).sql)
            kept = right if side == "RIGHT" else left
            scope.shared[name.lower()] = kept
        if (on := join.args.get("on")) is not None:
            scope.clause = "on clause"
            conditions.append(self._expressions.condition(on, scope))
        elif side and not names:
            raise syntax_error("")
        return f" {_JOINS[side]} {table}" + (f" ON {' AND '.join(conditions)}" if conditions else "")

    def _table(self, node: exp.Expr, scope: Scope) -> str:
        own = self._queries.alias()
        if isinstance(node, exp.Subquery):
            if isinstance(node.this, exp.Table):
                raise unsupported("parentheses around tables in FROM")
            if not node.alias:
                raise SqlError("ProgrammingError", "Every derived table must have its own alias")
            query = self._queries.query(node.this, None, scope.tables, beneath="table")
            columns = renamed(query.columns, [one.name for one in node.args["alias"].columns])
            check_twice(columns)
            scope.add(Source(node.alias, placed(columns, own)))
            return f'({query.sql}) AS "{own}"'
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise denied("a table function") if isinstance(node, exp.Table) else unsupported("LATERAL in FROM")
        if any(node.args.get(part) for part in ("partition", "pivots", "sample", "version", "when", "ordinality")):
            raise unsupported("PARTITION, or another part of a table, in FROM")
        name, database = node.name, node.db.lower()
        if database == "information_schema":
            return self._information(name, node.alias or name, own, scope)
        if database not in ("", DATABASE):
            raise SqlError("ProgrammingError", f"Unknown database '{node.db}'")
        if name.upper() in RESERVED:
            raise syntax_error(name)
        if not database and (query_source := scope.tables.get(name.lower())) is not None:
            scope.add(Source(node.alias or name, placed(query_source.columns, own)))
            return f'"{query_source.table}" AS "{own}"'
        if name not in self._tables:
            raise unknown_table(name)
        columns = tuple(
            Column(column, Term(f'"{own}"."{column}"', Kind.TEXT, collation=COLUMN, origin=(name, column)))
            for column in self._tables[name]
        )
        scope.add(Source(node.alias or name, columns, name))
        return f'"{name}" AS "{own}"'

    def _information(self, name: str, shown: str, own: str, scope: Scope) -> str:
        view = name.lower()
        if view not in INFORMATION:
            raise SqlError("ProgrammingError", f"Unknown table '{name.upper()}' in information_schema")
        columns = []
        for column in INFORMATION[view]:
            sql = f'"{own}"."{column}"'
            if column in NUMBERED:
                columns.append(Column(column, whole(sql)))
            else:
                cased = column in CASED
                columns.append(Column(column, Term(sql, Kind.TEXT, collation=BINARY if cased else COLUMN, named=cased)))
        scope.add(Source(shown, tuple(columns), f"information_schema_{view}"))
        return f'"information_schema_{view}" AS "{own}"'
