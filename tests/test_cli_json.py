"""Every command can be read by a program: it has ``--json``, and what it prints with it is JSON.

The walk of ``tests/test_cli_secrets.py`` runs nearly all commands both ways; here are those that give and forget names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from atlas.cli import app, main
from atlas.testing.runs import write_run


def commands(group: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(group, click.Group):
        yield name, group
        return
    with click.Context(group) as context:
        for part in group.list_commands(context):
            found = group.get_command(context, part)
            assert found is not None
            yield from commands(found, f"{name} {part}".strip())


SERVES = ["mcp", "serve"]
"""What runs until it is stopped: asked over MCP, and for its figures over HTTP."""


def test_every_command_takes_json() -> None:
    without = [name for name, found in commands(app) if not any("--json" in param.opts for param in found.params)]
    assert without == [*SERVES, "traces export"], "whose output is JSON"


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATLAS_CONFIG", str(tmp_path / "config"))

    def run(*arguments: str) -> Any:
        main([*arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    return run


def test_names_are_given_and_forgotten_in_json(said: Any, tmp_path: Path) -> None:
    student = tmp_path / "student.gguf"
    student.touch()
    assert said("models", "add", "alias", "clerk", "nearest") == {"name": "clerk", "model": "nearest"}
    assert said("models", "add", "local", "mine", str(student)) == {"name": "mine", "model": f"gguf:{student}"}
    assert said("models", "remove", "mine") == {"removed": "mine"}
    main(["models", "remove", "clerk"])
    main(["models", "add", "alias", "clerk", "nearest"])


def test_an_import_and_an_undo_in_json(said: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run")
    main(["export", "run", "--format", "atif", "--any-outcome", "--arm", "student", "-o", "atif"])
    capsys.readouterr()
    told = said("traces", "import", "atif", "atif", "-o", "imported")
    assert (told["run"], told["imported"], told["known"]) == ("imported", 12, 0)
    from atlas.named import give

    give("clerk", "nearest")
    give("clerk", "scripted:alfworld")
    assert said("promote", "clerk", "--undo") == {"role": "clerk", "model": "nearest"}
