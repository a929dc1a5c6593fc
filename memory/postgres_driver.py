"""How a connection to a PostgreSQL server is made, what is said where there is none, and how texts are kept."""

from __future__ import annotations

from typing import Any

from atlas.errors import ConfigError, MissingExtra, StoreError
from atlas.memory.postgres_url import Place
from atlas.redact import scrub

_ALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Parameters of the client, where the URL does not set them: a server that is gone is noticed."""
_SESSION = (
    # A client whose machine is gone does not keep its turn for hours.
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; "
    # What was acknowledged is on the disk, whatever the server is used to.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
_ESCAPE, _NUL = "\ue000", "\ue0000"
"""PostgreSQL keeps no NUL in a text: it is written as two characters of which the first is for private use."""


def keepable(value: object) -> object:
    """A value as PostgreSQL can keep it."""
    if type(value) is str and ("\0" in value or _ESCAPE in value):
        return value.replace(_ESCAPE, f"{_ESCAPE}1").replace("\0", _NUL)
    return value


def kept(value: Any) -> Any:
    """The value that :func:`keepable` was given."""
    if type(value) is str and _ESCAPE in value:
        return value.replace(_NUL, "\0").replace(f"{_ESCAPE}1", _ESCAPE)
    return value


def shutdowns() -> tuple[Any, ...]:
    """The errors after which a connection is gone."""
    from psycopg import errors

    return errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow


def connect(place: Place) -> Any:
    """A connection without a transaction. Raises StoreError, without secrets, where there is none to be had."""
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtra("a memory on a PostgreSQL server", "postgres") from error
    usual: dict[str, Any] = {name: value for name, value in _ALIVE.items() if name not in place.given}
    try:
        # autocommit: transactions are begun explicitly
        made = psycopg.connect(place.url, autocommit=True, application_name=f"atlas {place.schema}", **usual)
        made.execute(_SESSION, prepare=False)
    except psycopg.ProgrammingError:
        # It quotes what it could not read, which may be a part of the password.
        raise ConfigError(
            f"the URL of the memory {place.path} is refused by PostgreSQL's client: check its parameters, and that "
            "what is special in it is %-encoded"
        ) from None
    except psycopg.Error as error:
        raise StoreError(_no_server(place, line(error, place))) from error
    return made


def _no_server(place: Place, said: str) -> str:
    if "password" in said:
        return (
            f"{place.path} does not take the password of its user ({said}): put the right one into PGPASSWORD or "
            "~/.pgpass, or into the URL"
        )
    if "database" in said and "does not exist" in said:
        return f"{place.path} has no such database ({said}): make it with 'createdb', or name another"
    return f"the PostgreSQL server of {place.path} cannot be reached ({said}): check the address, and that it runs"


def line(error: Any, place: Place) -> str:
    """What a server or its client says, on one line and without secrets."""
    said = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    text = scrub(" ".join(said.split()), place.secrets)
    for secret in place.secrets:
        text = text.replace(secret, "[hidden]") if len(secret) > 3 else text
    return text[:300]
