"""Exports do not leak: no task on two sides, no duplicate, no secret. A good one is replaced as a whole, or stays."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from atlas.cli import app, main
from atlas.errors import ConfigError
from atlas.export import ExportPlan, Filters, export, read_rows
from atlas.export.clean import Cleaner
from atlas.export.duplicates import signature, similarity
from atlas.export.formats import FORMATS
from atlas.export.holdout import part_of, position
from atlas.testing.runs import ARMS, MadeUpArm, write_run
from atlas.traces import Run, RunWriter
from tests.export_fixtures import desk_run, homes_run, lines, recall_run, write_steps

MADE_UP = ("made-up*",)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    arms = {name: replace(arm, episodes=5) for name, arm in ARMS.items()}
    return Run(write_run(tmp_path_factory.mktemp("runs") / "made", arms))


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs an export that has to fail, and returns its one sentence."""

    def run(*arguments: str | Path) -> str:
        with pytest.raises(SystemExit) as stop:
            main(["export", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert stop.value.code == 2 and out == ""
        assert err.startswith("atlas: ") and err.count("\n") == 1 and "Traceback" not in err
        return err

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- splits -----------------------------------------------------------------------------------------------------------


@given(st.text(), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_group_is_on_one_side_and_a_larger_share_only_adds(group: str, a: float, b: float) -> None:
    assert 0 <= position(group) < 1
    assert part_of(group, 0) == "train"
    if a <= b and part_of(group, a) == "holdout":
        assert part_of(group, b) == "holdout"


def test_the_share_held_out_is_about_what_was_asked() -> None:
    held = sum(part_of(f"task-{i}", 0.1) == "holdout" for i in range(5000))
    assert 430 <= held <= 570


def test_a_task_is_on_the_same_side_in_every_run_arm_and_format(tmp_path: Path) -> None:
    sides: dict[str, set[str]] = {}
    for number, form in enumerate(("rows", "parquet")):
        run = Run(write_run(tmp_path / f"run{number}", seed=number))
        plan = ExportPlan(format="rows", permitted=MADE_UP, holdout=0.3, keep_duplicates=True)
        manifest = export([run], tmp_path / form, plan)
        assert manifest.counts.by_part.keys() == {"train", "holdout"}
        for part in ("train", "holdout"):
            for row in read_rows(tmp_path / form / f"{part}.jsonl"):
                assert row.part == part
                sides.setdefault(row.task, set()).add(part)
    assert len(sides) == 12 and all(len(parts) == 1 for parts in sides.values())


def test_all_tasks_of_an_incident_stay_together(tmp_path: Path) -> None:
    run = Run(homes_run(tmp_path / "run", 6))
    export([run], tmp_path / "out", ExportPlan(format="rows", holdout=0.5, group="family", keep_duplicates=True))
    sides: dict[str, set[str]] = {}
    for row in read_rows(tmp_path / "out"):
        assert row.group == row.family
        sides.setdefault(row.family, set()).add(row.part)
    assert len(sides) > 1 and all(len(parts) == 1 for parts in sides.values())


def test_no_row_to_train_on_shows_a_demonstration_of_a_held_out_task(tmp_path: Path) -> None:
    run = Run(recall_run(tmp_path / "run", games=8))
    plan = ExportPlan(format="trl-sft", holdout=0.3, keep_duplicates=True, permitted=("*",))
    manifest = export([run], tmp_path / "out", plan)
    held = {e.task.goal for e in run.episodes() if part_of(e.task.id, 0.3) == "holdout"}
    assert held and manifest.left_out["its prompt shows a demonstration of a held-out task"].rows > 0
    for line in lines(tmp_path / "out" / "train.jsonl"):
        assert not [goal for goal in held if f"] Task: {goal}" in line["prompt"][-1]["content"]]
    shown = [line for line in lines(tmp_path / "out" / "train.jsonl") if "[example 1]" in line["prompt"][-1]["content"]]
    assert shown, "others still show theirs"
    bare = export([run], tmp_path / "bare", plan.model_copy(update={"without": ("demonstrations",)}))
    assert not any("demonstration" in reason for reason in bare.left_out)
    assert not any("held out" in note for note in manifest.notes)


def test_demonstrations_that_cannot_be_traced_are_told(made: Run, tmp_path: Path) -> None:
    plan = ExportPlan(format="trl-sft", holdout=0.3, permitted=MADE_UP, filters=Filters(arms=("icd",)))
    assert "whose task these runs do not tell" in export([made], tmp_path / "out", plan).notes[0]


# --- duplicates -------------------------------------------------------------------------------------------------------


def test_the_same_decision_at_nearly_the_same_state_is_exported_once(tmp_path: Path) -> None:
    words = " ".join(f"thing{i}" for i in range(300))
    with RunWriter(tmp_path / "run") as writer:
        write_steps(writer, "e1", ["go", "look"], seen=words)
        write_steps(writer, "e2", ["go", "look"], seen=words)  # the same again
        write_steps(writer, "e3", ["go", "look"], seen=words.replace("thing7 ", "THING7   other "))  # hardly changed
        write_steps(writer, "e4", ["stay", "look"], seen=words)  # the same state, another action
        write_steps(writer, "e5", ["go", "look"], seen=words[::-1])  # another state
    run = Run(tmp_path / "run")
    manifest = export([run], tmp_path / "out", ExportPlan(format="rows"))
    rows = list(read_rows(tmp_path / "out"))
    assert [(row.episode, row.index, row.context) for row in rows] == [
        ("e1", 0, ""),
        ("e1", 1, ""),
        ("e4", 0, ""),
        ("e4", 1, "exact duplicate"),  # kept, so that the episode has no gap
        ("e5", 0, ""),
        ("e5", 1, ""),
    ]
    assert [row.trainable for row in rows] == [True, True, True, False, True, True]
    assert {reason: left.rows for reason, left in manifest.left_out.items()} == {
        "exact duplicate": 2,
        "exact duplicate (kept as context)": 1,
        "near-duplicate": 2,
    }
    assert (manifest.rows, manifest.context_rows) == (5, 1)
    assert export([run], tmp_path / "sft", ExportPlan(format="trl-sft")).rows == 5
    assert manifest.duplicates is not None and manifest.duplicates["threshold"] == 0.9
    assert export([run], tmp_path / "out", ExportPlan(format="rows", near=2.0)).rows == 7
    assert export([run], tmp_path / "out", ExportPlan(format="rows", keep_duplicates=True)).rows == 10


def test_a_row_is_never_on_both_sides_of_the_split_under_two_names(made: Run, tmp_path: Path) -> None:
    export([made], tmp_path / "out", ExportPlan(format="trl-sft", permitted=MADE_UP, holdout=0.4))
    train, held = (lines(tmp_path / "out" / f"{part}.jsonl") for part in ("train", "holdout"))
    assert train and held and not [row for row in held if row in train]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["left_out"]["near-duplicate of a row on the other side of the split"]["rows"] > 0


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40), st.lists(st.sampled_from("abcdefgh"), max_size=40)
)
def test_estimated_similarity_is_near_the_true_one(a: list[str], b: list[str]) -> None:
    def shingles(words: list[str]) -> set[str]:
        return {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))} if words else set()

    one, two = shingles(a), shingles(b)
    true = len(one & two) / len(one | two)
    # 128 hashes: a standard deviation of at most 0.045.
    assert abs(similarity(signature(" ".join(a)), signature(" ".join(b))) - true) < 0.25
    assert similarity(signature(" ".join(a)), signature("  ".join(a).upper())) == 1.0


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_holds_a_secret(form: str, tmp_path: Path) -> None:
    secret = "sk-proj-abcDEF123456ghiJKL"
    if "preference" in form:
        run = Run(desk_run(tmp_path / "run", secret=f" key {secret}"))
    else:
        with RunWriter(tmp_path / "run") as writer:
            write_steps(writer, "e1", ["look", f"login {secret}"], seen=f"postgres://me:{secret}@db/x and {secret}")
        run = Run(tmp_path / "run")
    plan = ExportPlan(format=form, permitted=("*",))
    manifest = export([run], tmp_path / "out", plan)
    for name, data in content(tmp_path / "out").items():
        assert secret.encode() not in data, name
    assert manifest.rows_with_secrets > 0
    if form == "parquet":
        import pyarrow.parquet

        assert secret not in str(pyarrow.parquet.read_table(tmp_path / "out" / "train.parquet").to_pylist())


