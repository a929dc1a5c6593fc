"""``atlas regrade``: verdicts beside a run, resumed and never paid twice, with nothing hidden that is missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import atlas.models
from atlas.cli import app
from atlas.errors import AtlasError, ConfigError, DataError, ModelError, StoreError
from atlas.evaluators.judge import ModelJudge
from atlas.evaluators.rubric import AXES
from atlas.records import Ask
from atlas.regrade import finished, regrade, stored_case
from atlas.testing import FlakyModel, ScriptedModel, SlowModel
from atlas.testing.runs import ARMS, write_run
from atlas.traces import Run
from atlas.traces.verdicts import VERDICTS, newest, paid, read_verdicts


def says(score: float, uncertainty: float = 0.1) -> str:
    verdict = json.dumps({"scores": {axis.name: score for axis in AXES}, "uncertainty": uncertainty})
    return f"Principles:\n- the goal decides\nVerdict:\n{verdict}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", {name: ARMS[name] for name in ("student", "cascade")})


def call(*arguments: str, code: int = 0) -> str:
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["regrade", *arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts scripted models where hosted ones are loaded by name."""

    def put(**known: Any) -> None:
        monkeypatch.setattr(atlas.models, "load", known.__getitem__)

    return put


def test_a_run_is_judged_once_and_the_agent_never_runs(folder: Path, models: Callable[..., None]) -> None:
    model = ScriptedModel(lambda ask: says(0.75), name="small")
    models(small=model)
    before = (folder / "trace.jsonl").read_bytes()
    grades = json.loads(call(str(folder), "--judge", "small", "--json"))
    assert [(arm["arm"], arm["judged"], arm["missing"]) for arm in grades["arms"]] == [
        ("student", 12, 0),
        ("cascade", 12, 0),
    ]
    assert grades["arms"][0]["score"]["mean"] == 0.75 and grades["spend"][0]["usage"]["calls"] == 24
    assert grades["calibration"]["n"] == 24
    again = call(str(folder), "--judge", "small")
    assert len(model.asks) == 24 and len((folder / VERDICTS).read_text().splitlines()) == 24
    assert "judge:small" in again and "0.75" in again and "instruction following" in again
    assert (folder / "trace.jsonl").read_bytes() == before


async def test_a_judge_killed_half_way_goes_on(folder: Path) -> None:
    run = Run(folder)
    episodes = finished(run)
    judge = ModelJudge(ScriptedModel(lambda ask: says(1.0)))
    await regrade(run, judge, episodes[:5])
    with (folder / VERDICTS).open("ab") as file:
        file.write(b'{"episode": "cut o')
    model = ScriptedModel(lambda ask: says(1.0))
    lines = await regrade(run, ModelJudge(model), episodes)
    assert len(model.asks) == len(episodes) - 5 and set(newest(lines)) == {e.id for e in episodes}


async def test_several_at_once_pay_each_verdict_once(folder: Path) -> None:
    run = Run(folder)
    asked = ScriptedModel(lambda ask: says(1.0))
    slow = SlowModel(asked, latency=0.01)
    found = await asyncio.gather(*(regrade(run, ModelJudge(slow), finished(run)) for _ in range(3)))
    assert len(asked.asks) == 24 == len((folder / VERDICTS).read_text().splitlines())
    assert all(set(newest(lines)) == {e.id for e in finished(run)} for lines in found)


async def test_missing_verdicts_are_marked_and_asked_again_only_when_told(folder: Path) -> None:
    run = Run(folder)
    episodes = finished(run, "student")
    broken = ScriptedModel(lambda ask: "I would rather not say.")
    lines = await regrade(run, ModelJudge(broken), episodes)
    assert all(line.verdict.score is None and line.verdict.missing for line in lines)
    assert paid(lines)[0].usage.calls == 12
    well = ScriptedModel(lambda ask: says(0.5))
    assert await regrade(run, ModelJudge(well), episodes) == lines and not well.asks
    lines = await regrade(run, ModelJudge(well), episodes, retry=True)
    assert {line.verdict.score for line in newest(lines).values()} == {0.5}
    # What the failed attempts cost stays in the account.
    assert paid(lines)[0].usage.calls == 24


def test_what_is_missing_is_shown_and_is_no_zero(folder: Path, models: Callable[..., None]) -> None:
    down = FlakyModel(
        ScriptedModel(lambda ask: says(1.0), name="small"), fails=range(3), error=ModelError("it is down")
    )
    models(small=down)
    grades = json.loads(call(str(folder), "--judge", "small", "--concurrency", "1", "--json"))
    assert sum(arm["missing"] for arm in grades["arms"]) == 3 and all(a["score"]["mean"] == 1 for a in grades["arms"])
    assert "missing: 3 episodes: the judge could not be asked: it is down" in call(str(folder), "--judge", "small")


