"""``atlas run``: a command-line agent, untouched, as an episode."""

from __future__ import annotations

import json
from typing import Any

import click

from atlas.cli.agent_options import AgentOptions, agent_options
from atlas.records import total


@click.command(name="run", context_settings={"allow_interspersed_args": False})
@agent_options
@click.option("--goal", help="What it is to do.  [default: its first user turn]")
@click.option("--task", help="Name of the task: arms are compared by it, and it is never shown its own demonstration.")
@click.option("--score", default="", help="Shell COMMAND after it, that prints a number or exits with 0 for success.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard error instead of a line.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    goal: str | None, task: str | None, score: str, as_json: bool, words: tuple[str, ...], **settings: Any
) -> int:
    """Run COMMAND with its model calls as the steps of one episode: atlas run --student MODEL -- COMMAND...

    It is told by OPENAI_BASE_URL, ANTHROPIC_BASE_URL and their keys where to call. Its exit code scores the episode,
    unless --score does, and is that of this command.
    """
    from atlas.serve.child import run_command

    agent = AgentOptions(**settings).make()
    outcome = run_command(words, agent, goal=goal or "", task=task or "", score=score)
    episode = outcome.episode
    if as_json:
        found = None if episode is None else episode.model_dump(mode="json")
        click.echo(json.dumps({"code": outcome.code, "episode": found, "unscored": outcome.unscored}), err=True)
    elif episode is None:
        click.echo("atlas: the command called no model through OPENAI_BASE_URL or ANTHROPIC_BASE_URL", err=True)
    else:
        dollars = total(episode.spend).dollars
        cost = "unpriced" if dollars is None else f"${dollars:.4f}"
        said = (
            f"score {episode.score:g}"
            if episode.score is not None
            else f"no score ({outcome.unscored or episode.stop})"
        )
        steps = f"{episode.steps} step{'s' * (episode.steps != 1)}, {episode.teacher_steps} by the teacher"
        click.echo(f"atlas: episode {episode.id}: {said}, {steps}, {cost}", err=True)
    return outcome.code if outcome.code >= 0 else 128 - outcome.code