@pytest.mark.parametrize("secret", ["hunter22", 12345678, "a\\b\"c'd-123456", ["x1y2z3w4"], None, True])
def test_json_stays_json_when_a_secret_is_taken_out(secret: object) -> None:
    arguments = json.dumps({"user": "me", "password": secret, "key": "sk-proj-abcDEF123456ghi", "n": [1, "a"]})
    for text in (arguments, json.dumps({"inner": arguments})):
        cleaned = Cleaner().text(text)
        assert "hunter22" not in cleaned and "12345678" not in cleaned and "abcDEF123456" not in cleaned
        found = json.loads(cleaned)
        found = json.loads(found["inner"]) if "inner" in found else found
        assert found["user"] == "me" and found["n"] == [1, "a"]


# --- the folder -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_equal_input_gives_equal_bytes_and_true_hashes(form: str, made: Run, tmp_path: Path) -> None:
    plan = ExportPlan(format=form, permitted=MADE_UP, holdout=0.2)
    first = export([made], tmp_path / "a", plan)
    second = export([made, Run(made.folder)], tmp_path / "b", plan)
    assert first == second and content(tmp_path / "a") == content(tmp_path / "b")
    for name, file in first.files.items():
        data = (tmp_path / "a" / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256)
    assert sum(f.rows for f in first.files.values()) == first.rows + first.context_rows
    assert set(content(tmp_path / "a")) == {*first.files, "manifest.json"}


