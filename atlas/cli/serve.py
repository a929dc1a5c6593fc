"""``atlas serve``: an agent over HTTP, for any client of OpenAI's or Anthropic's APIs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.cli.agent_options import AgentOptions, agent_options, shared
from atlas.cli.number import Number
from atlas.errors import ConfigError

if TYPE_CHECKING:
    from atlas.serve import Limits, Tenant


@click.command(name="serve")
@agent_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8400, show_default=True, help="0 takes a free one.")
@click.option("--key-env", default="ATLAS_SERVE_KEY", show_default=True, help="VARIABLE that holds the callers' key.")
@click.option("--tenants", type=click.Path(path_type=Path, dir_okay=False), help="YAML: tenants with their own keys.")
@click.option("--idle", type=Number(1), default=900.0, show_default=True, help="Seconds until episodes end.")
@click.option("--episodes", type=click.IntRange(1), default=1000, show_default=True, help="Open ones per tenant.")
@click.option("--calls", type=click.IntRange(1), default=256, show_default=True, help="Under way per tenant.")
@click.option("--rate", type=Number(0), default=0.0, help="Calls a second per tenant.  [default: no bound]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that share the port.")
@click.option("--body-mb", type=click.IntRange(1), default=64, show_default=True, help="Largest request.")
def command(
    host: str,
    port: int,
    key_env: str,
    tenants: Path | None,
    idle: float,
    episodes: int,
    calls: int,
    rate: float,
    workers: int,
    body_mb: int,
    **settings: Any,
) -> None:
    """Serve an agent over Chat Completions, Responses and Anthropic Messages.

    Point a client at http://HOST:PORT/v1 (OpenAI) or http://HOST:PORT (Anthropic); /e/NAME before /v1 names its
    episode. Keys are read from the environment. Without any, only programs of this machine are answered. Where the run
    is on a server (--run postgresql://...&run=NAME) other processes of it, --workers or servers, go on with an episode.
    """
    from atlas.serve import Limits, Tenants, serve

    limits = Limits(idle=idle, episodes=episodes, calls=calls, rate=rate, body=body_mb << 20)
    options = AgentOptions(**settings)

    def made() -> Tenants:
        return Tenants(
            _tenants(tenants, options, limits, workers) if tenants else [_only(options, key_env, limits, workers)]
        )

    serve(
        made,
        host=host,
        port=port,
        workers=workers,
        metrics_key=os.environ.get("ATLAS_METRICS_KEY", ""),
        ready=lambda url: click.echo(f"atlas serves at {url}/v1 (OpenAI) and {url} (Anthropic); Ctrl-C ends it"),
    )


def _moves(agent: Any, workers: int) -> bool:
    """Whether its open episodes are kept where other processes find them: always where they must, else where they can
    be."""
    from atlas.traces import RunWriter

    kept = agent.place is not None and agent.folder is None and isinstance(agent.recorder, RunWriter)
    return workers > 1 or kept


def _shared_by(workers: int, options: AgentOptions) -> None:
    """Raises ConfigError, before a run or a memory is made, where several processes could not share the episodes."""
    from atlas.traces.place import is_server

    if workers > 1 and options.agent is None and not is_server(options.run):
        raise ConfigError(
            "with --workers any process goes on with an episode, which is kept in a run on a server: give --run "
            "postgresql://...?schema=NAME&run=NAME, or leave --workers out"
        )


def _only(options: AgentOptions, key_env: str, limits: Limits, workers: int) -> Tenant:
    from atlas.serve import Tenant
    from atlas.serve.tenants import read_keys

    keys = read_keys([key_env], os.environ) if os.environ.get(key_env) else []
    _shared_by(workers, options)
    agent = options.make()
    return Tenant("default", agent, keys, limits, moves=_moves(agent, workers))


def _tenants(path: Path, usual: AgentOptions, limits: Limits, workers: int = 1) -> list[Tenant]:
    """The tenants of a file: a mapping from names to the variables of their keys and the settings of their agents."""
    from atlas.serve import Tenant
    from atlas.serve.tenants import read_keys

    if usual != AgentOptions():
        raise ConfigError(f"{path} says who acts for each tenant: leave out the settings of one agent")
    entries = _read(path)
    options, keys = {}, {}
    for name, entry in entries.items():
        names = entry.pop("keys", None)
        if not isinstance(names, list) or not names or not all(isinstance(key, str) for key in names):
            raise ConfigError(f"tenant {name} in {path} has no keys: list names of variables of the environment")
        keys[name] = read_keys(names, os.environ)
        options[name] = AgentOptions.read(entry, f"tenant {name} in {path}")
    shared(options)
    every = [key for some in keys.values() for key in some]
    if len(set(every)) < len(every):
        raise ConfigError(f"two keys in {path} are the same: give each tenant its own")
    for each in options.values():
        _shared_by(workers, each)
    agents = {name: options[name].make(name) for name in options}
    return [Tenant(name, agent, keys[name], limits, moves=_moves(agent, workers)) for name, agent in agents.items()]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML ({type(error).__name__}): check it") from error
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise ConfigError(f"{path} maps names of tenants to their settings: write 'NAME:' and its keys below")
    return {str(name): dict(entry) for name, entry in found.items()}
