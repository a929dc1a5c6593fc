"""A PostgreSQL server for the tests: the one that ATLAS_POSTGRES names, or the one on this machine."""

from __future__ import annotations

import os
import re
import uuid
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

USUAL = "postgresql://postgres@127.0.0.1:5432/test"


@cache
def _missing() -> str:
    """Why there is none; empty where there is one."""
    try:
        import psycopg
    except ImportError:
        return "the extra postgres is not installed"
    try:
        psycopg.connect(base(), connect_timeout=30).close()
    except psycopg.Error as error:
        return f"no PostgreSQL server at {'ATLAS_POSTGRES' if 'ATLAS_POSTGRES' in os.environ else USUAL}: {error}"
    return ""


def base() -> str:
    return os.environ.get("ATLAS_POSTGRES", USUAL)


def server() -> str:
    """The URL of a database of the server. Skips the test, with the reason, where there is none."""
    if missing := _missing():
        pytest.skip(missing)
    return base()


def fresh() -> str:
    """The URL of a memory that is not there yet, in a schema of its own: :func:`drop` it afterwards."""
    return f"{server()}{'&' if '?' in base() else '?'}schema=t_{uuid.uuid4().hex[:12]}"


def as_user(url: str, who: str) -> str:
    """``url`` for another user, or a user and a password."""
    return re.sub(r"//([^@/]*@)?", f"//{who}@", url, count=1)


def with_password(url: str, usual: str) -> tuple[str, str]:
    """``url`` with a password, and that: ``usual`` where the server asks for none."""
    who = urlsplit(url)
    return (url, unquote(who.password)) if who.password else (as_user(url, f"{who.username}:{usual}"), usual)


def drop(url: str) -> None:
    ask(f'DROP SCHEMA IF EXISTS "{schema(url)}" CASCADE')


def schema(url: str) -> str:
    return url.rsplit("schema=", 1)[1]


def ask(statement: str, *given: object) -> list[tuple[Any, ...]]:
    """On a connection of its own, as another program would."""
    import psycopg

    with psycopg.connect(base(), autocommit=True) as connection:
        found = connection.execute(statement, given or None)
        return found.fetchall() if found.description else []


def others(url: str) -> list[int]:
    """The processes of the server that have the memory at ``url`` open."""
    found = ask("SELECT pid FROM pg_stat_activity WHERE application_name = %s", f"atlas {schema(url)}")
    return [pid for (pid,) in found]
