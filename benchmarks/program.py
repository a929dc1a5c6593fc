"""What is typed to ``python -m atlas.benchmarks...``: wrong input is one sentence and exit code 2, as of ``atlas``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

import click

from atlas.errors import AtlasError
from atlas.redact import scrub


class Refused(click.ClickException):
    """An error that a user can mend."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"atlas: {scrub(self.format_message())}", file=file, err=file is None)


class Program(click.Command):
    """A command whose errors for users are told, not shown as tracebacks: ``@click.command(cls=Program)``."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AtlasError as error:
            raise Refused(str(error)) from error


class Listed(click.ParamType[tuple[Any, ...]]):
    """Values of one kind between commas, each once, as a tuple: ``type=Listed(click.IntRange(1))``."""

    name = "list"

    def __init__(self, of: click.ParamType[Any] | None = None) -> None:
        self.of = of or click.STRING

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if not isinstance(value, str):
            return tuple(value)
        parts = [part.strip() for part in value.split(",")]
        if not all(parts):
            self.fail(f"{value!r} names nothing somewhere: give values separated by commas", param, ctx)
        return tuple(dict.fromkeys(self.of.convert(part, param, ctx) for part in parts))


class Written(click.Path):
    """A file that is written at the end, told of at the beginning where it cannot be."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        path = Path(os.fsdecode(found))
        if not os.access(path.absolute().parent, os.W_OK | os.X_OK) or not path.absolute().parent.is_dir():
            self.fail(f"no file can be made in {path.absolute().parent}: choose another place", param, ctx)
        return path
