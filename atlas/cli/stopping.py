"""What Ctrl-C leaves, and the very command that goes on from there."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from atlas.redact import HIDDEN, scrub


class Stopped(click.Abort):
    """Ctrl-C in a command that can go on; ``command`` does."""

    def __init__(self, command: str, kept: str) -> None:
        super().__init__()
        self.command = command
        self.kept = kept


def typed_command(more: Sequence[str] = ()) -> str:
    """The command that runs now, as a shell takes it, with ``more`` at its end; secrets in it are hidden."""
    program = ["python", "-m", "atlas"] if Path(sys.argv[0]).name == "__main__.py" else ["atlas"]
    # Each by itself: within the quotes of a shell a secret has another shape.
    return shlex.join([*program, *(_hidden(part) for part in sys.argv[1:]), *more])


def _hidden(part: str) -> str:
    return scrub(_LOGIN.sub(HIDDEN, part))


_LOGIN = re.compile(r"(?<=://)[^/?#@]*:[^/?#]*(?=@)")
"""User and password in a URL that is a whole argument: there they may hold any other mark."""


@contextmanager
def goes_on(more: Callable[[], Sequence[str]] = tuple, kept: str = "what was finished is kept") -> Iterator[None]:
    """Ctrl-C inside is told with the command that goes on: the present one, with ``more`` at its end where that was not
    typed. ``more`` is asked when it is needed."""
    try:
        yield
    except KeyboardInterrupt:
        added = list(more())
        # An option and its value: typed already, it stays where it stands.
        if added and any(part == added[0] or part.startswith(f"{added[0]}=") for part in sys.argv):
            added = []
        raise Stopped(typed_command(added), kept) from None
