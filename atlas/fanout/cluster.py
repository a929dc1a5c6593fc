"""A Ray cluster: one of this command's own, on this machine and reachable from nowhere else, or one that is there.

Ray is told to report nothing to its makers, and starts no dashboard.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import atlas
from atlas.errors import ConfigError, MissingExtra

LOCAL = "local"
"""The address of a cluster of this command's own."""

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
_ALONE = {
    # Off Linux Ray keeps to the loopback address by itself; elsewhere it does where it is told not to make clusters.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}
_OBJECTS = 256 << 20
"""Bytes for what workers are given: a memory's file at the most."""
_LOOPBACK = "127.0.0.1"
_PREFIX = "atlas-ray-"
_REACHED = 5.0
"""Seconds for a cluster to answer."""
_NEW = 60.0
"""Seconds in which a folder may be there and not locked yet."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to. ``ray`` is the module."""

    ray: Any
    cores: int

    @property
    def lost(self) -> type[Exception]:
        """What Ray raises where a worker is gone, or cannot be told from one that is; RayTaskError is another thing."""
        found: type[Exception] = self.ray.exceptions.RayError
        return found

    @property
    def failed(self) -> type[Exception]:
        """What it raises where the worker's own code did."""
        found: type[Exception] = self.ray.exceptions.RayTaskError
        return found


def check_ray(address: str) -> None:
    """Raises MissingExtra where Ray is not installed, ConfigError for an address where no cluster can be."""
    if find_spec("ray") is None:
        raise MissingExtra("--ray", "ray")
    if address.startswith("ray://"):
        raise ConfigError(
            f"--ray {address} is the address of Ray's client, which is outside of the cluster: type the command on a "
            "machine of the cluster, with --ray auto or --ray HOST:6379"
        )
    if address not in (LOCAL, "auto") and not re.fullmatch(r"[^\s/:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", address):
        raise ConfigError(f"--ray takes HOST:PORT, auto, or nothing for this machine alone, not {address!r}")
    if address not in (LOCAL, "auto"):
        host, _, port = address.rpartition(":")
        try:
            # Ray itself would try for minutes.
            socket.create_connection((host.strip("[]"), int(port)), _REACHED).close()
        except (OSError, OverflowError) as error:
            raise ConfigError(_why(address, str(error))) from error


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """The cluster at ``address``, and where that is :data:`LOCAL` one that is gone after the block.

    Raises ConfigError, in one sentence, where there is none, or one with another Python, Ray or atlas.
    """
    check_ray(address)
    local = address == LOCAL
    before = dict(os.environ)
    os.environ.update(_QUIET | (_ALONE | {"RAY_AUTH_TOKEN": _token()} if local else {}))
    began, whole = False, ExitStack()
    try:
        ray: Any = import_module("ray")
        if not ray.is_initialized():
            _begin(ray, address, whole.enter_context(_folder()) if local else None)
            began = True
            whole.callback(ray.shutdown)
        if local and began and ray.util.get_node_ip_address() != _LOOPBACK:
            raise ConfigError(
                "this program had loaded Ray before atlas could keep it to this machine: import atlas first, or start "
                "Ray yourself"
            )
        if not local:
            _check_nodes(ray, address)
        yield Cluster(ray, max(1, int(ray.cluster_resources().get("CPU", 1))))
    finally:
        whole.close()
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@cache
def _token() -> str:
    """One for all clusters of this process: Ray reads it once."""
    return secrets.token_hex(32)


def _begin(ray: Any, address: str, folder: Path | None) -> None:
    more: dict[str, Any] = {}
    if folder is not None:
        more = {
            "num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "include_dashboard": False,
            "object_store_memory": _OBJECTS,
            "_temp_dir": str(folder),
            "_node_ip_address": _LOOPBACK,
        }
        # Workers have it from here; this process keeps its own.
        os.environ["TMPDIR"] = str(folder)
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", **more)
    except Exception as error:
        # On a machine that is too busy for it Ray raises an Exception of no kind.
        raise ConfigError(_why(address, str(error))) from error


def _why(address: str, said: str) -> str:
    """One sentence of what Ray said when it could not be had."""
    if "Version mismatch" in said:
        theirs, ours = (re.findall(rf"{what}: (\S+)", said) for what in ("Ray", "Python"))
        if len(theirs) == len(ours) == 2:
            return (
                f"the Ray cluster at {address} has Ray {theirs[0]} on Python {ours[0]}, and this is Ray {theirs[1]} on "
                f"Python {ours[1]}: install the same on all of its machines"
            )
    first = next((line.strip() for line in said.splitlines() if line.strip()), "no reason given").rstrip(".")
    if address == LOCAL:
        return f"Ray could not be started on this machine ({first}): leave --ray out to play in one process"
    return (
        f"there is no Ray cluster to be had at {address} ({first}): start one with 'ray start --head', type the "
        "command on one of its machines, or leave the address out to play on this machine alone"
    )


def _check_nodes(ray: Any, address: str) -> None:
    """Raises ConfigError where a machine of the cluster has another atlas than this one, or none."""

    def versions() -> tuple[str, str]:
        # Sent by value: it must run where there is no atlas.
        import platform

        try:
            import atlas

            return platform.python_version(), atlas.__version__
        except ImportError:
            return platform.python_version(), ""

    found = {}
    for node in ray.nodes():
        if node["Alive"]:
            on = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked = ray.remote(num_cpus=0, scheduling_strategy=on)(versions)
            found[node["NodeManagerAddress"]] = asked.remote()
    check_versions(address, {host: ray.get(ref) for host, ref in found.items()})


def check_versions(address: str, found: dict[str, tuple[str, str]]) -> None:
    """``found``: the versions of Python and atlas by machine, the latter empty where there is none. Raises ConfigError
    for those that are not the same as here."""
    for host, (python, version) in sorted(found.items()):
        if not version:
            raise ConfigError(
                f"the machine {host} of the Ray cluster at {address} has no atlas: install {atlas.__version__} on it"
            )
        if version != atlas.__version__:
            raise ConfigError(
                f"the machine {host} of the Ray cluster at {address} has atlas {version}, and this is "
                f"{atlas.__version__}: install the same on all of its machines"
            )
        if python.split(".")[:2] != [str(part) for part in sys.version_info[:2]]:
            raise ConfigError(
                f"the machine {host} of the Ray cluster at {address} has Python {python}, and this is "
                f"{platform.python_version()}: install the same on all of its machines"
            )


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for Ray's sockets and logs and for the workers' files, which others may not read, and which is gone
    afterwards; and so are those of commands that were killed."""
    usual = tempfile.gettempdir()
    # The names of sockets are short: where the usual place for temporary files has a long one, it is not there.
    place = usual if len(usual) <= 20 else "/tmp"
    for old in Path(place).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime < _NEW:
                continue
            with _lock(old):
                shutil.rmtree(old, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    with _lock(made):
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Held while the command lives. Raises OSError where another process holds it, or may not be asked."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
