"""What an agent is made with, and what it says of that which it cannot use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.errors import ConfigError
from atlas.given import shown
from atlas.memory import Memory
from atlas.policies import Solo
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
    usual = {"student": ScriptedModel(says("a"), name="small"), "teacher": ScriptedModel(says("b"), name="big")}
    memory = {} if "memory" in given else {"memory": Memory(":memory:", "hash")}
    return atlas.Agent(**{**usual, **memory, **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"distil": 1.5}, "distil is True, False, a model or its name"),
        ({"judge": "openai/gpt-4.1"}, "judge is one of atlas.evaluators"),
        ({"watch": "loop"}, "watch is True, False or a list of signs, not 'loop'"),
        ({"watch": ["loop"]}, "watch is True, False or a list of signs, not 'loop'"),
        ({"ask_for": [1]}, "a rule of ask_for is a text"),
        ({"success_score": 10**400}, "success_score is a finite number"),
        ({"success_score": None}, "success_score is a finite number, not None"),
        ({"expect": "a"}, "a share from 0 to less than 1, not 'a'"),
        ({"trials": True}, "its trials a share from 0 to 1, not 300 and True"),
        ({"samples": None}, "samples is a whole number from 1 to 1,000, not None"),
        ({"k": 10**5000}, "k is a whole number from 1 to 1,000, not more digits"),
        ({"trust": [1]}, r"trust is a share of the student's samples from 0 to 1, not \[1\]"),
        ({"trust": True}, "trust is a share .* not True"),
        ({"audit": "a"}, "the share of steps to audit is a number from 0 to 1, not 'a'"),
        ({"audit": True}, "the share of steps to audit is a number from 0 to 1, not True"),
        ({"arm": 5}, "arm, .* is a text that is not empty, not 5"),
        ({"arm": " "}, "arm, .* is a text that is not empty, not ' '"),
        ({"arm": "x\ud800"}, r"arm, .* holds half a character, 'x\\ud800'"),
        ({"learn": "False"}, "learn is True or False, not 'False'"),
        ({"lanes": {"force": "auto"}}, "lanes are True, False, atlas.LaneRules"),
        ({"budget": 5}, "budget is an atlas.Budget, not 5: write Budget"),
        ({"budget": 0}, "budget is an atlas.Budget, not 0: write Budget"),
        ({"run_budget": {"dollars": 1}}, "run_budget is an atlas.Budget, not {'dollars': 1}"),
        ({"actions": atlas.ChatActions}, "actions are atlas.ChatActions"),
        ({"otlp": 5}, "otlp is a text, not 5"),
        ({"ask_for": 5}, "ask_for is a list of rules, not 5"),
        ({"run": []}, r"run is a folder, a URL or a recorder, not \[\]"),
        ({"run": "x\ud800"}, "holds half a character"),
        ({"run": "x\0"}, "holds a NUL"),
        ({"run": "run", "permitted": [5]}, "a name of permitted is a text"),
        ({"run": "run", "permitted": 5}, "permitted is a list of names of models, not 5"),
        ({"student": 5}, "student is a model, not 5"),
        ({"student": ScriptedModel}, "student is a model, not <class"),
        ({"teacher": []}, r"teacher is a model, not \[\]"),
        ({"memory": 5}, "memory is a path, a URL or an atlas.Memory, not 5"),
        ({"memory": {}}, "memory is a path, a URL or an atlas.Memory, not {}"),
        ({"memory": "x\ud800"}, "holds half a character"),
        ({"memory": "m.sqlite", "embedder": 5}, "an embedder is one, or the name of one, not 5"),
        ({"memory": "m.sqlite", "embedder": "hash", "index": 5}, "there is no index 5"),
        ({"student": None, "teacher": None, "policy": Solo}, "policy is a policy, not <class"),
        ({"student": None, "teacher": None, "policy": "openai/gpt-4.1"}, "policy is a policy, and a model is none"),
    ],
    ids=shown,
)
def test_what_it_cannot_use_is_said_when_it_is_made(
    given: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        made(**given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"goal": 5}, "goal is a text, not 5: say in words"),
        ({"goal": None}, "goal is a text, not None"),
        ({"task": 5}, r"task is a text, not 5: write str\(...\)"),
        ({"family": None}, "family is a text, not None"),
        ({"seed": None}, "seed is a whole number, not None"),
        ({"seed": True}, "seed is a whole number, not True"),
        ({"seed": 1.5}, "seed is a whole number, not 1.5"),
    ],
    ids=shown,
)
def test_what_an_episode_cannot_begin_with_is_said_before_it_begins(given: dict[str, Any], said: str) -> None:
    with made() as agent:
        with pytest.raises(ConfigError, match=said):
            agent.episode(**{"goal": "g", **given})
        with pytest.raises(ConfigError, match=said):
            atlas.episode(**{"goal": "g", **given})


def test_an_agent_that_was_made_for_one_episode_is_closed_where_that_cannot_begin(tmp_path: Path) -> None:
    before = threading.active_count()
    model = ScriptedModel(says("a"))
    with pytest.raises(ConfigError, match="goal is a text"):
        atlas.episode(5, student=model, run=tmp_path / "run", otlp="http://127.0.0.1:9")  # type: ignore[arg-type]
    assert threading.active_count() == before
    with pytest.raises(ConfigError, match=r"agent is an atlas.Agent, not 'desk'"):
        atlas.episode("g", agent="desk")  # type: ignore[arg-type]


def test_what_a_text_may_hold_half_of_is_made_whole(tmp_path: Path) -> None:
    agent = made(run=tmp_path / "run", audit=0.0)
    with agent, agent.episode("g\ud800", task="t\ud800", family="f\ud800") as episode:
        episode.client.chat.completions.create(model="m", messages=user())
        episode.score(1)
    (result,) = Run(tmp_path / "run").results()
    assert (result.task.goal, result.task.id, result.task.family) == ("g\ufffd", "t\ufffd", "f\ufffd")


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
