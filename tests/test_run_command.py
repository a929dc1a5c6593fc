"""``atlas run``: a program that knows nothing of atlas is an episode; ``atlas score``: what is said of one later."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.cli.agent_options import AgentOptions
from atlas.errors import ConfigError, ModelError
from atlas.records import Ask, Reply, Stop, total
from atlas.serve.child import run_command, scored
from atlas.testing import ChatServer, Say, ScriptedModel
from atlas.traces import Run
from tests.serve_fixtures import CHAT, KEY, ask, atlas, chat
from tests.wrap_fixtures import in_two_steps, says

LOOP = """
import sys, openai
sys.path.insert(0, {folder!r})
from tests.wrap_fixtures import two_step_loop
assert two_step_loop(openai.OpenAI()) == "Refunded."
sys.exit({code})
"""
FOLDER = str(Path(__file__).parent.parent)


def program(code: int) -> list[str]:
    return [sys.executable, "-c", LOOP.format(folder=FOLDER, code=code)]


@pytest.mark.parametrize(
    ("code", "score", "expected"),
    [(0, "", 1.0), (3, "", 0.0), (3, "echo so; echo 0.25", 0.25), (3, "echo nan", None), (3, "echo 1e999", None)],
)
def test_a_command_is_an_episode_scored_by_how_it_ended(
    tmp_path: Path, code: int, score: str, expected: float | None
) -> None:
    agent = atlas.Agent(ScriptedModel(in_two_steps), run=tmp_path / "run")
    outcome = run_command(program(code), agent, score=score, task="t")
    (stored,) = Run(tmp_path / "run").episodes()
    assert outcome.code == code and outcome.episode == stored.result
    assert stored.result is not None and stored.result.score == expected and stored.result.stop is Stop.DONE
    assert (stored.task.id, stored.task.goal, len(stored.steps)) == ("t", "refund A1", 2)


@pytest.mark.parametrize(
    ("score", "expected", "why"),
    [
        ("./not-there", None, "could not be run, or was stopped (exit code 127)"),
        ("kill -9 $$", None, "could not be run, or was stopped (exit code -9)"),
        ("echo nan", None, "printed nan"),
        ("echo 0.5; ./not-there", 0.5, ""),
        ("kill -SEGV $$", 0.0, ""),
        (r"printf '\377\n0.75\n'", 0.75, ""),
        ("head -c 300000000 /dev/zero; echo; echo 0.25", 0.25, ""),
    ],
)
def test_a_score_command_that_fails_is_no_score_and_what_it_prints_is_not_held(
    score: str, expected: float | None, why: str
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    value, said = scored(score, os.environ)
    assert value == expected and said.endswith(why) and bool(said) == bool(why)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


def test_why_there_is_no_score_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clerk.py").write_text("from atlas.testing import ScriptedModel\nclerk = ScriptedModel(['x'])\n")
    call = (
        "import openai; openai.OpenAI().chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'x'}])"
    )
    words = ["run", "--student", f"python:{tmp_path}/clerk.py:clerk", "--score", "./not-there", "--"]
    main([*words, sys.executable, "-c", call])
    assert "no score (the command that scores could not be run" in capfd.readouterr().err


def test_a_score_command_knows_the_exit_code_and_may_say_it_by_its_own() -> None:
    outcome = run_command(program(7), atlas.Agent(ScriptedModel(in_two_steps)), score='test "$ATLAS_EXIT_CODE" = 7')
    assert outcome.episode is not None and outcome.episode.score == 1.0


def failing_from(step: int, error: Exception) -> ScriptedModel:
    def act(ask: Ask) -> Reply:
        if ask.view.index >= step:
            raise error
        return in_two_steps(ask)

    return ScriptedModel(act)


@pytest.mark.parametrize("step", [0, 1])
def test_a_command_that_fails_because_no_model_answers_has_no_score(tmp_path: Path, step: int) -> None:
    agent = atlas.Agent(failing_from(step, ModelError("the provider is down")), run=tmp_path / "run")
    outcome = run_command(program(0), agent)
    (result,) = Run(tmp_path / "run").results()
    assert outcome.code == 1 and outcome.unscored == "its last call failed: the provider is down"
    assert (result.score, result.stop, result.steps) == (None, Stop.ERROR, step)
    assert result.failure is not None and result.failure.kind == "ModelError"


def test_a_command_that_went_on_after_a_refusal_is_scored_by_how_it_ended() -> None:
    calls = iter([ModelError("overloaded"), None, None])

    def act(ask: Ask) -> Reply:
        if (error := next(calls)) is not None:
            raise error
        return in_two_steps(ask)

    twice = f"import sys, openai\nsys.path.insert(0, {FOLDER!r})\nfrom tests.wrap_fixtures import two_step_loop\n"
    twice += "try:\n    two_step_loop(openai.OpenAI())\nexcept openai.APIError:\n    two_step_loop(openai.OpenAI())\n"
    twice += "sys.exit(4)"
    outcome = run_command([sys.executable, "-c", twice], atlas.Agent(ScriptedModel(act)))
    assert outcome.code == 4 and outcome.episode is not None
    assert (outcome.episode.score, outcome.episode.stop) == (0.0, Stop.DONE)


def test_a_budget_of_the_run_that_is_spent_says_nothing_of_the_command_and_its_own_does() -> None:
    model = ScriptedModel(in_two_steps)
    ended = []
    for limits in ({"run_budget": atlas.Budget(tokens=1)}, {"budget": atlas.Budget(tokens=1)}):
        outcome = run_command(program(0), atlas.Agent(model, **limits))
        assert outcome.code == 1 and outcome.episode is not None
        ended.append((outcome.episode.stop, outcome.episode.score))
    assert ended == [(Stop.RUN_BUDGET, None), (Stop.BUDGET, 0.0)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_somebody_stops_has_no_score(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "clerk.py").write_text("from atlas.testing import ScriptedModel\nclerk = ScriptedModel(['x'] * 9)\n")
    call = (
        "import os, openai, signal, time; signal.signal(signal.SIGINT, lambda *_: os._exit(7)); openai.OpenAI().chat."
        "completions.create(model='m', messages=[{'role': 'user', 'content': 'x'}]); print('asked', flush=True); "
        "time.sleep(60)"
    )
    words = ["run", "--student", f"python:{tmp_path}/clerk.py:clerk", "--run", str(tmp_path / "run"), "--"]
    with subprocess.Popen(
        [sys.executable, "-m", "atlas", *words, sys.executable, "-c", call],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None and running.stdout.readline() == "asked\n"
        if number is signal.SIGINT:
            os.killpg(running.pid, number)  # as Ctrl-C does
        else:
            running.send_signal(number)
        said = running.communicate()[1]
    assert "no score (it was stopped), 1 step" in said
    assert running.returncode == (7 if number is signal.SIGINT else 128 + number)
    (result,) = Run(tmp_path / "run").results()
    assert (result.score, result.stop) == (None, Stop.CANCELLED)


def test_a_command_that_calls_nobody_and_one_that_is_not_there() -> None:
    outcome = run_command([sys.executable, "-c", ""], atlas.Agent(ScriptedModel(says("x"))))
    assert (outcome.code, outcome.episode) == (0, None)
    with pytest.raises(ConfigError, match="no-such-program cannot be run"):
        run_command(["no-such-program"], atlas.Agent(ScriptedModel(says("x"))))


def test_the_command_line_runs_scores_and_corrects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with ChatServer([Say("", tool_calls=[("refund", "{}")]), Say("Refunded.")]) as upstream:
        (tmp_path / "mine.py").write_text(
            "import atlas\n"
            "def make():\n"
            f"    model = atlas.load('openai/small', base_url={upstream.url!r}, api_key='x')\n"
            "    return atlas.Agent(model, run='runs/one')\n"
        )
        with pytest.raises(SystemExit) as ended:
            main(["run", "--agent", "mine.py:make", "--", *program(5)])
    assert ended.value.code == 5 and "score 0, 2 steps, 0 by the teacher, unpriced" in capfd.readouterr().err
    (first,) = Run("runs/one").results()
    assert first.score == 0.0
    with atlas.Memory("memory.sqlite", "hash"):
        pass
    main(["score", "one", first.id[:6], "1", "--memory", "memory.sqlite", "--embedder", "hash"])
    assert f"episode {first.id}: score 1 (it was 0), success true" in capfd.readouterr().out
    (second,) = Run("runs/one").results()
    assert (second.score, second.success, second.id) == (1.0, True, first.id)
    with atlas.Memory("memory.sqlite", "hash") as memory:
        assert len(memory.demonstrations) == 1
    main(["score", "one", first.id, "0.5", "--success-score", "0.4", "--json"])
    assert json.loads(capfd.readouterr().out)["success"] is True
    with pytest.raises(SystemExit):
        main(["score", "one", "nothing", "1"])
    assert "no episode is named so, or begins with 'nothing'" in capfd.readouterr().err


def test_nobody_who_acts_is_told_in_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["run", "--", "true"], ["serve"]):
        with pytest.raises(SystemExit):
            main(words)
        assert "nobody who acts" in capfd.readouterr().err


def test_an_option_that_is_misspelled_is_not_taken_for_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--student", "nearest", "--techer", "nearest", "--", "true"])
    said = capfd.readouterr().err
    assert ended.value.code == 2 and "No such option '--techer'" in said and "--teacher" in said
    # What is behind the command's name is the command's own, with and without the dashes.
    for dashes in ([], ["--"]):
        with pytest.raises(SystemExit) as ended:
            main(["run", "--student", "nearest", *dashes, sys.executable, "-c", "import sys; sys.exit(6)", "--goal"])
        assert ended.value.code == 6


def test_models_of_ones_own_have_a_price_on_the_command_line_and_for_a_tenant(
    tmp_path: Path,
) -> None:
    replies = [Say("", tool_calls=[("refund", "{}")]), Say("Refunded.")]
    with ChatServer(replies) as upstream:
        model = f"openai/mine@{upstream.url}"
        words = ["run", "--student", model, "--student-price", "2/2", "--run", str(tmp_path / "run")]
        main([*words, "--episode-dollars", "1", "--", *program(0)])
    (result,) = Run(tmp_path / "run").results()
    assert result.score == 1.0 and total(result.spend).dollars == pytest.approx(2e-6 * total(result.spend).tokens)
    said = AgentOptions.read({"teacher": model, "teacher_price": "2/2"}, "tenant desk")
    with said.make() as agent:
        solo = agent.policy
        assert isinstance(solo, atlas.Solo) and solo.model.price is not None
        assert (solo.model.price.prompt, solo.model.price.completion) == (2.0, 2.0)
    for name in ("student", "teacher"):
        with pytest.raises(ConfigError, match=f"--{name}-price is the price of --{name}: give that too"):
            AgentOptions.read({f"{name}_price": "2/2"}, "tenant desk").make()
    with pytest.raises(ConfigError, match="is not a price: write dollars"):
        AgentOptions(student=model, student_price="cheap").make()


def test_tenants_are_read_from_a_file_and_share_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from atlas.cli.agent_options import AgentOptions
    from atlas.cli.serve import _tenants
    from atlas.serve import Limits

    monkeypatch.setenv("ANN_KEY", "k" * 20)
    monkeypatch.setenv("BOB_KEY", "b" * 20)
    monkeypatch.setenv("SHORT", "b")
    path = tmp_path / "tenants.yaml"

    def read(text: str) -> list[str]:
        path.write_text(text)
        found = _tenants(path, AgentOptions(), Limits())
        for tenant in found:
            tenant.agent.close()
        return [tenant.name for tenant in found]

    ann = f"ann: {{keys: [ANN_KEY], student: scripted/any, run: {tmp_path / 'a'}}}\n"
    for text, sentence in (
        ("ann: {}", "has no keys"),
        ("ann: {keys: [SHORT]}", "at least 16 characters"),
        ("ann: {keys: [ANN_KEY], student: 3}", "which is no text"),
        ("ann: {keys: [ANN_KEY], samples: 2.5}", "which is no whole number"),
        ("ann: {keys: [ANN_KEY], run_dollars: 0}", "leave it out for none"),
        ("ann: {keys: [ANN_KEY], success_score: .nan}", "no finite number"),
        ("ann: {keys: [ANN_KEY], color: red}", "which is none of"),
        ("- a", "maps names of tenants"),
        (ann + ann.replace("ann:", "bob:").replace("ANN", "BOB"), "share"),
        (ann + "bob: {keys: [ANN_KEY], student: x/y}", "two keys"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            read(text)


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import atlas\n"
        "from atlas.testing import ScriptedModel\n"
        "def make():\n"
        "    return atlas.Agent(ScriptedModel(lambda ask: 'hi'), run='runs/one')\n"
    )
    command = [sys.executable, "-m", "atlas", "serve", "--agent", "mine.py:make", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": FOLDER, "ATLAS_SERVE_KEY": KEY, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://[\d.:]+", line)
        assert found, line
        try:
            assert ask(found[0], CHAT, chat("secret words"))[0] == 401
            assert ask(found[0], CHAT, chat("secret words"), authorization=f"Bearer {KEY}")[0] == 200
        finally:
            server.send_signal(signal.SIGTERM)
        said = server.stdout.read()
        assert server.wait(120) in (0, -signal.SIGTERM)
    assert "secret words" not in said and KEY not in said
    (result,) = Run(tmp_path / "runs/one").results()
    assert (result.steps, result.score) == (1, None), "ended, and not scored"
