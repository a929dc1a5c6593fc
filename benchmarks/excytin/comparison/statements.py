"""Random statements, each of a kind: what it is that they compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from atlas.benchmarks.excytin.comparison.values import Values


@dataclass(frozen=True)
class Statement:
    """One to run on both engines.

    Args:
        kind: what it is about.
        sql: it.
        ordered: whether the order of its rows is said.
    """

    kind: str
    sql: str
    ordered: bool = True


_BY_ID = "ORDER BY CAST(Id AS SIGNED)"
_KEYS = ("Name", "Mix", "Ip", "Num", "LOWER(Name)", "DATE(T)", "YEAR(T)", "LEFT(Path, 2)", "Num > 5", "LENGTH(Name)")
_NUMERIC_KEYS = ("DATE(T)", "YEAR(T)", "Num > 5", "LENGTH(Name)")
_FOLDED = (
    "COUNT(*)", "COUNT(Num)", "COUNT(DISTINCT Name)", "COUNT(DISTINCT Name, Mix)", "SUM(Num)", "AVG(Num)", "MIN(Num)",
    "MAX(Num)", "MIN(Name)", "MAX(T)", "MIN(T)", "SUM(LENGTH(Name))", "AVG(LENGTH(Path))", "SUM(Num > 5)",
    "MAX(LENGTH(Name))", "SUM(CASE WHEN Num > 5 THEN 1 ELSE 0 END)", "SUM(1.5)", "AVG(1.5)", "STDDEV(LENGTH(Name))",
    "VARIANCE(Num)", "MAX(DATE(D))", "MAX(D)", "BIT_OR(LENGTH(Name))", "COUNT(DISTINCT DATE(T))", "SUM(Num) / COUNT(*)",
    "ROUND(AVG(Num), 2)", "VAR_SAMP(Num)", "MAX(CAST(Num AS SIGNED))", "SUM(DISTINCT LENGTH(Name))",
    "GROUP_CONCAT(Id ORDER BY CAST(Id AS SIGNED))", "GROUP_CONCAT(DISTINCT LOWER(Mix) ORDER BY Mix DESC SEPARATOR '; ')",
    "GROUP_CONCAT(Id, ':', Num ORDER BY CAST(Id AS SIGNED) DESC SEPARATOR '|')", "MAX(Num) > 5", "MIN(Num) = '07'",
    "ROUND(SUM(Num), 1) / COUNT(*)", "ROUND(AVG(Num), 2) * 3", "STD(ROUND(Num, 1))", "AVG(FLOOR(Num))", "SUM(CAST(Id AS CHAR))",
)  # fmt: skip
_AGGREGATED_SORTS = (
    "LOWER(MIN(Name))",
    "MAX(Path)",
    "DATE(MAX(T))",
    "SUM(Num) DESC",
    "AVG(LENGTH(Name))",
    "COUNT(*) DESC",
    "LEFT(MAX(Mix), 1)",
)
_SORTS = (
    "Name", "Mix", "Num", "Num + 0", "T", "LOWER(Name)", "LENGTH(Path)", "D DESC", "Ip DESC", "DATE(T) DESC", "Num IS NULL",
    "CAST(Num AS DECIMAL(10,2)) DESC", "FIELD(Name, 'omar', 'nina')", "Mix DESC", "Path", "TIME(T)", "JSON_LENGTH(Js)",
)  # fmt: skip
_HAVING = (
    "COUNT(*) > 1", "COUNT(*) > '1'", "MAX(Num) > 5", "n > 1", "n BETWEEN 2 AND 3", "SUM(Num) > '10'", "MIN(Name) IS NOT NULL",
)  # fmt: skip


class Statements:
    """The statements of one seed.

    Args:
        seed: another gives others.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._values = Values(self._random)
        self._kinds: dict[str, Callable[[], Statement]] = {
            "comparisons": self._where,
            "truth values": lambda: self._listed("truth values", lambda: self._values.truth(2)),
            "text functions": lambda: self._listed("text functions", lambda: self._values.text(2)),
            "numbers": lambda: self._listed("numbers", lambda: self._values.number(2)),
            "dates": lambda: self._listed("dates", lambda: self._values.moment(2)),
            "times of day": lambda: self._listed("times of day", lambda: self._values.clock(2)),
            "JSON": lambda: self._listed("JSON", lambda: self._values.json(1)),
            "grouping": self._grouped,
            "aggregates": self._aggregated,
            "ordering": self._sorted,
            "DISTINCT": self._distinct,
            "joins": self._joined,
            "subqueries": self._nested,
            "UNION, WITH": self._together,
            "windows": self._windowed,
        }

    def some(self, count: int) -> Iterator[Statement]:
        """``count`` of them, the kinds in turn."""
        kinds = list(self._kinds.values())
        for number in range(count):
            yield kinds[number % len(kinds)]()

    def _listed(self, kind: str, make: Callable[[], str]) -> Statement:
        shown = ", ".join(f"{make()} AS x{number}" for number in range(self._random.randint(1, 2)))
        return Statement(kind, f"SELECT Id, {shown} FROM Events {_BY_ID}")

    def _where(self) -> Statement:
        condition = self._values.truth(self._random.randint(1, 3))
        return Statement("comparisons", f"SELECT Id, Name FROM Events WHERE {condition} {_BY_ID}")

    def _grouped(self) -> Statement:
        r = self._random
        key, folded = r.choice(_KEYS), r.choice(_FOLDED)
        having = f" HAVING {r.choice(_HAVING)}" if r.random() < 0.4 else ""
        where = f" WHERE {self._values.truth(1)}" if r.random() < 0.3 else ""
        named, group = r.choice((("", key), (" AS k", "k"), ("", "1")))
        # Which spelling stands for a group is not said: texts are folded to one.
        shown = key
        if key not in _NUMERIC_KEYS and group != key:
            key = shown = f"HEX(LOWER({key}))"
        elif key not in _NUMERIC_KEYS:
            shown = f"MIN(HEX({key}))"
        sql = f"SELECT {shown}{named}, COUNT(*) AS n, {folded} FROM Events{where} GROUP BY {group}{having}"
        return Statement("grouping", sql, ordered=False)

    def _aggregated(self) -> Statement:
        shown = ", ".join(self._random.choice(_FOLDED) for _ in range(3))
        where = f" WHERE {self._values.truth(1)}" if self._random.random() < 0.6 else ""
        if self._random.random() < 0.3:
            key = self._random.choice(_AGGREGATED_SORTS)
            sql = f"SELECT {key.removesuffix(' DESC')}, MIN(Id + 0) FROM Events{where} GROUP BY D ORDER BY {key}, 2"
            return Statement("aggregates", sql)
        return Statement("aggregates", f"SELECT {shown} FROM Events{where}")

    def _sorted(self) -> Statement:
        keys = ", ".join(self._random.sample(_SORTS, 2))
        limit = self._random.choice(("", " LIMIT 7", " LIMIT 5 OFFSET 3", " LIMIT 2, 6"))
        return Statement("ordering", f"SELECT Id, Name, Num FROM Events ORDER BY {keys}, CAST(Id AS SIGNED){limit}")

    def _distinct(self) -> Statement:
        v = self._values
        shown = v.pick(
            "Name",
            "Mix",
            "Num",
            "LOWER(Name)",
            "Ip, Mix",
            "DATE(T)",
            "Num + 0",
            "LEFT(Name, 1), Mix",
            v.json(1),
            v.text(1),
            v.number(1),
            v.cast(1),
            v.any(2),
        )
        return Statement("DISTINCT", f"SELECT COUNT(*) FROM (SELECT DISTINCT {shown} FROM Events) AS d")

    def _joined(self) -> Statement:
        v = self._values
        kind = v.pick("JOIN", "LEFT JOIN", "INNER JOIN", "RIGHT JOIN")
        on = v.pick("e.Name = u.Name", "e.Num = u.Uid", "e.Num > u.Score", "LOWER(e.Name) = u.Name", "e.Name LIKE u.Name",
                    "u.Score = e.Num + 0", "YEAR(u.Joined) = YEAR(e.D)", "e.Id = u.Uid AND u.Dept = 'IT'")  # fmt: skip
        shown = v.pick("e.Id, u.Uid", "e.Id, u.Dept, e.Num", "u.Uid, COUNT(e.Id)")
        group = " GROUP BY u.Uid" if "COUNT" in shown else ""
        if v.random.random() < 0.15:
            return Statement(
                "joins", f"SELECT Name, Id, Uid FROM Events {v.pick('JOIN', 'LEFT JOIN')} Users USING (Name)", False
            )
        return Statement("joins", f"SELECT {shown} FROM Events e {kind} Users u ON {on}{group}", ordered=False)

    def _nested(self) -> Statement:
        v = self._values
        condition = v.pick(
            "Name IN (SELECT Name FROM Users)", "Num IN (SELECT Uid FROM Users)", "Num > (SELECT MAX(Uid) FROM Users)",
            "Num > (SELECT AVG(Uid) FROM Users)", "EXISTS (SELECT 1 FROM Users u WHERE u.Name = Events.Name)",
            "Name NOT IN (SELECT Name FROM Users WHERE Name IS NOT NULL)", "Num = ANY (SELECT Score FROM Users)",
            "Num > ALL (SELECT Uid + 0 FROM Users)", "Name <> ALL (SELECT Dept FROM Users WHERE Dept IS NOT NULL)",
            "(Name, Num) IN (SELECT Name, Score FROM Users)", "(SELECT COUNT(*) FROM Users u WHERE u.Name = Events.Name) = '1'",
            "Num < ANY (SELECT Score FROM Users)", "(Name, Id) = ('nina', 1)", "(Id, Mix) IN ((1, 'a'), (4, 'z'), (7, 'B'))",
            "LENGTH(Name) = (SELECT MAX(LENGTH(Name)) FROM Events)", "NOT EXISTS (SELECT 1 FROM Users WHERE Score = Num)",
        )  # fmt: skip
        return Statement("subqueries", f"SELECT Id, Name FROM Events WHERE {condition} {_BY_ID}")

    def _together(self) -> Statement:
        v = self._values
        sql = v.pick(
            f"SELECT {v.any(1)} AS x FROM Events {v.pick('UNION', 'UNION ALL')} SELECT {v.any(1)} FROM Events",
            f"SELECT {v.any(2)} AS x FROM Events {v.pick('UNION', 'UNION ALL')} SELECT {v.pick(v.json(1), v.cast(1), v.number(1))} FROM Events",
            f"SELECT {v.json(1)} AS x FROM Events UNION SELECT {v.json(1)} FROM Events",
            f"SELECT {v.number(2)} AS x FROM Events UNION ALL SELECT {v.text(0)} FROM Events",
            f"SELECT Num FROM Events UNION SELECT {v.pick('Uid', 'Score', '1', '1.5')} FROM Users",
            f"WITH w AS (SELECT {v.any(1)} AS x, Id FROM Events) SELECT Id, x FROM w WHERE x {v.pick('= 7', 'IS NOT NULL', '> 5')}",
            f"WITH w AS (SELECT Name, COUNT(*) AS n FROM Events GROUP BY Name) SELECT SUM(n), MAX(n) FROM w WHERE Name > {v.quoted('M', 'e')}",
            "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 6) SELECT i, i * i FROM s",
            f"SELECT x, y FROM (SELECT {v.number(1)} AS x, {v.text(1)} AS y FROM Events) AS d WHERE x {v.pick('>', '<')} 5",
            "SELECT COUNT(*) FROM (SELECT Name FROM Events UNION SELECT Name FROM Users) AS d",
            "SELECT COUNT(*) FROM (SELECT Mix FROM Events EXCEPT SELECT Num FROM Events) AS d",
        )  # fmt: skip
        return Statement("UNION, WITH", _counted(sql), ordered=False)

    def _windowed(self) -> Statement:
        v = self._values
        by = v.pick("", "PARTITION BY Name ", "PARTITION BY YEAR(T) ", "PARTITION BY Mix ")
        function = v.pick("ROW_NUMBER()", "RANK()", "DENSE_RANK()", "COUNT(*)", "SUM(LENGTH(Name))", "LAG(Num)", "LEAD(Name, 2)",
                          "SUM(Num)", "MAX(Name)", "NTILE(3)", "FIRST_VALUE(Num)", "AVG(LENGTH(Path))", "MIN(T)")  # fmt: skip
        return Statement(
            "windows", f"SELECT Id, {function} OVER ({by}ORDER BY CAST(Id AS SIGNED)) AS x FROM Events {_BY_ID}"
        )


def _counted(sql: str) -> str:
    """A UNION that tells rows apart shows one spelling of several, and which is not said: they are counted."""
    if " UNION SELECT " not in sql or sql.startswith("SELECT COUNT"):
        return sql
    return f"SELECT COUNT(*) FROM ({sql}) AS u"
