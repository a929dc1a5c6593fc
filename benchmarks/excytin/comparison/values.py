"""Random expressions of MySQL, by the kind of their value."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

Make = Callable[[], str]
_TEXTS = ("'Nina'", "'nina'", "'omar'", "'a'", "'B'", "'7'", "'10'", "'zoe'", "''", "'x_y'", "'cmd'", "'2024-07-01'")
_NUMBERS = ("0", "1", "2", "5", "7", "10", "-3", "2.5", "1.50", "100", "0.1", "3")
_MOMENTS = (
    "'2024-07-01'", "'2024-6-27'", "'2024-06-27 14:05:06'", "'2024-02-29 12:30:00'", "'2024-12-31 23:59:59'",
    "'2023-01-01'", "'20240703'",
)  # fmt: skip
_UNITS = ("SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
_PARTS = (
    "YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "DAYOFWEEK", "DAYOFYEAR", "WEEKDAY", "QUARTER", "WEEK",
    "YEARWEEK", "WEEKOFYEAR", "TO_DAYS", "DAYOFMONTH", "MICROSECOND", "TO_SECONDS", "UNIX_TIMESTAMP", "TIME_TO_SEC",
)  # fmt: skip
_FORMATS = (
    "%Y-%m-%d",
    "%D %M %Y",
    "%W %a %b %e %c",
    "%H:%i:%s.%f",
    "%h:%i %p",
    "%U %u %v %V %x %X",
    "%j %w %y %k %l",
    "%T | %r %%",
)
_PATHS = (
    "$.a",
    "$.b",
    "$.c",
    "$.d",
    "$.e",
    "$.e[0]",
    "$.e[2].k",
    "$.f.g",
    "$[0].Address",
    "$[1]",
    "$.zz",
    "$",
    "$.f.u",
)
_LIKES = ("%a%", "N%", "_i%", "%\\\\_%", "e%", "%.exe", "é%")
TEXT_COLUMNS = ("Name", "Mix", "Path", "Ip", "Num")
COMPARISONS = ("=", "<>", "<", "<=", ">", ">=", "<=>")


def q(value: str) -> str:
    """A literal."""
    return f"'{value}'"


def _real(moment: str) -> str:
    """Of a column in which all text tells a date: MariaDB compares what DATE('x') gives as zeros, MySQL as NULL."""
    return moment.replace("(T)", "(D)").replace("(T AS", "(D AS")


class Values:
    """Expressions over the columns of Events.

    Args:
        random: where the choices come from.
    """

    def __init__(self, random: Random) -> None:
        self.random = random

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def quoted(self, *options: str) -> str:
        """One of them as a literal."""
        return f"'{self.random.choice(options)}'"

    def column(self) -> str:
        return self.pick(*TEXT_COLUMNS)

    def any(self, depth: int = 1) -> str:
        kind = self.random.choice((self.text, self.number, self.moment, self.clock, self.truth, self.json))
        return kind(depth)

    def side(self, depth: int = 1) -> str:
        """One side of a comparison: moments have their own."""
        return self.random.choice((self.text, self.number, self.truth, self.json, self.cast))(depth)

    def cast(self, depth: int = 1) -> str:
        """Text that CAST made, whose collation is the connection's."""
        return f"CAST({self.random.choice((self.text, self.number, self.json))(depth)} AS CHAR{self.pick('', '(3)')})"

    def text(self, depth: int = 1) -> str:
        if depth <= 0 or self.random.random() < 0.2:
            return self.pick(self.column(), self.column(), *_TEXTS[:6])
        r = self.random
        t: Make = lambda: self.text(depth - 1)
        n: Make = lambda: str(r.randint(-2, 5))
        return r.choice(
            (
                lambda: f"CONCAT({t()}, {self.any(depth - 1)})",
                lambda: f"CONCAT_WS({self.quoted('-', ', ')}, {t()}, {t()}, {self.any(depth - 1)})",
                lambda: (
                    f"{self.pick('UPPER', 'LOWER', 'TRIM', 'LTRIM', 'RTRIM', 'REVERSE', 'QUOTE', 'HEX', 'MD5')}({t()})"
                ),
                lambda: f"{self.pick('SHA1', 'SOUNDEX', 'TO_BASE64', 'LCASE', 'UCASE')}({t()})",
                lambda: f"{self.pick('LEFT', 'RIGHT', 'REPEAT')}({t()}, {n()})",
                lambda: f"{self.pick('SUBSTRING', 'SUBSTR', 'MID')}({t()}, {n()}, {n()})",
                lambda: f"SUBSTRING({t()} FROM {n()} FOR {n()})",
                lambda: f"SUBSTRING_INDEX({self.pick('Path', 'Ip', t())}, {self.quoted('.', 'a', ',')}, {n()})",
                lambda: f"REPLACE({t()}, {self.quoted('a', 'N', '.', 'i')}, {self.quoted('', '_', 'xx')})",
                lambda: f"{self.pick('LPAD', 'RPAD')}({t()}, {r.randint(0, 9)}, {self.quoted('*', 'ab', ' ')})",
                lambda: f"INSERT({t()}, {n()}, {n()}, 'zz')",
                lambda: f"TRIM({self.pick('BOTH', 'LEADING', 'TRAILING')} {self.quoted('a', 'N', '.')} FROM {t()})",
                lambda: f"ELT({r.randint(0, 3)}, {t()}, 'two', {t()})",
                lambda: f"IF({self.truth(depth - 1)}, {self.any(depth - 1)}, {t()})",
                lambda: f"IFNULL({t()}, {self.any(0)})",
                lambda: f"COALESCE({self.column()}, {self.any(0)}, 'none')",
                lambda: f"NULLIF({t()}, {self.side(0)})",
                lambda: f"CASE WHEN {self.truth(depth - 1)} THEN {t()} ELSE {self.any(0)} END",
                lambda: f"CASE {self.column()} WHEN {self.side(0)} THEN 'x' WHEN {self.pick(*_TEXTS)} THEN 'y' END",
                lambda: f"CAST({self.any(depth - 1)} AS CHAR)",
                lambda: f"CAST({self.any(depth - 1)} AS CHAR({r.randint(1, 6)}))",
                lambda: f"DATE_FORMAT({self.moment(depth - 1)}, '{self.pick(*_FORMATS)}')",
                lambda: f"{self.pick('DAYNAME', 'MONTHNAME')}({self.moment(depth - 1)})",
                lambda: f"TIME_FORMAT({self.clock(0)}, '%H:%i:%s')",
                lambda: f"CONCAT({self.clock(0)})",
                lambda: (
                    f"CONV({self.pick('Num', q('ff'), '255')}, {self.pick('10', '16')}, {self.pick('2', '16', '36')})"
                ),
                lambda: f"FORMAT({self.number(depth - 1)}, {r.randint(0, 3)})",
                lambda: f"{self.pick('BIN', 'OCT', 'HEX')}({r.randint(0, 300)})",
                lambda: f"INET_NTOA({r.randint(0, 2**32 - 1)})",
                lambda: f"COALESCE(REGEXP_SUBSTR({t()}, {self.quoted('[a-z]+', '[0-9]+', 'N')}), '')",
                lambda: f"REGEXP_REPLACE({t()}, {self.quoted('[aeiou]', '[0-9]+')}, {self.quoted('', '#')})",
                lambda: f"GREATEST({t()}, {t()})",
                lambda: f"SHA2({t()}, 256)",
                lambda: f"JSON_UNQUOTE({self.json(depth - 1)})",
                lambda: f"JSON_VALUE(Js, '{self.pick(*_PATHS)}')",
            )
        )()

    def number(self, depth: int = 1) -> str:
        if depth <= 0 or self.random.random() < 0.2:
            return self.pick("Num", "Num", "Id", *_NUMBERS)
        r = self.random
        x: Make = lambda: self.number(depth - 1)
        m: Make = lambda: self.moment(depth - 1)
        return r.choice(
            (
                lambda: f"({x()} {self.pick('+', '-', '*', '/', '%', 'DIV', 'MOD')} {x()})",
                lambda: f"({x()} {self.pick('+', '-', '*')} {x()})",
                lambda: f"({self.rounded()} {self.pick('+', '-', '*', '/', '/', '%')} {x()})",
                lambda: f"({x()} {self.pick('+', '*', '/', '%')} {self.rounded()})",
                lambda: f"(CAST({self.pick('Id', 'LENGTH(Path)')} AS CHAR) {self.pick('+', '-', '*', '/')} {x()})",
                lambda: f"(-{x()})",
                lambda: f"{self.pick('ABS', 'SIGN', 'FLOOR', 'CEIL', 'CEILING', 'ROUND')}({x()})",
                lambda: f"{self.pick('ROUND', 'TRUNCATE')}({x()}, {r.randint(-2, 3)})",
                lambda: f"MOD({x()}, {self.pick('2', '3', '2.5', '0')})",
                lambda: f"{self.pick('SQRT', 'EXP', 'LN', 'LOG2', 'LOG10')}({self.pick('4', '2', 'Num', '0.5')})",
                lambda: f"POW({self.pick('2', 'Num', '1.5')}, {r.randint(-1, 3)})",
                lambda: (
                    f"{self.pick('LENGTH', 'CHAR_LENGTH', 'ASCII', 'ORD', 'CRC32', 'BIT_LENGTH')}({self.text(depth - 1)})"
                ),
                lambda: (
                    f"{self.pick('LOCATE', 'INSTR', 'STRCMP', 'FIND_IN_SET')}({self.text(0)}, {self.text(depth - 1)})"
                ),
                lambda: f"POSITION({self.quoted('a', 'N')} IN {self.text(0)})",
                lambda: f"FIELD({self.text(0)}, 'a', 'nina', {self.text(0)})",
                lambda: (
                    f"CAST({self.any(depth - 1)} AS {self.pick('SIGNED', 'DECIMAL(10,2)', 'DECIMAL(5,1)', 'DOUBLE')})"
                ),
                lambda: f"CAST({self.pick('Id', 'LENGTH(Path)', q('12abc'))} AS UNSIGNED)",
                lambda: f"CONVERT({self.text(0)}, SIGNED)",
                lambda: f"ROUND({self.unsigned()}, {r.randint(-3, 1)})",
                lambda: f"(-{self.unsigned()})",
                lambda: f"(-({self.pick('2', '7', '100')} - {r.randint(0, 100)}))",
                lambda: f"{self.pick(*_PARTS)}({m()})",
                lambda: f"WEEK({m()}, {r.randint(0, 7)})",
                lambda: (
                    f"EXTRACT({self.pick('YEAR', 'MONTH', 'DAY', 'HOUR', 'YEAR_MONTH', 'DAY_HOUR', 'MINUTE_SECOND')} FROM {m()})"
                ),
                lambda: f"DATEDIFF({m()}, {m()})",
                lambda: f"TIMESTAMPDIFF({self.pick(*_UNITS)}, {m()}, {m()})",
                lambda: f"(DATE({m()}) - DATE({m()}))",
                lambda: f"({m()} + 0)",
                lambda: f"{self.pick('HOUR', 'MINUTE', 'SECOND', 'TIME_TO_SEC')}({self.clock(0)})",
                lambda: f"{self.pick('', '-')}PERIOD_DIFF(202407, {r.randint(2020, 2027)}{r.randint(1, 12):02})",
                lambda: f"PERIOD_ADD(202401, {r.randint(-15, 15)})",
                lambda: f"INET_ATON({self.pick('Ip', q('10.0.0.1'))})",
                lambda: f"(({r.randint(0, 9)}) {self.pick('&', '|', '^', '<<', '>>')} ({r.randint(0, 9)}))",
                lambda: f"BIT_COUNT({r.randint(0, 300)})",
                lambda: f"{self.pick('GREATEST', 'LEAST')}({x()}, {x()})",
                lambda: f"IF({self.truth(depth - 1)}, {x()}, {x()})",
                lambda: f"IFNULL({x()}, {x()})",
                lambda: f"COALESCE(NULL, {x()}, 0)",
                lambda: f"NULLIF({x()}, {x()})",
                lambda: f"CASE WHEN {self.truth(depth - 1)} THEN {x()} WHEN {self.truth(0)} THEN {x()} ELSE 0 END",
                lambda: f"JSON_LENGTH(Js, {self.quoted('$', '$.e', '$.zz')})",
                lambda: f"JSON_EXTRACT(Js, '$.{self.pick('b', 'c', 'a')}') + 0",
                lambda: f"REGEXP_INSTR({self.text(0)}, '[0-9]')",
                lambda: f"{self.pick('DEGREES', 'RADIANS', 'SIN', 'COS', 'ATAN')}({self.pick('1', '0.5', '2')})",
            )
        )()

    def rounded(self) -> str:
        """A DOUBLE of which the digits after the point are known."""
        number = self.pick("Num", "Num", "SQRT(Id)", "Num * 1.1e0", "PI()")
        return self.pick(f"ROUND({number}, {self.random.randint(0, 3)})", f"TRUNCATE({number}, 1)", f"FLOOR({number})")

    def unsigned(self) -> str:
        """A whole number that has no sign, or is kept in 64 bits."""
        r = self.random
        return self.pick(
            f"INET_ATON({self.pick('Ip', q('10.0.0.1'))})", f"CRC32({self.text(0)})", f"({r.randint(0, 99)} | {r.randint(0, 99)})",
            f"CAST({r.randint(0, 99)} AS UNSIGNED)", f"LENGTH({self.text(0)})", f"TO_SECONDS({self.pick('D', *_MOMENTS)})",
            f"TIMESTAMPDIFF(SECOND, D, {self.pick(*_MOMENTS)})", f"(LENGTH(Path) + {r.randint(0, 9)})", f"BIT_COUNT({r.randint(0, 99)})",
            f"(CRC32({self.text(0)}) % {r.randint(2, 99)})", f"MICROSECOND({self.pick(*_MOMENTS)})", "UNIX_TIMESTAMP(D)",
        )  # fmt: skip

    def moment(self, depth: int = 1) -> str:
        if depth <= 0 or self.random.random() < 0.25:
            return self.pick("T", "T", "D", *_MOMENTS)
        r = self.random
        m: Make = lambda: self.moment(depth - 1)
        return r.choice(
            (
                lambda: f"DATE({m()})",
                lambda: f"CAST({m()} AS {self.pick('DATE', 'DATETIME', 'DATETIME(3)')})",
                lambda: f"TIMESTAMP({m()})",
                lambda: f"LAST_DAY({m()})",
                lambda: (
                    f"{self.pick('DATE_ADD', 'DATE_SUB')}({m()}, INTERVAL {r.randint(-40, 400)} {self.pick(*_UNITS)})"
                ),
                lambda: (
                    f"({self.pick('DATE(T)', 'D', m())} {self.pick('+', '-')} INTERVAL {r.randint(1, 30)} {self.pick(*_UNITS)})"
                ),
                lambda: (
                    f"DATE_ADD({m()}, INTERVAL '{r.randint(0, 5)}:{r.randint(0, 90)}' {self.pick('HOUR_MINUTE', 'MINUTE_SECOND')})"
                ),
                lambda: f"ADDDATE({m()}, {r.randint(-9, 9)})",
                lambda: (
                    f"STR_TO_DATE({self.pick('T', 'D', q('17/07/2024 09:08'), q('Jul 4 2024'))}, "
                    f"'{self.pick('%Y-%m-%d', '%Y-%m-%d %H:%i:%s', '%d/%m/%Y %H:%i', '%b %e %Y')}')"
                ),
                lambda: f"FROM_UNIXTIME({self.pick('0', '1719828672', '1719828672.5', 'Num')})",
                lambda: f"FROM_DAYS({r.randint(700000, 740000)})",
                lambda: f"MAKEDATE({r.randint(2019, 2025)}, {r.randint(1, 400)})",
                lambda: f"CONVERT_TZ({m()}, '+00:00', '{self.pick('+02:00', '-05:30')}')",
                lambda: f"TIMESTAMPADD({self.pick(*_UNITS)}, {r.randint(-5, 5)}, {m()})",
            )
        )()

    def clock(self, depth: int = 1) -> str:
        """A time of day, or a span of time."""
        r = self.random
        m: Make = lambda: self.moment(depth - 1)
        return r.choice(
            (
                lambda: f"TIME({m()})",
                lambda: f"CAST({m()} AS {self.pick('TIME', 'TIME(2)')})",
                lambda: f"MAKETIME({r.randint(0, 30)}, {r.randint(0, 60)}, {r.randint(0, 60)})",
                lambda: f"SEC_TO_TIME({self.pick('3661', 'Num', '-5', '90000')})",
                lambda: (
                    f"TIMEDIFF({self.pick('T', q('10:00:00'), q('2024-06-27 10:00:00'))}, {self.pick('T', q('2024-06-27 12:00:00'), q('01:00:00'))})"
                ),
                lambda: (
                    f"{self.pick('ADDTIME', 'SUBTIME')}({self.pick('T', q('10:00:00'))}, {self.quoted('01:30:00', '1 1:1:1')})"
                ),
            )
        )()

    def json(self, depth: int = 1) -> str:
        p = f"'{self.pick(*_PATHS)}'"
        return self.random.choice(
            (
                lambda: f"JSON_EXTRACT(Js, {p})",
                lambda: f"JSON_EXTRACT(Js, {p})",
                lambda: f"JSON_EXTRACT(Js, {p}, '{self.pick(*_PATHS)}')",
                lambda: f"JSON_KEYS(Js, {self.quoted('$', '$.f')})",
                lambda: "JSON_TYPE(Js)",
                lambda: f"JSON_SEARCH(Js, '{self.pick('one', 'all')}', '{self.pick('v', 'h%', '1.2.3.4', '%')}')",
                lambda: f"JSON_ARRAY({self.pick('Name', 'Id+0', 'NULL', q('a b'), '1.5')}, {self.number(0)})",
                lambda: f"JSON_OBJECT('k', {self.pick('Name', 'Num', 'LENGTH(Name)', '1.50', 'TRUE')})",
                lambda: f"JSON_QUOTE({self.column()})",
            )
        )()

    def truth(self, depth: int = 1) -> str:
        r = self.random
        if depth > 1 and r.random() < 0.3:
            left, right = self.truth(depth - 1), self.truth(depth - 1)
            return self.pick(f"({left} AND {right})", f"({left} OR {right})", f"(NOT {left})", f"({left} XOR {right})")
        d = max(0, depth - 1)
        return r.choice(
            (
                lambda: f"({self.side(d)} {self.pick(*COMPARISONS)} {self.side(d)})",
                lambda: f"({self.text(d)} {self.pick(*COMPARISONS)} {self.text(0)})",
                lambda: f"({self.number(d)} {self.pick(*COMPARISONS)} {self.pick(*_NUMBERS, *_TEXTS)})",
                lambda: f"({self.column()} {self.pick(*COMPARISONS)} {self.pick(*_NUMBERS)})",
                lambda: f"({_real(self.moment(d))} {self.pick(*COMPARISONS)} {self.pick(*_MOMENTS, 'D', 'T')})",
                lambda: (
                    f"({self.pick('YEAR', 'MONTH', 'HOUR')}(T) {self.pick('=', '>', '<')} {self.pick(q('2024'), q('7'), '10')})"
                ),
                lambda: (
                    f"({self.json(0)} {self.pick('=', '<>', '>', '<')} {self.pick(q('v'), q('V'), '5', 'true', q('5'), '4.5', q('h'))})"
                ),
                lambda: (
                    f"({self.side(d)} {self.pick('IN', 'NOT IN')} ({self.side(0)}, {self.pick(*_NUMBERS)}, {self.pick(*_TEXTS)}))"
                ),
                lambda: f"({self.column()} IN ({', '.join(self.pick(*_TEXTS) for _ in range(3))}))",
                lambda: f"(Num IN ({', '.join(self.pick(*_NUMBERS) for _ in range(3))}))",
                lambda: (
                    f"({self.number(d)} {self.pick('BETWEEN', 'NOT BETWEEN')} {self.pick(*_NUMBERS)} AND {self.pick(*_NUMBERS)})"
                ),
                lambda: f"({self.column()} BETWEEN {self.pick(*_TEXTS)} AND {self.pick(*_TEXTS)})",
                lambda: (
                    f"(SEC_TO_TIME(Id * 3000) {self.pick(*COMPARISONS)} {self.quoted('10:00:00', '01:30', '101010')})"
                ),
                lambda: f"(T BETWEEN {self.pick(*_MOMENTS)} AND {self.pick(*_MOMENTS)})",
                lambda: f"({self.any(d)} {self.pick('IS NULL', 'IS NOT NULL', 'IS TRUE', 'IS NOT FALSE')})",
                lambda: f"({self.text(d)} {self.pick('LIKE', 'NOT LIKE')} {self.quoted(*_LIKES)})",
                lambda: (
                    f"({self.text(0)} {self.pick('REGEXP', 'NOT REGEXP', 'RLIKE')} {self.quoted('^n', '[0-9]+', 'a|o', 'e$')})"
                ),
                lambda: (
                    f"JSON_CONTAINS(Js, {self.pick(q(chr(34) + 'v' + chr(34)), q('1'), q('5'))}, '{self.pick('$.a', '$.e', '$.b')}')"
                ),
                lambda: f"JSON_CONTAINS_PATH(Js, '{self.pick('one', 'all')}', '$.a', '{self.pick(*_PATHS)}')",
                lambda: f"(BINARY {self.column()} = {self.pick(*_TEXTS)})",
                lambda: f"{self.pick('IS_IPV4', 'IS_IPV6', 'ISNULL', 'JSON_VALID')}({self.pick('Ip', 'Js')})",
                lambda: f"({self.column()} <=> NULL)",
                lambda: f"({self.moment(d)} <=> {self.pick(*_MOMENTS)})",
                lambda: (
                    f"({self.rounded()} {self.pick('*', '/', '-')} {self.pick('3', '7', '0.1')} "
                    f"{self.pick(*COMPARISONS)} {self.pick(*_NUMBERS, '11.1', '0.3', '1.429', '0.52857')})"
                ),
            )
        )()
