"""Names of one's own, and a student that takes another's place: only where it is not worse, and never for good."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from atlas.benchmarks.alfworld.suite import Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.promotion import Contest
from atlas.cli import app, main
from atlas.errors import AtlasError, ConfigError, DataError, ModelError
from atlas.models import catalogue, load
from atlas.named import give, local_spec, meaning, names, names_file, remove, undo
from atlas.records import Ask, Price, Prompt, Task, View
from atlas.testing import ScriptedModel
from atlas.traces import Run, RunWriter
from atlas.trust import UNANIMITY, Trust
from atlas.trust.given import trust_for


@pytest.fixture(autouse=True)
def own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_CONFIG", str(tmp_path / "config"))


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_name_works_wherever_a_model_is_named() -> None:
    give("clerk", "nearest")
    assert load("clerk").name == "nearest"
    assert [e.what for e in catalogue() if e.name == "clerk"] == ["nearest"]


def test_a_name_is_undone_as_often_as_it_was_given() -> None:
    give("clerk", "openai/gpt-4.1-mini")
    give("clerk", "scratch:/a", why="better")
    give("clerk", "scratch:/b")
    assert undo("clerk").now.model == "scratch:/a" and undo("clerk").now.model == "openai/gpt-4.1-mini"
    with pytest.raises(ConfigError, match="nothing to go back to"):
        undo("clerk")


@pytest.mark.parametrize("name", ["a/b", "a:b", "", "-x", "a b"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        give(name, "nearest")


def test_a_taken_name_is_not_taken_again() -> None:
    give("clerk", "nearest", new=True)
    with pytest.raises(ConfigError, match="stands for nearest"):
        give("clerk", "smollm2-135m", new=True)
    remove("clerk")
    with pytest.raises(ConfigError, match="no model named"):
        remove("clerk")


def test_a_damaged_file_is_told_and_kept() -> None:
    give("clerk", "nearest")
    names_file().write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="mend or remove"):
        give("other", "nearest")
    assert names_file().read_text(encoding="utf-8") == "{"


def _give_many(start: int) -> None:
    for number in range(start, start + 20):
        give(f"m{number}", "nearest")


def test_processes_that_name_at_once_lose_nothing() -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_give_many, args=(start,)) for start in (0, 100, 200)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(names()) == 60


def test_a_local_model_is_known_by_its_files(tmp_path: Path) -> None:
    for folder, files, kind in (
        ("a", ["vocabulary.json", "weights.safetensors"], "scratch"),
        ("b", ["config.json"], "hf"),
    ):
        (tmp_path / folder).mkdir()
        for file in files:
            (tmp_path / folder / file).touch()
        assert local_spec(tmp_path / folder) == f"{kind}:{tmp_path / folder}"
    with pytest.raises(DataError, match="holds no model"):
        local_spec(tmp_path)


def test_the_command_line_gives_and_forgets_names() -> None:
    run = CliRunner().invoke
    assert run(app, ["models", "add", "alias", "clerk", "nearest"]).output == "clerk is nearest\n"
    assert run(app, ["models", "add", "alias", "boss", "clerk"]).output == "boss is nearest\n", "names do not chain"
    refused = run(app, ["models", "add", "alias", "nearest", "clerk"])
    assert isinstance(refused.exception, AtlasError) and "model of atlas itself" in str(refused.exception)
    assert run(app, ["models", "remove", "clerk"]).exit_code == 0
    assert meaning("clerk") is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["nearest"], (0, 0)),
        (["gguf:/a/b.gguf"], (0, 0)),
        (["scratch:/a/b"], (0, 0)),
        (["scripted:alfworld"], (3, 15)),
        (["openai/gpt-4.1-mini"], (0.4, 1.6)),
        (["openai/mine", "--base-url", "http://localhost:8000/v1", "--price", "0/0"], (0, 0)),
        (["openai/mine", "--base-url", "http://localhost:8000/v1"], None),
        (["python:mine.py:Clerk"], None),
    ],
)
def test_a_users_own_model_is_listed_with_its_price(given: list[str], expected: tuple[float, float] | None) -> None:
    run = CliRunner().invoke
    assert run(app, ["models", "add", "alias", "mine", *given]).exit_code == 0
    (entry,) = (e for e in catalogue() if e.name == "mine")
    assert (entry.price and (entry.price.prompt, entry.price.completion)) == expected
    (row,) = (line for line in run(app, ["models", "ls"]).output.splitlines() if line.startswith(" mine"))
    assert ("unpriced" in row) == (expected is None and "python" not in given[0])


def test_a_server_of_ones_own_is_named_wherever_a_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("litellm")
    from atlas.testing.server import ChatServer, Say, Status

    ask = Ask(view=View(task=Task(id="t", goal="g"), opening="o"), prompt=Prompt(ask="hi"))
    with ChatServer(Say("hello")) as server:
        run = CliRunner().invoke
        add = ["models", "add", "alias", "mine", "openai/clerk", "--base-url", server.url, "--price", "1/2"]
        assert run(app, add).output == f"mine is openai/clerk@{server.url}\n"
        for name, price in ((f"openai/clerk@{server.url}", None), ("mine", Price(prompt=1, completion=2))):
            model = load(name)
            assert asyncio.run(model.sample(ask)).replies[0].text == "hello"
            assert model.name == "openai/clerk"
            assert price is None or (model.price and (model.price.prompt, model.price.completion)) == (1, 2)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-provider-itself")
        asyncio.run(load("mine").sample(ask))
        server.script = [Status(401)]
        with pytest.raises(ModelError, match=f"give the key of the server at {server.url}: api_key, or ATLAS_SERVER"):
            asyncio.run(load("mine").sample(ask))
        server.script = [Say("hello")]
        monkeypatch.setenv("ATLAS_SERVER_KEY", "for-this-server")
        asyncio.run(load("mine").sample(ask))
        assert set(server.keys[:-1]) == {"Bearer none"}, "no provider's key is sent to another server"
        assert server.keys[-1] == "Bearer for-this-server"
    refused = run(app, ["models", "add", "alias", "other", "openai/clerk", "--base-url", "localhost:8000"])
    assert isinstance(refused.exception, ConfigError) and "--base-url localhost:8000" in str(refused.exception)


# --- promotion --------------------------------------------------------------------------------------------------------


class Free(ScriptedExpert):
    """The expert at no price: a perfect student."""

    def __init__(self) -> None:
        super().__init__(price=Price(prompt=0, completion=0))
        self.name = "free"


def lost() -> ScriptedModel:
    return ScriptedModel(lambda ask: "Action: look", name="lost", price=Price(prompt=0, completion=0))


def contest(tmp_path: Path, present: Any, candidate: Any, n: int = 14) -> Any:
    tried = Contest(present=present, candidate=candidate, teacher=ScriptedExpert(), samples=2)
    with RunWriter(tmp_path / "run") as writer:
        episodes = asyncio.run(
            tried.play(Alfworld().tasks("homes", n), (0,), writer, run="run", max_steps=12, concurrency=2)
        )
    return tried.settle(episodes, run="run"), episodes


def test_who_is_better_is_promoted_and_trusted(tmp_path: Path) -> None:
    result, _ = contest(tmp_path, lost(), Free())
    assert result.promoted and result.p < 0.05
    assert (result.present, result.candidate_dollars) == (0.0, 0.0) and result.candidate >= 0.5
    assert result.trust.certificate is not None and result.trust.certificate.n == 14


def test_who_is_worse_is_not(tmp_path: Path) -> None:
    result, _ = contest(tmp_path, Free(), lost(), n=12)
    assert not result.promoted and result.p > 0.5


def test_too_few_tasks_prove_nothing(tmp_path: Path) -> None:
    result, _ = contest(tmp_path, Free(), Free(), n=3)
    assert not result.promoted and result.difference.mean == 0.0, "equal on three tasks is not known to be not worse"


def test_what_was_played_is_not_played_again(tmp_path: Path) -> None:
    _, episodes = contest(tmp_path, lost(), lost(), n=3)
    tried = Contest(present=lost(), candidate=lost(), teacher=ScriptedExpert(), samples=2)
    before, tasks = Run(tmp_path / "run").results(), Alfworld().tasks("homes", 3)
    with RunWriter(tmp_path / "run") as writer:
        again = asyncio.run(tried.play(tasks, (0,), writer, run="run", max_steps=12, before=before))
    assert len(again) == len(episodes)


def test_the_command_promotes_and_takes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner().invoke
    run(app, ["models", "add", "alias", "clerk", "nearest"])
    args = ["promote", "clerk", "scripted:alfworld", "--n", "8", "-o", str(tmp_path / "run"), "--json"]
    monkeypatch.setattr(sys, "argv", ["atlas", *args])
    done = run(app, args)
    assert done.exit_code == 0, done.output
    assert Run(tmp_path / "run").about["command"] == shlex.join(["atlas", *args])
    told = json.loads(done.stdout)
    assert told["promoted"] and told["present"] == 0.0 and told["candidate"] == 1.0
    now = meaning("clerk")
    assert now is not None and now.model == "scripted:alfworld" and "8 held-out tasks" in now.why
    certified = told["trust"]["certificate"]["certified"]
    assert trust_for("clerk") == (Trust.model_validate(told["trust"]) if certified else UNANIMITY)
    assert run(app, ["promote", "clerk", "--undo"]).output == "clerk is nearest again\n"
    assert trust_for("clerk") == UNANIMITY


def test_the_same_command_again_tells_the_same_and_gives_nothing(tmp_path: Path) -> None:
    run = CliRunner().invoke
    run(app, ["models", "add", "alias", "clerk", "nearest"])
    args = ["promote", "clerk", "scripted:alfworld", "--n", "8", "-o", str(tmp_path / "run")]
    first = run(app, [*args, "--json"])
    trace, known = (tmp_path / "run" / "trace.jsonl").read_bytes(), names()
    again = run(app, [*args, "--json"])
    assert again.exit_code == 0 and json.loads(again.stdout) == json.loads(first.stdout)
    assert "clerk is scripted:alfworld already" in run(app, args).output
    assert (names(), (tmp_path / "run" / "trace.jsonl").read_bytes()) == (known, trace)
    for elsewhere in ([], ["-o", str(tmp_path / "other")]):
        alone = run(app, [*args[:5], *elsewhere])
        assert isinstance(alone.exception, ConfigError) and "is scripted:alfworld already" in str(alone.exception)
    assert not (tmp_path / "other").exists()


def test_who_is_not_promoted_leaves_all_as_it_was(tmp_path: Path) -> None:
    run = CliRunner().invoke
    run(app, ["models", "add", "alias", "clerk", "scripted:alfworld"])
    done = run(app, ["promote", "clerk", "nearest", "--n", "6", "-o", str(tmp_path / "run")])
    assert done.exit_code == 1 and "stays who it was" in done.output
    assert "--undo" not in done.output, "there is nothing to take back"
    assert meaning("clerk") == names()["clerk"].now and names()["clerk"].before == ()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nobody", "nearest"], "nobody is nobody yet"),
        (["nobody"], "who shall be nobody"),
        (["nobody", "nearest", "--undo"], "name no candidate"),
        (["nobody", "--undo"], "no model named"),
    ],
)
def test_what_cannot_be_promoted_is_told(args: list[str], says: str) -> None:
    failed = CliRunner().invoke(app, ["promote", *args])
    assert isinstance(failed.exception, AtlasError) and says in str(failed.exception)


@pytest.mark.parametrize("given", [("--margin", "1"), ("--within", "0"), ("--within", "1"), ("--delta", "0")])
def test_what_no_test_can_be_made_of_is_refused_before_anything_is_played(
    given: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATLAS_CONFIG", str(tmp_path))
    main(["models", "add", "alias", "clerk", "nearest"])
    with pytest.raises(SystemExit) as stop:
        main(["promote", "clerk", "nearest", "--n", "2", *given])
    assert stop.value.code == 2 and given[0] in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
