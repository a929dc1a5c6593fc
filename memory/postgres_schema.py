"""The tables of a memory on a PostgreSQL server. ``{s}`` stands for the schema that they are in.

They are those of a memory file (:mod:`atlas.memory.schema`), with one more of a single row: who holds the lock on it
has the turn to write, its count says whether anybody has written, and ``ended`` holds a mark of each of the newest
transactions that were committed.
"""

from __future__ import annotations

SCHEMA_VERSION = 2
OLDEST = 13
"""PostgreSQL's oldest version that can say of a transaction whether it was committed."""

MADE = """
CREATE TABLE {s}.memory (
    application text NOT NULL,
    schema_version bigint NOT NULL,
    writes bigint NOT NULL,
    ended bigint[] NOT NULL DEFAULT '{}'
);
CREATE TABLE {s}.items (
    seq bigint PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    status text NOT NULL,
    record text NOT NULL,
    version bigint NOT NULL,
    UNIQUE (kind, id)
);
CREATE INDEX items_version ON {s}.items (kind, version);
CREATE TABLE {s}.versions (
    number bigint PRIMARY KEY,
    time double precision NOT NULL,
    author text NOT NULL,
    reason text NOT NULL,
    action text NOT NULL
);
CREATE TABLE {s}.changes (
    version bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    before text NOT NULL,
    after text NOT NULL,
    replaced text,
    PRIMARY KEY (version, kind, id)
);
CREATE TABLE {s}.meta (
    name text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);
CREATE TABLE {s}.vectors (
    embedder text COLLATE "C" NOT NULL,
    text_hash text COLLATE "C" NOT NULL,
    vector bytea NOT NULL,
    PRIMARY KEY (embedder, text_hash)
);
CREATE TABLE {s}.outcomes (
    seq bigint PRIMARY KEY,
    episode text COLLATE "C" NOT NULL UNIQUE,
    record text NOT NULL
);
CREATE TABLE {s}.trials (
    entry text COLLATE "C" NOT NULL,
    episode text COLLATE "C" NOT NULL,
    task text NOT NULL,
    seed bigint NOT NULL,
    family text NOT NULL,
    shown boolean NOT NULL,
    p double precision NOT NULL,
    reward double precision,
    dollars double precision,
    started double precision NOT NULL,
    PRIMARY KEY (entry, episode)
);
CREATE TABLE {s}.learned (
    source text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL
);
CREATE TABLE {s}.langgraph_keys (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    id text NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE TABLE {s}.notes (
    seq bigint PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text NOT NULL,
    fields text,
    ttl double precision,
    expires double precision,
    created double precision NOT NULL,
    updated double precision NOT NULL,
    UNIQUE (namespace, key)
);
CREATE INDEX notes_expire ON {s}.notes (expires) WHERE expires IS NOT NULL
"""
"""Texts are ordered by their code points, as everywhere else in a memory, whatever the server's language."""
