"""Reading the fields of a request, with a sentence for whatever is not what its API says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atlas.errors import ConfigError

_KINDS: dict[type, str] = {str: "text", dict: "an object", list: "a list", bool: "true or false", int: "a whole number"}


def field(given: Mapping[str, Any], name: str, kind: type, where: str = "") -> Any:
    """The field of that type, or None where it is absent or null. ``where`` is the path to ``given``."""
    value = given.get(name)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise ConfigError(f"'{where}{name}' is {type(value).__name__}, and should be {_KINDS[kind]}")
    return value


def need(given: Mapping[str, Any], name: str, kind: type, where: str = "") -> Any:
    """The field of that type, which has to be there."""
    value = field(given, name, kind, where)
    if value is None:
        raise ConfigError(f"'{where}{name}' is missing: give {_KINDS[kind]}")
    return value


def objects(given: Any, where: str) -> list[dict[str, Any]]:
    """``given`` as a list of objects; empty where it is null."""
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(part, dict) for part in given):
        raise ConfigError(f"'{where}' has to be a list of objects")
    return given


def limit(given: Mapping[str, Any], name: str) -> int | None:
    """A number of tokens, from 1; None where it is not given."""
    value: int | None = field(given, name, int)
    if value is not None and value < 1:
        raise ConfigError(f"'{name}' is {value}: give a whole number from 1")
    return value
