"""Demonstrations that stay for an episode, and prompts in the form that a small model reads on from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from atlas.asking import Desk
from atlas.cli import app
from atlas.errors import ConfigError
from atlas.goals import likest
from atlas.memory import DemonstrationStore
from atlas.models import load
from atlas.policies import Recall, Solo
from atlas.prompts import render, transcript
from atlas.protocols import RanksActions
from atlas.records import TRANSCRIPT, DemoStep, Prompt, Task, Turn, View, Window
from atlas.testing import ScriptedModel
from atlas.traces.format import pack_prompt, unpack_prompt


def view(*, index: int = 0, goal: str = "put a mug in drawer", **changes: Any) -> View:
    turns = tuple(Turn(action=f"wait {i}", observation=f"tick {i}", thought="hm") for i in range(index))
    return View(task=Task(id="t", goal=goal, instructions="Be brief."), opening="a room", turns=turns, **changes)


def window(goal: str, *actions: str) -> Window:
    steps = tuple(DemoStep(observation="a room", action=action, thought="why not") for action in actions)
    return Window(demo_id=goal, task_id=goal, goal=goal, steps=steps)


class Searches:
    """Demonstrations that count how often they are asked, and tell what for."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self.windows = windows
        self.asked: list[tuple[int, int]] = []

    def search(self, view: View, k: int) -> Sequence[Window]:
        raise AssertionError("nothing is looked for at each step")

    def similar(self, view: View, k: int) -> Sequence[Window]:
        self.asked.append((view.index, k))
        return self.windows[:k]

    def config(self) -> dict[str, object]:
        return {}


class Ranker(ScriptedModel, RanksActions):
    """A scripted model that reads prompts as ranking ones do."""


async def test_what_is_found_at_the_first_step_is_shown_at_all_of_them_before_the_history() -> None:
    demos = Searches([window("put a mug in drawer", "open drawer 1"), window("other", "look")])
    model = ScriptedModel(["Action: go"] * 3, name="small")
    policy = Recall(Solo(model), demos, 1, every="episode")
    for index in (0, 1, 2):
        decided = await policy.decide(view(index=index), Desk())
        assert [hit.demo_id for hit in decided.retrieved] == ["put a mug in drawer"]
        system, *rest = decided.prompt.messages()
        assert "open drawer 1" in system.content and "open drawer 1" not in str(rest)
    assert demos.asked == [(0, 40)]
    sent = [ask.prompt.messages() for ask in model.asks]
    assert sent[2][: len(sent[1])] == sent[1], "every prompt begins with the one before"


async def test_a_resumed_episode_and_another_task_look_again() -> None:
    demos = Searches([window("put a mug in drawer", "look")])
    model = ScriptedModel(["Action: go"] * 4, name="small")
    policy = Recall(Solo(model), demos, 2, every="episode")
    for moment in (view(index=3), view(index=4), view(seed=1), view(attempt=1)):
        await policy.decide(moment, Desk())
    assert [index for index, _ in demos.asked] == [0, 0, 0]


def test_how_often_it_looks_is_checked_and_told() -> None:
    store = DemonstrationStore(":memory:", embedder="hash")
    with pytest.raises(ConfigError, match="every 'step' or every 'episode'"):
        Recall(Solo(ScriptedModel([])), store, every="always")  # type: ignore[arg-type]
    assert "every" not in Recall(Solo(ScriptedModel([])), store).config(), "settings of older runs hold"
    assert Recall(Solo(ScriptedModel([])), store, every="episode").config()["every"] == "episode"


def test_goal_words_choose_among_what_the_embedder_found() -> None:
    steps = (DemoStep(observation="You see a mug 1 and an apple 1.", action="take apple 1 from shelf 1"),)
    goals = ("look at apple under the lamp", "put a hot apple in shelf", "put a cool apple in shelf")
    found = [Window(demo_id=goal, task_id=goal, goal=goal, steps=steps) for goal in goals]
    assert likest(found, "put a cool mug in drawer", 2)[0].goal == "put a cool apple in shelf"
    assert likest(found[:0], "anything", 3) == ()


async def test_a_ranking_student_is_shown_no_thoughts_and_a_writing_one_is() -> None:
    shown = view(retrieved=(window("g", "open drawer 1"),), admissible=("go", "open drawer 1"))
    for model, thoughts in ((Ranker(["Action: go"]), False), (ScriptedModel(["Action: go"]), True)):
        await Solo(model).decide(shown, Desk())
        assert ("why not" in model.asks[0].prompt.retrieved) is thoughts
        assert "open drawer 1" in model.asks[0].prompt.retrieved


async def test_a_transcript_is_read_on_behind_its_last_mark() -> None:
    model = Ranker(["Action: go"])
    model.form = TRANSCRIPT
    best, second = window("first", "open drawer 1"), window("second", "look")
    await Solo(model).decide(view(index=1, retrieved=(best, second), admissible=("go",)), Desk())
    text = transcript(model.asks[0].prompt)
    assert text.endswith("a room\n> wait 0\ntick 0\n>")
    assert text.index("second") < text.index("first"), "the best example stands last"
    assert "why not" not in text and "Thought:" not in text and "hm" not in text.split()


async def test_where_nothing_can_be_ranked_the_prompt_is_a_chat() -> None:
    model = Ranker(["Action: go"])
    model.form = TRANSCRIPT
    await Solo(model).decide(view(), Desk())
    assert "Action:" in model.asks[0].prompt.stable


@given(st.text(alphabet="> \nab"), st.text(alphabet="> \nab"))
def test_no_line_of_an_observation_looks_like_an_action(opening: str, observation: str) -> None:
    step = DemoStep(observation=observation, action="look")
    shown = Window(demo_id="d", task_id="d", goal="g", steps=(step,))
    seen = view(retrieved=(shown,)).replace(opening=opening, turns=(Turn(action="go", observation=observation),))
    lines = transcript(render(seen, form=TRANSCRIPT)).split("\n")
    assert [line for line in lines if line.startswith(">")] == ["> look", "> go", ">"]


def test_a_trace_keeps_that_examples_stand() -> None:
    prompt = render(view(retrieved=(window("g", "look"),), lasting=True))
    packed, texts = pack_prompt(prompt, Prompt())
    assert unpack_prompt(packed, Prompt(), texts) == prompt
    assert unpack_prompt(packed, Prompt(), texts).messages() == prompt.messages()


def test_options_behind_the_name_of_a_local_model_are_checked(tmp_path: Path) -> None:
    for said in ("colour=red", "form", "form=", "form=bare&form=transcript"):
        with pytest.raises(
            ConfigError, match=r"options form, rank, remind, dtype, device, each once, as in hf:x\?form="
        ):
            load(f"hf:x?{said}")
    with pytest.raises(ConfigError, match="takes the options form"):
        load("smollm2-135m?")
    with pytest.raises(ConfigError, match="bare or transcript, not 'prose'"):
        load("gguf:nowhere.gguf?form=prose")


def test_a_bench_looks_once_per_episode_when_asked_to(tmp_path: Path) -> None:
    command = "bench alfworld --split homes --n 2 --demos 4 --arms icd --student nearest --teacher scripted:alfworld"
    out = str(tmp_path / "run")
    done = CliRunner().invoke(app, [*command.split(), "--embedder", "hash", "--recall", "episode", "-o", out])
    assert done.exit_code == 0, done.output
    again = CliRunner().invoke(app, [*command.split(), "--embedder", "hash", "-o", out])
    assert isinstance(again.exception, ConfigError) and "other settings (recall)" in str(again.exception)
