"""How arms do by thirds of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from atlas.benchmarks.thirds import main, thirds
from atlas.errors import ConfigError
from atlas.records import Episode, Spend, Stop, Task, Usage
from atlas.traces import RunWriter


def episode(arm: str, number: int, dollars: float, *, won: bool = True) -> Episode:
    usage = Usage(calls=1, prompt_tokens=number, dollars=dollars)
    return Episode(
        id=f"{arm}{number}", run="r", arm=arm, task=Task(id=f"t{number}", goal="g"), seed=0, config="c", stop=Stop.DONE,
        score=float(won), success=won, steps=1, teacher_steps=0, seconds=0.0, started=0.0,
        spend=(Spend(actor="teacher", model="m", usage=usage),),
    )  # fmt: skip


def test_thirds_are_in_order_and_a_fall_is_told_as_a_share(tmp_path: Path) -> None:
    ours = [episode("atlas", i, 1.0 if i < 3 else 0.5, won=i > 0) for i in range(9)]
    theirs = [episode("teacher", i, 1.0) for i in range(9)]
    row = thirds([[*ours, *theirs]], "atlas", "teacher")
    assert [third.dollars for third in row.thirds] == [1.0, 0.5, 0.5]
    assert [third.success.mean for third in row.thirds] == [pytest.approx(2 / 3), 1.0, 1.0]
    assert row.fell is not None and row.fell.mean == pytest.approx(-0.5)
    two = thirds([[*ours, *theirs], [episode("atlas", 100 + i, 2.0) for i in range(3)]], "atlas", "teacher")
    assert two.thirds[0].success.n == 4 and two.fell is None, "the second run has no teacher"
    with RunWriter(tmp_path / "run") as writer:
        for each in (*ours, *theirs):
            writer.end(each)
    found = CliRunner().invoke(main, [str(tmp_path / "run"), "--json"])
    assert json.loads(found.output)["pairs"][0]["tasks"] == 9
    assert "last third minus the first" in CliRunner().invoke(main, [str(tmp_path / "run")]).output


def test_an_arm_that_was_not_played_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'atlas' has fewer than 3 scored tasks"):
        thirds([[episode("teacher", 1, 1.0)]], "atlas", "teacher")
    with RunWriter(tmp_path / "run"):
        pass
    assert CliRunner().invoke(main, [str(tmp_path / "run")]).exit_code in (0, 1)


def test_a_task_that_several_runs_have_counts_once_and_arms_of_other_runs_pair(tmp_path: Path) -> None:
    """Pairs were of the last run alone, and an interval counted each time as a task."""

    def run(name: str, *episodes: Episode) -> str:
        with RunWriter(tmp_path / name) as writer:
            for each in episodes:
                writer.end(each)
        return str(tmp_path / name)

    def played(arm: str, dollars: float, lost: int) -> list[Episode]:
        return [episode(arm, i, dollars, won=i >= lost) for i in range(6)]

    first = run("first", *played("atlas", 1.0, 0), *played("teacher", 2.0, 3))
    second = run("second", *played("atlas", 3.0, 6), *played("teacher", 2.0, 3))
    told = json.loads(CliRunner().invoke(main, [first, second, "--json"]).output)
    (pair,) = told["pairs"]
    assert pair["tasks"] == 6 and pair["success"]["mean"] == 0.0 and pair["dollars"]["mean"] == 0.0
    assert [(row["success"]["n"], row["success"]["mean"]) for row in told["arms"]] == [(6, 0.5), (6, 0.5)]
    other = run("other", *played("random", 2.0, 6))
    pairs = json.loads(CliRunner().invoke(main, [first, other, "--json"]).output)["pairs"]
    assert [(pair["second"], pair["tasks"], pair["success"]["mean"]) for pair in pairs] == [
        ("teacher", 6, 0.5), ("random", 6, 1.0),
    ]  # fmt: skip
