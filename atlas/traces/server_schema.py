"""The tables of runs on a PostgreSQL server, in the schema that the URL names, beside a memory's or alone. ``{s}``
stands for that schema.

A log's lines are numbered without gaps in the order in which they are committed: the row of ``run_logs`` is locked by
who appends. A member is a process that writes; how many times it has appended is in its row, so that what is sent again
after a broken connection is appended once.
"""

from __future__ import annotations

APPLICATION = "atlas runs"
SCHEMA_VERSION = 2
OLDEST = 13
TABLES = (
    "run_store",
    "runs",
    "run_logs",
    "run_lines",
    "run_members",
    "run_claims",
    "run_spend",
    "run_open",
    "run_responses",
)

MADE = """
CREATE TABLE {s}.run_store (
    application text NOT NULL,
    schema_version bigint NOT NULL,
    writes bigint NOT NULL,
    ended bigint[] NOT NULL DEFAULT '{}'
);
CREATE TABLE {s}.runs (
    run bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    manifest text NOT NULL,
    copying text
);
CREATE TABLE {s}.run_logs (
    run bigint NOT NULL,
    log text COLLATE "C" NOT NULL,
    lines bigint NOT NULL,
    PRIMARY KEY (run, log)
);
CREATE TABLE {s}.run_lines (
    run bigint NOT NULL,
    log text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    line bytea NOT NULL,
    PRIMARY KEY (run, log, number)
);
CREATE TABLE {s}.run_members (
    member bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL,
    appended bigint NOT NULL DEFAULT 0,
    seen timestamptz NOT NULL DEFAULT now(),
    gone boolean NOT NULL DEFAULT false
);
CREATE TABLE {s}.run_claims (
    run bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    member bigint NOT NULL,
    holder bigint NOT NULL,
    PRIMARY KEY (run, key)
);
CREATE TABLE {s}.run_spend (
    run bigint NOT NULL,
    member bigint NOT NULL,
    holder bigint NOT NULL,
    dollars double precision NOT NULL,
    tokens bigint NOT NULL,
    PRIMARY KEY (run, member, holder)
);
CREATE TABLE {s}.run_open (
    run bigint NOT NULL,
    episode text COLLATE "C" NOT NULL,
    arm text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    state bytea NOT NULL,
    began bigint NOT NULL,
    trace bigint NOT NULL,
    busy text,
    used timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run, episode)
);
CREATE TABLE {s}.run_responses (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    talk bytea NOT NULL,
    own text[] NOT NULL,
    size bigint NOT NULL,
    UNIQUE (run, owner, id)
)
"""

_ALIVE = """(
    m.member IS NOT NULL AND NOT m.gone AND (
        EXISTS (
            SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.classid = hashtext('atlas runs {n}')::oid AND l.objid = (m.member %% 2147483648)::int::oid
        )
        OR m.seen > now() - make_interval(secs => {grace})
        OR pg_postmaster_start_time() > now() - make_interval(secs => {grace})
    )
)"""
"""Whether the process of the member ``m`` is there: its connection is, or was a moment ago, or the server was not."""

LOCK = "SELECT pg_try_advisory_lock(hashtext('atlas runs {n}'), (%s::bigint %% 2147483648)::int)"
"""Held by a member as long as its connection lasts."""

APPEND = """
WITH mine AS (
    UPDATE {s}.run_members SET appended = appended + 1, seen = now(), gone = false
    WHERE member = %s AND appended = %s AND NOT (gone AND %s) RETURNING run
), log AS (
    INSERT INTO {s}.run_logs AS l (run, log, lines) SELECT run, %s, %s FROM mine
    ON CONFLICT (run, log) DO UPDATE SET lines = l.lines + excluded.lines RETURNING run, log, lines
)
INSERT INTO {s}.run_lines (run, log, number, line)
SELECT log.run, log.log, log.lines - %s + u.place, u.line
FROM log, (SELECT set_config('synchronous_commit', %s, true)) AS how,
    unnest(%s::bytea[]) WITH ORDINALITY AS u(line, place)
RETURNING number"""
"""One statement, so that it is sent again where a connection broke: the member's count says whether it was made."""

CLAIM = f"""
WITH other AS (
    SELECT c.member, m.member IS NULL AS unknown FROM {{s}}.run_claims c LEFT JOIN {{s}}.run_members m USING (member)
    WHERE c.run = %s AND c.key = %s AND c.member <> %s AND NOT {_ALIVE}
), dead AS (
    UPDATE {{s}}.run_members d SET gone = true FROM other
    WHERE d.member = other.member AND (d.gone OR d.seen <= now() - make_interval(secs => {{grace}})) RETURNING d.member
)
INSERT INTO {{s}}.run_claims AS c (run, key, member, holder)
SELECT %s, %s, m.member, %s FROM {{s}}.run_members m, (SELECT set_config('synchronous_commit', 'off', true)) AS how
WHERE m.member = %s AND NOT m.gone
ON CONFLICT (run, key) DO UPDATE SET member = excluded.member, holder = excluded.holder
WHERE (c.member = excluded.member AND c.holder = excluded.holder)
    OR c.member IN (SELECT member FROM dead UNION SELECT member FROM other WHERE unknown)
RETURNING member"""
"""Of one that is gone a claim is taken over, and that is written down, so that it notices when it comes back. No
disk is waited for: what a server that crashed has lost is claimed anew by who held it."""

RELEASE = """
DELETE FROM {s}.run_claims c USING (SELECT set_config('synchronous_commit', 'off', true)) AS how
WHERE run = %s AND key = %s AND member = %s AND holder = %s RETURNING 1"""

RESTORE = """
WITH mine AS (
    SELECT key, holder FROM unnest(%s::text[], %s::bigint[]) AS h(key, holder)
), dropped AS (
    DELETE FROM {s}.run_claims c WHERE run = %s AND member = %s AND NOT EXISTS (
        SELECT 1 FROM mine WHERE mine.key = c.key AND mine.holder = c.holder)
), made AS (
    INSERT INTO {s}.run_claims (run, key, member, holder) SELECT %s, key, %s, holder FROM mine ON CONFLICT DO NOTHING
)
UPDATE {s}.run_members SET gone = true WHERE member = %s AND EXISTS (
    SELECT 1 FROM {s}.run_claims c JOIN mine USING (key) WHERE c.run = %s AND c.member <> %s)"""
"""What is held, after a connection was made anew: where another has it by now, this process is taken for gone."""

WRITERS = f"""
SELECT count(*) FROM {{s}}.run_members m WHERE m.run = %s AND {_ALIVE}"""
"""Processes that write a run."""

OTHERS = f"""
SELECT count(*) FROM {{s}}.run_spend p JOIN {{s}}.run_members m USING (member)
WHERE p.run = %s AND NOT (p.member = %s AND p.holder = %s) AND {_ALIVE}"""
"""Who else has a row in the ledger and is there."""

SPEND = """
INSERT INTO {s}.run_spend AS p (run, member, holder, dollars, tokens)
SELECT %s, %s, %s, %s, %s FROM (SELECT set_config('synchronous_commit', 'off', true)) AS how
ON CONFLICT (run, member, holder) DO UPDATE SET dollars = excluded.dollars, tokens = excluded.tokens"""
