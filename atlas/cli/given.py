"""The commands given to ``atlas play``, from a file or typed, and the states it shows for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import click

from atlas.errors import DataError
from atlas.records import Observation


def from_file(path: Path) -> list[str]:
    """The commands of a file: plain lines, or JSON objects with an ``action``, such as ``--json`` prints.

    Blank lines are no commands, nor is the ``null`` of an opening.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"the file of commands {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the file of commands {path} is not UTF-8 text: {error.reason}") from error
    commands = [_command(line.strip(), path, number) for number, line in enumerate(lines, 1) if line.strip()]
    return [command for command in commands if command is not None]


def _command(line: str, path: Path, number: int) -> str | None:
    if not line.startswith("{"):
        return line
    try:
        action = json.loads(line)["action"]
        if isinstance(action, str):
            action.encode()  # half a surrogate pair is no text
    except (ValueError, KeyError, RecursionError):
        action = ...
    if action is None or isinstance(action, str):
        return action
    raise DataError(f'line {number} of {path} is neither a plain command nor {{"action": "..."}}')


def typed(state: Callable[[], Observation]) -> Iterator[str]:
    """Commands typed by a person, until the goal is reached or the input ends; ``?`` lists what is possible."""
    while not state().done:
        # Not click.prompt: it writes a part of the prompt to standard output, among the states.
        click.echo("> ", nl=False, err=True)
        try:
            line = input().strip()
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return
        except UnicodeDecodeError as error:
            raise DataError(f"what was typed is not UTF-8 text: {error.reason}") from error
        if line == "?":
            click.echo("\n".join(state().admissible), err=True)
        elif line in ("quit", "exit"):
            return
        elif line:
            yield line


def played(given: Iterable[str], state: Callable[[], Observation], commands: Path | None) -> Iterator[str]:
    """The commands until the episode is over. What a file has beyond its end is told, and not played."""
    for number, action in enumerate(given, 1):
        if state().done:
            where = f"{commands} has" if commands else "there are"
            click.echo(
                f"The episode is over: {where} more commands, from number {number} on, which are not played.", err=True
            )
            return
        yield action


def show(action: str | None, state: Observation, *, as_json: bool) -> None:
    """A state, and the action that led to it."""
    if as_json:
        click.echo(json.dumps({"action": action, **_fields(state)}, ensure_ascii=False))
        return
    if action is not None:
        click.echo(f"> {action}")
    click.echo(f"{state.text}\n")


def _fields(state: Observation) -> dict[str, str | float | bool | Sequence[str] | None]:
    whole = state.score is not None and state.score == int(state.score)
    return {
        "observation": state.text,
        "admissible": list(state.admissible),
        "score": int(state.score) if whole and state.score is not None else state.score,
        "done": state.done,
    }
