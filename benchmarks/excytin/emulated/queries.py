"""Queries: SELECT, its parts in MySQL's order of names, UNION and WITH, written for SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

from sqlglot import exp

from atlas.benchmarks.excytin.emulated.comparing import Columns
from atlas.benchmarks.excytin.emulated.conversions import as_truth, together, turned
from atlas.benchmarks.excytin.emulated.expressions import Expressions
from atlas.benchmarks.excytin.emulated.fullgroup import Item, check_grouped
from atlas.benchmarks.excytin.emulated.query_parts import (
    Query,
    check_distinct_order,
    check_twice,
    check_united,
    different_columns,
    family,
    has_end,
    limited,
    place,
    renamed,
    shown_name,
)
from atlas.benchmarks.excytin.emulated.scopes import Column, Scope, Source, placed
from atlas.benchmarks.excytin.emulated.sources import Sources
from atlas.benchmarks.excytin.emulated.terms import Kind, Term, unsupported
from atlas.benchmarks.excytin.engine import SqlError, unknown_column

_SELECT_PARTS = frozenset(
    {"with_", "kind", "hint", "distinct", "expressions", "limit", "from_", "joins", "where", "group", "having", "order",
     "offset", "operation_modifiers"}
)  # fmt: skip
_MODIFIERS = frozenset({"HIGH_PRIORITY", "SQL_NO_CACHE", "SQL_SMALL_RESULT", "SQL_BIG_RESULT", "SQL_BUFFER_RESULT"})


class Queries:
    """The queries of one statement.

    Args:
        tables: the tables there are, with their columns.
        columns: what is known of columns' values.
    """

    def __init__(self, tables: Mapping[str, Sequence[str]], columns: Columns) -> None:
        self._numbers = count(1)
        self._expressions = Expressions(columns, self)
        self._sources = Sources(tables, self, self._expressions)

    def alias(self) -> str:
        """A name that nothing else has."""
        return f"t{next(self._numbers)}"

    def nested(self, node: exp.Expr, scope: Scope) -> Query:
        """A query within an expression."""
        return self.query(node, scope, scope.tables)

    def query(self, node: exp.Expr, parent: Scope | None, tables: Mapping[str, Source], *, beneath: str = "") -> Query:
        """Any query. SqlError: MySQL would not run it, or this engine does not.

        Args:
            beneath: ``table`` or ``value``, where it stands for one and servers may read it as part of the query
                around it.
        """
        if isinstance(node, exp.Subquery):
            return self._parenthesised(node, parent, tables)
        before, tables = self._with(node, parent, tables)
        if isinstance(node, exp.SetOperation):
            found = self._together(node, parent, tables)
        elif isinstance(node, exp.Select):
            found = self._select(node, parent, tables, beneath)
        else:
            raise unsupported(type(node).__name__.upper())
        return replace(found, sql=before + found.sql)

    def _parenthesised(self, node: exp.Subquery, parent: Scope | None, tables: Mapping[str, Source]) -> Query:
        inner = self.query(node.this, parent, tables)
        if not any(node.args.get(part) for part in ("order", "limit", "offset")):
            return inner
        return self._sorted(node, inner, parent, tables)

    def _with(
        self, node: exp.Expr, parent: Scope | None, tables: Mapping[str, Source]
    ) -> tuple[str, Mapping[str, Source]]:
        named = node.args.get("with_")
        if named is None:
            return "", tables
        found, parts, recursive = dict(tables), [], bool(named.args.get("recursive"))
        for cte in named.expressions:
            name, own = cte.alias, self.alias()
            if recursive and isinstance(cte.this, exp.SetOperation):
                query = self._recursive(cte, own, found, parent)
            else:
                query = self.query(cte.this, parent, found, beneath="table")
            columns = renamed(query.columns, [one.name for one in cte.args["alias"].columns])
            check_twice(columns)
            names = ", ".join(
                [f'"c{number}"' for number in range(1, len(columns) + 1)]
                + [f'"z{number}"' for number, column in enumerate(columns, 1) if column.term.zeros]
            )
            parts.append(f'"{own}"({names}) AS ({query.sql})')
            found[name.lower()] = Source(name, columns, own)
        return f"WITH {'RECURSIVE ' if recursive else ''}{', '.join(parts)} ", found

    def _recursive(self, cte: exp.CTE, own: str, tables: dict[str, Source], parent: Scope | None) -> Query:
        """The first branch says of which kinds the columns are."""
        union = cte.this
        first = self.query(union.this, parent, tables)
        columns = renamed(first.columns, [one.name for one in cte.args["alias"].columns])
        columns = tuple(replace(c, term=replace(c.term, origin=None, value=None, digits=20)) for c in columns)
        inner = {**tables, cte.alias.lower(): Source(cte.alias, columns, own)}
        last = self.query(union.expression, parent, inner)
        if len(last.columns) != len(columns):
            raise different_columns()
        if union.args.get("distinct") and any(column.term.kind is Kind.TEXT for column in columns):
            raise unsupported("WITH RECURSIVE that tells texts apart: write UNION ALL")
        for column, again in zip(columns, last.columns, strict=True):
            if again.term.kind not in (column.term.kind, Kind.NULL) or again.term.scale > column.term.scale:
                raise unsupported("WITH RECURSIVE whose branches have different types: cast one of them")
        return Query(f"{first.sql} UNION{'' if union.args.get('distinct') else ' ALL'} {last.sql}", columns)

    def _together(self, node: exp.SetOperation, parent: Scope | None, tables: Mapping[str, Source]) -> Query:
        branches: list[exp.Expr] = []
        top: exp.Expr = node
        signs: list[str] = []
        while type(top) in (exp.Union, exp.Except, exp.Intersect) and (top is node or not has_end(top)):
            distinct = top.args.get("distinct")
            signs.append(f"{type(top).__name__.upper()}{'' if distinct is not False else ' ALL'}")
            branches.append(top.args["expression"])
            top = top.this
        queries = [self.query(branch, parent, tables) for branch in [top, *reversed(branches)]]
        signs.reverse()
        if len({len(query.columns) for query in queries}) != 1:
            raise different_columns()
        if any(sign in ("EXCEPT ALL", "INTERSECT ALL") for sign in signs) or len(set(map(family, signs))) > 1:
            raise unsupported("EXCEPT or INTERSECT with ALL, or beside UNION without parentheses")
        models = [together(terms) for terms in zip(*([c.term for c in q.columns] for q in queries), strict=True)]
        columns = tuple(
            Column(first.name, replace(model, sql=f'"c{number}"'))
            for number, (first, model) in enumerate(zip(queries[0].columns, models, strict=True), 1)
        )
        told_apart = any(not sign.endswith(" ALL") for sign in signs)
        columns_of = list(zip(*([c.term for c in q.columns] for q in queries), strict=True))
        for model, terms in zip(models, columns_of, strict=True):
            check_united(model, terms)
        parts = [self._as_kinds(query, models, columns_of if told_apart else None) for query in queries]
        sql = parts[0] + "".join(f" {sign} {part}" for sign, part in zip(signs, parts[1:], strict=True))
        found = Query(sql, columns)
        return self._sorted(node, found, parent, tables) if has_end(node) else found

    def _as_kinds(self, query: Query, models: Sequence[Term], among: Sequence[Sequence[Term]] | None) -> str:
        """A branch with its columns as ``models``. Args: ``among``: the columns of all branches, to tell rows apart."""
        alias = self.alias()
        parts = []
        for number, (column, model) in enumerate(zip(query.columns, models, strict=True), 1):
            term = column.term.of(f'"{alias}"."c{number}"', origin=column.term.origin, json=False)
            sql = turned(term, model)
            if among is not None:
                sql = self._expressions.comparing.distinct(replace(model, sql=sql), among=among[number - 1])
            parts.append(f'{sql} AS "c{number}"')
        return f'SELECT {", ".join(parts)} FROM ({query.sql}) AS "{alias}"'

    def _sorted(self, node: exp.Expr, query: Query, parent: Scope | None, tables: Mapping[str, Source]) -> Query:
        """With the ORDER BY and LIMIT behind a UNION, which know its columns alone."""
        alias = self.alias()
        columns = placed(query.columns, alias)
        scope = Scope([Source("", columns)], parent, "order clause", tables=tables)
        order = self._order(node, scope, [column.term for column in columns], [])
        return replace(query, sql=f'SELECT * FROM ({query.sql}) AS "{alias}"{order}{limited(node)}')

    def _select(self, node: exp.Select, parent: Scope | None, tables: Mapping[str, Source], beneath: str) -> Query:
        for part, value in node.args.items():
            if value and part not in _SELECT_PARTS:
                raise unsupported(f"SELECT with {part.strip('_').upper()}")
        if any(one.name.upper() not in _MODIFIERS for one in node.args.get("operation_modifiers") or ()):
            raise unsupported("this modifier of SELECT")
        scope = Scope(parent=parent, tables=tables)
        source = self._sources.read(node, scope)
        listed: list[Item] = []
        # In MySQL's order: of two unknown columns, the first one is complained about.
        columns = self._listed(node, scope, listed)
        where = self._where(node, scope)
        scope.aliases = {one.alias.lower(): one.this for one in node.expressions if isinstance(one, exp.Alias)}
        groups, keys = self._groups(node, scope)
        scope.loose = []
        having = ""
        if (clause := node.args.get("having")) is not None:
            scope.clause = "having clause"
            having = f" HAVING {self._expressions.condition(clause.this, scope)}"
        of_having, sorted_by = scope.loose, list[Item]()
        order = self._order(node, scope, [column.term for column in columns], sorted_by)
        aggregated = bool(groups) or scope.aggregates > 0
        if aggregated:
            check_grouped(groups, listed, of_having, sorted_by)
        elif having:
            raise unsupported("HAVING without GROUP BY or an aggregate, where WHERE says the same")
        distinct = bool(node.args.get("distinct"))
        if distinct:
            if node.args["distinct"].args.get("on") is not None:
                raise unsupported("DISTINCT ON")
            check_distinct_order(columns, sorted_by)
        parts = []
        for number, column in enumerate(columns, 1):
            sql = self._expressions.comparing.distinct(column.term) if distinct else column.term.sql
            parts.append(f'{sql} AS "c{number}"')
        # What servers keep as rows of their own has NULL.
        apart = distinct or aggregated or (beneath != "value" and limited(node) != "")
        if beneath and not apart:
            parts += [f'{c.term.zeros} AS "z{number}"' for number, c in enumerate(columns, 1) if c.term.zeros]
        else:
            columns = tuple(replace(column, term=replace(column.term, zeros="")) for column in columns)
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        sql = f"SELECT {'DISTINCT ' if distinct else ''}{', '.join(parts)}{source}{where}{group}{having}{order}"
        limit = limited(node)
        return Query(sql + limit, columns, (aggregated and not groups) or limit == " LIMIT 1" or not source)

    def _where(self, node: exp.Expr, scope: Scope) -> str:
        clause = node.args.get("where")
        if clause is None:
            return ""
        scope.clause = "where clause"
        return f" WHERE {as_truth(self._expressions.term(clause.this, scope)).sql}"

    def _groups(self, node: exp.Select, scope: Scope) -> tuple[list[str], list[str]]:
        """What is grouped by, as SQL of the values and of the keys."""
        clause = node.args.get("group")
        if clause is None:
            return [], []
        if any(clause.args.get(part) for part in ("rollup", "cube", "grouping_sets", "all", "totals")):
            raise unsupported("GROUP BY WITH ROLLUP")
        values, keys = [], []
        for one in clause.expressions:
            scope.clause = "group statement"
            number = place(one)
            if number is not None:
                one = self._placed_node(node, number, "group statement")
                scope.clause = "field list"
            term = self._expressions.term(one, scope)
            values.append(term.sql)
            keys.append(self._expressions.comparing.grouped(term))
        return values, keys

    def _placed_node(self, node: exp.Select, number: int, clause: str) -> exp.Expr:
        if node.is_star:
            raise unsupported("a number in GROUP BY beside *")
        if not 1 <= number <= len(node.expressions):
            raise unknown_column(str(number), clause)
        found: exp.Expr = node.expressions[number - 1].unalias()
        return found

    def _listed(self, node: exp.Select, scope: Scope, items: list[Item]) -> tuple[Column, ...]:
        """The columns of a SELECT list; what they name goes into ``items``."""
        found: list[Column] = []
        for one in node.expressions:
            scope.clause, scope.loose = "field list", []
            if isinstance(one, exp.Star):
                if not scope.sources:
                    raise SqlError("ProgrammingError", "No tables used")
                more = list(scope.everything())
            elif isinstance(one, exp.Column) and isinstance(one.this, exp.Star):
                more = list(scope.source(one.table).columns)
            else:
                term = self._expressions.term(one.unalias(), scope)
                found.append(Column(one.alias or shown_name(one), term))
                items.append(Item(term.sql, scope.loose))
                continue
            found += more
            items += [Item(c.term.sql, [(c.term.sql, scope.full_name(c.term.sql, c.name))]) for c in more]
        scope.loose = []
        return tuple(found)

    def _order(self, node: exp.Expr, scope: Scope, shown: Sequence[Term], items: list[Item]) -> str:
        """ORDER BY; what its keys name goes into ``items``."""
        clause = node.args.get("order")
        if clause is None:
            return ""
        parts = []
        for one in clause.expressions:
            scope.loose = []
            number = place(one.this)
            if number is not None:
                if not 1 <= number <= len(shown):
                    raise unknown_column(str(number), "order clause")
                term = shown[number - 1]
            elif isinstance(one.this, exp.Column) and not one.this.table and (found := self._alias(one.this, scope)):
                term = found
            else:
                scope.clause = "order clause"
                term = self._expressions.term(one.this, scope)
            items.append(Item(term.sql, scope.loose))
            parts.append(self._expressions.comparing.sorted(term) + (" DESC" if one.args.get("desc") else ""))
        return " ORDER BY " + ", ".join(parts)

    def _alias(self, node: exp.Column, scope: Scope) -> Term | None:
        """An alias goes before a column of its name, where it stands alone."""
        found = scope.aliases.get(node.name.lower())
        if found is None:
            return None
        scope.clause = "field list"
        return self._expressions.term(found, scope)
