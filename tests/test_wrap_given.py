"""What an agent is made with, and what it says of that which it cannot use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.errors import ConfigError
from atlas.memory import Memory
from atlas.testing import ScriptedModel
from atlas.traces import Run
from tests.wrap_fixtures import says, user

NAMED = """
from atlas.testing import ScriptedModel
from atlas.traces import Run

def small():
    return ScriptedModel(lambda ask: '{"entries": []}', name="small")
"""


def made(**given: Any) -> atlas.Agent:
    both = ScriptedModel(says("a"), name="small"), ScriptedModel(says("b"), name="big")
    return atlas.Agent(*both, memory=Memory(":memory:", "hash"), **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"distil": 1.5}, "distil is True, False, a model or its name"),
        ({"judge": "openai/gpt-4.1"}, "judge is one of atlas.evaluators"),
        ({"watch": "loop"}, "watch is True, False or a list of signs, not 'loop'"),
        ({"watch": ["loop"]}, "watch is True, False or a list of signs, not 'loop'"),
        ({"ask_for": [1]}, "a rule of ask_for is a text"),
        ({"success_score": 10**400}, "success_score is a finite number"),
    ],
)
def test_what_it_cannot_use_is_said_when_it_is_made(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**given)


def test_who_distils_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(NAMED)
    with made(distil="python:mine.py:small", run="run") as agent:
        with agent.episode(goal="g") as episode:
            episode.client.chat.completions.create(model="m", messages=user())
            episode.score(0.0)
        agent.flush()
    (result,) = Run("run").results()
    assert [spend.model for spend in result.spend if spend.actor == "distiller"] == ["small"]
