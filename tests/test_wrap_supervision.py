"""A wrapped agent notices that its student is confidently wrong: the teacher takes over, it is said once, and kept."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import atlas
from atlas.cli import main
from atlas.cli.traces import command as traces
from atlas.errors import ConfigError, DataError
from atlas.memory import Memory
from atlas.policies import Solo
from atlas.policies.triggers import Stall
from atlas.records import Ask, Reply
from atlas.testing import ScriptedModel
from atlas.traces import Run, RunWriter
from atlas.traces.check import check
from atlas.traces.events import Learned, Supervised
from atlas.trust import Trust
from atlas.wrap.supervision import log
from tests.wrap_fixtures import TOOLS, call, two_step_loop, user

RIGHT, WRONG = "right", "wrong"


def wrong(ask: Ask) -> str:
    """Sure of itself: all samples say the same."""
    return WRONG


def taught(ask: Ask) -> str:
    """As above, until it is shown how it is done."""
    return RIGHT if ask.view.retrieved else WRONG


def agent(student: Callable[[Ask], str], teacher: bool = True, **settings: Any) -> atlas.Agent:
    models = ScriptedModel(student, name="small"), ScriptedModel(RIGHT, name="large") if teacher else None
    return atlas.Agent(*models, **settings)


def serve(agent: atlas.Agent, count: int, begin: int = 0) -> str:
    """A letter for each episode: how it was played, capital where it went well."""
    played = ""
    for number in range(begin, begin + count):
        with agent.episode(f"question {number}") as episode:
            answer = episode.client.chat.completions.create(model="m", messages=user(f"question {number}"))
            episode.score(float(answer.choices[0].message.content == RIGHT))
        assert episode.result is not None
        letter = {"": "u", "teacher": "t", "student": "s"}[episode.result.lane]
        played += letter.upper() if episode.result.success else letter
    return played


def looked(run: Path, *options: str) -> tuple[int, str]:
    found = CliRunner().invoke(traces, ["check", str(run), *options], standalone_mode=False)
    return int(found.return_value or 0), found.output


def test_a_confidently_wrong_student_is_noticed_by_the_default_agent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with agent(wrong, audit=0.0, run=tmp_path / "run") as served:
        played = serve(served, 30)
    assert played[:7] == "u" * 7 and set(played[7:]) <= {"T", "s"}
    # It is tried again now and then, and less and less, since it goes on failing.
    assert [i for i, letter in enumerate(played) if letter == "s"] == [11, 20]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "0 of the last 7 scored episodes succeeded" in caplog.text and "traces check" in caplog.text

    run = Run(tmp_path / "run")
    (event,) = run.events()
    assert isinstance(event, Supervised) and event.raised and event.change.turned == "dropped"
    stored = run.episodes()
    assert event.episode == stored[6].id
    assert {step.decision.reason for step in stored[8].steps} == {"supervised"}
    code, text = looked(tmp_path / "run")
    assert code == 1 and "success has dropped" in text and "raised" in text
    shown = CliRunner().invoke(traces, ["show", str(tmp_path / "run")]).output
    assert "success has dropped" in " ".join(shown.split()) and event.episode in shown
    code, text = looked(tmp_path / "run", "--json")
    said = json.loads(text)
    assert code == 1 and [finding["kind"] for finding in said["findings"]] == ["success"] and not said["ok"]
    assert said["arms"][0]["supervision"] == "raised"


def test_with_a_memory_the_student_learns_from_it_and_acts_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, log.name)
    with (
        Memory(":memory:", "hash") as memory,
        agent(taught, run=tmp_path / "run", memory=memory, distil=False) as served,
    ):
        played = serve(served, 40)
    assert played.startswith("uuuuuuuTTTTS") and "s" not in played and played.endswith("U" * 10)
    told = Run(tmp_path / "run").events()
    assert [event.change.turned for event in told if isinstance(event, Supervised)] == ["dropped", "recovered"]
    learned = [event.episode for event in told if isinstance(event, Learned) and event.demonstration]
    assert learned == [e.id for e in Run(tmp_path / "run").episodes() if e.result and e.result.lane == "teacher"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert looked(tmp_path / "run") == (0, looked(tmp_path / "run")[1]) and "fine" in looked(tmp_path / "run")[1]


@pytest.mark.parametrize("place", ["memory", "run"])
def test_what_was_noticed_survives_a_restart_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    played = ""
    for number in range(4):
        # The memory serves several runs; without one, the run itself is what is known.
        run = tmp_path / (f"run-{number}" if place == "memory" else "run")
        with Memory(tmp_path / "memory.sqlite", "hash") as memory:
            kept = {"memory": memory} if place == "memory" else {}
            with agent(wrong, run=run, learn=False, **kept) as served:
                played += serve(served, 5, 5 * number)
    assert played[:7] == "u" * 7 and "u" not in played[7:]
    assert len(caplog.records) == 1
    assert looked(run)[0] == 1, "also in a run that began when it was known"


def test_several_agents_on_one_memory_or_run_go_by_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for kept in ("memory", "run"):
        caplog.clear()
        folder = tmp_path / kept
        with Memory(tmp_path / f"{kept}.sqlite", "hash") as memory:
            use: dict[str, Any] = {"memory": memory, "learn": False} if kept == "memory" else {"run": folder}
            with agent(wrong, **use) as one, agent(wrong, **use) as two:
                played = "".join(serve(either, 1, number) for number, either in enumerate((one, two) * 7))
        assert played.startswith("uuuuuuuTTTT") and len(caplog.records) == 1


@pytest.mark.parametrize("place", ["memory", "run"])
def test_scores_that_come_late_and_from_elsewhere_count_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    kept = ["--memory", str(tmp_path / "memory.sqlite"), "--embedder", "hash"] if place == "memory" else []
    with (
        Memory(tmp_path / "memory.sqlite", "hash") as memory,
        agent(wrong, run=tmp_path / "run", **({"memory": memory} if kept else {})) as served,
    ):
        for number in range(8):
            with served.episode(f"question {number}") as episode:
                episode.client.chat.completions.create(model="m", messages=user())
            if number < 7:
                for value in ("0.5", "0"):
                    main(["score", str(tmp_path / "run"), episode.id, value, *kept])
        assert serve(served, 2, 8) == "TT"
    assert sum("success has dropped" in record.message for record in caplog.records) == 1
    told = [event for event in Run(tmp_path / "run").events() if isinstance(event, Supervised)]
    assert [(event.change.episodes, event.raised) for event in told] == [(7, True)]


@pytest.mark.parametrize("place", ["memory", "run"])
def test_many_episodes_at_once_say_it_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str) -> None:
    with Memory(tmp_path / "memory.sqlite", "hash") as memory:
        kept: dict[str, Any] = {"memory": memory, "learn": False} if place == "memory" else {"run": tmp_path / "run"}
        with agent(wrong, **kept) as served:
            threads = [threading.Thread(target=serve, args=(served, 5, 10 * number)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert served.supervision is not None and served.supervision.lane() in ("teacher", "student")
    assert sum("dropped" in record.message for record in caplog.records) == 1


SERVED = """
import sys
import atlas
from atlas.memory import Memory
from atlas.testing import ScriptedModel

