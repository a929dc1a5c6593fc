"""A PostgreSQL server of its own, that may be stopped as often as wanted, where the server's programs are installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atlas.errors import ConfigError

_PATIENCE = 120.0


class Cluster:
    """It trusts whoever comes from this machine."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs, self._folder, self._port = programs, folder, port
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def make(self) -> None:
        data = str(self._folder / "data")
        _as_its_user(str(self._programs / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8")
        self._ctl("start")

    def crash(self) -> None:
        """As when the machine's power goes, and comes back."""
        self._ctl("stop", "-m", "immediate")
        self._ctl("start")

    def restart(self) -> None:
        self._ctl("restart", "-m", "fast")

    def stop(self) -> None:
        self._ctl("stop", "-m", "immediate")

    def _ctl(self, *words: str) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        folder, log = str(self._folder / "data"), str(self._folder / "log")
        _as_its_user(str(self._programs / "pg_ctl"), "-D", folder, "-l", log, "-w", "-o", options, *words)


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, or None."""
    usual = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = [*usual, *map(Path, filter(None, [shutil.which("initdb")]))]
    return found[-1].parent if found else None


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A server, while the block lasts. Raises ConfigError where none can be started."""
    where = programs()
    if where is None:
        raise ConfigError("the programs of a PostgreSQL server (initdb) are not installed: install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="atlas-reliability-pg-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    made = Cluster(where, folder, port)
    try:
        try:
            if os.geteuid() == 0:
                shutil.chown(folder, "postgres", "postgres")
            made.make()
        except (OSError, LookupError, subprocess.SubprocessError) as error:
            raise ConfigError(f"no PostgreSQL server can be started here ({error}): leave its rows out") from error
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_its_user(*command: str) -> None:
    """The server's programs refuse root."""
    demote = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    subprocess.run([*demote, *command], check=True, capture_output=True, cwd="/", timeout=_PATIENCE)
