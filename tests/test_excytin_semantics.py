"""The embedded engine means what MySQL means: clauses that were wrong once, and statements whose answers are recorded.

The answers in ``excytin_statements.jsonl`` are MariaDB 10.11's, as ``python -m atlas.benchmarks.excytin.comparison
--n 450 --seed 11 --record FILE`` writes them; ``make test-mysql`` asks the server itself, thousands of times.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlglot", reason="the extra excytin is not installed")

from atlas.benchmarks.excytin.comparison.__main__ import SERVER, measured, told
from atlas.benchmarks.excytin.comparison.compared import DIFFERENT, EQUAL, MORE, digest
from atlas.benchmarks.excytin.comparison.tables import write
from atlas.benchmarks.excytin.engine import SqlError
from atlas.benchmarks.excytin.sqlite_engine import Database
from atlas.errors import AtlasError

RECORDED = Path(__file__).with_name("excytin_statements.jsonl")
IDS = "SELECT GROUP_CONCAT(Id ORDER BY Id + 0) FROM Events WHERE "
CLAUSES: list[tuple[str, list[tuple[Any, ...]]]] = [
    # By number where one side is one.
    (IDS + "YEAR(T) = '2024'", [("1,5,6,7,9,10,11,12,15,17,19,20,21,23,24,26,28",)]),
    (IDS + "HOUR(T) IN ('10', '14')", [("1,7,9,10,12,15,21,23,24,26",)]),
    (
        "SELECT LOWER(MIN(Name)), COUNT(*) FROM Events GROUP BY Name HAVING COUNT(*) > '3' ORDER BY 1",
        [("éva", 4), ("nina", 5), ("omar", 4), ("zoë", 4)],
    ),
    (IDS + "IFNULL(Num, 0) > 5", [("1,2,6,7,8,10,12,13,18,19,23,24,25,26,27",)]),
    (IDS + "LEFT(Num, 1) = 1", [("6,7,12,23,24,26",)]),
    (IDS + "Num = 7", [("1,2,8,18,19,25",)]),
    ("SELECT MAX(Num), MAX(Num) > 5 FROM Events", [("abc", 0)]),
    (IDS + "JSON_EXTRACT(Js, '$.a') = 'v'", [("1,6,10,15,24,28",)]),
    (IDS + "JSON_EXTRACT(Js, '$.b') = 5", [("1,6,10,15,24,28",)]),
    (IDS + "JSON_EXTRACT(Js, '$.c') = true", [("1,2,10,11,20,28",)]),
    # Without case, and with the collation's order.
    ("SELECT COUNT(*) FROM (SELECT DISTINCT Name FROM Events) AS d", [(10,)]),
    ("SELECT COUNT(*), COUNT(DISTINCT Name), COUNT(DISTINCT Name, Mix) FROM Events", [(28, 9, 23)]),
    (
        "SELECT GROUP_CONCAT(DISTINCT LOWER(Mix) ORDER BY Mix SEPARATOR ' ') FROM Events",
        [("_x -x .5 +1 1 10 10.50 9 a b  é true z z9",)],
    ),
    ("WITH w AS (SELECT LOWER(Name) AS n FROM Events) SELECT COUNT(*) FROM w WHERE n = 'NINA'", [(5,)]),
    (
        "SELECT Id FROM Events WHERE Mix IS NOT NULL ORDER BY Mix, Id + 0 LIMIT 5",
        [("13",), ("4",), ("20",), ("2",), ("11",)],
    ),
    # Dates.
    (IDS + "DATE(T) = '2024-6-27'", [("1,9,12,15,23,26",)]),
    (IDS + "CAST(T AS DATETIME) = '2024-07-01'", [("6,17,20",)]),
    (
        "SELECT DATE_FORMAT('2021-01-03 04:05:06', '%D %w %U %u %v %V %x %X %W %e %k')",
        [("3rd 0 01 00 53 01 2020 2021 Sunday 3 4",)],
    ),
    (
        "SELECT TO_DAYS('2024-07-01'), DATE('2024-07-01') - DATE('2024-06-27'), DATE('2024-07-01') + 0",
        [(739433, 74, 20240701)],
    ),
    ("SELECT EXTRACT(YEAR FROM '2024-07-01'), EXTRACT(DAY_HOUR FROM '2024-07-01 10:00:00')", [(2024, 110)]),
    (
        "SELECT TIMEDIFF('2024-07-01 10:00:00', '2024-06-30 09:00:00'), DAYNAME('2024-07-01'), MONTHNAME('2024-07-01')",
        [(timedelta(days=1, seconds=3600), "Monday", "July")],
    ),
    (
        "SELECT DATE_ADD('2024-01-31', INTERVAL 1 MONTH), DATE_SUB(DATE('2024-03-01'), INTERVAL 1 DAY), '2024-01-01' + INTERVAL 90 MINUTE",
        [("2024-02-29", date(2024, 2, 29), "2024-01-01 01:30:00")],
    ),
    (
        "SELECT STR_TO_DATE('17/07/2024', '%d/%m/%Y'), STR_TO_DATE('17/07/2024 09:08', '%d/%m/%Y %H:%i'), STR_TO_DATE('x', '%Y')",
        [(date(2024, 7, 17), datetime(2024, 7, 17, 9, 8), None)],
    ),
    (
        "SELECT UNIX_TIMESTAMP('2024-07-01 00:00:00'), FROM_UNIXTIME(1719792000), SEC_TO_TIME(3661), MAKEDATE(2024, 60), LAST_DAY('2024-02-03')",
        [(1719792000, datetime(2024, 7, 1, 0, 0), timedelta(seconds=3661), date(2024, 2, 29), date(2024, 2, 29))],
    ),
    (
        "SELECT WEEK('2024-12-30', 3), YEARWEEK('2024-12-30'), WEEKDAY('2024-07-01'), DAYOFYEAR('2024-12-31'), QUARTER('2024-07-01')",
        [(1, 202452, 0, 366, 3)],
    ),
    # Numbers, with their types.
    (
        "SELECT CAST('12.345' AS DECIMAL(10,2)), CAST(3.7 AS SIGNED), CAST('3.7' AS SIGNED), ROUND(150, -2), ROUND('2.567', 1)",
        [(Decimal("12.35"), 4, 3, 200, 2.6)],
    ),
    (
        "SELECT SUM(LENGTH(Name)), AVG(LENGTH(Name)), SUM(Num), 1 / 3, 7 DIV 2, 7 % 3, '3' + 4, 2 / 3 * 3 FROM Events",
        [(Decimal("109"), Decimal("4.3600"), 613.2, Decimal("0.3333"), 3, 1, 7.0, Decimal("2.0000"))],
    ),
    (
        "SELECT 0.1 + 0.2, 1.50 * 2, CONCAT(1 / 3), CONCAT(1e16), FORMAT(12345.678, 2), TRUNCATE(2.567, 1), FLOOR(-2.5), CONV('ff', 16, 10)",
        [(Decimal("0.3"), Decimal("3.00"), "0.3333", "1e16", "12,345.68", Decimal("2.5"), -3, "255")],
    ),
    (
        "SELECT IF(1, 2, 'x'), IFNULL(NULL, 1.50), COALESCE(NULL, 'a', 1), CASE WHEN 0 THEN 1 ELSE 2.5 END, GREATEST(1, 2.5), NULLIF(1, '1')",
        [("2", Decimal("1.50"), "a", Decimal("2.5"), Decimal("2.5"), None)],
    ),
    # What was refused.
    (
        "SELECT GROUP_CONCAT(DISTINCT Dept ORDER BY Dept DESC SEPARATOR ' | ') FROM Users WHERE Dept <> 'it'",
        [("Sales | HR",)],
    ),
    (IDS + "Num = ANY (SELECT Score FROM Users)", [("1,6,7,18,23,24",)]),
    (IDS + "Num > ALL (SELECT Score FROM Users WHERE Score IS NOT NULL)", [("5,22",)]),
    ("SELECT Dept AS d, COUNT(*) AS n FROM Users GROUP BY d HAVING n > 1", [("IT", 2), ("Sales", 2)]),
    (
        "SELECT SUBSTRING('incident' FROM 3 FOR 2), POSITION('c' IN 'incident'), TRIM(BOTH 'x' FROM 'xxaxx'), 1 FROM DUAL",
        [("ci", 3, "a", 1)],
    ),
    (
        "SELECT LPAD('7', 3, '0'), RPAD('7', 3, 'ab'), FIELD('b', 'a', 'b'), ELT(2, 'a', 'b'), INSERT('abcd', 2, 2, 'X'), STRCMP('a', 'B')",
        [("007", "7ab", 2, "b", "aXd", -1)],
    ),
    (
        "SELECT REGEXP_SUBSTR('ab12c', '[0-9]+'), REGEXP_REPLACE('ab12c', '[0-9]+', '#'), REGEXP_INSTR('ab12c', '[0-9]'), 'abc' RLIKE '^A'",
        [("12", "ab#c", 3, 1)],
    ),
    (
        "SELECT INET_ATON('10.0.0.1'), INET_NTOA(167772161), IS_IPV4('1.2.3.4'), MD5('a'), SHA1('a'), CRC32('a'), HEX('a'), TO_BASE64('a')",
        [
            (
                167772161,
                "10.0.0.1",
                1,
                "0cc175b9c0f1b6a831c399e269772661",
                "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8",
                3904355907,
                "61",
                "YQ==",
            )
        ],
    ),
    (
        "SELECT JSON_KEYS('{\"a\": 1, \"b\": 2}'), JSON_SEARCH('{\"a\": [\"x\", \"y\"]}', 'one', 'y'), JSON_TYPE('[1]'), JSON_LENGTH('[1, 2]')",
        [('["a", "b"]', '"$.a[1]"', "ARRAY", 2)],
    ),
    (
        "SELECT JSON_OBJECT('a', 1, 'b', 'x'), JSON_ARRAY(1, 'x', NULL), JSON_VALUE('{\"a\": \"x\"}', '$.a'), JSON_CONTAINS('[1, 2]', '2')",
        [('{"a": 1, "b": "x"}', '[1, "x", null]', "x", 1)],
    ),
    ("SELECT Id, ROW_NUMBER() OVER (ORDER BY Id + 0 DESC) FROM Events ORDER BY Id + 0 LIMIT 2", [("1", 28), ("2", 27)]),
    ("SELECT COUNT(*) FROM Events e LEFT JOIN Users u ON e.Name = u.Name WHERE u.Uid IS NULL", [(9,)]),
    # Numbers that become longer, or change their sign, become DECIMALs as on the server.
    (
        "SELECT -PERIOD_DIFF(202401, 202407), -(2 - 5), -SIGN(-3), -ABS(-3), -(-3), -PERIOD_DIFF(202407, 202401)",
        [(Decimal("6"), Decimal("3"), Decimal("1"), -3, 3, -6)],
    ),
    (
        "SELECT ROUND(INET_ATON('1.2.3.4'), -2), ROUND(55 | 4, -1), ROUND(CRC32('a'), -2), ROUND(COUNT(*), -1), "
        "ROUND(CRC32('a') % 77, -1), ROUND(BIT_COUNT(7), -1), ROUND(~5, -1), TRUNCATE(55 | 4, -1) FROM Users",
        [
            (
                Decimal("16909100"),
                Decimal("60"),
                3904355900,
                Decimal("10"),
                Decimal("70"),
                0,
                Decimal("18446744073709551610"),
                50,
            )
        ],
    ),
    ("SELECT FROM_UNIXTIME('7') + 0", [(Decimal("19700101000007.000000"),)]),
    # JSON_QUOTE's text is told apart with its case.
    ("SELECT COUNT(*) FROM (SELECT JSON_QUOTE(Name) AS x FROM Events UNION SELECT 'a') AS u", [(16,)]),
    ("SELECT COUNT(DISTINCT JSON_QUOTE(Name)) FROM Events", [(14,)]),
    ("SELECT COUNT(*) FROM (SELECT JSON_OBJECT('k', Name) AS x FROM Events UNION SELECT 'a') AS u", [(12,)]),
    ("SELECT COUNT(*) FROM Events WHERE JSON_EXTRACT(Js, '$.e') < JSON_EXTRACT(Js, '$.a')", [(0,)]),
    # CAST AS CHAR has the connection's collation, which goes together with literals.
    (IDS + "CAST(Name AS CHAR) = 'NINA'", [("4,7,15,18,21",)]),
    ("SELECT COUNT(*) FROM (SELECT CAST(Name AS CHAR) FROM Events UNION ALL SELECT 'a') AS u", [(29,)]),
    ("SELECT CAST('nina' AS CHAR) COLLATE utf8mb4_unicode_ci = Name FROM Users LIMIT 1", [(1,)]),
    ("SELECT ROUND(7.55, 1) UNION ALL SELECT 'a'", [("7.6",), ("a",)]),
    # Beside a moment, text that tells none is one of zeros.
    (
        "SELECT DISTINCT LAST_DAY(D) > T, DATE('2024-06-27') <> T, TIMESTAMP('2024-12-31 23:59:59') <= T FROM Events "
        "WHERE T IN ('', 'not a date') AND D IS NOT NULL",
        [(1, 1, 0)],
    ),
    # MySQL's NULL; MariaDB goes on with zeros in the comparison and in MIN.
    ("SELECT COUNT(CAST(T AS DATETIME) < '2024-07-01'), MIN(DATE(T)) FROM Events WHERE T = 'not a date'", [(0, None)]),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    found = Database(write(tmp_path_factory.mktemp("semantics") / "incident.sqlite"))
    yield found
    found.close()


@pytest.mark.parametrize(("sql", "rows"), CLAUSES)
def test_a_clause_means_what_the_server_means(engine: Database, sql: str, rows: list[tuple[Any, ...]]) -> None:
    assert repr(engine.query(sql)) == repr(rows)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT Name, COUNT(*) FROM Events", "contains nonaggregated column 'env_monitor_db.Events.Name'"),
        ("SELECT Name, Num FROM Events GROUP BY Name", "Expression #2 of SELECT list is not in GROUP BY clause"),
        ("SELECT Name FROM Events GROUP BY UPPER(Name)", "this is incompatible with sql_mode=only_full_group_by"),
        ("SELECT Num + 1 AS n FROM Events WHERE n > 3", "Unknown column 'n' in 'where clause'"),
        ("SELECT Id FROM Events WHERE MAX(Num) > 5", "Invalid use of group function"),
        ("SELECT (SELECT Uid FROM Users)", "Subquery returns more than 1 row"),
        ("SELECT Id FROM Events e JOIN Users u ON e.Name = u.Name WHERE Name = 'a'", "Column 'Name' in where clause"),
        ("SELECT * FROM (SELECT Id, Id FROM Events) AS d", "Duplicate column name 'Id'"),
        ("SELECT CAST(Id AS UNSIGNED) - 100 FROM Events", "BIGINT UNSIGNED value is out of range"),
        ("SELECT LEFT('abc')", "Incorrect parameter count in the call to native function 'LEFT'"),
        ("SELECT CAST(Id AS CHAR) = Name FROM Events", "Illegal mix of collations"),
        ("SELECT Id FROM Events WHERE Name LIKE CONCAT(CAST(Num AS CHAR), '%')", "Illegal mix of collations"),
        ("SELECT CAST(Name AS CHAR(3)) FROM Events UNION ALL SELECT Name FROM Events", "Illegal mix of collations"),
        ("SELECT NULLIF(Name, CONVERT(Num, CHAR)) FROM Events", "Illegal mix of collations"),
        ("SELECT REPLACE(Name, CAST(Num AS CHAR), '') FROM Events", "Illegal mix of collations"),
        ("SELECT COUNT (*) FROM Events", "right syntax to use near '*) FROM Events'"),
    ],
)
def test_what_mysql_refuses_is_refused(engine: Database, sql: str, told: str) -> None:
    with pytest.raises(SqlError, match="Error: ") as error:
        engine.query(sql)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 = 2 < 3",
        "SELECT 1 | 2 ^ 3",
        "SELECT Name SOUNDS LIKE 'nina' FROM Events",
        "SELECT Id FROM Events WHERE MATCH(Name) AGAINST ('nina')",
        "SELECT Name, COUNT(*) FROM Events GROUP BY Name WITH ROLLUP",
        "SELECT DATE(T) > TIME(T) FROM Events",
        "SELECT DATE(T) = 'not a date' FROM Events",
        "SELECT IF(Id < 2, 7, 0.1) FROM Events UNION ALL SELECT 'a'",
        "SELECT 1 / 3 UNION ALL SELECT 'a'",
        "SELECT STDDEV(LENGTH(Name)) FROM Events UNION ALL SELECT 'a'",
        "SELECT ROUND(CAST(Num AS SIGNED), -1) FROM Events",
        "SELECT ROUND(CAST(T AS DATETIME)) FROM Events",
        "SELECT GREATEST('7', Num) + 0 FROM Events",
        "SELECT DISTINCT CONCAT(CAST(Id AS CHAR), Name) FROM Events",
        "SELECT CONVERT_TZ(T, 'Europe/Berlin', 'UTC') FROM Events",
        "SELECT Name COLLATE latin1_swedish_ci FROM Events",
        "SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (x INT PATH '$')) AS t",
    ],
)
def test_what_cannot_be_decided_is_refused_with_one_sentence(engine: Database, sql: str) -> None:
    with pytest.raises(SqlError) as error:
        engine.query(sql)
    assert "\n" not in str(error.value) and "Traceback" not in str(error.value)


def test_statements_are_answered_as_the_server_answered_them(engine: Database) -> None:
    wrong = []
    for line in RECORDED.read_text().splitlines():
        _, sql, ordered, answer = json.loads(line)
        if digest(engine.query(sql), ordered) != answer:
            wrong.append(sql)
    assert not wrong


def test_texts_are_told_apart_and_sorted_as_the_collation_says(engine: Database) -> None:
    texts = ["a", "A ", "á", "_", "-", "1", "b", "ß", "ss", "Z", "é", "~", "", " "]
    rows = " UNION ALL ".join(f"SELECT '{text}' COLLATE utf8mb4_unicode_ci AS x" for text in texts)
    found = [row[0] for row in engine.query(f"SELECT x FROM ({rows}) AS d ORDER BY x, HEX(x)")]
    assert found == ["", " ", "_", "-", "~", "1", "A ", "a", "á", "b", "é", "ss", "ß", "Z"]
    assert engine.query(f"SELECT COUNT(DISTINCT x) FROM ({rows}) AS d") == [(10,)]


@pytest.mark.mysql
def test_the_server_answers_alike_on_thousands_of_statements() -> None:
    try:
        tally = measured(3000, 5, os.environ.get("ATLAS_MYSQL", SERVER))
    except AtlasError as absent:
        pytest.skip(f"no MySQL or MariaDB: {absent}")
    assert tally.share >= 0.995, "\n".join(map(told, tally.others[:20]))
    assert not tally.total()[DIFFERENT] and not tally.total()[MORE] and tally.total()[EQUAL] > 2900
