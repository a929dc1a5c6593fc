"""A trace that has lost whole lines: said, the episode marked, and nothing made of what is left of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.cli import main
from atlas.distil import distil_run
from atlas.memory.distil_scripted import ScriptedDistiller
from atlas.regrade import finished
from atlas.testing import ScriptedModel
from atlas.traces import Run
from atlas.wrap import WrappedEpisode
from tests.wrap_fixtures import TOOLS, call, user


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of two episodes of four steps."""
    with atlas.Agent(None, ScriptedModel(lambda ask: call("look_up")), run=tmp_path / "run") as agent:
        for goal in ("first", "second"):
            with agent.episode(goal) as episode:
                four_steps(episode)
                episode.score(1.0)
    return tmp_path / "run"


def four_steps(episode: WrappedEpisode) -> None:
    messages: list[Any] = user(f"do it for {episode.id}")
    for step in range(4):
        message = episode.client.chat.completions.create(model="x", messages=messages, tools=TOOLS).choices[0].message
        made = (message.tool_calls or [])[0]
        messages += [message, {"role": "tool", "tool_call_id": made.id, "content": f"seen {step}"}]


def without(folder: Path, kind: str, index: int | None = None, *, text: str = "") -> None:
    """Take the first line of a kind out of the trace of ``folder``."""
    lines = (folder / "trace.jsonl").read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        event = json.loads(line)
        if event["type"] == kind and event.get("index") == index and text in line:
            del lines[number]
            break
    else:
        raise AssertionError("there is no such line")
    (folder / "trace.jsonl").write_text("".join(lines))


def test_a_whole_trace_has_lost_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    episodes = Run(folder).episodes()
    assert [(len(e.steps), e.lost) for e in episodes] == [(4, 0)] * 2 and not caplog.records
    # One that a kill cut off is short, and has lost nothing.
    lines = (folder / "trace.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "trace.jsonl").write_bytes(b"".join(lines[:4]) + lines[4][:30])
    (episode,) = Run(folder).episodes()
    assert episode.result is None and episode.lost == 0 and not caplog.records


@pytest.mark.parametrize("index", range(4))
async def test_a_lost_step_is_said_and_the_episode_marked(
    index: int, folder: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    without(folder, "step", index)
    with caplog.at_level(logging.WARNING):
        short, whole = Run(folder).episodes()
    assert (short.lost, whole.lost) == (1, 0)
    assert [step.index for step in short.steps] == [i for i in range(4) if i != index]
    assert f"1 steps of 1 episodes ({short.id})" in caplog.text and caplog.text.count("\n") == 1
    assert all(step.decision.prompt.history for step in whole.steps)
    assert not any(step.decision.prompt.history for step in short.steps[index:])
    main(["traces", "show", str(folder), short.id])
    assert "a step of it cannot be shown: lines of the trace are lost" in capsys.readouterr().out
    main(["traces", "show", str(folder), "--arm", "agent"])
    assert "4 (1 lost)" in capsys.readouterr().out


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "gone": lambda line: b"",
    "cut off": lambda line: line[: len(line) // 2] + b"\n",
    "cut off in a multiple": lambda line: line[:-40] + b"\n",
    "zeros from a disk": lambda line: line[:90] + bytes(30) + line[120:],
    "no text": lambda line: line.replace(b"seen", b"se\xffn"),
    "without what came of it": lambda line: line.replace(b'"outcome":', b'"outgoing":'),
    "its beginning": lambda line: b"#" + line[9:],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("index", range(1, 4))
def test_a_damaged_line_is_a_lost_step_and_spares_the_rest(
    damage: str, index: int, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that was cut off kept the whole report from being made, and check found nothing to look at."""
    lines = (folder / "trace.jsonl").read_bytes().splitlines(keepends=True)
    steps = [place for place, line in enumerate(lines) if json.loads(line).get("index") == index]
    lines[steps[0]] = DAMAGES[damage](lines[steps[0]])
    (folder / "trace.jsonl").write_bytes(b"".join(lines))
    short, whole = Run(folder).episodes()
    assert (short.lost, len(short.steps), whole.lost, len(whole.steps)) == (1, 3, 0, 4)
    with pytest.raises(SystemExit) as stop:
        main(["traces", "check", str(folder), "--json"])
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert stop.value.code == 1 and (finding["kind"], finding["episodes"]) == ("lost", [short.id])
    main(["traces", "show", str(folder)])
    assert f"1 step of 1 episode ({short.id}) is not in the trace" in " ".join(capsys.readouterr().out.split())
    main(["traces", "show", str(folder), "--json"])
    assert json.loads(capsys.readouterr().out)["lost"] == {"steps": 1, "episodes": [short.id]}


@pytest.mark.parametrize("compared", [False, True])
def test_a_report_marks_the_episode_and_says_it_in_the_account(compared: bool, folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    if compared:  # the page of arms, and not that of an agent
        about = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(about | {"settings": {"kind": "bench"}}))
    main(["report", str(folder), "-o", str(page)])
    assert "lost" not in page.read_text()
    for place in (1, 2):
        without(folder, "step", place)
    main(["report", str(folder), "-o", str(page)])
    shown, account = page.read_text().split("<h2>The account</h2>")
    name = Run(folder).episodes()[0].id
    assert "The trace has lost steps." in account and f"2 steps of 1 episode ({name}) are not in the trace" in account
    assert ", 2 lost" in shown and "Steps 2 to 3 are not in the trace" in shown
    assert ("Something to look at" in shown) is not compared


def test_an_episode_whose_texts_are_lost_does_not_keep_a_report_from_being_made(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "trace.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["type"] != "text"]
    assert len(kept) < len(lines)
    (folder / "trace.jsonl").write_text("".join(kept))
    main(["report", str(folder), "-o", str(tmp_path / "report.html")])
    assert "does not fit the trace format" in (tmp_path / "report.html").read_text()


async def test_nothing_is_made_of_an_episode_that_has_lost_steps(folder: Path, tmp_path: Path) -> None:
    without(folder, "step", 3)
    run = Run(folder)
    short, whole = run.episodes()
    assert [e.id for e in finished(run)] == [whole.id]
    missed: list[str] = []
    done: list[int] = []
    await distil_run(run, ScriptedDistiller(), [short, whole], seen=lambda n, of: done.append(n), missed=missed.append)
    assert done == [2]
    assert missed[0] == "steps of it are lost: the trace is damaged" and len(missed) == 2
    main(["export", str(folder), "--format", "openai-sft", "-o", str(tmp_path / "out"), "--permitted", "*"])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "steps of it are lost" in json.dumps(manifest)


def test_an_episode_whose_beginning_is_lost_is_whole_by_its_end(folder: Path) -> None:
    before = Run(folder).episodes()
    assert len(before[0].steps) == 4  # read while it is whole
    without(folder, "start", text=before[0].id)
    after = {e.id: e for e in Run(folder).episodes()}
    assert len(after) == 2 and after[before[0].id].lost == 0
    assert after[before[0].id].steps == before[0].steps and after[before[0].id].result == before[0].result


def test_steps_of_which_nothing_else_is_left_are_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = Run(folder).episodes()[0].id
    without(folder, "start", text=name)
    lines = (folder / "trace.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not (json.loads(line)["type"] == "end" and name in line)]
    (folder / "trace.jsonl").write_text("".join(kept))
    assert len(Run(folder).episodes()) == 1
    assert "the beginnings of 1 episodes that have no end" in caplog.text
