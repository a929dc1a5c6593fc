"""Traces: nothing acknowledged is lost, whatever happens to the process, and what is read is what was written."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.errors import ConfigError, StoreError
from atlas.records import STUDENT, Decision, Message, Observation, Prompt, Step, Stop, Task, ToolCall
from atlas.testing.runs import ARMS, MadeUpArm, write_episode, write_run
from atlas.traces import Run, RunWriter
from atlas.traces.account import arm_rows, break_even, cut_off, pair
from atlas.traces.reader import find_run, runs
from atlas.traces.roles import by_name

TASK = Task(id="t", goal="put a mug in a shelf")

texts = st.text(max_size=30)
calls = st.builds(ToolCall, id=texts, name=texts, arguments=texts)
messages = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "tool"]),
    content=texts,
    tool_calls=st.lists(calls, max_size=2).map(tuple),
    tool_call_id=st.none() | texts,
)
tools = st.lists(
    st.fixed_dictionaries({"type": st.just("function"), "function": st.dictionaries(texts, texts)}), max_size=2
)
prompts = st.builds(
    Prompt,
    stable=texts,
    history=st.lists(messages, max_size=5).map(tuple),
    retrieved=texts,
    ask=texts,
    tools=tools.map(tuple),
)


def step_of(index: int, prompt: Prompt, text: str = "seen") -> Step:
    return Step(
        index=index,
        observation=text,
        decision=Decision(action=text, actor=STUDENT, reason="solo", prompt=prompt),
        outcome=Observation(text=text, score=0.0),
        seconds=0.5,
    )


@settings(max_examples=60, deadline=None)
@given(prompts=st.lists(prompts, min_size=1, max_size=5), text=texts)
def test_steps_and_prompts_come_back_as_they_were(prompts: list[Prompt], text: str) -> None:
    steps = tuple(step_of(i, prompt, text) for i, prompt in enumerate(prompts))
    with tempfile.TemporaryDirectory() as folder:
        with RunWriter(f"{folder}/run") as writer:
            writer.start("e1", "arm", TASK, 0, "c")
            for step in steps:
                writer.step("e1", step)
        (stored,) = Run(f"{folder}/run").episodes()
        assert stored.steps == steps


def test_a_growing_history_is_stored_once(tmp_path: Path) -> None:
    history: tuple[Message, ...] = ()
    with RunWriter(tmp_path / "run") as writer:
        writer.start("e1", "arm", TASK, 0, "c")
        for index in range(50):
            history = (*history, Message(role="user", content=f"observation {index} " + "x" * 1000))
            writer.step("e1", step_of(index, Prompt(stable="s" * 5000, history=history)))
    assert (tmp_path / "run" / "trace.jsonl").stat().st_size < 50 * 1000 + 5000 + 50 * 600
    assert Run(tmp_path / "run").episodes()[0].steps[-1].decision.prompt.history == history


def test_a_torn_last_line_is_skipped_and_the_next_writer_goes_on(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(3, 0.5)})
    trace = folder / "trace.jsonl"
    whole = trace.read_bytes()
    last = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for cut in (last + 1, last + 40, len(whole) - 2):
        trace.write_bytes(whole[:cut])
        assert len(Run(folder).results()) == 2
        with RunWriter(folder, Run(folder).settings) as writer:
            write_episode(writer, "student", MadeUpArm(3, 0.5), 2, random.Random(9))
        assert len(Run(folder).results()) == 3
        lost, spent = cut_off(Run(folder).episodes())
        assert len(lost) == 1 and spent.tokens > 0


def test_a_line_without_its_newline_counts_once_it_is_whole(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(1, 0.5)})
    trace = folder / "trace.jsonl"
    trace.write_bytes(trace.read_bytes()[:-1])
    with RunWriter(folder, Run(folder).settings) as writer:
        write_episode(writer, "student", MadeUpArm(1, 0.5), 1, random.Random(9))
    assert len(Run(folder).results()) == 2


WRITER = """
import random, sys
from atlas.testing.runs import MadeUpArm, write_episode
from atlas.traces import RunWriter
folder, arm, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
with RunWriter(folder, {"n": 1}) as writer:
    for number in range(count):
        print(write_episode(writer, arm, MadeUpArm(count, 0.5), number, rng).id, flush=True)
