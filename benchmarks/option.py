"""What stands beside a field of a record of options: its help, the values it takes, and whether it is a setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Hashed = Literal["always", "changed", "guided", "apart", "no"]
"""Whether an option is one of the settings, which a run is resumed by. ``always``; ``changed``: where it is not the
default, so that runs from before there was the option are resumed; ``guided``: where an arm reads pamphlets; ``apart``:
in another form (the model and not its name, the rules of lanes in one); ``no``: it does not touch the results."""


@dataclass(frozen=True)
class Option:
    """What an option is on the command line."""

    help: str
    hashed: Hashed
    flags: tuple[str, ...] = ()
    """As typed, where it is not the name of the field."""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    repeated: bool = False
    """Given once for each value, instead of once with commas between them."""
    required: bool = False
    show_default: bool = True
    metavar: str | None = None
    bare: str | None = None
    """What it is where it is typed without a value; None where it needs one."""


def option(
    help: str,
    hashed: Hashed = "changed",
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    repeated: bool = False,
    required: bool = False,
    show_default: bool = True,
    metavar: str | None = None,
    bare: str | None = None,
) -> dict[str, Option]:
    """What stands beside a field of a record of options; see :class:`Option`."""
    return {
        "option": Option(help, hashed, flags, least, most, choices, repeated, required, show_default, metavar, bare)
    }
