"""A command that knows nothing of atlas, run as one episode: its model calls go to a server of its own."""

from __future__ import annotations

import math
import os
import re
import secrets
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atlas.errors import BudgetExceeded, ConfigError
from atlas.records import Episode
from atlas.serve.server import Serving
from atlas.serve.tenants import Limits, Tenant, Tenants
from atlas.wrap import Agent

NAME = "run"
"""The episode's name in the paths that the command is given."""
_LAST = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)", re.IGNORECASE)

_END = 65_536
"""Bytes of what a command prints in which its last line is looked for."""
_NOT_RUN = (126, 127)
"""How a shell ends that finds no such command, or may not run it."""
_STOPPED = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


@dataclass(frozen=True)
class Outcome:
    """What came of a command."""

    code: int
    """Its exit code; below 0 for a signal."""
    episode: Episode | None
    """None where it called no model."""
    unscored: str = ""
    """Why there is no score: the command that was to score it said nothing, or it was stopped, or could not go on."""


def run_command(
    command: Sequence[str],
    agent: Agent,
    *,
    goal: str = "",
    task: str = "",
    score: str = "",
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run ``command`` with its model calls as steps of one episode of ``agent``, which is closed afterwards.

    goal, task: of the episode; its first user turn, and a task of its own, where empty.
    score: a command for the shell, run after it: the number in the last line that it prints is the score, else its exit
        code says success (0) or failure; where it could not be run there is no score. Without one the exit code of
        ``command`` says it, but for a failure after it was stopped, or after a last call that no model answered.
    environment: of both; that of this process where None. It is told where to call, and with which key.
    """
    key = secrets.token_hex(16)
    # It has one episode, which ends when the command does and not before.
    tenant = Tenant("run", agent, [key], Limits(idle=float("inf")), goal=goal, task=task, lasting=False)
    given = dict(os.environ if environment is None else environment)
    with Serving(Tenants([tenant])) as server:
        given |= told(server.url, key)
        code, stopped = _ran(command, given)
        value, why = scored(score, {**given, "ATLAS_EXIT_CODE": str(code)}) if score else (float(code == 0), "")
        ids = [opened.id for opened in tenant.episodes.opened]
        for opened in tenant.episodes.opened if code and not score else []:
            # As in a loop of the same process: its end says nothing of how it did.
            opened.left_by = KeyboardInterrupt() if stopped else _refused(opened.episode.refused)
            if opened.left_by is not None:
                value, why = None, "it was stopped" if stopped else f"its last call failed: {opened.left_by}"
        results: list[Episode] = []
        tenant.episodes.ended = results.append
        if value is None:
            server.call(tenant.episodes.close())
        else:
            for id in ids:
                server.call(tenant.episodes.score(id, value))
    return Outcome(code, results[0] if results else None, why)


def told(url: str, key: str) -> dict[str, str]:
    """What tells a client library where to call, by the variables that OpenAI's and Anthropic's read."""
    base = f"{url}/e/{NAME}"
    return {
        "OPENAI_BASE_URL": f"{base}/v1",
        "OPENAI_API_BASE": f"{base}/v1",
        "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": base,
        "ANTHROPIC_API_KEY": key,
        "ATLAS_EPISODE_URL": f"{url}/v1/atlas/episodes/{NAME}",
        # A proxy would be asked for the loopback address.
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY", ""), "127.0.0.1"])),
        "no_proxy": ",".join(filter(None, [os.environ.get("no_proxy", ""), "127.0.0.1"])),
    }


def scored(command: str, environment: Mapping[str, str]) -> tuple[float | None, str]:
    """What a command says of the one before it, however much it prints: None, and why, where the number that it says is
    none (nan) or not finite, and where it could not be run or was stopped, which says nothing of the other."""
    with subprocess.Popen(command, shell=True, env=dict(environment), stdout=subprocess.PIPE) as done:
        assert done.stdout is not None
        end = b""
        while part := done.stdout.read(_END):
            end = (end + part)[-_END:]
    lines = end.decode("utf-8", "replace").strip().splitlines()
    if lines and (number := _LAST.fullmatch(lines[-1].strip())):
        value = float(number[0])
        return (value, "") if math.isfinite(value) else (None, f"the command that scores printed {number[0]}")
    if done.returncode in _NOT_RUN or -done.returncode in _STOPPED:
        return None, f"the command that scores could not be run, or was stopped (exit code {done.returncode})"
    return float(done.returncode == 0), ""


def _refused(error: Exception | None) -> Exception | None:
    """Why a command could not go on, where that is no doing of its own. A budget of its episode is its to keep to."""
    return None if isinstance(error, BudgetExceeded) and error.what != "run" else error


def _ran(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, bool]:
    """(its exit code, whether somebody stopped it) of a command that has this terminal. Ctrl-C goes to it, and it
    decides; so does SIGTERM."""
    heard: list[int] = []

    def ends(number: int, frame: object) -> None:
        heard.append(number)
        child.terminate()

    try:
        child = subprocess.Popen(list(command), env=dict(environment))
    except OSError as error:
        raise ConfigError(f"{shlex.join(command)} cannot be run ({error.strerror}): check its name") from error
    # Only the main thread hears signals.
    hears = threading.current_thread() is threading.main_thread()
    before = {
        number: signal.signal(number, does)
        for number, does in ((signal.SIGINT, lambda number, frame: heard.append(number)), (signal.SIGTERM, ends))
        if hears
    }
    try:
        code = child.wait()
        return code, bool(heard) or -code in _STOPPED
    finally:
        for number, did in before.items():
            signal.signal(number, did)
