"""The server itself: uvicorn around the application."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import resource
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from atlas.errors import ConfigError, MissingExtra
from atlas.serve.tenants import Tenants
from atlas.serve.workers import in_workers

if TYPE_CHECKING:
    import uvicorn

T = TypeVar("T")

DOORS = 64
"""Connections that are taken in one turn of the event loop, where there may be many files."""
GRACE = 30
"""Seconds that calls under way have when the server is told to stop."""


def serve(
    tenants: Tenants | Callable[[], Tenants],
    *,
    host: str = "127.0.0.1",
    port: int = 8400,
    workers: int = 1,
    metrics_key: str = "",
    ready: Callable[[str], object] = lambda url: None,
) -> None:
    """Serve until the process is told to stop (Ctrl-C, SIGTERM): then calls under way are finished, and episodes ended.

    tenants: or what makes them, once in each process.
    workers: processes that share the port; their tenants' runs are on a server.
    ready: told of the URL once connections are taken.
    Raises ConfigError where others than this machine could call and no key is asked for, or the port is taken.
    """
    if workers > 1 and isinstance(tenants, Tenants):
        raise ConfigError("each process of a server has tenants of its own: give what makes them")
    with listen(host, port) as listener:
        url = _url(host, listener)

        def work(begun: Callable[[], object]) -> None:
            made = tenants if isinstance(tenants, Tenants) else tenants()
            _checked(made, host)
            server = _server(made, metrics_key, lambda loop: begun())
            with contextlib.suppress(KeyboardInterrupt):  # raised again by uvicorn, once all is ended
                server.run(sockets=_doors(listener))

        if workers == 1:
            work(lambda: ready(url))
        else:
            in_workers(workers, work, lambda: ready(url))


class Serving:
    """The same in a thread, while a ``with`` block lasts: for tests, notebooks, and commands that run against it."""

    def __init__(self, tenants: Tenants, *, host: str = "127.0.0.1", port: int = 0, metrics_key: str = "") -> None:
        """``port`` 0 takes a free one."""
        self._loop: list[asyncio.AbstractEventLoop] = []
        self._server = _server(tenants, metrics_key, self._loop.append)
        self._listener = listening(tenants, host, port)
        self._thread = threading.Thread(target=self._run, name="atlas-serve", daemon=True)
        self.port: int = self._listener.getsockname()[1]
        self.url = _url(host, self._listener)
        """Without the path that an API adds (``/v1`` for OpenAI's clients)."""

    def _run(self) -> None:
        self._server.run(sockets=_doors(self._listener))

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, run in the server's event loop."""
        assert self._loop
        return asyncio.run_coroutine_threadsafe(work, self._loop[0]).result()

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()


def listening(tenants: Tenants, host: str, port: int) -> socket.socket:
    """A socket at that address, open for connections."""
    _checked(tenants, host)
    return listen(host, port)


def _checked(tenants: Tenants, host: str) -> None:
    if tenants.open and not loopback(host):
        raise ConfigError(
            f"a server at {host} could be called from other machines, and no key is asked for: give keys, or serve at "
            "127.0.0.1"
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address, whoever may call. Raises ConfigError where it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConfigError(f"{host}:{port} cannot be listened at ({error.strerror}): choose another --port") from error
    return listener


def _doors(listener: socket.socket) -> list[socket.socket]:
    """The same socket as often as connections are to be taken in one turn of an event loop. uvloop takes one at each
    that it knows, and a turn is long where hundreds of calls are under way: a new client would wait behind all calls of
    those that are there."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = max(1, min(DOORS, files // 16)) if files != resource.RLIM_INFINITY else DOORS
    return [listener, *(listener.dup() for _ in range(count - 1))]


def _url(host: str, listener: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _server(
    tenants: Tenants, metrics_key: str, began: Callable[[asyncio.AbstractEventLoop], object] = lambda loop: None
) -> uvicorn.Server:
    try:
        from atlas.serve.app import application
    except ImportError:
        raise MissingExtra("a server", "serve") from None
    return server_of(application(tenants, metrics_key=metrics_key, began=began))


def server_of(app: Any) -> uvicorn.Server:
    """uvicorn around an ASGI application, as a server of ours has it."""
    try:
        import uvicorn

        from atlas.serve.patience import Patient
    except ImportError:
        raise MissingExtra("a server", "serve") from None
    _more_files()
    settings: dict[str, Any] = {
        "lifespan": "on",
        # A line for each call would hold what paths and queries hold; figures are at /metrics.
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        # Nobody asks where a call came from.
        "proxy_headers": False,
        "ws": "none",
        "http": Patient,
        "timeout_graceful_shutdown": GRACE,
    }
    return uvicorn.Server(uvicorn.Config(app, **settings))


def _more_files() -> None:
    """As many open connections as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # the bound stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))


def loopback(host: str) -> bool:
    """Whether only this machine can call an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
