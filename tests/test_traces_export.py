"""Episodes are written as they end, a line each, for what reads a run while it goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the extra litellm")

import atlas
from atlas.cli import main
from atlas.export import ExportPlan, export
from atlas.export.stream import streamed
from atlas.records import Reply, Stop
from atlas.testing import ScriptedModel
from atlas.testing.runs import MadeUpArm, write_run
from atlas.traces import Run
from tests.postgres_server import drop, fresh

SECRET = "sk-proj-abcDEF123456ghiJKL"


def played(run: Path | str, count: int = 1) -> None:
    """Episodes that end, by an agent of its own."""
    fine = ScriptedModel(lambda ask: Reply(text="fine"))
    with atlas.Agent(fine, run=run, expect=None) as agent:
        for number in range(count):
            with agent.episode(f"help {number}") as episode:
                episode.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
                episode.succeed()


def trace_of(line: bytes) -> str:
    spans = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return str(spans[0]["traceId"])


@pytest.mark.parametrize("form", ["otel-json", "atif"])
def test_it_is_what_an_export_has(form: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"student": MadeUpArm(4, 0.5, steps=3)})
    lines = [json.loads(line) for line in streamed(Run(tmp_path / "run"), form)]
    export([Run(tmp_path / "run")], tmp_path / "out", ExportPlan(format=form))
    files = [path for path in (tmp_path / "out").rglob("*.json*") if path.name != "manifest.json"]
    whole = [
        json.loads(text)
        for path in files
        for text in (path.read_text().splitlines() if form != "atif" else [path.read_text()])
    ]

    def key(one: dict[str, Any]) -> str:
        return json.dumps(one, sort_keys=True)

    assert len(lines) == 4 and sorted(lines, key=key) == sorted(whole, key=key)


def test_one_that_ends_later_comes_later_and_one_that_is_scored_again_comes_again(tmp_path: Path) -> None:
    played(tmp_path / "run", 2)
    run = Run(tmp_path / "run")
    looks = iter([True, True, False])
    seen: list[list[str]] = [[]]

    def more() -> bool:
        seen.append([])
        if len(seen) == 2:
            played(tmp_path / "run")
        if len(seen) == 3:
            main(["score", str(tmp_path / "run"), run.results()[0].id, "0.25"])
        return next(looks)

    for line in streamed(run, "otel-json", more):
        seen[-1].append(trace_of(line))
    first, then, again, _ = seen
    assert len(first) == 2 and len(then) == 1 and then[0] not in first
    assert again == first[:1]


def test_it_follows_a_run_until_it_is_stopped(tmp_path: Path) -> None:
    played(tmp_path / "run")
    command = [sys.executable, "-m", "atlas", "traces", "export", str(tmp_path / "run"), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as follows:
        assert follows.stdout is not None and follows.stderr is not None
        first = trace_of(follows.stdout.readline())
        played(tmp_path / "run")
        second = trace_of(follows.stdout.readline())
        follows.send_signal(signal.SIGINT)
        assert follows.wait(60) == 0 and follows.stderr.read() == b""
    assert first != second


def test_secrets_are_hidden_and_what_nobody_finished_has_no_line(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    fine = ScriptedModel(lambda ask: Reply(text=f"the key is {SECRET}"))
    with atlas.Agent(fine, run=tmp_path / "run", expect=None) as agent, agent.episode("help") as episode:
        episode.client.chat.completions.create(model="m", messages=[{"role": "user", "content": SECRET}])
        main(["traces", "export", str(tmp_path / "run")])
        assert capfdbinary.readouterr().out == b"", "it is not over"
    main(["traces", "export", str(tmp_path / "run")])
    out = capfdbinary.readouterr().out
    assert SECRET.encode() not in out and b"[hidden]" in out and len(out.splitlines()) == 1
    assert Run(tmp_path / "run").results()[0].stop is Stop.DONE


def test_of_a_run_on_a_server() -> None:
    url = fresh()
    try:
        write_run(f"{url}&run=desk", {"student": MadeUpArm(3, 0.5, steps=2)})
        assert len({trace_of(line) for line in streamed(Run(f"{url}&run=desk"), "otel-json")}) == 3
    finally:
        drop(url)


@pytest.mark.parametrize("form", ["rows", "parquet", "otel"])
def test_a_format_of_steps_is_one_sentence(form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", {"student": MadeUpArm(1, 0.5)})
    with pytest.raises(SystemExit):
        main(["traces", "export", str(tmp_path / "run"), "--format", form])
    assert "is no format of whole episodes: choose one of atif, otel-json" in capfd.readouterr().err
