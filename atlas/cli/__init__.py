"""The command line. Commands load when they are called, so that ``atlas --help`` stays light."""

from __future__ import annotations

import importlib
import sys

import click

import atlas
from atlas.cli.output import scrubbed
from atlas.cli.stopping import Stopped
from atlas.errors import AtlasError

__all__ = ["COMMANDS", "SECTIONS", "app", "main"]

COMMANDS = {
    "bench": ("atlas.cli.bench", "Run a benchmark: arms, intervals, a comparison paired by task."),
    "data": ("atlas.cli.data", "Prepare the data of benchmarks."),
    "demo": ("atlas.cli.demo", "Watch a student learn from its teacher on generated homes; writes a report."),
    "export": ("atlas.cli.export", "Turn runs into training data, or into what other tools read."),
    "mcp": ("atlas.cli.mcp", "Serve a memory as tools to agents that speak MCP."),
    "memory": ("atlas.cli.memory", "Look into a memory, change it by hand, take changes back; learn from episodes."),
    "models": ("atlas.cli.models", "List the models that can be named, fetch embedded ones, give names."),
    "play": ("atlas.cli.play", "Play one task of a benchmark by hand or from a file of commands."),
    "promote": ("atlas.cli.promote", "Let a trained student take the place of the present one, where it is not worse."),
    "regrade": ("atlas.cli.regrade", "Judge the stored episodes of a run again, without running the agent."),
    "report": ("atlas.cli.report", "Turn a run into one self-contained HTML page."),
    "traces": ("atlas.cli.traces", "List runs and read episodes; import runs of other programs."),
    "run": ("atlas.cli.run", "Run a command-line agent, untouched, as an episode."),
    "score": ("atlas.cli.score", "Say how a recorded episode went, late or anew."),
    "serve": ("atlas.cli.serve", "Serve an agent to clients of OpenAI's and Anthropic's APIs."),
    "train": ("atlas.cli.train", "Train a local student from traces."),
    "trust": ("atlas.cli.trust", "Calibrate when a cascade's student acts alone; measure what its doubt is worth."),
}
"""Name -> (module that defines a click command called ``command``, one line of help)."""

SECTIONS = {
    "Run": ("demo", "bench", "play", "data"),
    "Any agent": ("serve", "run", "score", "mcp"),
    "Look": ("traces", "report", "regrade"),
    "Remember and supervise": ("memory", "trust"),
    "Train and choose models": ("export", "train", "promote", "models"),
}
"""The order in which ``atlas --help`` lists them: that in which they are used."""


class Lazy(click.Group):
    """A group whose commands are imported when they are needed; the help list needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for section, names in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), COMMANDS[name][1]) for name in names])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(atlas.__version__, prog_name="atlas")
def app() -> None:
    """Agents that get better and cheaper while they run: a student that learns from its teacher."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: errors meant for the user become one line on stderr and exit code 2."""
    with scrubbed():
        _run(arguments)


def _run(arguments: list[str] | None) -> None:
    try:
        code = app.main(args=arguments, prog_name="atlas", standalone_mode=False)
        if isinstance(code, int) and code:
            sys.exit(code)
    except AtlasError as error:
        click.echo(f"atlas: {error}", err=True)
        sys.exit(2)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"atlas: {_sentence(error)}", err=True)
        sys.exit(2)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except Stopped as stop:
        click.echo(f"atlas: interrupted; {stop.kept}, and this command goes on from there:\n{stop.command}", err=True)
        sys.exit(130)
    except (click.Abort, KeyboardInterrupt):
        click.echo("atlas: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`atlas traces show | head`): nothing is wrong.
        sys.stderr.close()
        sys.exit(0)


def _sentence(error: click.ClickException) -> str:
    """What was typed wrongly, on one line, and where help is."""
    said = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{said}: see '{context.command_path} --help'" if context else said
