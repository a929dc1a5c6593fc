"""Signs that an episode gets nowhere, and the watch that calls the teacher for them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.loop import Rollout
from atlas.policies import Solo
from atlas.policies.triggers import DEFAULT, REFUSALS, Errors, Loop, Stall, Trigger
from atlas.policies.watch import Watch
from atlas.records import Ask, Observation, Stop, Task, Turn, View
from atlas.testing import ScriptedModel

TASK = Task(id="t", goal="find the key")


def view(*turns: tuple[str, str], opening: str = "a room") -> View:
    return View(task=TASK, opening=opening, turns=tuple(Turn(action=a, observation=o) for a, o in turns))


LOOK = ("look", "a room")
EAST, WEST = ("east", "a hall"), ("west", "a cellar")


@pytest.mark.parametrize(
    ("trigger", "turns", "fires"),
    [
        (Loop(), [LOOK] * 3, True),
        (Loop(), [LOOK] * 2, False),
        (Loop(), [EAST, WEST, EAST, WEST], True),
        (Loop(), [WEST, EAST, WEST], False),
        (Loop(), [("wait", "one"), ("wait", "two"), ("wait", "three"), ("wait", "four")], False),
        (Loop(), [EAST, WEST, LOOK] * 2, True),
        (Loop(longest=2), [EAST, WEST, LOOK] * 2, False),
        (Stall(turns=3), [EAST, EAST, ("up", "a hall"), ("down", "a room")], True),
        (Stall(turns=3), [EAST, EAST, ("up", "a loft"), ("down", "a room")], False),
        (Stall(turns=3), [LOOK, LOOK], False),
        (Errors(), [("fly", "Nothing happens.")] * 3, True),
        (Errors(), [("fly", "Nothing happens."), EAST, ("fly", "Nothing happens.")] * 2, False),
        (Errors(), [("q1", "ProgrammingError: x"), ("q2", "Error: no table"), ("q3", "Invalid action")], True),
        (Errors(), [("q", "Errors of the week: none")] * 3, False),
    ],
)
def test_signs(trigger: Trigger, turns: Sequence[tuple[str, str]], fires: bool) -> None:
    assert trigger.fires(view(*turns), 0) is fires


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("Nothing happens.", True),
        ("ProgrammingError: no such column", True),
        ("Query error: x", True),
        ('{"error": "not found"}', True),
        ("1146 (42S02): Table 'a.b' doesn't exist", True),
        ("(1064, 'You have an error in your SQL syntax')", True),
        ("You can't go that way.", True),
        ("[(1064, 'a value')]", False),
        ("[]", False),
        ("You arrive at desk 1.", False),
        ("The error rate is 3 %.", False),
    ],
)
def test_refusals_of_environments_and_tools(said: str, refused: bool) -> None:
    assert bool(REFUSALS.match(said)) is refused


@pytest.mark.parametrize("trigger", DEFAULT)
def test_what_was_before_the_teacher_acted_is_no_sign(trigger: Trigger) -> None:
    stuck = view(*[("fly", "Nothing happens.")] * 8, opening="Nothing happens.")
    assert trigger.fires(stuck, 0)
    assert not trigger.fires(stuck, 7)


turns_of_few = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "Error: z"])), max_size=24)


@given(turns_of_few)
@settings(deadline=None)
def test_the_watch_says_the_same_of_the_same_view_and_never_twice_within_a_rest(turns: list[tuple[str, str]]) -> None:
    watch = Watch(Solo(ScriptedModel([])), ScriptedModel([]))
    signs = [watch.sign(view(*turns[:i])) for i in range(len(turns) + 1)]
    assert signs == [watch.sign(view(*turns[:i])) for i in range(len(turns) + 1)]
    acted = [i for i, sign in enumerate(signs) if sign]
    assert all(later - earlier > 3 for earlier, later in pairwise(acted))


class Corridor:
    """Doors to try; only ``forward`` leads on, and ten times forward is the end. ``stuck`` leads nowhere at all."""

    def __init__(self, stuck: bool = False) -> None:
        self.task, self.at, self.stuck = TASK, 0, stuck

    async def open(self) -> Observation:
        return Observation(text="metre 0")

    async def step(self, action: str) -> Observation:
        self.at += action == "forward" and not self.stuck
        return Observation(text=f"metre {self.at}", score=float(self.at == 10), done=self.at == 10)

    async def close(self) -> None: ...


async def played(stuck: bool = False, **options: Any) -> tuple[Rollout, ScriptedModel]:
    student = ScriptedModel(lambda ask: "Action: dither", name="student")
    teacher = ScriptedModel(lambda ask: "Action: forward", name="teacher")
    rollout = Rollout(Corridor(stuck), Watch(Solo(student), teacher, **options), max_steps=60)
    await rollout.play()
    return rollout, teacher


async def test_a_student_that_dithers_in_unison_is_helped_one_step_at_a_time_to_the_end() -> None:
    rollout, teacher = await played()
    reasons = [step.decision.reason for step in rollout.steps]
    assert reasons[:8] == ["solo", "solo", "solo", "loop", "solo", "solo", "solo", "loop"]
    assert len(teacher.asks) == 10 and rollout.steps[-1].outcome.done
    assert {step.decision.actor for step in rollout.steps if step.decision.reason == "loop"} == {"teacher"}


async def test_a_teacher_may_act_for_several_steps_in_a_row() -> None:
    rollout, teacher = await played(steps=3)
    reasons = [step.decision.reason for step in rollout.steps]
    assert reasons == (["solo"] * 3 + ["loop"] * 3) * 3 + ["solo"] * 3 + ["loop"]
    assert len(teacher.asks) == 10


async def test_a_teacher_that_does_not_help_is_asked_ever_more_rarely() -> None:
    rollout, _ = await played(stuck=True)
    at = [step.index for step in rollout.steps if step.decision.actor == "teacher"]
    assert at == [3, 8, 17, 34]
    assert len(rollout.steps) == 60


async def test_the_teacher_does_not_see_demonstrations_and_its_spend_is_counted() -> None:
    seen: list[Ask] = []

    def advise(ask: Ask) -> str:
        seen.append(ask)
        return "Action: forward"

    watch = Watch(Solo(ScriptedModel([])), ScriptedModel(advise), triggers=[Loop()])
    desk = Desk()
    decided = await watch.decide(view(LOOK, LOOK, LOOK), desk)
    assert (decided.reason, decided.action, [s.actor for s in desk.spent]) == ("loop", "forward", ["teacher"])
    assert seen[0].view.retrieved == ()


async def test_an_episode_that_gets_on_never_asks() -> None:
    student = ScriptedModel(lambda ask: "Action: forward")
    rollout = Rollout(Corridor(), Watch(Solo(student), ScriptedModel([])))
    episode = await rollout.play()
    assert (episode.stop, episode.success, episode.asked_steps) == (Stop.DONE, True, 0)


def test_wrong_settings_are_refused_and_right_ones_told() -> None:
    with pytest.raises(ConfigError, match="1 turn or more"):
        Loop(turns=0)
    with pytest.raises(ConfigError, match="without triggers"):
        Watch(Solo(ScriptedModel([])), ScriptedModel([]), triggers=[])
    with pytest.raises(ConfigError, match="1 step or more"):
        Watch(Solo(ScriptedModel([])), ScriptedModel([]), steps=0)
    with pytest.raises(ConfigError, match="rests"):
        Watch(Solo(ScriptedModel([])), ScriptedModel([]), rest=-1)
    config = Watch(Solo(ScriptedModel([])), ScriptedModel([], name="big"), triggers=[Stall(turns=9)]).config()
    assert config["teacher"] == "big"
    assert config["triggers"] == [{"trigger": "stall", "turns": 9}]