def test_an_ensemble_by_name(folder: Path, models: Callable[..., None]) -> None:
    def split(ask: Ask) -> str:
        return says(0.0 if "shelf 1" in ask.view.task.goal else 1.0)

    arbiter = ScriptedModel(lambda ask: says(0.25), name="large")
    models(a=ScriptedModel(lambda ask: says(1.0), name="a"), b=ScriptedModel(split, name="b"), large=arbiter)
    names = [str(folder), "--judge", "a", "--judge", "b", "--arbiter", "large"]
    grades = json.loads(call(*names, "--json"))
    assert sum(arm["by_arbiter"] for arm in grades["arms"]) == len(arbiter.asks) > 0
    assert {s["actor"] for s in grades["spend"]} == {"judge:a", "judge:b", "judge:arbiter large"}
    assert "opinion" in arbiter.asks[0].prompt.ask


def test_an_arbiter_that_judges_alone_is_told(folder: Path, models: Callable[..., None]) -> None:
    """With one judge of the panel down, every verdict is the arbiter's: that is no ensemble, and paid for as such."""
    mute = FlakyModel(ScriptedModel([], name="b"), fails=range(99), error=ModelError("its key is refused"))
    good = ScriptedModel(lambda ask: says(1.0), name="a")
    models(a=good, b=mute, large=ScriptedModel(lambda ask: says(0.5), name="large"))
    names = [str(folder), "--judge", "a", "--judge", "b", "--arbiter", "large"]
    grades = json.loads(call(*names, "--json", code=1))
    assert [(one["judge"], one["asked"], one["missing"]) for one in grades["panel"]] == [("a", 24, 0), ("b", 24, 24)]
    told = " ".join(call(*names, code=1).split())
    assert "b gave no verdict on 24 of 24 episodes, which the arbiter judged without it" in told
    assert "its key is refused" in told


def test_a_judge_without_its_key_is_found_before_anything_is_paid(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("litellm")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key-that-anyone-has")
    panel = ["--judge", "openai/gpt-4.1-mini", "--judge", "gemini/gemini-2.5-flash", "--arbiter", "openai/gpt-4.1"]
    with pytest.raises(ConfigError, match=r"'gemini/gemini-2\.5-flash' needs a key, and GEMINI_API_KEY is not set"):
        call(str(folder), *panel)
    assert not (folder / VERDICTS).exists()


def test_rules_need_no_model(folder: Path, tmp_path: Path) -> None:
    said = json.loads(call(str(folder), "--judge", "outcome", "--json"))
    assert said["calibration"]["accuracy"]["mean"] == 1.0
    for figure in (*(arm["score"] for arm in said["arms"]), *(said["calibration"][k] for k in ("kappa", "ece"))):
        assert figure["high"] - figure["low"] > 0.1, "a few episodes that agree leave much open"
    run = Run(folder)
    answers = {e.task.id: stored_case(e).answer for e in finished(run)}
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({**answers, "home-0": {"answer": "another", "solution": ["`x`", "`y`"]}}))
    assert "no expected answer is known" in call(str(folder), "--judge", "answer", code=1)
    assert "no golden answer is known" in call(str(folder), "--judge", "excytin-rule", code=1)
    # Answers that have come to be known make another judge: nothing needs to be retried.
    arms = json.loads(call(str(folder), "--judge", "answer", "--references", str(path), "--json"))["arms"]
    assert all(arm["missing"] == 0 for arm in arms)


def test_a_benchmarks_own_model_judge(folder: Path, tmp_path: Path, models: Callable[..., None]) -> None:
    models(small=ScriptedModel(lambda ask: "Is_Answer_Correct: True", name="small"))
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({f"home-{i}": "a" for i in range(12)}))
    grades = json.loads(call(str(folder), "--judge", "excytin:small", "--references", str(path), "--json"))
    assert grades["arms"][0]["score"]["mean"] == 1.0 and grades["spend"][0]["usage"]["calls"] == 48


@pytest.mark.parametrize(
    ("arguments", "error", "says_what"),
    [
        (["--judge", "nosuch"], AtlasError, "nosuch"),
        (["--judge", "nearest"], ConfigError, "cannot judge"),
        (["--judge", "scripted:alfworld"], ConfigError, "cannot judge"),
        (["--judge", "outcome", "--judge", "answer"], ConfigError, "--arbiter"),
        (["--judge", "outcome", "--arm", "nosuch"], ConfigError, "nosuch"),
        (["--judge", "answer", "--references", "nosuch.json"], DataError, "nosuch.json"),
        (["--judge", "openai/x", "--axis", "beauty"], ConfigError, "beauty"),
    ],
)
def test_mistakes_are_sentences(folder: Path, arguments: list[str], error: type[AtlasError], says_what: str) -> None:
    with pytest.raises(error, match=says_what):
        CliRunner().invoke(app, ["regrade", str(folder), *arguments], catch_exceptions=False)


def test_a_damaged_verdict_is_named_by_line(folder: Path) -> None:
    call(str(folder), "--judge", "outcome")
    path = folder / VERDICTS
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace('"judge":', '"jugde":')]) + "\n")
    with pytest.raises(StoreError, match="line 2"):
        read_verdicts(folder)
