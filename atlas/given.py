"""What people give in Python: whether it is what it is taken for, and the sentence that says so where it is not.

Checked where it is given: what is found out later has cost an episode, or what was paid for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from atlas.errors import ConfigError
from atlas.record import Record, finite

T = TypeVar("T")


def whole(value: object) -> bool:
    """Whether it is a whole number; True and False are none, nor are the numbers of numpy, which no JSON takes."""
    return isinstance(value, int) and not isinstance(value, bool)


def real(value: object) -> bool:
    """Whether it is a finite number, whole or not; as :func:`whole` else."""
    return isinstance(value, int | float) and not isinstance(value, bool) and finite(value)


def shown(value: object) -> str:
    """What was given, as a sentence quotes it."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300
        text = "more digits than are ever written"
    return text if len(text) <= 80 else f"{text[:77]}..."


def has(value: object, *methods: str) -> bool:
    """Whether it is an object with all of these methods; the class of one, which nobody made, is none."""
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in methods)


class Given(Record):
    """Base of the records that people make in Python: what does not fit is one sentence, a ConfigError.

    What is read as one (``model_validate``, and as a part of another record) raises ValidationError, as any record
    does: who reads it knows the file, and says so.
    """

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ConfigError(_misfit(type(self), error)) from None

    # As BaseModel's own: a record that is read is not made by calling this.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def _misfit(kind: type[Record], error: ValidationError) -> str:
    """What does not fit of the record of this class that somebody wanted to make."""
    # A misspelt name is a field too many and a field too few; only the first tells where.
    wrong = sorted(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
    first, made = wrong[0], f"{kind.__name__}(...)"
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"{made} takes no {where!r}: it takes {_listed(list(kind.model_fields))}"
    if first["type"] == "missing":
        return f"{made} needs {_listed(['.'.join(map(str, e['loc'])) for e in wrong if e['type'] == 'missing'])}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    should = re.sub(r"^\w+ (?=should )|, (unable|got|after) .*", "", first["msg"])
    return f"the {where} of {made} {should}, not {shown(first['input'])}"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def check_whole(what: str, value: object, least: int, most: int) -> None:
    """Raises ConfigError for what is no whole number from ``least`` to ``most``."""
    if not (isinstance(value, int) and whole(value) and least <= value <= most):
        raise ConfigError(f"{what} is a whole number from {least:,} to {most:,}, not {shown(value)}")


def check_share(what: str, value: object) -> None:
    """Raises ConfigError for what is no number from 0 to 1."""
    if not (isinstance(value, int | float) and real(value) and 0.0 <= value <= 1.0):
        raise ConfigError(f"{what} is a number from 0 to 1, not {shown(value)}")


def check_record(what: str, value: object, kind: type, mend: str) -> None:
    """Raises ConfigError for what is no record of this ``kind``."""
    if not isinstance(value, kind):
        name = kind.__name__
        raise ConfigError(f"{what} is {'an' if name[0] in 'AEIO' else 'a'} {name}, not {shown(value)}: {mend}")


def check_records(what: str, given: Iterable[T], kind: type[T], mend: str) -> list[T]:
    """``given`` as a list. Raises ConfigError for what is none, and where one of them is no record of this ``kind``."""
    # A record is iterable too: over its fields.
    if isinstance(given, str | bytes | Record) or not isinstance(given, Iterable):
        raise ConfigError(f"{what} is given as a list, not as {shown(given)}: {mend}")
    found = list(given)
    for one in found:
        check_record(what, one, kind, mend)
    return found


def check_text(what: str, value: object, mend: str) -> None:
    """Raises ConfigError for what is no text."""
    if not isinstance(value, str):
        raise ConfigError(f"{what} is a text, not {shown(value)}: {mend}")


def check_name(what: str, value: object) -> None:
    """Raises ConfigError for what is no text that stands in tables and is kept in files."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{what} is a text that is not empty, not {shown(value)}: give one, or leave it out")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{what} holds half a character, {shown(value)}, which no file takes: give it whole characters"
        ) from None


def check_arm(what: str, value: object) -> None:
    """Raises ConfigError for what is no name that a table has on a line, and a list between commas."""
    check_name(what, value)
    if isinstance(value, str) and (value != value.strip() or _BREAKS.search(value)):
        raise ConfigError(
            f"{what} is one line without commas, control characters and spaces at its ends, not {shown(value)}: give "
            "it a plainer name"
        )


_BREAKS = re.compile("[,\x00-\x1f\x7f-\x9f\u2028\u2029]")


def check_path(what: str, value: str | Path) -> None:
    """Raises ConfigError for what no file system takes as a path, and no server as a name."""
    try:
        odd = "a NUL" if b"\0" in os.fsencode(value) else ""
    except UnicodeEncodeError:
        odd = "half a character"
    if odd:
        raise ConfigError(f"the name of {what} holds {odd}, which no path may: name another")


def check_switch(what: str, value: Any) -> None:
    """Raises ConfigError for what is neither True nor False: 'False', a text, would be true."""
    if not isinstance(value, int) or value not in (0, 1):
        raise ConfigError(f"{what} is True or False, not {shown(value)}")


def check_model(what: str, value: object) -> None:
    """Raises ConfigError for what cannot be asked as a model is."""
    if isinstance(value, str):
        raise ConfigError(f"{what} is a model, not the name of one: write atlas.load({shown(value)})")
    if not has(value, "sample"):
        raise ConfigError(f"{what} is a model, not {shown(value)}: give what atlas.load('provider/model') makes, say")
    if absent := [name for name in ("name", "price", "shares_prompt") if not hasattr(value, name)]:
        raise ConfigError(f"{what} is a model, and {type(value).__name__} has no {absent[0]}: see atlas.Model")


def check_actor(what: str, value: object) -> None:
    """Raises ConfigError for what is neither a model nor a policy in the place of one."""
    if not has(value, "decide", "config"):
        check_model(what, value)


def check_policy(what: str, value: object) -> None:
    """Raises ConfigError for what does not decide as a policy does."""
    if isinstance(value, str) or has(value, "sample"):
        model = f"atlas.load({shown(value)})" if isinstance(value, str) else type(value).__name__
        raise ConfigError(f"{what} is a policy, and a model is none: write atlas.Solo(...) around {model}")
    if not has(value, "decide", "config"):
        raise ConfigError(f"{what} is a policy, not {shown(value)}: give atlas.Solo(model), say")
