"""No number that is given is NaN or without end: no comparison with one decides, so that a budget holds nobody."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import click
import pytest

import atlas
from atlas.cli import app
from atlas.errors import ConfigError
from atlas.testing import ScriptedModel


def _parameters(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Parameter]]:
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _parameters(found, (*path, name))
    for parameter in command.params:
        if isinstance(parameter.type, click.types.FloatParamType):
            yield " ".join((*path, parameter.opts[0])), parameter


FLOATS = dict(_parameters(app))


def test_all_numbers_of_all_commands_are_looked_at() -> None:
    assert len(FLOATS) > 30 and "serve --run-dollars" in FLOATS


@pytest.mark.parametrize("given", ["nan", "inf", "-inf"])
def test_no_command_takes_what_is_no_number(given: str) -> None:
    taken = []
    for where, parameter in FLOATS.items():
        try:
            parameter.type.convert(given, parameter, None)
        except click.BadParameter:
            continue
        taken.append(where)
    assert not taken


@pytest.mark.parametrize(
    "given",
    [{"dollars": math.nan}, {"dollars": math.inf}, {"dollars": -0.01}, {"tokens": -1}, {"tokens": -1, "dollars": 1.0}],
)
def test_a_budget_that_holds_nothing_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="a budget's"):
        atlas.Budget(**given)
    assert atlas.Budget(dollars=0.0, tokens=0) == atlas.Budget(dollars=0, tokens=0)


@pytest.mark.parametrize(
    "given",
    [
        {"success_score": math.nan},
        {"success_score": math.inf},
        {"k": 1.5},
        {"samples": True},
        {"max_tokens": 0.5},
        {"guidance": 0.5},
        {"arm": ""},
    ],
)
def test_an_agent_refuses_numbers_that_are_none(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="an agent's"):
        atlas.Agent(ScriptedModel("a"), ScriptedModel("b"), **given)
