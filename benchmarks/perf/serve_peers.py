"""The servers that are measured, each started in front of one provider: ours, and others, installed on request."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pydantic import Field

from atlas.errors import ConfigError
from atlas.records import Record

LITELLM = "1.106.2"
PORTKEY = "1.15.2"
_PATIENCE = 120.0
"""Seconds until a server takes connections: litellm's imports take most of them."""


class Server(Record):
    """A server that is running."""

    name: str
    port: int
    pid: int
    """0 where there is none: the provider itself."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """What a call has to carry."""


Starts = Callable[[int, Path], contextlib.AbstractContextManager[Server]]
"""Starts a server in front of the provider at a port, with a folder for its files, until the block ends."""


@contextlib.contextmanager
def atlas(provider: int, folder: Path) -> Iterator[Server]:
    """``atlas serve``, one model alone, recording."""
    port = free_port()
    command = [sys.executable, "-m", "atlas", "serve", "--student", f"openai/own@http://127.0.0.1:{provider}/v1"]
    command += ["--run", str(folder / f"run-{port}"), "--port", str(port)]
    with running("atlas serve", command, port) as pid:
        yield Server(name="atlas serve", port=port, pid=pid)


def litellm(place: Path) -> Starts:
    """litellm's proxy, installed in ``place`` where it is not. Raises ConfigError where it cannot be."""
    program = place / "litellm" / "bin" / "litellm"
    if not program.exists():
        _install([sys.executable, "-m", "venv", str(place / "litellm")], "litellm's proxy")
        pip = str(place / "litellm" / "bin" / "pip")
        _install([pip, "install", "-q", f"litellm[proxy]=={LITELLM}"], "litellm's proxy")

    @contextlib.contextmanager
    def start(provider: int, folder: Path) -> Iterator[Server]:
        port = free_port()
        config = folder / "litellm.yaml"
        config.write_text(
            "model_list:\n  - model_name: own\n    litellm_params:\n      model: openai/own\n"
            f"      api_base: http://127.0.0.1:{provider}/v1\n      api_key: none\n",
            encoding="utf-8",
        )
        command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        # Neither server asks for a key here.
        quiet["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"
        with running("litellm's proxy", [*command, "--num_workers", "1"], port, quiet) as pid:
            yield Server(name="litellm's proxy", port=port, pid=pid)

    return start


def portkey(place: Path) -> Starts:
    """Portkey's gateway, installed in ``place`` where it is not. Raises ConfigError where it cannot be."""
    program = place / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not program.exists():
        (place / "portkey").mkdir(parents=True, exist_ok=True)
        package = f"@portkey-ai/gateway@{PORTKEY}"
        _install(["npm", "install", "--silent", "--prefix", str(place / "portkey"), package], "Portkey's gateway")

    @contextlib.contextmanager
    def start(provider: int, folder: Path) -> Iterator[Server]:
        port = free_port()
        headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{provider}/v1"}
        command = [shutil.which("node") or "node", str(program), f"--port={port}", "--headless"]
        with running("Portkey's gateway", command, port) as pid:
            yield Server(name="Portkey's gateway", port=port, pid=pid, headers=headers)

    return start


@contextlib.contextmanager
def running(name: str, command: list[str], port: int, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """The id of the process of ``command``, from when it takes connections at ``port`` until the block ends. Raises
    ConfigError where it does not."""
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise ConfigError(f"{name} cannot be started ({error.strerror}): install {command[0]}") from error
    try:
        until = time.monotonic() + _PATIENCE
        while not _takes(port):
            if process.poll() is not None or time.monotonic() > until:
                raise ConfigError(f"{name} did not start: try {' '.join(command)}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def megabytes(pid: int) -> float | None:
    """The memory that a process holds (resident); None where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), None)


def cpu_seconds(pid: int) -> float | None:
    """User and system time of a process so far; None where the system does not tell."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    used = said.rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


def _takes(port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(1.0)
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _install(command: list[str], name: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise ConfigError(f"{name} cannot be installed ({said[-1] if said else command[0]}): leave it out") from error
