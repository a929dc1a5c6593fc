"""Keys that were planted wherever a text can stand: no command shows one, and nothing but the trace keeps one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from atlas.benchmarks.alfworld.homes import homes
from atlas.cli import app, main
from atlas.memory import Memory
from atlas.memory.database import Database
from atlas.records import (
    STUDENT,
    Decision,
    Episode,
    Failure,
    Message,
    Observation,
    Prompt,
    Review,
    Spend,
    Step,
    Stop,
    Task,
    Usage,
    Vote,
)
from atlas.traces import Run, RunWriter
from tests.excytin_fixtures import write_folder

KEY = "sk-proj-abcDEF123456ghiJKL"
PASSWORD = "open-sesame-22"
URL = f"mysql://me:{PASSWORD}@127.0.0.1:9/x"
WORDS = f"say {KEY} and password: {PASSWORD} please"


def episode(number: int, arm: str, *, success: bool) -> tuple[Episode, Step]:
    spend = (Spend(actor=STUDENT, model="m", usage=Usage(calls=1, prompt_tokens=5, completion_tokens=5, dollars=0.1)),)
    task = Task(id=f"t{number}", goal=f"{WORDS} {number}", instructions=WORDS)
    decision = Decision(
        actor=STUDENT,
        action=f"type {WORDS}",
        thought=WORDS,
        text=WORDS,
        plan=WORDS,
        advice=WORDS,
        reason="agreed",
        votes=(Vote(actor=STUDENT, model="m", action=WORDS), Vote(actor=STUDENT, model="m", action="look")),
        prompt=Prompt(stable=WORDS, history=(Message(role="user", content=WORDS),), retrieved=WORDS, ask=WORDS),
    )
    step = Step(
        index=0,
        seconds=0.1,
        observation=WORDS,
        decision=decision,
        outcome=Observation(text=WORDS, done=True, score=float(success)),
        spend=spend,
    )
    ended = Episode(
        id=f"{arm}-{number}",
        run="run",
        arm=arm,
        task=task,
        seed=0,
        config="c",
        stop=Stop.DONE if success else Stop.ERROR,
        score=float(success),
        success=success,
        steps=1,
        teacher_steps=0,
        seconds=1.0,
        started=1.0,
        plan=WORDS,
        spend=spend,
        failure=None if success else Failure(kind="ValueError", message=WORDS, where="model"),
        reviews=(Review(attempt=0, approved=success, feedback=WORDS),),
    )
    return ended, step


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with a run, a memory and tables that hold keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATLAS_CONFIG", str(tmp_path / "config"))
    notes = [WORDS]
    with (
        RunWriter("run", {"title": WORDS, "notes": notes, "mysql": URL}, {"command": f"atlas --mysql {URL}"}) as writer,
        Memory("run/memory.sqlite", "hash") as memory,
    ):
        for number in range(4):
            for arm in ("teacher", "cascade"):
                ended, step = episode(number, arm, success=number > 0)
                writer.start(ended.id, arm, ended.task, 0, "c")
                writer.step(ended.id, step)
                writer.end(ended)
                memory.keep(ended, [step])
        memory.freeze(author="person:me", reason=WORDS)
        memory.unfreeze(author="person:me", reason=WORDS)
    write_folder(tmp_path / "tables")
    (tmp_path / "typed.txt").write_text(f"execute[SELECT '{KEY}']\n")
    (tmp_path / "moves.txt").write_text(f"take {KEY}\n")
    return tmp_path


def ids() -> tuple[str, str]:
    with Memory("run/memory.sqlite", "hash") as memory:
        return memory.database.rows("demonstration")[0].id, str(memory.database.head())


SHOWN = [
    ["traces", "ls", "."],
    ["traces", "show", "run"],
    ["traces", "show", "run", "--failed"],
    ["traces", "show", "run", "cascade-0"],
    ["traces", "show", "run", "cascade-1", "--prompts"],
    ["traces", "check", "run"],
    ["traces", "export", "run"],
    ["traces", "export", "run", "--format", "atif"],
    ["traces", "copy", "run", "copied-run"],
    ["traces", "pack", "copied-run", "--all"],
    ["traces", "copy", "run", f"postgresql://me:{PASSWORD}@127.0.0.1:9/x?run=r"],
    ["traces", "prune", "run", "--all"],
    ["traces", "prune", f"postgresql://me:{PASSWORD}@127.0.0.1:9/x?run=r", "--all"],
    ["score", "run", "cascade-1", "1"],
    ["report", "run", "-o", "report.html"],
    ["regrade", "run", "--judge", "outcome"],
    ["memory", "ls", "run"],
    ["memory", "show", "run", "ID"],
    ["memory", "show", "run", "v1"],
    ["memory", "check", "run"],
    ["memory", "map", "run"],
    ["memory", "compressor", "run", "--student", "nearest", "-o", "compressor.json"],
    ["memory", "reranker", "run", "--student", "nearest", "-o", "reranker.json"],
    ["memory", "reindex", "run", "--embedder", "hash"],
    ["memory", "copy", "run", "copied.sqlite"],
    ["memory", "copy", "run", f"postgresql://me:{PASSWORD}@127.0.0.1:9/x"],
    ["memory", "log", "run"],
    ["memory", "diff", "run", "0"],
    ["memory", "quarantine", "run", "ID", "--reason", WORDS],
    ["memory", "admit", "run", "ID", "--reason", WORDS],
    ["memory", "remove", "run", "ID", "--reason", WORDS],
    ["memory", "rollback", "run", "1", "--reason", WORDS],
    ["memory", "freeze", "run", "--reason", WORDS],
    ["memory", "export", "run", "memory-as-text"],
    ["memory", "export", "run", "skills", "--format", "skills"],
    ["memory", "export", "run", "AGENTS.md", "--format", "agents-md"],
    ["memory", "import", "new.sqlite", "memory-as-text", "--reason", WORDS],
    ["memory", "distil", "run", "--into", "learned.sqlite", "--embedder", "hash"],
    ["memory", "judge", "run/memory.sqlite"],
    ["export", "run", "--format", "atif", "--any-outcome", "-o", "atif"],
    ["traces", "import", "atif", "atif", "-o", "imported"],
    ["trust", "audit", "run"],
    ["trust", "agreement", "run"],
    ["trust", "calibrate", "run", "--within", "0.5"],
    ["trust", "select", "run", "--tiers", "cascade,teacher", "-o", "pick.json"],
    ["trust", "foresee", "run", "--embedder", "hash", "-o", "foresight.json"],
    ["play", "excytin", "--incident", "7", "--data", "tables", "--commands", "typed.txt"],
    ["play", "alfworld", "homes/unseen/0/0", "--commands", "moves.txt"],
    ["bench", "alfworld", "--teacher", WORDS, "--n", "1"],
    ["bench", "excytin", "--mysql", URL, "--incident", "7", "--n", "1", "--data", "tables", "--demos", "0"],
    ["data", "excytin", "import", "tables", "--mysql", URL],
    ["promote", "clerk", WORDS],
    ["models", "add", "alias", "clerk", WORDS],
    ["models", "add", "local", "clerk", WORDS],
    ["models", "remove", WORDS],
    ["models", "ls"],
    ["serve", "--student", WORDS],
    ["run", "--student", WORDS, "true", WORDS],
    ["run", "--student", "nearest", WORDS],
    ["score", "run", "cascade-1", "0.5"],
    ["score", "run", WORDS, "1"],
]
ELSEWHERE = {"demo", "train", "models fetch", "models export", "traces import excytin", "trust show", "trust judge"}
ELSEWHERE |= {"mcp", "models tune"}
"""Those to which no text of others comes, that read a model's weights, or that write what another test looks at
(``mcp`` has tests of its own)."""


def _names(group: click.Command, name: str = "") -> Iterator[str]:
    if not isinstance(group, click.Group):
        yield name
        return
    with click.Context(group) as context:
        for part in group.list_commands(context):
            found = group.get_command(context, part)
            assert found is not None
            yield from _names(found, f"{name} {part}".strip())


def test_every_command_is_walked_here() -> None:
    walked = {name for name in _names(app) if any(" ".join(call).startswith(name) for call in SHOWN)}
    assert set(_names(app)) - walked == ELSEWHERE


def _takes_json(call: list[str]) -> bool:
    command: click.Command = app
    with click.Context(app) as context:
        for part in call:
            if not isinstance(command, click.Group):
                break
            command = command.get_command(context, part) or command
    return any("--json" in param.opts for param in command.params)


def test_no_command_shows_or_keeps_a_key(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = 0
    for call in SHOWN:
        for more in ([], ["--json"]) if _takes_json(call) else ([],):
            found, _ = ids()
            typed = [found if part == "ID" else part for part in (*call, *more)]
            if more and typed[:2] == ["memory", "export"]:
                typed[3] += "-again"
            monkeypatch.setattr(sys, "argv", ["atlas", *typed])
            try:
                main(typed)
            except SystemExit as stop:
                assert stop.code in (0, 1, 2)
            out, err = capsys.readouterr()
            for text in (out, err):
                assert KEY[8:] not in text and PASSWORD not in text, f"{typed} shows it: {text}"
            said += "[hidden]" in out + err
            if more and out and call[:2] != ["memory", "ls"]:
                for line in [out] if out.startswith(("{\n", "[\n")) else out.splitlines():
                    json.loads(line)
    assert said > 30, "there was something to hide"
    raw = {"run/trace.jsonl", "copied-run/trace.jsonl", "typed.txt", "moves.txt"}
    for path in place.rglob("*"):
        if path.is_file() and str(path.relative_to(place)) not in raw:
            content = path.read_bytes()
            assert KEY.encode() not in content and PASSWORD.encode() not in content, f"{path} keeps it"
    assert KEY in (place / "run" / "trace.jsonl").read_text(), "the trace has what was read, as it was"


def test_a_run_with_a_password_in_its_settings_is_resumed_and_so_is_an_older_one(place: Path) -> None:
    settings = {"title": WORDS, "notes": [WORDS], "mysql": URL}
    RunWriter("run", settings).close()
    manifest = json.loads((place / "run" / "run.json").read_text())
    assert manifest["settings"]["mysql"] == "mysql://[hidden]@127.0.0.1:9/x"
    assert manifest["about"]["command"] == "atlas --mysql mysql://[hidden]@127.0.0.1:9/x"
    from atlas.records import content_hash

    (place / "run" / "run.json").write_text(json.dumps({**manifest, "config": content_hash(settings)}))
    RunWriter("run", settings).close()
    assert Run("run").results()


def test_a_reason_and_an_outcome_that_quote_a_goal_hide_its_key(place: Path) -> None:
    database = Database("run/memory.sqlite")
    try:
        assert any("[hidden]" in version.reason for version in database.versions())
        assert all(KEY not in record for _, record in database.backend.outcomes())
    finally:
        database.close()


def test_homes_are_told_as_they_are() -> None:
    """What hides secrets changes no word of the benchmark's own."""
    from atlas.redact import scrub

    for home in homes("unseen", 3):
        assert scrub(home.goal) == home.goal
