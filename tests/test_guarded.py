"""Actions that always need the teacher's word: what rules fit, who decides then, and where they are honoured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import PermissionDeniedError

import atlas
from atlas import words
from atlas.asking import Desk
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast, Stage
from atlas.benchmarks.arms import ARMS, build
from atlas.benchmarks.options import BenchOptions
from atlas.copying.nearest import Nearest
from atlas.errors import ActionRefused, ConfigError
from atlas.policies import Cascade, Guarded, Solo
from atlas.policies.guarded import _fits
from atlas.records import Decision, Reply, Task, ToolCall, View
from atlas.testing import ScriptedModel
from atlas.traces import Run
from tests.wrap_fixtures import TOOLS, call, two_step_loop, user

VIEW = View(task=Task(id="t", goal="tidy up"), opening="a room")


def fits(rule: str, *calls: ToolCall, action: str = "") -> bool:
    decided = Decision(action=action, actor="student", reason="agreed", tool_calls=calls)
    return Guarded(Solo(ScriptedModel([])), [rule]).rule(decided) == rule


def made(name: str, arguments: str) -> ToolCall:
    return ToolCall(id="1", name=name, arguments=arguments)


@pytest.mark.parametrize(
    ("rule", "tool", "arguments"),
    [
        ("refund", "refund", "{}"),
        ("REFUND", "refund", "{}"),
        ("delete_*", "delete_user", '{"id": 7}'),
        ('refund(*"amount": 9*', "refund", '{"amount":   950, "to": "x"}'),
        ('refund({"amount": 950, "to": "x"})', "refund", '{"to": "x", "amount": 950}'),
        ("*@elsewhere.example", "mail", '{"to": ["a@b.example", "me@elsewhere.example"]}'),
        ("rm *", "shell", '{"command": "rm  -rf\\n /"}'),
        ('*rm -rf "/"*', "shell", '{"options": {"command": "cd x; rm -rf \\"/\\""}}'),
        ("*ü*", "say", '{"text": "\\u00fc"}'),
        ("pay(*now*", "pay", "no JSON, now"),
        ('*"to": "evil"*', "mail", '{"to": "evil", "to": "good"}'),
    ],
)
def test_a_rule_fits_a_call_by_its_name_its_line_or_a_text_in_its_arguments(
    rule: str, tool: str, arguments: str
) -> None:
    assert fits(rule, made(tool, arguments))
    assert fits(rule, made("look_up", "{}"), made(tool, arguments))
    assert not fits(rule, made("look_up", "{}"))


@pytest.mark.parametrize(
    ("rule", "action"),
    [
        ("delete *", "Delete  the file"),
        ("execute", "execute[DROP TABLE x]"),
        ("execute[drop *", "execute[DROP TABLE x]"),
        ("execute[*drop *", "execute[\nDROP TABLE x]"),
        ("delete *", "Thought: that is best\n**Action:** delete all"),
        ("open [box]", "open [box]"),
        ("delete *", "\uff44\uff45\uff4c\uff45\uff54\uff45 all"),
    ],
)
def test_a_rule_fits_a_text_action_by_its_lines_and_its_name(rule: str, action: str) -> None:
    assert fits(rule, action=action)
    assert not fits(rule, action="look around")


@pytest.mark.parametrize("rule", ["delete", "delete?the file", "[d]elete the file", "elete the file"])
def test_nothing_but_the_star_is_special_and_the_whole_has_to_fit(rule: str) -> None:
    assert not fits(rule, action="delete the file")


@given(st.lists(st.text("ab", max_size=3), min_size=1, max_size=5), st.text("ab", max_size=12))
def test_stars_stand_for_anything(parts: list[str], text: str) -> None:
    import re

    assert _fits(parts, text) == bool(re.fullmatch(".*".join(map(re.escape, parts)), text, re.DOTALL))


def test_matching_is_linear() -> None:
    began = time.process_time()
    assert not fits("*".join(["a"] * 200) + "*b", action="a" * 200_000)
    assert not fits("x", made("t", '{"a": ' * 20_000 + "1" + "}" * 20_000))
    assert time.process_time() - began < 20.0


def test_rules_that_are_none_are_refused() -> None:
    for wrong in ("refund", [], [""], ["  "]):
        with pytest.raises(ConfigError, match="ask_for"):
            Guarded(Solo(ScriptedModel([])), wrong)


async def test_the_teacher_decides_what_a_rule_names_and_nothing_else() -> None:
    student = ScriptedModel(lambda ask: "Action: delete all" if ask.view.opening == "a room" else "Action: look")
    teacher = ScriptedModel(["Action: keep all"])
    policy = Guarded(Cascade(student, teacher), ["delete *"], teacher)
    decided = await policy.decide(VIEW, Desk())
    assert (decided.action, decided.actor, decided.reason) == ("keep all", "teacher", "ask-for delete *")
    assert [(v.actor, v.action) for v in decided.votes] == [*[("student", "delete all")] * 3, ("teacher", "keep all")]
    assert words.why(decided) == "delete * always needs the teacher's word, so the teacher acts"
    assert len(teacher.asks) == 1
    assert (await policy.decide(VIEW.replace(opening="a hall"), Desk())).reason == "agreed"


async def test_what_the_teacher_itself_wants_is_its_word() -> None:
    teacher = ScriptedModel(["Action: delete all"])
    split = ScriptedModel(["Action: a", "Action: b"])
    decided = await Guarded(Cascade(split, teacher), ["delete *"], teacher).decide(VIEW, Desk())
    assert (decided.action, decided.reason, len(teacher.asks)) == ("delete all", "split", 1)


async def test_without_a_teacher_it_is_refused() -> None:
    with pytest.raises(ActionRefused, match=r"delete all.*'delete \*'.*no teacher"):
        await Guarded(Solo(ScriptedModel(["Action: delete all"])), ["delete *"]).decide(VIEW, Desk())


def refunds(*_: Any) -> list[Reply]:
    return [call("refund", '{"order": "A1"}')] * 3


def test_a_wrapped_agent_asks_for_what_its_user_lists(tmp_path: Path) -> None:
    student = ScriptedModel(lambda ask: refunds() if ask.view.index == 0 else "Done.", name="small")
    teacher = ScriptedModel([call("look_up", '{"order": "A1"}')], name="large")
    # An audit, which chance wants of some step, would ask the teacher once more than its script has replies.
    agent = atlas.Agent(student, teacher, ask_for=["refund"], audit=0.0, run=tmp_path / "run")
    with agent, agent.episode("refund A1") as episode:
        two_step_loop(episode.client)
        episode.score(1.0)
    (stored,) = Run(tmp_path / "run").episodes()
    first = stored.steps[0].decision
    assert (first.reason, first.actor, first.tool_calls[0].name) == ("ask-for refund", "teacher", "look_up")
    assert [s.actor for s in stored.steps[0].spend] == ["student", "teacher"]


def test_a_wrapped_agent_without_a_teacher_refuses_it(tmp_path: Path) -> None:
    student = ScriptedModel(lambda ask: refunds())
    for given_as in ({"student": student}, {"policy": Solo(student, actions=atlas.ChatActions())}):
        with atlas.Agent(**given_as, ask_for=["refund"]) as agent:
            episode = agent.episode("refund A1")
            with pytest.raises(PermissionDeniedError, match="action_refused"), episode:
                episode.client.chat.completions.create(model="x", messages=user(), tools=TOOLS)
        assert episode.result is not None and episode.result.failure is not None
        assert episode.result.failure.kind == "ActionRefused"


def test_every_arm_of_a_bench_honours_the_rules() -> None:
    stage = Stage(Cast(student=Nearest(), teacher=ScriptedExpert()), BenchOptions(ask_for=("heat *",)))
    for arm in ("student", "teacher", "cascade-nodemos"):
        assert ARMS[arm] and build(arm, stage).config()["ask_for"] == ["heat *"]
    assert "ask_for" not in BenchOptions().settings(guided=True)
    assert stage.options.settings(guided=False)["ask_for"] == ["heat *"]
