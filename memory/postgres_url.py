"""The URL of a memory or a run on a PostgreSQL server, taken apart; and what of it may be shown and kept: never a
password.

``postgresql://USER@HOST:PORT/DATABASE?schema=NAME``, and ``&run=NAME`` for a run, with whatever else libpq takes in a
URL (several hosts, ``sslmode``, a socket's folder as ``host``). What is left out is as libpq has it (``PGHOST``,
``PGPASSWORD``, ``~/.pgpass``).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

from atlas.errors import ConfigError

SCHEMA = "atlas"
"""The schema of a memory whose URL names none."""

_PLACE = re.compile(
    r"(?:(?P<user>[^:@/?#\[\]]*)(?::(?P<password>[^@/?#]*))?@)?(?P<hosts>[^@/?#]*)"
    r"(?:/(?P<database>[^@/?#]*))?(?:\?(?P<query>[^#]*))?"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SECRET = {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
"""Parameters of libpq that open a server."""


class Place(NamedTuple):
    """Where a memory is."""

    url: str
    """For libpq: with the password, and for nothing else."""
    path: str
    """For people, logs and records: the same without what is secret."""
    schema: str
    given: frozenset[str]
    """The parameters of libpq that the URL sets."""
    secrets: tuple[str, ...]
    """What no text may hold."""
    run: str | None = None
    """The name of a run; None where the URL names none."""


def read(place: str) -> Place:
    """What stands after ``postgresql://``. Raises ConfigError, which quotes nothing of it: any part may be a secret."""
    found = _PLACE.fullmatch(place)
    pairs = _pairs(found["query"] or "") if found else None
    if found is None or pairs is None:
        raise ConfigError(
            "the URL on a PostgreSQL server cannot be read: write postgresql://USER@HOST:PORT/DATABASE?schema=NAME "
            "(and &run=NAME for a run), and %-encode what is special in a password (@ as %40, / as %2F), or keep that "
            "in PGPASSWORD"
        )
    query = dict(pairs)
    schema = query.pop("schema", SCHEMA)
    if not _NAME.fullmatch(schema) or schema.lower().startswith("pg_"):
        raise ConfigError(
            f"{schema[:80]!r} names no schema that a memory can be in: write ?schema= and up to 63 letters, digits, _ "
            "and -, a letter first, and not pg_"
        )
    run = query.pop("run", None)
    if run is not None and not _RUN.fullmatch(run):
        raise ConfigError(
            f"{run[:80]!r} names no run: write run= and up to 100 letters, digits, dots, _ and -, a letter or digit "
            "first"
        )
    user, password, hosts, database = (found[name] for name in ("user", "password", "hosts", "database"))
    secrets = [unquote(password or ""), *(value for name, value in query.items() if name in _SECRET)]
    shown = {name: value for name, value in query.items() if name not in _SECRET}
    if schema != SCHEMA:
        shown = {"schema": schema, **shown}
    given = {*query, *(("host",) if hosts else ())}
    if run is not None:
        shown = {**shown, "run": run}
    whole = ":".join(part for part in (user, password) if part is not None)
    return Place(
        url=_joined(whole, hosts, database, query),
        path=_joined(user or "", hosts, database, shown),
        schema=schema,
        given=frozenset(given),
        secrets=tuple(secret for secret in secrets if secret),
        run=run,
    )


def _pairs(query: str) -> list[tuple[str, str]] | None:
    """Names and values, each name once; None where it is something else."""
    try:
        found = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        return None
    return found if len(dict(found)) == len(found) else None


def _joined(who: str, hosts: str, database: str | None, query: dict[str, str]) -> str:
    where = f"{who}@{hosts}" if who else hosts
    # libpq reads + as itself, and a path needs no encoding.
    asked = urlencode(query, quote_via=quote, safe="/")
    return f"postgresql://{where}/{database or ''}{'?' if asked else ''}{asked}"


def renamed(place: str, schema: str) -> str:
    """The place of a memory in another schema of the same database, without the name of a run."""
    head, _, query = place.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name not in ("schema", "run")]
    return f"{head}?{urlencode([*kept, ('schema', schema)], quote_via=quote, safe='/')}"
