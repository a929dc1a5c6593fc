"""Which names a part of a statement may use, and what each is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from atlas.benchmarks.excytin.emulated.terms import Term
from atlas.benchmarks.excytin.engine import DATABASE, SqlError, unknown_column


@dataclass(frozen=True)
class Column:
    """A column of a table, or of a query that stands in place of one."""

    name: str
    term: Term


@dataclass(frozen=True)
class Source:
    """A table in FROM, by the name that it has there."""

    name: str
    columns: tuple[Column, ...]
    table: str | None = None
    """Of a table that is one, its own name."""

    def find(self, name: str) -> Term | None:
        wanted = name.lower()
        return next((column.term for column in self.columns if column.name.lower() == wanted), None)


@dataclass
class Scope:
    """One SELECT."""

    sources: list[Source] = field(default_factory=list)
    parent: Scope | None = None
    """Of a query within an expression: what it may use besides its own."""
    clause: str = "field list"
    aliases: dict[str, exp.Expr] = field(default_factory=dict)
    """What the SELECT list calls by a name of its own, in small letters."""
    shared: dict[str, Term] = field(default_factory=dict)
    """Columns that USING makes one of two."""
    tables: Mapping[str, Source] = field(default_factory=dict)
    """Queries that WITH names."""
    in_aggregate: bool = False
    aggregates: int = 0
    """How many were met."""
    loose: list[tuple[str, str]] = field(default_factory=list)
    """Columns that were met outside of aggregates: their SQL, and their full names."""

    def column(self, name: str, table: str = "") -> Term:
        """A column by its name. SqlError: there is none, or two."""
        shown = f"{table}.{name}" if table else name
        scope: Scope | None = self
        while scope is not None:
            found = scope._own(name, table, shown, self.clause)
            if found is not None:
                term, owner = found
                if scope is self and not self.in_aggregate:
                    self.loose.append((term.sql, f"{DATABASE}.{owner}.{name}"))
                return term
            scope = scope.parent
        raise unknown_column(shown, self.clause)

    def _own(self, name: str, table: str, shown: str, clause: str) -> tuple[Term, str] | None:
        if not table and name.lower() in self.shared:
            return self.shared[name.lower()], self.sources[0].name
        found = [
            (term, source.name)
            for source in self.sources
            if (not table or source.name == table) and (term := source.find(name)) is not None
        ]
        if len(found) > 1:
            raise SqlError("IntegrityError", f"Column '{shown}' in {clause} is ambiguous")
        return found[0] if found else None

    def full_name(self, sql: str, name: str) -> str:
        """A column's name with its database and table."""
        owner = next((s.name for s in self.sources for c in s.columns if c.term.sql == sql), "")
        return f"{DATABASE}.{owner}.{name}"

    def has(self, name: str) -> bool:
        return any(source.find(name) is not None for source in self.sources)

    def source(self, name: str) -> Source:
        found = next((one for one in self.sources if one.name == name), None)
        if found is None:
            raise SqlError("ProgrammingError", f"Unknown table '{name}'")
        return found

    def add(self, source: Source) -> None:
        if any(one.name == source.name for one in self.sources):
            raise SqlError("ProgrammingError", f"Not unique table/alias: '{source.name}'")
        self.sources.append(source)

    def everything(self) -> Iterator[Column]:
        """What ``*`` stands for: columns that USING makes one come first."""
        seen = set()
        for name, term in self.shared.items():
            seen.add(name)
            spelled = next(c.name for s in self.sources for c in s.columns if c.name.lower() == name)
            yield Column(spelled, term)
        for source in self.sources:
            yield from (column for column in source.columns if column.name.lower() not in seen)


def placed(columns: tuple[Column, ...], alias: str) -> tuple[Column, ...]:
    """A query's columns as those of a table: they are called c1, c2 and so on in SQLite."""
    return tuple(Column(column.name, _placed(column.term, alias, n)) for n, column in enumerate(columns, 1))


def _placed(term: Term, alias: str, number: int) -> Term:
    zeros = f'"{alias}"."z{number}"' if term.zeros else ""
    sql = f'"{alias}"."c{number}"'
    return replace(term, sql=sql, zeros=zeros, value=None, json=False, taken=term.json or term.taken)
