"""Unmodified agents of other frameworks, in one process with atlas and through its server (``make test-clients``).

Each asks the same question, calls the same tool and gives the same answer, whatever API it speaks, streaming or not:
one episode, a step for each call of its model, and what the tool said as the outcome of the first.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.serve.server import Serving
from atlas.serve.tenants import Tenant, Tenants
from atlas.traces import Run
from tests.client_upstream import Upstream
from tests.clients import ANSWER, CLIENTS, COMMANDS, NODE, QUESTION, Client, Door

ROOT = Path(__file__).parents[1]
HERE = Path(sys.prefix).name if Path(sys.prefix).parent.name == ".venv-clients" else ""
"""The environment that this runs in, where it is one of theirs."""
PROGRAMS = ROOT / "tests" / "clients" / "node"
GUIDE = (ROOT / "docs" / "guides" / "clients.md").read_text(encoding="utf-8")

ALONE = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""Before a command: it sees no network but the loopback address."""

in_python = [(c, api, stream) for c in CLIENTS if c.where == HERE for api in c.apis for stream in c.streams]
in_node = [(c, api, stream) for c in NODE if c.where == HERE for api in c.apis for stream in c.streams]


models = [(c, model) for c in COMMANDS if c.where == HERE for model in c.models]


def named(value: Any) -> str | None:
    return value.module if isinstance(value, Client) else {True: "streamed", False: "whole"}.get(value)


@contextmanager
def agent(run: Path) -> Iterator[tuple[atlas.Agent, Upstream]]:
    upstream = Upstream()
    with upstream:
        student = atlas.load("openai/gpt-4.1-mini", base_url=upstream.url, api_key="x")
        with atlas.Agent(student, run=run) as made:
            yield made, upstream


@contextmanager
def served(run: Path) -> Iterator[dict[str, str]]:
    """What a client is told of a server, by the variables that it reads by itself."""
    with agent(run) as (made, _), Serving(Tenants([Tenant("test", made, ["sk-test"])])) as server:
        base = f"{server.url}/e/weather"
        yield {
            "OPENAI_BASE_URL": f"{base}/v1",
            "OPENAI_API_BASE": f"{base}/v1",
            "OPENAI_API_KEY": "sk-test",
            "ANTHROPIC_BASE_URL": base,
            "ANTHROPIC_API_KEY": "sk-test",
        }


def check(run: Path, client: Client, stream: bool) -> None:
    """One episode, with a step for each call."""
    (episode,) = Run(run).episodes()
    steps = 1 if client.once and stream else client.steps
    assert len(episode.steps) == steps
    assert (
        steps == 1 or client.outcome in episode.steps[0].outcome.text or client.outcome in episode.steps[1].observation
    )


# --- in Python --------------------------------------------------------------------------------------------------------


@pytest.mark.clients
@pytest.mark.parametrize(("client", "api", "stream"), [row for row in in_python if row[0].inside], ids=named)
def test_in_one_process(client: Client, api: str, stream: bool, tmp_path: Path) -> None:
    program = importlib.import_module(f"tests.clients.{client.module}")
    with agent(tmp_path / "run") as (made, upstream), made.episode(goal="the weather") as episode:
        door = Door(episode.client, episode.async_client)
        if api == "messages":
            door = Door(anthropic=episode.anthropic, async_anthropic=episode.async_anthropic)
        assert asyncio.run(program.run(door, api, stream)) == ANSWER
        assert len(upstream.requests) == (1 if client.once and stream else client.steps)
    check(tmp_path / "run", client, stream)


@pytest.mark.clients
@pytest.mark.parametrize(("client", "api", "stream"), in_python, ids=named)
def test_served(client: Client, api: str, stream: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = importlib.import_module(f"tests.clients.{client.module}")
    with served(tmp_path / "run") as told:
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        assert asyncio.run(program.run(Door(), api, stream)) == ANSWER
    check(tmp_path / "run", client, stream)


# --- in Node ----------------------------------------------------------------------------------------------------------


@pytest.mark.clients
@pytest.mark.parametrize(("client", "api", "stream"), in_node, ids=named)
def test_served_to_node(client: Client, api: str, stream: bool, tmp_path: Path) -> None:
    command = ["node", str(PROGRAMS / client.module), api, str(stream).lower()]
    with served(tmp_path / "run") as told:
        done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ANSWER
    check(tmp_path / "run", client, stream)


# --- on the command line ----------------------------------------------------------------------------------------------


@pytest.mark.clients
@pytest.mark.parametrize(("client", "model"), models, ids=named)
def test_run(client: Client, model: str, tmp_path: Path) -> None:
    own = f"{ROOT / 'tests' / 'clients' / 'own_agent.py'}:make"
    run, home, there = (tmp_path / name for name in ("run", "home", "there"))
    for folder in (home, there, home / "codex"):
        folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "atlas",
        "run",
        "--agent",
        own,
        "--",
        "sh",
        str(PROGRAMS / client.module),
        QUESTION,
    ]
    if shutil.which("unshare") and subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0:
        command = [*ALONE, *command]
    told = {"CLIENTS_RUN": str(run), "HOME": str(home), "CODEX_HOME": str(home / "codex"), "PYTHONPATH": str(ROOT)}
    told["CODEX_MODEL"] = model
    told["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
    done = subprocess.run(
        command, env=os.environ | told, cwd=there, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ANSWER
    check(run, client, True)
    (episode,) = Run(run).episodes()
    assert episode.result is not None and episode.result.score == 1.0


# --- the guide --------------------------------------------------------------------------------------------------------


def versions() -> dict[str, dict[str, str]]:
    """The pinned versions of each environment, by package."""
    pins = {}
    for path in (ROOT / "requirements").glob("clients-*.txt"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "==" in line]
        pins[path.stem.removeprefix("clients-")] = dict(line.split("==") for line in lines)
    pins["node"] = json.loads((PROGRAMS / "package.json").read_text(encoding="utf-8"))["dependencies"]
    return pins


def rows() -> list[str]:
    """The table of the guide."""
    pins = versions()
    made = ["| client | versions | APIs | in one process | streamed |", "|---|---|---|---|---|"]
    for client in (*CLIENTS, *NODE, *COMMANDS):
        pinned = pins["node" if client in NODE or client in COMMANDS else client.where]
        names = " ".join(f"{name} {pinned[name]}" for name in client.packages)
        inside = "yes" if client.inside else "-"
        streamed = {(False, True): "both", (True,): "always", (False,): "never"}[client.streams]
        made.append(f"| {client.packages[0]} | {names} | {', '.join(client.apis)} | {inside} | {streamed} |")
    return made


def test_the_table_of_the_guide_is_what_is_tested() -> None:
    assert "\n".join(rows()) in GUIDE


def test_the_guide_has_the_lines_of_every_client() -> None:
    for client in (*CLIENTS, *NODE, *COMMANDS):
        section = GUIDE.split(f"\n### {client.packages[0]}\n")
        assert len(section) == 2, client.packages[0]
        block = section[1].split("```")[1].strip().splitlines()[1:]
        assert 1 <= len(block) <= 3, block


def test_pins_name_no_place_they_came_from() -> None:
    for path in [*(ROOT / "requirements").glob("clients-*.txt"), PROGRAMS / "package-lock.json"]:
        text = path.read_text(encoding="utf-8")
        assert "file:" not in text and '"resolved"' not in text and " @ " not in text
