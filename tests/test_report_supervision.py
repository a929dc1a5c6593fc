"""The report of runs with lanes and pamphlets: what the first lines say, and what a step's reader is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from atlas.records import (
    TEACHER,
    Citation,
    Decision,
    Episode,
    LaneChoice,
    Observation,
    Review,
    Spend,
    Step,
    Stop,
    Task,
    Usage,
)
from atlas.report import gather
from atlas.report.headline import sentences
from atlas.report.page import page
from atlas.testing.runs import MadeUpArm, write_run
from atlas.traces import Run, RunWriter

FAMILIES = ("pick_up_and_place_simple_objects", "look_at_objects_in_bright_light", "clean_and_put_in_recep", "heat")


def _decision(index: int, lane: str) -> Decision:
    return Decision(
        action=f"go to shelf {index}",
        actor="student",
        reason="solo",
        lane=LaneChoice(lane=lane, reason="chance of the student by itself 0.61") if index == 0 else None,
        advice="look <b>behind</b> it" if index == 1 else "",
        guidance=(Citation(id="315def46b907", score=0.7), Citation(id="aa", shown=False, randomised=True)),
    )


def write_lanes(folder: Path, families: Sequence[str] = FAMILIES, each: int = 9) -> Run:
    """A run of one arm that chooses lanes: coached at the start of each family, alone at its end."""
    with RunWriter(folder, {}) as writer:
        for number in range(each * len(families)):
            family, within = families[number // each], number % each
            lane = ("coach", "paired", "auto")[within * 3 // each]
            task = Task(id=f"home-{number}", goal="put a mug in shelf", family=family)
            name = f"{number:012x}"
            asked = 2 if lane == "coach" else 0
            usage = Usage(calls=asked, dollars=0.01 * asked)
            writer.start(name, "lanes", task, 0, "made-up")
            for i in range(2):
                seen = Observation(text="a mug")
                writer.step(
                    name, Step(index=i, observation="a room", decision=_decision(i, lane), outcome=seen, seconds=0.0)
                )
            writer.end(
                Episode(
                    id=name,
                    run=writer.name,
                    arm="lanes",
                    task=task,
                    seed=0,
                    config="made-up",
                    stop=Stop.DONE,
                    score=1.0,
                    success=True,
                    steps=2,
                    teacher_steps=0,
                    asked_steps=asked,
                    spend=(Spend(actor=TEACHER, model="made up", usage=usage),),
                    seconds=0.0,
                    started=1_760_000_000.0 + number,
                    lane=lane,
                    reviews=(Review(attempt=0, approved=True, feedback="well done"),) if lane == "paired" else (),
                )
            )
    return Run(folder)


@pytest.fixture
def lanes(tmp_path: Path) -> Run:
    return write_lanes(tmp_path / "run")


def test_the_headline_of_lanes_compares_first_and_last_thirds(lanes: Run) -> None:
    (said,) = sentences(gather(lanes))
    assert "lanes won 100 % [90, 100] of 36" in said
    assert "from 100 % to 0 %" in said and "$0.0200, then $0" in said


def test_arms_without_names_of_their_own_are_compared_in_cost_too(tmp_path: Path) -> None:
    arms = {"cheap": MadeUpArm(12, 1.0, teacher=0.2), "teacher": MadeUpArm(12, 1.0, teacher=1.0)}
    (said,) = sentences(gather(Run(write_run(tmp_path / "r", arms))))
    assert "cheap won 100 % [76, 100] of 12, at " in said and "of the teacher's cost; teacher won" in said


def test_one_arm_alone_has_no_picture_that_compares_it(lanes: Run) -> None:
    html = page(gather(lanes), lanes.episodes())
    assert "Success against cost" not in html and "Supervision as tasks are mastered" in html


def test_names_that_do_not_fit_are_numbers_in_picture_and_table(lanes: Run, tmp_path: Path) -> None:
    html = page(gather(lanes), lanes.episodes())
    assert re.search(r">2\.</text>", html) and "2. look at objects in bright light</th>" in html
    short = write_lanes(tmp_path / "short", ("heat", "cool"))
    assert "1. heat</text>" in page(gather(short), short.episodes())


def test_a_step_tells_its_lane_its_advice_and_the_entries_shown(lanes: Run) -> None:
    html = page(gather(lanes), lanes.episodes())
    assert "chance of the student by itself 0.61" in html
    assert "look &lt;b&gt;behind&lt;/b&gt; it" in html, "advice is foreign text"
    assert "1 entry shown (1 withheld by a coin)" in html and "315def46" in html


def test_pamphlets_are_told_beside_their_control(tmp_path: Path) -> None:
    arms = {"icd": MadeUpArm(12, 0.9), "pamphlets": MadeUpArm(12, 1.0), "pamphlets-shuffled": MadeUpArm(12, 0.0)}
    said = sentences(gather(Run(write_run(tmp_path / "r", arms))))
    assert any("With pamphlets in place of demonstrations" in s and "another's advice, 0 %" in s for s in said)