def test_an_export_is_replaced_as_a_whole_and_nothing_else_is_touched(made: Run, tmp_path: Path) -> None:
    export([made], tmp_path / "out", ExportPlan(format="atif"))
    export([made], tmp_path / "out", ExportPlan(format="rows", permitted=MADE_UP))
    assert sorted(content(tmp_path / "out")) == ["manifest.json", "train.jsonl"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "mine" / "manifest.json").write_text('{"files": {"thesis.txt": 1}}')
    (tmp_path / "out" / "notes").mkdir()
    (tmp_path / "out" / "notes" / "mine.md").write_text("what I found")
    for target, named in (("mine", "manifest.json"), ("mine/thesis.txt", "a file"), ("out", "notes/mine.md")):
        with pytest.raises(ConfigError, match=f"holds {named}, which no export wrote: choose another folder with -o"):
            export([made], tmp_path / target, ExportPlan(format="rows", permitted=MADE_UP))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "out" / "notes" / "mine.md").exists() and (tmp_path / "out" / "train.jsonl").exists()


EXPORTER = """
import resource, signal, sys
from pathlib import Path
from atlas.errors import StoreError
from atlas.export import ExportPlan, export
from atlas.traces import Run
run, out, form, limit = sys.argv[1:]
if int(limit):  # the disk is full from here on
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    plan = ExportPlan(format=form, permitted=("*",), keep_duplicates=True)
    export([Run(run)], out, plan, lambda done, of: print(done, flush=True))
except StoreError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize("form", ["rows", "atif", "parquet"])
def test_a_full_disk_is_one_sentence_and_the_good_export_stays(form: str, made: Run, tmp_path: Path) -> None:
    export([made], tmp_path / "out", ExportPlan(format="openai-sft", permitted=MADE_UP))
    before = content(tmp_path / "out")
    command = [sys.executable, "-c", EXPORTER, str(made.folder), str(tmp_path / "out"), form, "9000"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stdout and "free disk space" in done.stdout and "Traceback" not in done.stderr
    assert content(tmp_path / "out") == before and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_killed_export_leaves_the_good_one_and_the_next_clears_up(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path / "run", {"teacher": MadeUpArm(120, 1.0, teacher=1.0)}))
    (tmp_path / "at").mkdir()
    target = tmp_path / "at" / "out"
    export([run], target, ExportPlan(format="rows"))
    before = content(target)
    command = [sys.executable, "-c", EXPORTER, str(run.folder), str(target), "rows", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert content(target) == before
    assert len(list(target.parent.iterdir())) == 2  # the export, and what the killed one left
    export([run], target, ExportPlan(format="rows"))
    assert [p.name for p in target.parent.iterdir()] == ["out"]


def test_a_kill_between_the_two_renames_is_healed(made: Run, tmp_path: Path) -> None:
    export([made], tmp_path / "out", ExportPlan(format="rows", permitted=MADE_UP))
    before = content(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / ".out.replaced")
    with pytest.raises(ConfigError):
        export([made], tmp_path / "out", ExportPlan(format="rows", filters=Filters(arms=("none",))))
    assert content(tmp_path / "out") == before


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_mistakes_are_one_sentence_and_write_nothing(made: Run, tmp_path: Path, fails: Callable[..., str]) -> None:
    lost = Run(write_run(tmp_path / "lost", {"student": MadeUpArm(3, -1.0, dollars=0.0)}))
    out = ("-o", tmp_path / "out")
    sentence = fails(lost.folder, "--format", "trl-sft", *out)
    assert "not successful" in sentence and "--any-outcome" in sentence
    assert "choose one of rows, openai-sft" in fails(made.folder, "--format", "csv", *out)
    assert "holds no run" in fails(tmp_path / "nowhere", "--format", "rows", *out)
    assert "no part 'thoughts'" in fails(made.folder, "--format", "rows", "--without", "thoughts", *out)
    assert "no actor 'oracle'" in fails(made.folder, "--format", "rows", "--actor", "oracle", *out)
    assert "below 1, not 1.5" in fails(made.folder, "--format", "rows", "--holdout", "1.5", *out)
    assert "no group 'colour'" in fails(made.folder, "--format", "rows", "--group", "colour", *out)
    assert "whole episodes" in fails(made.folder, "--format", "atif", "--actor", "teacher", *out)
    assert "name the models" in fails(made.folder, "--format", "rows", "--actor", "student", *out)
    assert "another arm" in fails(made.folder, "--format", "rows", "--arm", "nobody", *out)
    assert "Missing option" in fails(made.folder, *out)
    empty = tmp_path / "empty"
    RunWriter(empty).close()
    assert "no episodes yet" in fails(empty, "--format", "rows", *out)
    assert not (tmp_path / "out").exists()


def test_an_episode_that_lost_a_step_is_left_out_and_said(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"teacher": MadeUpArm(3, 1.0, teacher=1.0)})
    trace = folder / "trace.jsonl"
    whole = trace.read_text().splitlines()
    steps = [i for i, line in enumerate(whole) if line.startswith('{"type":"step"')]
    del whole[steps[2]]
    trace.write_text("\n".join(whole) + "\n")
    manifest = export([Run(folder)], tmp_path / "out", ExportPlan(format="rows"))
    [because] = [why for why in manifest.left_out if "lost" in why]
    assert manifest.left_out[because].episodes == 1
    kept = {json.loads(row)["episode"] for row in (tmp_path / "out" / "train.jsonl").read_text().splitlines()}
    assert json.loads(whole[steps[2]])["episode"] not in kept


def test_json_prints_the_manifest_and_tables_say_what_was_left_out(made: Run, tmp_path: Path) -> None:
    arguments = ["export", str(made.folder), "--format", "rows", "-o", str(tmp_path / "out"), "--permitted", "made-up*"]
    printed = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout
    assert json.loads(printed) == json.loads((tmp_path / "out" / "manifest.json").read_text())
    shown = CliRunner(env={"COLUMNS": "140"}).invoke(app, arguments, catch_exceptions=False).stdout
    assert "train.jsonl" in shown and "near-duplicate" in shown and "stated for this export" in shown


def test_a_run_is_exported_while_it_goes_on(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run") as writer:
        write_steps(writer, "e1", ["look"])
        writer.start("e2", "teacher", Run(tmp_path / "run").episodes()[0].task, 0, "c")
        manifest = export([Run(tmp_path / "run")], tmp_path / "out", ExportPlan(format="rows"))
    assert manifest.rows == 1 and manifest.left_out["unfinished: the run was killed or goes on"].episodes == 1


@pytest.mark.parametrize("form", [name for name in FORMATS if "preference" not in name])
def test_half_a_surrogate_pair_does_not_stop_an_export(form: str, tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run") as writer:
        write_steps(writer, "e1", ["look \ud83d"], seen="an odd \udc00 room")
    manifest = export([Run(tmp_path / "run")], tmp_path / "out", ExportPlan(format=form))
    assert manifest.rows == 1 and manifest.rows_with_secrets == 0
    if form == "rows":
        (row,) = read_rows(tmp_path / "out")
        assert row.completion.content == "look \ufffd"


def test_thousands_of_steps_take_seconds(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path / "run", {"teacher": MadeUpArm(250, 1.0, teacher=1.0)}))
    began = time.perf_counter()
    export([run], tmp_path / "out", ExportPlan(format="rows"))
    assert time.perf_counter() - began < 120
