#!/usr/bin/env bash
# A text-to-SQL agent's MySQL that sqlglot writes for SQLite may run and answer something else: no error, no warning, and
# unsupported_level=RAISE lets it pass. Seen with sqlglot==30.30.0 and the sqlite3 of Python, beside what MariaDB 10.11.19 answers:
#   DATE_ADD('2024-03-05 10:00:00', INTERVAL 90 MINUTE)        '2024-03-05', the time is gone    MariaDB 2024-03-05 11:30:00
#   DATEDIFF('2024-03-05 01:00:00', '2024-03-04 23:00:00')     0, whole days between the times   MariaDB 1, of their dates
#   DATE_ADD('2024-01-31', INTERVAL 1 MONTH)                   2024-03-02                        MariaDB 2024-02-29
#   CAST(2.5 AS SIGNED)                                        2                                 MariaDB 3
#   CAST('3.7' AS DECIMAL)                                     3.7                               MariaDB 4
#   CAST('abc' AS CHAR(2))                                     'abc'                             MariaDB 'ab'
# What is to be later than some minutes after an alert is compared with a day: below, three rows of a log in place of one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q sqlglot==30.30.0
cat >"$folder/seen.py" <<'PY'
import sqlite3

import sqlglot

EXPECTED = {
    "SELECT DATE_ADD('2024-03-05 10:00:00', INTERVAL 90 MINUTE)": "2024-03-05",
    "SELECT DATEDIFF('2024-03-05 01:00:00', '2024-03-04 23:00:00')": 0,
    "SELECT DATE_ADD('2024-01-31', INTERVAL 1 MONTH)": "2024-03-02",
    "SELECT CAST(2.5 AS SIGNED)": 2,
    "SELECT CAST('3.7' AS DECIMAL)": 3.7,
    "SELECT CAST('abc' AS CHAR(2))": "abc",
}
database = sqlite3.connect(":memory:")


def run(statement):
    [written] = sqlglot.transpile(statement, read="mysql", write="sqlite", unsupported_level=sqlglot.ErrorLevel.RAISE)
    print(statement, "=>", written)
    return database.execute(written).fetchall()


for statement, expected in EXPECTED.items():
    [[got]] = run(statement)
    print("   ", repr(got))
    assert got == expected, statement
database.execute("CREATE TABLE logs (at TEXT)")
database.executemany("INSERT INTO logs VALUES (?)", [
    ("2024-03-05 11:00:00",), ("2024-03-05 12:00:00",), ("2024-03-05 15:00:00",), ("2024-03-06 08:00:00",),
])
rows = run("SELECT at FROM logs WHERE at >= DATE_ADD('2024-03-05 10:00:00', INTERVAL 300 MINUTE) AND at < '2024-03-06'")
print("   ", rows)
assert len(rows) == 3
PY
"$folder/venv/bin/python" "$folder/seen.py"
