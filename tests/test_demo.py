"""``atlas demo`` at toy size: the whole loop, from nothing to a report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atlas import models
from atlas.benchmarks.alfworld.expert import Expert
from atlas.cli import main
from atlas.errors import DataError
from atlas.models.prices import LOCAL
from atlas.prompts import reply_text
from atlas.protocols import Model
from atlas.records import Ask
from atlas.testing import ScriptedModel
from atlas.traces import Run

BARE = ("--homes", "2", "--demos", "6", "--embedder", "hash")
TOY = (*BARE, "--lm-seconds", "0")


def test_the_demo_ends_with_a_report_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["atlas", "demo", *TOY, "--json"])
    main(sys.argv[1:])
    out, err = capsys.readouterr()
    rows = {row["arm"]: row["episodes"] for row in json.loads(out)["arms"]}
    arms = ("teacher", "student", "icd", "cascade", "icd@5", "cascade@5", "online", "random-route")
    assert rows == {"collect": 6, **dict.fromkeys(arms, 2)}
    assert "report.html" in err
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page and "scripted" in page and "No language model" in page
    assert "smollm" not in page, "what did not play is not told of"
    assert Run("demo").about["command"] == f"atlas demo {' '.join(TOY)} --json", "as it was typed"
    assert "--homes 2" in page
    played = [e.id for e in Run("demo").results()]
    (tmp_path / "demo" / "report.html").unlink()
    main(["demo", *TOY])
    said = capsys.readouterr().out
    assert "report.html" in said
    assert said.startswith("A student that copies") and "Nothing is billed" in said
    assert "By itself the student wins 0 % of the homes" in said and "smollm" not in said
    assert (tmp_path / "demo" / "report.html").is_file()
    assert [e.id for e in Run("demo").results()] == played


@pytest.mark.parametrize("wrong", [("--homes", "0"), ("--demos", "0"), ("--embedder", "none"), ("--homes", "few")])
def test_a_wrong_size_is_one_sentence(
    wrong: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["demo", *TOY, *wrong, "--json"])
    err = capsys.readouterr().err
    assert stop.value.code == 2 and "Traceback" not in err and err.splitlines()[-1].startswith("atlas: ")
    assert not (tmp_path / "demo" / "report.html").exists()


def _copies(ask: Ask) -> str:
    """Lost alone, and knowing what to do with a demonstration in view."""
    view = ask.view
    if not view.retrieved:
        return reply_text("help")
    turns = [(turn.action, turn.observation) for turn in view.turns]
    return reply_text(Expert().act(view.task.goal, view.opening, turns, view.admissible).action)


def _with_a_language_model(monkeypatch: pytest.MonkeyPatch, made: Callable[[], Model]) -> None:
    load = models.load
    monkeypatch.setattr(models, "load", lambda spec: made() if spec.startswith("smollm2") else load(spec))


def test_a_language_model_learns_in_homes_to_which_it_comes_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _with_a_language_model(monkeypatch, lambda: ScriptedModel(_copies, name="fake", price=LOCAL, shares_prompt=True))
    monkeypatch.setattr(sys, "argv", ["atlas", "demo", *BARE])
    main(sys.argv[1:])
    said = capsys.readouterr().out
    assert Run(Path("demo", "smollm2-135m")).about["command"] == f"atlas demo {' '.join(BARE)}"
    assert "smollm2-135m" in said and "alone wins 0 of 6" in said
    # In one of them the expert that plays the model here searches for longer than an episode lasts.
    assert "(icd) it wins 5 of 6, at no cost" in said
    assert "did not come to all" not in said
    assert "to do that again word for word would win 3 of 6" in said
    assert "135M parameters" in Path("demo", "smollm2-135m", "report.html").read_text(encoding="utf-8")
    again = Run(Path("demo", "smollm2-135m")).results()
    first, later = ({e.task.id for e in again if e.arm == arm} for arm in ("collect", "icd"))
    assert {id.removesuffix("/day-1") for id in later} == first and not later & first
    main(["demo", *BARE, "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert {row["arm"] for row in shown["again"]["arms"]} == {"collect", "icd", "student"}
    assert "collect" in {row["arm"] for row in shown["arms"]}
    assert [e.id for e in Run(Path("demo", "smollm2-135m")).results()] == [e.id for e in again]


def test_a_language_model_that_cannot_be_had_is_a_sentence_and_the_demo_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> Model:
        raise DataError("the weights could not be downloaded: connect to a package index")

    monkeypatch.chdir(tmp_path)
    _with_a_language_model(monkeypatch, absent)
    main(["demo", *BARE])
    out, err = capsys.readouterr()
    assert "smollm2-135m is left out: the weights could not be downloaded" in err and "Traceback" not in err
    assert "report.html in a browser" in out and not Path("demo", "smollm2-135m").exists()


def test_time_that_is_over_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(ask: Ask) -> str:
        time.sleep(0.3)
        return _copies(ask)

    monkeypatch.chdir(tmp_path)
    _with_a_language_model(monkeypatch, lambda: ScriptedModel(slow, name="fake", price=LOCAL, shares_prompt=True))
    main(["demo", *BARE, "--lm-seconds", "1"])
    out, err = capsys.readouterr()
    assert "It did not come to all 6 homes" in out or "came to no end of a home in 1 s" in err
    assert "report.html in a browser" in out