with Memory(sys.argv[1], "hash") as memory:
    with atlas.Agent(ScriptedModel("wrong"), ScriptedModel("right"), memory=memory, learn=False) as agent:
        for number in range(8):
            with agent.episode(f"question {number}") as episode:
                said = episode.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "q"}])
                episode.score(float(said.choices[0].message.content == "right"))
"""


def test_several_processes_on_one_memory_say_it_once(tmp_path: Path) -> None:
    Memory(tmp_path / "memory.sqlite", "hash").close()
    command = [sys.executable, "-c", SERVED, str(tmp_path / "memory.sqlite")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert sum(text.count("success has dropped") for text in said) == 1
    with Memory(tmp_path / "memory.sqlite", "hash") as memory:
        lanes = [outcome.lane for outcome in memory.outcomes.all()]
        assert len(lanes) == 24 and lanes.count("teacher") >= 8
        # What the teacher did says nothing of what the student can do by itself.
        assert all((outcome.unaided is None) == (outcome.lane == "teacher") for outcome in memory.outcomes.all())


def test_a_damaged_line_of_the_trace_keeps_nobody_from_serving(tmp_path: Path) -> None:
    with agent(wrong, run=tmp_path / "run") as served:
        serve(served, 5)
    with (tmp_path / "run" / "trace.jsonl").open("a") as trace:
        trace.write('{"type":"end","id":"torn"}\n')
    with agent(wrong, run=tmp_path / "run") as served:
        assert serve(served, 4, 5) == "uuTT"


def test_an_agent_that_nobody_supervises_warns_as_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alone = agent(wrong, teacher=False, run=tmp_path / "alone")
    own = atlas.Agent(policy=Solo(ScriptedModel(WRONG), actions=atlas.ChatActions()), run=tmp_path / "own")
    for served, run in ((alone, tmp_path / "alone"), (own, tmp_path / "own")):
        caplog.clear()
        with served:
            assert serve(served, 12) == "u" * 12
        assert len(caplog.records) == 1 and "no teacher to turn to" in caplog.text
        (event,) = Run(run).events()
        assert isinstance(event, Supervised) and not event.raised
        assert looked(run)[0] == 1 and check(Run(run)).arms[0].supervision == "low"


def test_a_teacher_that_does_no_better_is_not_paid_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hopeless = atlas.Agent(ScriptedModel(WRONG, name="small"), ScriptedModel(WRONG, name="large"), run=tmp_path / "run")
    with hopeless as served:
        played = serve(served, 40)
    assert played[:7] == "u" * 7 and set(played[7:15]) == {"t", "s"} and played[20:] == "u" * 20
    assert len(caplog.records) == 2 and "the teacher does no better" in caplog.records[1].message
    assert looked(tmp_path / "run")[0] == 1 and check(Run(tmp_path / "run")).arms[0].supervision == "helpless"


def test_a_memory_that_is_frozen_is_no_place_to_keep_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Memory(tmp_path / "memory.sqlite", "hash") as memory:
        memory.freeze(author="person:me", reason="deployed")
        for settings in ({}, {"run": tmp_path / "run"}):
            caplog.clear()
            with agent(wrong, memory=memory, **settings) as served:
                assert serve(served, 9) == "uuuuuuuTT"
            assert len(caplog.records) == 1


def test_nothing_is_expected_of_who_says_so(caplog: pytest.LogCaptureFixture) -> None:
    for expect in (None, 0.0):
        with agent(wrong, expect=expect) as served:
            assert serve(served, 30) == "u" * 30
    assert not caplog.records
    with pytest.raises(ConfigError, match="from 0 to less than 1"):
        agent(wrong, expect=1.0)


def test_episodes_without_a_score_say_nothing(tmp_path: Path) -> None:
    with agent(wrong, run=tmp_path / "run") as served:
        for number in range(9):
            with served.episode(f"question {number}") as episode:
                episode.client.chat.completions.create(model="m", messages=user())
    assert not Run(tmp_path / "run").events()
    code, text = looked(tmp_path / "run")
    assert code == 1 and "none of the last 9 episodes has a score" in text


def test_errors_are_worth_a_look_and_a_few_are_not(tmp_path: Path) -> None:
    for failing, code in ((1, 0), (4, 1)):
        run = tmp_path / str(failing)
        with agent(lambda ask: RIGHT, run=run) as served:
            serve(served, 16)
            for _ in range(failing):
                with pytest.raises(KeyError), served.episode("a question"):
                    raise KeyError("no such order")
        assert looked(run)[0] == code


def test_a_run_that_has_just_begun_is_fine_and_so_is_a_bench_whose_control_fails(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "new", {"kind": "wrapped"}):
        pass
    assert looked(tmp_path / "new")[0] == 0
    from atlas.testing.runs import write_run

    assert looked(write_run(tmp_path / "bench"))[0] == 0


# --- watch, audits and trust --------------------------------------------------------------------------------------


def test_a_student_that_goes_in_circles_is_helped_by_default() -> None:
    def circling(ask: Ask) -> Reply:
        return call("look_up")

    def mending(ask: Ask) -> Reply:
        return Reply(text="Refunded.")

    for watch, answered in ((None, True), (False, False), ([Stall(turns=9)], False)):
        student, teacher = ScriptedModel(circling), ScriptedModel(mending)
        with atlas.Agent(student, teacher, watch=watch, audit=0.0) as served, served.episode("refund A1") as episode:
            if answered:
                assert two_step_loop(episode.client) == "Refunded."
            else:
                with pytest.raises(AssertionError, match="never ended"):
                    two_step_loop(episode.client)
        assert bool(teacher.asks) is answered
        assert (episode.steps[-1].decision.reason == "loop") is answered


def test_a_share_of_the_students_steps_is_audited_and_taken_all_the_same(tmp_path: Path) -> None:
    with agent(wrong, audit=1.0, expect=None, run=tmp_path / "run") as served:
        serve(served, 12)
    code, text = looked(tmp_path / "run")
    assert code == 1 and "12 of 12 audited steps" in text
    with agent(wrong, expect=None) as served:
        asked = 0
        for number in range(300):
            with served.episode(f"question {number}", task=str(number)) as episode:
                episode.client.chat.completions.create(model="m", messages=user())
            assert episode.result is not None and episode.result.teacher_steps == 0
            asked += episode.result.asked_steps
    assert 1 <= asked <= 15, "about 2 % by default"


def test_what_was_only_audited_is_nothing_new_to_learn() -> None:
    with Memory(":memory:", "hash") as memory, agent(lambda ask: RIGHT, audit=1.0, memory=memory) as served:
        assert serve(served, 3) == "UUU"
        assert len(memory.demonstrations) == 0


def test_trust_is_an_object_a_file_or_a_share(tmp_path: Path) -> None:
    def two_of_three(ask: Ask) -> list[str]:
        return [["a", "a", "b"][(ask.first + i) % 3] for i in range(ask.n)]

    loose = Trust(threshold=0.6)
    loose.save(tmp_path / "trust.json")
    for trust, asked in ((None, True), (1, True), (0.6, False), (loose, False), (tmp_path / "trust.json", False)):
        with agent(two_of_three, trust=trust, audit=0.0) as served, served.episode("g") as episode:
            episode.client.chat.completions.create(model="m", messages=user(), tools=TOOLS)
        assert episode.result is not None and bool(episode.result.teacher_steps) is asked
    with pytest.raises(ConfigError, match="from 0 to 1, not 3"):
        agent(wrong, trust=3)
    with pytest.raises(ConfigError, match="judge of steps"):
        agent(wrong, trust=Trust(signals=("judge",), threshold=0.5))
    with pytest.raises(DataError, match="cannot be read"):
        agent(wrong, trust=tmp_path / "none.json")


@pytest.mark.parametrize("told", [{"trust": 0.6}, {"watch": True}, {"audit": 0.1}])
def test_what_needs_a_teacher_is_refused_without_one(told: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(told))} is for an agent that has a student and a teacher"):
        agent(wrong, teacher=False, **told)
    with pytest.raises(ConfigError, match="no lanes"), Memory(":memory:", "hash") as memory:
        agent(wrong, memory=memory, lanes=True, **told)
