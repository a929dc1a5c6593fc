"""``atlas play``, ``atlas memory`` and ``atlas models``: what a person and a program read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas.benchmarks.alfworld.game import Game
from atlas.benchmarks.alfworld.homes import homes
from atlas.cli import main
from atlas.memory import DemonstrationStore, from_steps
from atlas.records import DemoStep, Task

Says = Callable[..., str]
STATE = {"action", "observation", "admissible", "score", "done"}


@pytest.fixture(scope="module")
def home() -> Game:
    return homes("unseen", 4)[3]


@pytest.fixture
def game(home: Game, tmp_path: Path) -> Path:
    path = tmp_path / "game.tw-pddl"
    home.save(path)
    return path


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Says:
    """Runs a command that has to go well, and returns its output."""

    def run(*arguments: str | Path) -> str:
        try:
            main([str(a) for a in arguments])
        except SystemExit as stop:
            assert not stop.code, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Iterator[Says]:
    """Runs a command that has to fail with exit code 2 and one sentence, which it returns."""

    def run(*arguments: str | Path) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert (stop.value.code, out, err.count("\n")) == (2, "", 1), err
        return err

    yield run


@pytest.fixture
def played(says: Says, game: Path, tmp_path: Path) -> Callable[[str | bytes], list[dict[str, Any]]]:
    """Plays a file of commands with ``--json`` and returns the states."""

    def run(commands: str | bytes) -> list[dict[str, Any]]:
        path = tmp_path / "commands.txt"
        path.write_bytes(commands if isinstance(commands, bytes) else commands.encode())
        return [json.loads(line) for line in says("play", "alfworld", game, "--commands", path, "--json").splitlines()]

    return run


# --- play -------------------------------------------------------------------------------------------------------------


def test_one_state_per_command_and_the_opening_first(played: Any, home: Game) -> None:
    states = played("\n".join(home.walkthrough))
    assert [state["action"] for state in states] == [None, *home.walkthrough]
    assert all(set(state) == STATE for state in states)
    assert states[0]["observation"].endswith(f"Your task is to: {home.goal}.")
    assert all(after in before["admissible"] for before, after in zip(states, home.walkthrough, strict=False))
    assert all(state["admissible"] == sorted(state["admissible"]) for state in states)
    assert [(s["score"], s["done"]) for s in states] == [(0, False)] * len(home.walkthrough) + [(1, True)]


def test_all_commands_up_to_the_end_are_played_whatever_they_are(played: Any, home: Game) -> None:
    commands = ["fly to the moon", "look", "açúcar 鍋", *home.walkthrough]
    states = played("\n".join(commands))
    assert [state["action"] for state in states] == [None, *commands]
    assert states[1]["observation"] == states[3]["observation"] == "Nothing happens."


@pytest.mark.parametrize(
    "text",
    [
        b"look\n\n  \n\tinventory  \n\n",
        b"\xef\xbb\xbflook\r\ninventory\r\n",
        b'{"action": "look"}\n {"action": "inventory", "why": "to see"}',
        b'{"action": null, "observation": "the opening"}\nlook\n{"action": "inventory"}\n',
    ],
)
def test_forms_of_a_file_of_commands(played: Any, text: bytes) -> None:
    assert [state["action"] for state in played(text)] == [None, "look", "inventory"]


def test_what_was_printed_can_be_played_again(says: Says, game: Path, tmp_path: Path, played: Any, home: Game) -> None:
    first = played("\n".join(home.walkthrough[:5]))
    assert played("\n".join(map(json.dumps, first))) == first


def test_no_commands_no_further_states(played: Any) -> None:
    assert [state["action"] for state in played("")] == [None]


def test_a_person_reads_text(says: Says, game: Path, tmp_path: Path, home: Game) -> None:
    (tmp_path / "commands").write_text("\n".join(home.walkthrough))
    text = says("play", "alfworld", game, "--commands", tmp_path / "commands")
    assert text.startswith("-= Welcome to TextWorld, ALFRED! =-")
    assert all(f"\n> {command}\n" in text for command in home.walkthrough)
    assert text.endswith("The goal is reached.\n")
    (tmp_path / "commands").write_text("look")
    assert says("play", "alfworld", game, "--commands", tmp_path / "commands").endswith("The goal is not reached.\n")


def test_a_generated_home_needs_no_file(says: Says, home: Game, tmp_path: Path) -> None:
    (tmp_path / "commands").write_text("look")
    for name in ("homes/unseen/0/3", "homes/train/7/0"):
        text = says("play", "alfworld", name, "--commands", tmp_path / "commands", "--json")
        opening = json.loads(text.splitlines()[0])["observation"]
        assert (home.goal in opening) is (name == "homes/unseen/0/3")


@pytest.mark.parametrize("name", ["homes", "homes/unseen", "homes/seen/0/0", "homes/unseen/0/x", "homes/unseen/0/-1"])
def test_a_name_that_is_no_home(fails: Says, name: str) -> None:
    assert repr(name) in fails("play", "alfworld", name)


@pytest.mark.parametrize("text", [b"\xff\xfe\x00l", "naïve".encode("latin-1")])
def test_commands_that_are_no_text(fails: Says, game: Path, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "bad.txt").write_bytes(text)
    said = fails("play", "alfworld", game, "--commands", tmp_path / "bad.txt", "--json")
    assert "bad.txt" in said and "UTF-8" in said


@pytest.mark.parametrize(
    "line", ['{"action": ', '{"act": "look"}', '{"action": 3}', '{"action": ["look"]}', r'{"action": "\ud800"}']
)
def test_commands_that_are_neither_plain_nor_json(fails: Says, game: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.txt").write_text(f"look\n{line}\n")
    said = fails("play", "alfworld", game, "--commands", tmp_path / "bad.txt")
    assert "line 2" in said and "bad.txt" in said


def test_games_that_cannot_be_read(fails: Says, game: Path, tmp_path: Path) -> None:
    assert "gone.tw-pddl" in fails("play", "alfworld", tmp_path / "gone.tw-pddl")
    assert str(tmp_path) in fails("play", "alfworld", tmp_path)
    game.write_bytes(game.read_bytes()[:-20])
    assert "truncated" in fails("play", "alfworld", game, "--json")
    game.write_text(json.dumps({"pddl_domain": "(define", "pddl_problem": "(", "grammar": "{}"}))
    assert "atlas: " in fails("play", "alfworld", game)


def test_typing_by_hand(game: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("?\n\n look \nquit\ninventory\n"))
    main(["play", "alfworld", str(game), "--json"])
    out, err = capsys.readouterr()
    states = [json.loads(line) for line in out.splitlines()]
    assert [state["action"] for state in states] == [None, "look"]
    assert out.startswith("{") and all(command in err for command in states[0]["admissible"])


def test_typing_ends_with_the_goal_or_the_input(
    game: Path, home: Game, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("\n".join([*home.walkthrough, "look", ""])))
    main(["play", "alfworld", str(game)])
    out, _ = capsys.readouterr()
    assert out.endswith("The goal is reached.\n") and "> look" not in out
    monkeypatch.setattr(sys, "stdin", StringIO("look"))
    main(["play", "alfworld", str(game)])
    assert capsys.readouterr().out.endswith("The goal is not reached.\n")


@pytest.mark.parametrize(("typed", "states"), [(b"look\nexit\n", 2), (b"", 1)])
def test_input_from_another_process(game: Path, typed: bytes, states: int) -> None:
    command = [sys.executable, "-c", "from atlas.cli import main; main()"]
    done = subprocess.run([*command, "play", "alfworld", str(game), "--json"], input=typed, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == states


def test_typing_what_is_no_text(
    game: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"look\n\xff\n"), encoding="utf-8"))
    with pytest.raises(SystemExit) as stop:
        main(["play", "alfworld", str(game)])
    assert stop.value.code == 2 and "not UTF-8" in capsys.readouterr().err


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(st.text(max_size=12).filter(lambda t: "{" not in t), max_size=4).map("\n".join))
def test_any_text_is_a_file_of_commands(played: Any, text: str) -> None:
    expected = [line.strip() for line in text.encode("utf-8", "replace").decode().removeprefix("\ufeff").splitlines()]
    assert [s["action"] for s in played(text.encode("utf-8", "replace"))] == [None, *filter(None, expected)]


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    with DemonstrationStore(run / "memory.sqlite", embedder="hash") as store:
        for thing in ("apple", "[red]mug[/red]"):
            step = DemoStep(observation="A kitchen.", action=f"take {thing} 1", thought=f"I need the {thing}.")
            store.add(from_steps(Task(id=thing, goal=f"take the {thing}"), [step, step], plan="Find it. Take it."))
    return run


def test_memory_lists_its_demonstrations(says: Says, memory: Path) -> None:
    text = says("memory", "ls", memory)
    assert "take the apple" in text and "take the [red]mug[/red]" in text
    rows = [json.loads(line) for line in says("memory", "ls", memory / "memory.sqlite", "--json").splitlines()]
    assert [(row["goal"], row["steps"]) for row in rows] == [("take the apple", 2), ("take the [red]mug[/red]", 2)]


def test_memory_shows_one_demonstration(says: Says, fails: Says, memory: Path) -> None:
    ids = [json.loads(line)["id"] for line in says("memory", "ls", memory, "--json").splitlines()]
    text = says("memory", "show", memory, ids[1][:8])
    assert all(part in text for part in (ids[1], "Find it. Take it.", "take [red]mug[/red] 1", "I need the"))
    shown = json.loads(says("memory", "show", memory, ids[0], "--json"))
    assert shown["id"] == ids[0] and [step["action"] for step in shown["steps"]] == ["take apple 1"] * 2
    assert "no demonstration" in fails("memory", "show", memory, "zzzz")
    assert "2 demonstrations" in fails("memory", "show", memory, "")


# --- models -----------------------------------------------------------------------------------------------------------


def test_models_as_json(says: Says) -> None:
    rows = {row["name"]: row for row in map(json.loads, says("models", "ls", "--json").splitlines())}
    assert rows["nearest"]["installed"] and rows["nearest"]["price"]["prompt"] == 0
    assert "scripted:alfworld" in rows and {row["kind"] for row in rows.values()} >= {"embedded"}
    assert all(row["what"] for row in rows.values())


def test_listing_models_loads_none_of_their_libraries() -> None:
    code = (
        "import sys; from atlas.cli import main; main(['models', 'ls', '--json']); "
        "heavy = {'litellm', 'openai', 'torch', 'transformers', 'chromadb', 'onnxruntime', 'xllamacpp', 'rich'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]" and "nearest" in done.stdout


def test_models_as_a_table(says: Says) -> None:
    text = says("models", "ls")
    assert "nearest" in text and "model" in text


def test_after_the_end_it_says_that_it_is_over_and_shows_nothing_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = homes("unseen", 1)[0]
    path = tmp_path / "commands.txt"
    path.write_text("\n".join([*home.walkthrough, "look", "look"]))
    main(["play", "alfworld", "homes/unseen/0/0", "--commands", str(path), "--json"])
    out, err = capsys.readouterr()
    states = [json.loads(line) for line in out.splitlines()]
    assert len(states) == len(home.walkthrough) + 1 and states[-1]["done"]
    assert f"more commands, from number {len(home.walkthrough) + 1} on, which are not played" in err
