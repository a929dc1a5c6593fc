"""``atlas play excytin``: one question about an incident, by hand or from a file of commands."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from atlas.cli.given import from_file, played, show, typed
from atlas.errors import ConfigError


@click.command("excytin")
@click.option("--incident", type=int, required=True, help="Number of the incident, such as 5.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder with questions/ and db/.")
@click.option("--question", "number", type=int, default=0, show_default=True, help="Number of the question, from 0.")
@click.option("--split", type=click.Choice(("test", "train")), default="test", show_default=True)
@click.option("--layer", type=click.Choice(("alert", "log", "alert_only")), default="alert", show_default=True)
@click.option("--mysql", help="URL of a MySQL or MariaDB database with the incident's tables, in place of the files.")
@click.option(
    "--commands",
    type=click.Path(path_type=Path),
    help="File of actions, one a line, played until an answer is submitted.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per state, the opening first.")
def excytin(
    incident: int,
    data: Path | None,
    number: int,
    split: str,
    layer: str,
    mysql: str | None,
    commands: Path | None,
    as_json: bool,
) -> None:
    """Investigate one question with execute[SQL] and submit[answer]; the rule judge scores the answer."""
    from atlas.benchmarks.excytin import data as files
    from atlas.benchmarks.excytin.engine import Engine
    from atlas.benchmarks.excytin.env import IncidentEnv
    from atlas.benchmarks.excytin.importing.to_mysql import label_of
    from atlas.benchmarks.excytin.judge import RuleJudge
    from atlas.benchmarks.excytin.layers import as_layer
    from atlas.benchmarks.excytin.mysql_engine import MysqlEngine
    from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine

    asked = files.questions(incident, split, data)
    if not 0 <= number < len(asked):
        raise ConfigError(
            f"incident {incident} has {len(asked)} {split} questions: choose --question 0 to {len(asked) - 1}"
        )
    given = from_file(commands) if commands else None
    path = None if mysql else files.database(incident, data)

    def engine() -> Engine:
        shown = as_layer(layer)
        return MysqlEngine(mysql, layer=shown) if mysql else SqliteEngine(path or "", layer=shown)

    label = label_of(mysql) if mysql else files.label(incident, data)
    env = IncidentEnv(asked[number], engine, RuleJudge(), label=label)
    if label:
        click.echo(f"incident {incident}: {label}", err=True)
    with asyncio.Runner() as runner:
        try:
            states = [runner.run(env.open())]
            show(None, states[-1], as_json=as_json)
            actions = given if given is not None else typed(lambda: states[-1])
            for action in played(actions, lambda: states[-1], commands):
                states.append(runner.run(env.step(action)))
                show(action, states[-1], as_json=as_json)
        finally:
            runner.run(env.close())
    if not as_json:
        click.echo(f"Score: {states[-1].score}" + (f" ({label})" if label else ""))
