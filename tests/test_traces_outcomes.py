"""How an episode began and ended is read from its line without pydantic, and comes to the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atlas.errors import StoreError
from atlas.records import Episode, Failure, Review, Spend, Stop, Task, Usage, Verdict
from atlas.traces import Run, RunWriter
from atlas.traces.encode import encoded
from atlas.traces.outcomes import began, ended
from atlas.traces.place import TRACE

PAID = Spend(actor="student", model="m", usage=Usage(calls=2, prompt_tokens=3, dollars=None, unmetered=1, most=0.5))
PLAIN = Episode(
    id="e1",
    run="r",
    arm="a",
    task=Task(id="t", goal="gö", family="f", split="s"),
    seed=0,
    config="c",
    stop=Stop.DONE,
    score=None,
    success=None,
    steps=2,
    teacher_steps=0,
    spend=(PAID,),
    seconds=1.5,
    started=7.0,
)
FULL = PLAIN.replace(
    score=1.0,
    success=True,
    reviews=(Review(attempt=1, approved=False, feedback="no", spend=(PAID,)),),
    verdict=Verdict(judge="j", score=1.0),
    failure=Failure(kind="K", message="m", where="agent"),
    after=(PAID,),
    plan="p",
    lane="auto",
    retries="e0",
)


def line(episode: Episode, **changes: Any) -> bytes:
    return encoded({"type": "end", **episode.model_dump(mode="json"), **changes})


@pytest.mark.parametrize("episode", [PLAIN, FULL], ids=["plain", "full"])
def test_an_end_is_the_episode_that_was_written(episode: Episode) -> None:
    found = ended(line(episode))
    assert found == episode and found.model_dump_json() == episode.model_dump_json()
    assert found.replace(arm="b").arm == "b" and found.model_copy(update={"seed": 3}).seed == 3
    assert type(found.spend[0].usage) is Usage and found.spend == episode.spend
    old = json.loads(line(episode))
    for name in ("plan", "lane", "asked_steps", "reviews", "verdict", "after", "failure", "retries"):
        old.pop(name)
    earlier = ended(encoded(old))
    assert earlier is not None and earlier == Episode.model_validate({k: v for k, v in old.items() if k != "type"})


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": "two"},
        {"stop": "never"},
        {"strange": 1},
        {"task": {"id": "t"}},
        {"spend": [{"actor": "a", "model": "m", "usage": {"calls": 1, "strange": 2}}]},
        {"verdict": {"strange": 1}},
        {"failure": 3},
    ],
)
def test_what_does_not_fit_is_told_as_damage(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert ended(line(PLAIN, **changes)) is None
    with RunWriter(tmp_path / "run", {}) as writer:
        writer.end(PLAIN)
    with (tmp_path / "run" / TRACE).open("ab") as file:
        file.write(line(PLAIN, **changes) + b"\n")
    for read in (Run(tmp_path / "run").episodes, Run(tmp_path / "run").results):
        with pytest.raises(StoreError, match="line 2, does not fit"):
            read()


def test_what_pydantic_reads_besides_is_read_by_it(tmp_path: Path) -> None:
    """Half a pair of surrogates, numbers that JSON has no word for, and counts beyond all."""
    odd = PLAIN.replace(score=float("nan"), task=PLAIN.task.replace(goal="half \ud800"))
    with RunWriter(tmp_path / "run", {}) as writer:
        writer.start(PLAIN.id, "a", odd.task, 0, "c")
        writer.end(odd)
    (found,) = Run(tmp_path / "run").episodes()
    assert found.task == PLAIN.task.replace(goal="half \ufffd"), "no text encoding takes half a pair"
    assert found.result is not None and found.result.task == found.task and found.result.score != found.result.score


def test_a_beginning() -> None:
    told = {"type": "start", "episode": "e", "arm": "a", "task": PLAIN.task.model_dump(), "seed": 1, "config": "c"}
    for extra in ({}, {"time": 3.5}):
        found = began(encoded({**told, **extra}))
        assert found is not None and (found.episode, found.task, found.seed) == ("e", PLAIN.task, 1)
    assert began(encoded({**told, "seed": "x"})) is None
