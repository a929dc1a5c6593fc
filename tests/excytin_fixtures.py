"""A small incident of our own, in a folder laid out like the benchmark's."""

from __future__ import annotations

import json
import lzma
import sqlite3
from contextlib import closing
from pathlib import Path

PEAK = """
import resource
from pathlib import Path

def peak():
    # Not ru_maxrss, which begins at what the process had that started this one: a long run of tests has a lot.
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return next(int(line.split()[1]) for line in status.open() if line.startswith("VmHWM")) // 1024
"""
"""Code for a program of its own: the most memory that it has had, in megabytes."""

TABLES = {
    "SecurityAlert": ("TimeGenerated", "AlertName", "Entities"),
    "SigninLogs": ("TimeGenerated", "UserPrincipalName", "IPAddress", "ResultType"),
    "DeviceProcessEvents": ("TimeGenerated", "DeviceName", "ProcessId", "ProcessCommandLine"),
    "LAQueryLogs": ("TimeGenerated", "QueryText"),
}
ROWS = {
    "SecurityAlert": [
        ("2024-07-17 10:00:00.123+00:00", "Suspicious Sign-in", '[{"Type": "ip", "Address": "1.2.3.4"}]'),
        ("2024-07-18 11:30:00+00:00", "Malware 100%", '{"Name": "evil.exe", "tags": ["a", "b"]}'),
        ("2024-07-19 08:00:00+00:00", "No entities", "not json"),
    ],
    "SigninLogs": [
        ("2024-07-17T09:58:00Z", "Nina@Example.com", "1.2.3.4", "0"),
        ("2024-07-17T09:59:00Z", "omar@example.com", "5.6.7.8", "50126"),
        ("2024-07-17T10:05:00Z", "nina@example.com", "", None),
    ],
    "DeviceProcessEvents": [("2024-07-18 11:29:00", "host-1", "1332", "C:\\Windows\\evil.exe -x")],
    "LAQueryLogs": [("2024-07-18 11:29:00", "never seen")],
}
QUESTION = {
    "context": "Somebody signed in from an odd address.",
    "question": "Which address was it?",
    "answer": "1.2.3.4",
    "solution": ["Nina signed in.", "The address was `1.2.3.4`."],
    "start_alert": 1,
    "end_alert": 2,
    "start_entities": [3],
    "end_entities": [4],
    "shortest_alert_path": [1, 2],
}


def write_database(path: Path) -> Path:
    """The incident as a SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        for name, columns in TABLES.items():
            fields = ", ".join(f'"{column}" TEXT COLLATE NOCASE' for column in columns)
            connection.execute(f'CREATE TABLE "{name}" ({fields})')
            connection.executemany(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(columns))})', ROWS[name])
        connection.commit()
    return path


def write_folder(folder: Path) -> Path:
    """``questions/`` and ``db/`` with incident 7."""
    (folder / "db").mkdir(parents=True)
    (folder / "questions" / "test").mkdir(parents=True)
    database = write_database(folder / "plain.sqlite")
    (folder / "db" / "incident_7.sqlite.xz").write_bytes(lzma.compress(database.read_bytes()))
    database.unlink()
    path = folder / "questions" / "test" / "incident_7_qa.json"
    path.write_text(json.dumps([QUESTION, QUESTION | {"answer": "other"}]))
    return folder
