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
    ("SELECT COUNT(*) FROM Events WHERE JSON_EXTRACT(Js, '$.e') < JSON_EXTRACT(Js, '$.f')", [(3,)]),
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
    # NULL, as MySQL's manual has it, where MariaDB has an empty text.
    (
        "SELECT REGEXP_SUBSTR('abc', '[0-9]+'), REGEXP_SUBSTR('abc', 'b*$'), REGEXP_SUBSTR('a1', '[0-9]')",
        [(None, "", "1")],
    ),
    # Text that is no moment is NULL, on both servers; of a whole number that is negative, the negative is one too.
    ("SELECT TIME('abc'), CAST('abc' AS TIME), CAST('' AS DATE), DATE('abc'), CAST('nope' AS DATETIME)", [(None,) * 5]),
    ("SELECT -(SELECT -3), -(SELECT 3.5), -(SELECT -3) / 2", [(3, Decimal("-3.5"), Decimal("1.5000"))]),
    # Beside a date, text that tells none is one of zeros for MariaDB and NULL for MySQL: what both leave out is answered.
    (IDS + "DATE(T) >= '2024-07-01'", [("4,6,10,11,17,18,20,24,28",)]),
    ("SELECT x FROM (SELECT DATE(T) AS x FROM Events) AS d WHERE x > '2025-01-01'", [(date(2025, 3, 9),)] * 2),
    ("SELECT MAX(DATE(T)), COUNT(DATE(T)), COUNT(CAST(T AS DATETIME)) FROM Events", [(date(2025, 3, 9), 21, 21)]),
    ("SELECT MIN(DATE(T)) FROM Events WHERE T REGEXP '^[0-9]{4}-'", [(date(2023, 1, 1),)]),
    # A string of JSON beside a number is one, in a list as well; told apart, cut and in a row it has its quotes.
    (IDS + "5 IN (JSON_EXTRACT(Js, '$.b'), 100, '10')", [("1,6,10,15,24,28",)]),
    (IDS + "0 IN (JSON_EXTRACT(Js, '$.b'), 100)", [(None,)]),
    (
        "SELECT CASE 5 WHEN JSON_EXTRACT(Js, '$.b') THEN 1 WHEN '7' THEN 2 END, CAST(JSON_EXTRACT(Js, '$.b') AS SIGNED), "
        "BIN(JSON_EXTRACT(Js, '$.b')), JSON_EXTRACT(Js, '$.b') | 0 FROM Events WHERE Id = 6",
        [(1, 0, "0", 5)],
    ),
    (
        "SELECT JSON_EXTRACT(Js, '$.b') AS x, COUNT(*) FROM Events GROUP BY x ORDER BY x",
        [(None, 19), ('"5"', 3), ("4.5", 3), ("5", 3)],
    ),
    ("SELECT JSON_EXTRACT('4.5', '$') | 0, BIT_COUNT(JSON_EXTRACT('4.5', '$'))", [(5, 2)]),
    # Spaces at the end do not count in utf8mb4_bin either; among bytes they do.
    ("SELECT JSON_UNQUOTE('\"v \"') = 'v', 'a ' COLLATE utf8mb4_bin = 'a', CAST('a' AS BINARY) = 'a '", [(1, 1, 0)]),
    ("SELECT UNHEX('41') = 'A', CHAR(65), CHAR(65) = 'a'", [(1, b"A", 0)]),
    # Within a text they count, and what is found has as many bytes as what is looked for.
    ("SELECT FIND_IN_SET('a ', 'b,a'), LOCATE('é', 'eve'), LOCATE('E', 'eve'), INSTR('Straße', 'ss')", [(0, 0, 1, 0)]),
    # Text of a CAST's and a column's together is told apart by its code points.
    (
        "SELECT CONCAT(CAST(LENGTH(Name) AS CHAR), LEFT(Name, 1)) AS x, COUNT(*) FROM Events WHERE Name LIKE 'n%' "
        "GROUP BY x ORDER BY x",
        [("4N", 3), ("4n", 2)],
    ),
    ("SELECT GREATEST(CAST('a' AS CHAR), UPPER(Name)) FROM Users WHERE Uid = 1", [("a",)]),
    # Text of a moment is text.
    (
        "SELECT CAST(DATE_ADD('2024-01-01', INTERVAL 1 DAY) AS SIGNED), CAST(ADDTIME('10:00:00', '1:1:1') AS UNSIGNED), "
        "DATE_ADD('2024-01-01', INTERVAL '5' SECOND), DATE_ADD('2024-01-01', INTERVAL 5 SECOND)",
        [(2024, 11, "2024-01-01 00:00:05.000000", "2024-01-01 00:00:05")],
    ),
    ("SELECT BIN(''), BIN(7.9), OCT('12abc')", [(None, "111", "14")]),
    # A date that is read from text equals one that is known, or not, whatever a server makes of text that tells none.
    (IDS + "DATE(T) <=> '2024-6-27'", [("1,9,12,15,23,26",)]),
    (IDS + "'2024-07-01' <=> CAST(T AS DATETIME)", [("6,17,20",)]),
    (
        "SELECT DATE(D) <=> NULL, DATE(NULL) <=> DATE(NULL), DATE(NULL) <=> D, DATE('abc') <=> DATE('x') FROM Events "
        "WHERE Id = '1'",
        [(0, 1, 0, 1)],
    ),
    (IDS + "DATE(T) <=> DATE(D)", [("1,28",)]),
    # An operator is one before a parenthesis too.
    ("SELECT 7 MOD (2 + 1), (7) MOD(4), '7' MOD (3), MOD(MOD(7, 5), 3) MOD (2), NOT MOD(7, 7)", [(1, 3, 1.0, 0, 1)]),
    ("SELECT COUNT(*) FROM Events e WHERE e.Id MOD (5) = 0 AND MOD(Id, 10) = 0", [(2,)]),
    # A rounded DOUBLE keeps so many digits when it is computed with, four more in a quotient, and is compared to them.
    (
        "SELECT ROUND(SUM(Num), 2) / COUNT(*), ROUND(5e0, 1) / 3, FLOOR(5.5e0) / 3, 5.000 / ROUND(3e0, 1), ROUND(5e0, 1) / 3e0, "
        "CONCAT(ROUND(5e0, 1) / 3), STD(ROUND(Num, 1)), PI() * 2 FROM Events",
        [(21.9, 1.66667, 1.6667, 1.6666667, 5 / 3, "1.66667", 40.29094, 6.283185)],
    ),
    (
        "SELECT ROUND(0.1e0, 1) * 3, ROUND(0.7e0, 1) * 1.1, ROUND(0.77e0, 2) * 1.1, ROUND(0.7e0, 1) + 1, 0.1e0 * 3",
        [(0.3, 0.8, 0.85, 1.7, 0.1 * 3)],
    ),
    (
        "SELECT ROUND(0.1e0, 1) * 3 = 0.3, ROUND(0.1e0, 1) * 3 > 0.3, ROUND(0.1e0, 1) * 3 = 0.3e0, "
        "ROUND(0.1e0, 1) * 3 IN (0.3), ROUND(0.1e0, 1) * 3 IN (0.3, 1), ROUND(0.1e0, 1) * 3 <=> 0.3, "
        "NULLIF(ROUND(0.1e0, 1) * 3, 0.3), CASE ROUND(0.1e0, 1) * 3 WHEN 0.3 THEN 1 ELSE 0 END",
        [(1, 0, 0, 1, 0, 1, None, 0)],
    ),
    ("SELECT Id FROM Events GROUP BY Id HAVING ROUND(SUM(Num), 1) * 3 = 11.1", [("3",)]),
    # Text of a CAST is a number with as many digits as none.
    (
        "SELECT CAST('5' AS CHAR) / 3, AVG(CAST(Id AS CHAR)), CAST('5' AS CHAR) + 0.25, SQRT(CAST('6.25' AS CHAR)), "
        "CAST('2.5' AS CHAR) IN (3, 2.5), CONVERT('2.5' USING utf8mb4) + 0 FROM Events",
        [(1.6667, 14.5, 5.25, 2.5, 1, 2.5)],
    ),
    (
        "SELECT GROUP_CONCAT(DISTINCT Dept ORDER BY 1 DESC), GROUP_CONCAT(Uid, Name ORDER BY 2) FROM Users",
        [("Sales,IT,HR", "4Eva,6Li_Wei,1nina,2OMAR,3zoe")],
    ),
    # What is unquoted has its case beside a literal, and none beside a column.
    (
        "SELECT COUNT(*), SUM(JSON_UNQUOTE(JSON_EXTRACT('[\"NINA\"]', '$[0]')) = Name), SUM(JSON_UNQUOTE('\"NINA\"') = 'nina'), "
        "SUM(JSON_UNQUOTE('\"NINA\"') IN (Name, 'x')), SUM(LEFT(JSON_UNQUOTE('\"NINA\"'), 4) = Name) FROM Users",
        [(6, Decimal(1), Decimal(0), Decimal(1), Decimal(1))],
    ),
    # No DOUBLE is shown as a zero with a sign.
    ("SELECT -0e0, 0e0 * -1, MOD(-5e0, 5), -'0' * 1, ROUND(-0.04e0, 1), CONCAT(0e0 * -1)", [(*[0.0] * 5, "0")]),
    (
        "SELECT MOD(CAST(-5 AS DECIMAL(10,0)), 5), MOD(-2.5, 2), MOD(2.5, -2.5)",
        [(Decimal(0), Decimal("-0.5"), Decimal("0.0"))],
    ),
    (IDS + "JSON_EXTRACT(Js, '$.a') < 'w'", [("1,6,10,15,24,28",)]),
    ("SELECT table_name FROM information_schema.tables WHERE 'Users' = table_name", [("Users",)]),
    ("SELECT COUNT(*) FROM information_schema.columns WHERE column_name = 'name ' AND table_name = 'Users'", [(1,)]),
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
        "SELECT MIN(CONCAT(CAST(Id AS CHAR), Name)) FROM Events",
        "SELECT Id FROM Events WHERE JSON_EXTRACT(Js, '$.a') = JSON_EXTRACT(Js, '$.a')",
        "SELECT (JSON_EXTRACT(Js, '$.a'), 1) IN (('v', 1), ('w', 1)) FROM Events",
        "SELECT JSON_EXTRACT(Js, '$.a') IN (SELECT Name FROM Users) FROM Events",
        "SELECT x + 1 FROM (SELECT JSON_EXTRACT(Js, '$.b') AS x FROM Events) AS d",
        "SELECT DATE_ADD(T, INTERVAL JSON_EXTRACT(Js, '$.b') DAY) FROM Events",
        "SELECT MIN(DATE(T)) FROM Events",
        "SELECT MAX(CAST(T AS DATETIME)) FROM Events WHERE T = 'not a date'",
        "SELECT Id FROM Events WHERE DATE(T) < '2024-07-01'",
        "SELECT Id FROM Events WHERE TIME(T) <> '10:00:00'",
        "SELECT MIN(x) FROM (SELECT CAST(T AS DATE) AS x FROM Events) AS d",
        "WITH w AS (SELECT IF(1, DATE(T), NULL) AS x FROM Events) SELECT x FROM w WHERE x < '2024-07-01'",
        "SELECT GREATEST(DATE(T), DATE(D)) FROM Events",
        "SELECT e.Id FROM Events e JOIN Users u ON DATE(e.T) <=> u.Joined",
        "SELECT Id FROM Events WHERE DATE(T) <=> NULL",
        "SELECT Id FROM Events WHERE T <=> DATE(T)",
        "SELECT MOD(-2.5, 2.5)",
        "SELECT CAST(Num AS CHAR) + 0 FROM Events",
        "SELECT Id FROM Events WHERE CAST(Num AS CHAR) = 4",
        "SELECT x * 2 FROM (SELECT CAST(Num AS CHAR) AS x FROM Events) AS d",
        "SELECT DATE_FORMAT(D, '%Y.%m') + 0 FROM Events",
        "SELECT SUM(CAST(Num AS BINARY)) FROM Events",
        "SELECT 4 IN (SELECT CAST(Num AS CHAR) FROM Events)",
        "SELECT Id FROM Events WHERE CAST(Num AS DECIMAL(10,1)) % 2.5 = 0",
        "SELECT Id FROM Events WHERE 'w' > JSON_EXTRACT(Js, '$.a')",
        "SELECT Id FROM Events WHERE NOT (Name < JSON_EXTRACT(Js, '$.a'))",
        "SELECT table_name FROM information_schema.tables WHERE table_name = 'Events '",
        "SELECT table_name FROM information_schema.tables WHERE table_name <=> CONCAT('Events', ' ')",
        "SELECT column_name FROM information_schema.columns WHERE table_name IN ('Events ')",
        "SELECT (SELECT DATE(T) FROM Events WHERE Id = 2)",
        "SELECT CHAR(65) UNION SELECT Name FROM Users",
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
