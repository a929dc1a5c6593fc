"""Which tables a statement for a server names: the incident's own, whatever else the account could read.

sqlglot reads the statement. Where it might read something else than the server does, it cannot be said what it names:
the server is then asked what is wrong with it, and never for its rows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from atlas.benchmarks.excytin.catalog import INFORMATION
from atlas.benchmarks.excytin.engine import DATABASE, SqlError, denied, unknown_column, unknown_table
from atlas.benchmarks.excytin.sqltext import Piece, quoted

_STRANGE = re.compile(r"[^\n\x20-\x7e\w]|[{}\\`]|/\*|\*/")
"""In code: what the server may take for a space, a name or a mark where sqlglot does not, or the other way round."""
_SEQUENCE = re.compile(r"\b(NEXTVAL|LASTVAL|SETVAL|(?:NEXT|PREVIOUS)\s+VALUE)\b", re.IGNORECASE)
_DOTTED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*\.\s*(\w+)")
_STRING = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_EXPLAIN = re.compile(
    r"(?:EXPLAIN|DESCRIBE|DESC)\s+(?:EXTENDED\s+|PARTITIONS\s+|FORMAT\s*=\s*\w+\s+)?(?=\(|SELECT\b|WITH\b|VALUES\b)",
    re.IGNORECASE,
)
_NAME = r"(?:(?P<database>\w+)\s*\.\s*)?(?P<table>\w+)"
_FROM = r"(?:\s+(?:FROM|IN)\s+(?P<of>\w+))?"
_LIKE = r"(?:\s+LIKE\s+'(?:[^'\\]|\\.|'')*'|\s+WHERE\s+(?P<condition>.+))?"
_SCHEMA = tuple(
    re.compile(form + r"\s*;?\s*", re.IGNORECASE | re.DOTALL)
    for form in (
        rf"SHOW\s+(?:FULL\s+)?TABLES{_FROM}{_LIKE}",
        rf"SHOW\s+(?:FULL\s+)?(?:COLUMNS|FIELDS|INDEX|INDEXES|KEYS)\s+(?:FROM|IN)\s+{_NAME}{_FROM}{_LIKE}",
        rf"SHOW\s+(?:DATABASES|SCHEMAS){_LIKE}",
        rf"SHOW\s+CREATE\s+TABLE\s+{_NAME}",
        r"SHOW\s+WARNINGS(?:\s+LIMIT\s+\d+(?:\s*,\s*\d+)?)?",
        rf"(?:DESCRIBE|DESC|EXPLAIN)\s+{_NAME}(?:\s+(?:\w+|'(?:[^'\\]|\\.|'')*'))?",
    )
)
"""What is told of the schema, and where a name stands in it."""


class _Unread(Exception):
    """It cannot be said which tables the statement names."""


@dataclass(frozen=True)
class Names:
    """What may be named."""

    database: str
    """The incident's, as the server calls it."""
    tables: Collection[str]
    hidden: Set[str]
    """Tables of other layers, in small letters."""
    cased: bool = True
    """Whether the server tells names by their case, as it does unless its file system does not."""

    def statement(self, parts: Sequence[Piece], word: str) -> str | None:
        """The statement for the server: with the database's own name, and information_schema about it alone.

        None: it cannot be said what it names.

        Args:
            parts: it, taken apart by :func:`sqltext.pieces`.
            word: its first word, as :func:`sqltext.check` gives it.

        Raises:
            SqlError: it names what is not this incident's.
        """
        try:
            return self._judged(parts, word)
        except _Unread:
            return None

    def _judged(self, parts: Sequence[Piece], word: str) -> str:
        text = self.text(parts)
        if any(not part.is_string and _STRANGE.search(part.text) for part in _joined(parts)):
            raise _Unread
        if word in ("SELECT", "WITH", "VALUES", "TABLE"):
            return self._read(text)
        if found := _EXPLAIN.match(text):
            return found[0] + self._read(text[found.end() :])
        for form in _SCHEMA:
            if found := form.fullmatch(text):
                return self._told(text, found)
        raise _Unread

    def text(self, parts: Sequence[Piece]) -> str:
        """The statement as the server would get it, nothing judged."""
        whole = "".join(self._literal(part.text) if part.is_string else part.text for part in _joined(parts))
        return whole.strip().rstrip("; \n")

    def _literal(self, value: str) -> str:
        return quoted(self.database if value == DATABASE else value)

    def _told(self, text: str, found: re.Match[str]) -> str:
        groups = found.groupdict()
        for name in ("database", "of"):
            if groups.get(name):
                self._check_database(groups[name])
        if groups.get("table"):
            self._check_table(groups["table"])
        if groups.get("condition"):
            # Its columns are those of the answer, which only the server knows.
            self._read(f"SELECT 1 WHERE {groups['condition']}")
        for name in sorted(("database", "of"), key=lambda n: found.start(n) if n in groups else -1, reverse=True):
            if groups.get(name):
                text = f"{text[: found.start(name)]}`{self.database}`{text[found.end(name) :]}"
        return re.sub(rf"\bTables_in_{DATABASE}\b", f"`Tables_in_{self.database}`", text, flags=re.IGNORECASE)

    def _read(self, text: str) -> str:
        try:
            trees = sqlglot.parse(text, read="mysql")
        except (SqlglotError, RecursionError) as error:
            raise _Unread from error
        if len(trees) != 1 or not isinstance(trees[0], exp.Query):
            raise _Unread
        tree = trees[0]
        code = _STRING.sub(lambda found: "'" + " " * (len(found[0]) - 2) + "'", text)
        if found := _SEQUENCE.search(code):
            raise denied(found[1].upper())
        if any(isinstance(dot.expression, exp.Func) for dot in tree.find_all(exp.Dot)):
            raise denied("a function of a database")
        known = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
        changes: list[tuple[int, int, str]] = []
        for table in tree.find_all(exp.Table):
            self._check(table, known)
            if table.db:
                changes.append(self._placed(table))
        self._check_dotted(code, tree)
        # Of a column, or of whatever else names the database: a table's are replaced already.
        taken = [range(begin, end) for begin, end, _ in changes]
        for found in re.finditer(rf"\b{DATABASE}\b(?=\s*\.)", code, re.IGNORECASE):
            if not any(found.start() in place for place in taken):
                changes.append((found.start(), found.end(), f"`{self.database}`"))
        for begin, end, new in sorted(changes, reverse=True):
            text = text[:begin] + new + text[end:]
        return text

    def _check(self, table: exp.Table, known: Collection[str]) -> None:
        if isinstance(table.this, exp.JSONTable):
            return
        if not isinstance(table.this, exp.Identifier) or table.catalog:
            raise denied("a table function")
        if table.db.lower() == "information_schema":
            if table.name.lower() not in INFORMATION:
                raise SqlError("ProgrammingError", f"Unknown table '{table.name.upper()}' in information_schema")
        elif table.db:
            self._check_database(table.db)
            self._check_table(table.name)
        elif table.name.lower() not in known and table.name.upper() != "DUAL":
            self._check_table(table.name)

    def _check_database(self, name: str) -> None:
        # The words in which the server tells of one that is not there: whether there is one is not told either.
        if name.lower() != DATABASE and name != self.database:
            raise SqlError("ProgrammingError", f"Unknown database '{name}'")

    def _check_table(self, name: str) -> None:
        if name.lower() in self.hidden:
            raise denied("a table of another layer")
        if name not in self.tables and (self.cased or name.lower() not in {one.lower() for one in self.tables}):
            raise unknown_table(name)

    def _placed(self, table: exp.Table) -> tuple[int, int, str]:
        """Where a table with its database stands, and what stands there for the server."""
        database, name = table.args["db"].meta, table.this.meta
        if "start" not in database or "end" not in name:
            raise _Unread
        if table.db.lower() != "information_schema":
            return database["start"], database["end"] + 1, f"`{self.database}`"
        view, own = table.name.lower(), quoted(self.database)
        if view == "schemata":
            kept = f"SCHEMA_NAME IN ({own}, 'information_schema')"
        else:
            kept = f"TABLE_SCHEMA = {own}"
            kept += f" AND TABLE_NAME IN ({', '.join(map(quoted, self.tables))})" if self.tables else " AND FALSE"
        rows = f"(SELECT * FROM information_schema.{view} WHERE {kept})"
        return database["start"], name["end"] + 1, rows if table.alias else f"{rows} AS {table.name}"

    def _check_dotted(self, code: str, tree: exp.Expr) -> None:
        """The second wall: what stands before a dot is named in the statement itself, however sqlglot read the rest."""
        named = {DATABASE, self.database.lower(), "information_schema"}
        named |= {node.name.lower() for node in tree.find_all(exp.Table, exp.TableAlias)}
        for found in _DOTTED.finditer(code):
            if found[1].lower() not in named:
                raise unknown_column(f"{found[1]}.{found[2]}", "field list")


def _joined(parts: Sequence[Piece]) -> list[Piece]:
    """Code that only a removed mark parted is one piece: the server reads across that place."""
    found: list[Piece] = []
    for part in parts:
        if found and not part.is_string and not found[-1].is_string:
            found[-1] = Piece(found[-1].text + part.text)
        else:
            found.append(part)
    return [part if part.is_string else Piece(_spaced(part.text)) for part in found]


def _spaced(code: str) -> str:
    """Spaces and minuses that sqlglot and the server read alike: to MySQL, ``--1`` is no comment."""
    return re.sub(r"-(?=-)", "- ", re.sub(r"[\t\r\f\v]", " ", code))
