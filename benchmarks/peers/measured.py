"""How a package is asked in its own environment: what its import takes, and programs that play sessions."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atlas.benchmarks.peers.provider import Provider
from atlas.errors import ConfigError
from atlas.jsontext import read_json

HERE = Path(__file__).parent
_PEAK = """
import json, resource, runpy, sys, time

def peak():
    try:
        with open("/proc/self/status") as file:  # of this program alone, and not of the one that started it
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)
"""
_IMPORT = (
    _PEAK
    + """
cpu = time.process_time()
{statement}
print(json.dumps([time.process_time() - cpu, peak()]))
"""
)
_DRIVE = (
    _PEAK
    + """
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(json.dumps([peak(), time.process_time()]))
"""
)


@dataclass(frozen=True)
class Peer:
    """One of those that are compared."""

    name: str
    python: Path
    imports: str
    """The statement of a program that uses it."""
    driver: str


@dataclass
class Told:
    """What a program of sessions came to."""

    answers: dict[str, str] = field(default_factory=dict)
    kept: int | None = None
    doubled: int | None = None
    megabytes: float = 0.0
    cpu: float = 0.0
    killed: bool = False

    def right(self) -> int:
        """How many sessions answered their own question."""
        return sum(f"is {number}." in text for number, text in self.answers.items())


def imported(peer: Peer, times: int, limit: float) -> tuple[float, float]:
    """CPU seconds and megabytes of an import: the least of ``times``, and the median of the memory."""
    code = _IMPORT.format(statement=peer.imports)
    found: list[tuple[float, float]] = []
    for _ in range(times):
        status, said, why = _program(peer, ["-c", code], "", limit)
        if status:
            raise ConfigError(f"{peer.imports!r} fails: {why}")
        cpu, used = read_json(said[-1])
        found.append((cpu, used))
    return min(cpu for cpu, _ in found), statistics.median(used for _, used in found)


def played(peer: Peer, provider: Provider, place: str, sessions: Sequence[int], limit: float, at_once: int = 1) -> Told:
    """A program that plays these sessions, ``at_once`` of them in flight. It is killed where the provider says so.

    Raises:
        ConfigError: it failed, or was not done after ``limit`` seconds.
    """
    plan = {"place": place, "url": provider.url, "sessions": list(sessions), "at_once": at_once}
    arguments = ["-c", _DRIVE, str(HERE / peer.driver), json.dumps(plan)]
    status, said, why = _program(peer, arguments, place, limit, provider)
    if status == -9 and provider.kills is not None:
        return Told(killed=True)
    if status or len(said) < 2:
        raise ConfigError(f"its program failed: {why}")
    found, (megabytes, cpu) = read_json(said[-2]), read_json(said[-1])
    return Told(found["answers"], found["kept"], found["doubled"], megabytes, cpu)


def _program(
    peer: Peer, arguments: Sequence[str], place: str, limit: float, provider: Provider | None = None
) -> tuple[int, list[str], str]:
    """Its status, the lines that it printed, and the end of what it complained of."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        command = [str(peer.python), "-P", *arguments]
        try:
            process = subprocess.Popen(command, env=_environment(), cwd=place or None, stdout=out, stderr=err)
        except OSError as error:
            raise ConfigError(f"{peer.python} does not start ({error.strerror}): name another --place") from error
        if provider is not None and provider.kills is not None:
            provider.kills = (provider.kills[0], process.kill)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired as error:
            raise ConfigError(f"not done after {limit:g} s") from error
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        return status, out.read().splitlines(), " ".join(err.read().split())[-200:]


def _environment() -> dict[str, str]:
    """No key of the machine's, and nothing of one environment in another's."""
    kept = {k: v for k, v in os.environ.items() if not k.endswith(("_KEY", "_TOKEN")) and not k.startswith("PYTHON")}
    return kept | {"OPENAI_API_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def environment(place: Path, requirement: str) -> Path:
    """The Python of the environment in ``place``.

    Raises:
        ConfigError: there is none.
    """
    found = place / "bin" / "python"
    if not found.exists():
        raise ConfigError(f"there is no environment in {place}: make one, and install {requirement} in it")
    return found