"""


def start_writer(folder: Path, arm: str, count: int, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), arm, str(count), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    acknowledged: set[str] = set()
    for round_ in range(3):
        process = start_writer(folder, "student", 1_000_000, round_)
        assert process.stdout is not None
        for _ in range(5 + 3 * round_):
            acknowledged.add(process.stdout.readline().strip())
        os.kill(process.pid, signal.SIGKILL)
        acknowledged |= set(process.stdout.read().split())
        process.wait()
        process.stdout.close()
    run = Run(folder)
    assert acknowledged <= {e.id for e in run.results()}
    for stored in run.episodes():
        assert [s.index for s in stored.steps] == list(range(len(stored.steps)))
        if stored.result is not None:
            assert stored.result.steps == len(stored.steps)


def test_two_processes_share_a_run_and_a_reader_looks_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    writers = [start_writer(folder, arm, 40, seed) for seed, arm in enumerate(("a", "b"))]
    seen = 0
    while any(w.poll() is None for w in writers):
        if (folder / "run.json").exists():
            now = len(Run(folder).results())
            assert now >= seen
            seen = now
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    results = Run(folder).results()
    assert sorted(e.arm for e in results) == ["a"] * 40 + ["b"] * 40
    assert all(stored.result and len(stored.steps) == stored.result.steps for stored in Run(folder).episodes())
    assert len((folder / "trace.jsonl").read_text().splitlines()) == sum(e.steps for e in results) + 2 * 80 + 2


def test_an_unknown_schema_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(1, 1.0)})
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(StoreError, match="schema 99"):
        Run(folder)
    with pytest.raises(StoreError, match="schema 99"):
        RunWriter(folder, manifest["settings"])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', "\x00\xff"])
def test_a_broken_manifest_is_one_sentence(tmp_path: Path, content: str) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(1, 1.0)})
    (folder / "run.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match=r"run\.json"):
        Run(folder)


@pytest.mark.parametrize("line", ['{"type":"start"}', '{"type":"end","id":"e","score":[]}', '{"type":"text","x":1}'])
def test_a_damaged_trace_names_its_line(tmp_path: Path, line: str) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(1, 1.0)})
    with (folder / "trace.jsonl").open("a") as trace:
        trace.write('{"type":"start","episode":"e","arm":"a","task":{"id":"t","goal":"g"},"seed":0,"config":"c"}\n')
        trace.write(line + "\n")
    count = len((folder / "trace.jsonl").read_text().splitlines())
    with pytest.raises(StoreError, match=f"line {count}"):
        Run(folder).episodes()


def test_noise_between_lines_is_skipped(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(2, 1.0)})
    with (folder / "trace.jsonl").open("ab") as trace:
        trace.write(b'\xff\xfe\x00garbage\n[1,2]\n"text"\n{"type":"unheard-of"}\n\n')
    assert len(Run(folder).results()) == 2


def test_other_settings_are_refused_and_equal_ones_resume(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", {"split": "valid_unseen", "n": 134}) as writer:
        writer.start("e", "student", TASK, 0, "c")
    RunWriter(tmp_path / "run", {"n": 134, "split": "valid_unseen"}, {"command": "another one"}).close()
    with pytest.raises(ConfigError, match="other settings"):
        RunWriter(tmp_path / "run", {"split": "valid_seen", "n": 134})
    assert Run(tmp_path / "run").settings == {"split": "valid_unseen", "n": 134}


def test_settings_may_change_until_something_is_recorded(tmp_path: Path) -> None:
    RunWriter(tmp_path / "run", {"student": "misspelt"}).close()
    RunWriter(tmp_path / "run", {"student": "nearest"}, {"title": "t"}).close()
    run = Run(tmp_path / "run")
    assert run.settings == {"student": "nearest"} and run.about == {"student": "nearest", "title": "t"}


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="choose another"):
        RunWriter(tmp_path / "file" / "run", {})
    with pytest.raises(StoreError, match="choose another"):
        RunWriter(tmp_path / "file", {})


def test_runs_are_found_by_path_and_by_name(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", {"student": MadeUpArm(1, 1.0)})
    write_run(tmp_path / "runs" / "deep" / "two", {"student": MadeUpArm(1, 1.0)})
    assert [run.name for run in runs(tmp_path)] == ["one", "two"]
    assert find_run(tmp_path / "runs" / "one").name == "one"
    assert find_run(tmp_path / "runs" / "one" / "run.json").name == "one"
    assert find_run("deep/two", tmp_path / "runs").name == "two"
    with pytest.raises(StoreError, match="holds no run"):
        find_run("three", tmp_path / "runs")


def test_the_account_of_a_run_adds_up(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path / "run"))
    rows = {row.arm: row for row in arm_rows(run.results())}
    assert list(rows) == list(ARMS)
    teacher = rows["teacher"]
    assert teacher.teacher_share == 1.0 and teacher.errors == 0
    assert teacher.dollars_per_episode == pytest.approx(0.002 * teacher.steps)
    paid = sum(e.spend[0].usage.dollars or 0 for e in run.results() if e.arm == "collect")
    even = {row.arm: row for row in break_even(list(rows.values()), by_name(rows))}
    assert even["icd"].demo_dollars == pytest.approx(paid)
    assert even["icd"].episodes == pytest.approx(paid / even["icd"].saving)
    compared = pair(run.results(), "cascade", "student")
    assert compared.tasks == 12
    assert compared.success.mean == pytest.approx(rows["cascade"].success.mean - rows["student"].success.mean)


def test_unpriced_calls_are_unpriced_in_every_sum(tmp_path: Path) -> None:
    run = Run(
        write_run(
            tmp_path / "run", {"student": MadeUpArm(2, 1.0, dollars=None), "teacher": MadeUpArm(2, 1.0, teacher=1.0)}
        )
    )
    student, teacher = arm_rows(run.results())
    assert student.dollars_per_episode is None and student.usage.tokens > 0
    assert teacher.dollars_per_episode is not None
    assert pair(run.results(), "student", "teacher").dollars is None
    assert break_even([student, teacher], by_name(("student", "teacher"))) == []


def test_interrupted_episodes_are_paid_but_no_result(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(3, 1.0)})
    first = Run(folder).results()[0]
    with RunWriter(folder, Run(folder).settings) as writer:
        writer.start("again", first.arm, first.task, 0, first.config)
        writer.end(first.model_copy(update={"id": "again", "stop": Stop.RUN_BUDGET, "score": None, "success": None}))
    (row,) = arm_rows(Run(folder).results())
    assert row.episodes == 3
    lost, spent = cut_off(Run(folder).episodes())
    assert [e.id for e in lost] == ["again"]
    assert spent.dollars == pytest.approx(first.spend[0].usage.dollars)


def test_a_step_that_says_what_no_step_says_is_named_and_spares_the_others(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(2, 1.0)})
    lines = (folder / "trace.jsonl").read_bytes().splitlines(keepends=True)
    third = [i for i, line in enumerate(lines) if b'"type":"step"' in line][2]
    lines[third] = lines[third].replace(b'"observation":"', b'"observation":1,"o":"', 1)
    (folder / "trace.jsonl").write_bytes(b"".join(lines))
    first, second = Run(folder).episodes()
    with pytest.raises(StoreError, match=f"episode {first.id}"):
        _ = first.steps
    assert second.result is not None and len(second.steps) == second.result.steps


def test_examples_retrieved_again_are_stored_once(tmp_path: Path) -> None:
    def shown(order: list[int]) -> Prompt:
        windows = [f"[example {i}] Task: t{n}\nObservation: {n}\n\n" + "x" * 5000 for i, n in enumerate(order, 1)]
        return Prompt(stable="s", retrieved="\n\n".join(["Examples:", *windows]))

    prompts = [shown([1, 2, 3]), shown([3, 1, 2]), shown([2]), Prompt(stable="s", retrieved="[example 1] \n\n\n\n")]
    with RunWriter(tmp_path / "run") as writer:
        writer.start("e1", "arm", TASK, 0, "c")
        for index, prompt in enumerate(prompts):
            writer.step("e1", step_of(index, prompt))
    assert (tmp_path / "run" / "trace.jsonl").stat().st_size < 3 * 5000 + 5000
    assert [s.decision.prompt for s in Run(tmp_path / "run").episodes()[0].steps] == prompts


def test_a_trace_of_the_first_schema_reads_as_it_did_and_is_raised_when_it_is_written_on(tmp_path: Path) -> None:
    """There the prompt and the spend of a step stood with its decision."""
    folder = write_run(tmp_path / "run", {"cascade": MadeUpArm(2, 0.5, teacher=0.5, retrieves=True)})
    now = [(e.steps, e.result) for e in Run(folder).episodes()]
    lines = []
    for line in (folder / "trace.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["type"] == "step":
            event["decision"] |= {"prompt": event.pop("prompt"), "spend": event.pop("spend")}
        lines.append(json.dumps(event, separators=(",", ":")))
    (folder / "trace.jsonl").write_text("\n".join(lines) + "\n")
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(manifest | {"schema": 1}))
    before = Run(folder)
    assert [(e.steps, e.result) for e in before.episodes()] == now and any(s.spend for e in now for s in e[0])
    with RunWriter(folder, before.settings):
        pass
    assert json.loads((folder / "run.json").read_text())["schema"] == 2
    # A killed episode of the first schema still tells what it used.
    (folder / "trace.jsonl").write_text("\n".join(line for line in lines if '"type":"end"' not in line) + "\n")
    assert sum(s.usage.calls for e in Run(folder).episodes() for s in e.spend) == sum(
        s.usage.calls for steps, _ in now for step in steps for s in step.spend
    )


def test_a_run_of_before_there_was_a_setting_is_resumed_where_that_is_empty(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", {"k": 6}) as writer:
        writer.start("e", "arm", TASK, 0, "c")
    empties: tuple[object, ...] = ({}, None, [], False)
    for empty in empties:
        RunWriter(tmp_path / "run", {"k": 6, "lanes": empty}).close()
    with pytest.raises(ConfigError, match=r"other settings \(lanes\)"):
        RunWriter(tmp_path / "run", {"k": 6, "lanes": {"force": "coach"}})
    with pytest.raises(ConfigError, match=r"other settings \(k\)"):
        RunWriter(tmp_path / "run", {"k": 0, "lanes": {}})
