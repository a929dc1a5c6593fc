"""The tables of a memory file, and how a file of an earlier schema becomes one of this."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

APPLICATION_ID = 0x41544C53  # "ATLS", so that another program's SQLite file is told from ours
SCHEMA_VERSION = 4
COUNTED = 3
READ_FROM = 2
"""Files from this schema on are read as they are. One of 2 has the tables of 3, and becomes one of ``COUNTED`` when a
demonstration is first added: from then on records may hold a count, which builds of before do not read. Any becomes one
of 4 when a note is first put into it, so that a build which knows no notes does not take the file for one without."""

SCHEMA = """
CREATE TABLE items (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    status TEXT NOT NULL,
    record TEXT NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (kind, id)
);
CREATE TABLE versions (
    number INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    author TEXT NOT NULL,
    reason TEXT NOT NULL,
    action TEXT NOT NULL
);
CREATE TABLE changes (
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    replaced TEXT,
    PRIMARY KEY (version, kind, id)
) WITHOUT ROWID;
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vectors (
    embedder TEXT NOT NULL,
    text_hash TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (embedder, text_hash)
) WITHOUT ROWID;
"""
"""No row of items, versions or changes is ever deleted, so their numbers only grow. ``changes`` holds what is needed to
go back: the status before and after, and the record that was replaced, if one was. An added demonstration costs two
small rows at the ends of their tables, not a second copy of itself, and no further index: every page that a commit
writes makes it slower."""

_FROM_1 = """
INSERT INTO items (seq, kind, id, status, record, version)
    SELECT seq, 'demonstration', id, 'admitted', record, 1 FROM demonstrations ORDER BY seq;
INSERT INTO changes (version, kind, id, before, after)
    SELECT 1, 'demonstration', id, 'absent', 'admitted' FROM demonstrations;
DROP TABLE demonstrations;
"""

FURTHER = {
    "outcomes": """
CREATE TABLE outcomes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    episode TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL
)
""",
    "trials": """
CREATE TABLE trials (
    entry TEXT NOT NULL,
    episode TEXT NOT NULL,
    task TEXT NOT NULL,
    seed INTEGER NOT NULL,
    family TEXT NOT NULL,
    shown INTEGER NOT NULL,
    p REAL NOT NULL,
    reward REAL,
    dollars REAL,
    started REAL NOT NULL,
    PRIMARY KEY (entry, episode)
) WITHOUT ROWID
""",
    "learned": "CREATE TABLE learned (source TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
    "langgraph_keys": "CREATE TABLE langgraph_keys (kind TEXT, key TEXT, id TEXT NOT NULL, PRIMARY KEY (kind, key)) "
    "WITHOUT ROWID",
    "notes": """
CREATE TABLE notes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    fields TEXT,
    ttl REAL,
    expires REAL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    UNIQUE (namespace, key)
)
""",
    "notes_expire": "CREATE INDEX notes_expire ON notes (expires) WHERE expires IS NOT NULL",
}
"""Tables, and an index, that not every memory has, by name."""

Execute = Callable[..., Any]


def new_id() -> str:
    """The id of a memory that is made now, in whatever database."""
    return uuid.uuid4().hex[:12]


def create(execute: Execute) -> None:
    """Make the tables in an empty file, or in one of schema 1 and carry over what it holds. Needs a transaction."""
    earlier = execute("SELECT count(*) FROM sqlite_master WHERE name = 'demonstrations'")[0][0]
    _each(execute, SCHEMA)
    execute("INSERT INTO meta VALUES ('id', ?)", (new_id(),))
    if earlier:
        if execute("SELECT count(*) FROM demonstrations")[0][0]:
            what = (time.time(), "rule:upgrade", "the memory was written by an atlas that kept no versions", "write")
            execute("INSERT INTO versions VALUES (1, ?, ?, ?, ?)", what)
        _each(execute, _FROM_1)
    execute(f"PRAGMA application_id = {APPLICATION_ID}")
    execute(f"PRAGMA user_version = {COUNTED}")


def _each(execute: Execute, statements: str) -> None:
    for statement in statements.split(";"):
        if statement.strip():
            execute(statement)
