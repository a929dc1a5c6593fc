"""Recipes side by side: what is made in which order, and what a failure leaves."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from atlas.benchmarks.recipes import ENTRIES, Job, Study, main, work
from atlas.errors import DataError


def plan(tmp: Path, **changes: object) -> Study:
    told: dict[str, object] = {"tokens": 1000, "seeds": [0, 1], "split": "valid_unseen", "games": 10, **changes}
    return Study(out=tmp, traces=tmp / "teacher", **told)  # type: ignore[arg-type]


def test_every_job_comes_after_what_it_needs_and_writes_where_no_other_does(tmp_path: Path) -> None:
    jobs = plan(tmp_path, kd_teacher=tmp_path / "large").make()
    seen: set[str] = set()
    for name, job in jobs.items():
        assert set(job.needs) <= seen, f"{name} comes too early"
        seen.add(name)
    assert len({job.made for job in jobs.values()}) == len(jobs)
    assert {f"{entry.name}-s1" for entry in ENTRIES} <= seen


def test_recipes_with_one_start_get_the_same_tokens(tmp_path: Path) -> None:
    jobs = plan(tmp_path).make()
    given = {name: job.argv[job.argv.index("--tokens") + 1] for name, job in jobs.items() if job.argv[0] == "train"}
    for entry in ENTRIES:
        if entry.control and f"{entry.name}-s0" in given:
            assert given[f"{entry.name}-s0"] == given[f"{entry.control}-s0"]


def test_a_part_brings_what_it_needs_and_no_more(tmp_path: Path) -> None:
    jobs = plan(tmp_path, only=["redi"], seeds=[0]).make()
    trained = {name for name, job in jobs.items() if job.argv[0] == "train"}
    assert trained == {"sft-success-s0", "more-sft-s0", "redi-s0"}
    assert "own-s0" in jobs
    assert not any("pamphlets" in job.argv for job in jobs.values())
    with pytest.raises(DataError, match="no entry best: choose among sft-success"):
        plan(tmp_path, only=["best"]).make()


def test_a_failed_job_stops_only_what_needs_it(tmp_path: Path) -> None:
    def job(name: str, *argv: str, needs: tuple[str, ...] = ()) -> Job:
        return Job(name, argv, tmp_path / name / "done", needs)

    (tmp_path / "good").mkdir()
    jobs = {
        "bad": job("bad", "play", "nowhere"),
        "after": job("after", "--version", needs=("bad",)),
        "good": job("good", "--version"),
    }
    failed = work(jobs, 2)
    assert set(failed) == {"bad", "after"}
    assert failed["after"] == "needs bad, which failed"
    assert "nowhere" in (tmp_path / "bad.log").read_text()
    assert (tmp_path / "good" / "done").exists()


def test_a_memory_that_cannot_be_copied_stops_only_what_reads_it(tmp_path: Path) -> None:
    copies = (tmp_path / "memory.sqlite", tmp_path / "copies" / "memory.sqlite")
    (tmp_path / "good").mkdir()
    jobs = {
        "reads": Job("reads", ("--version",), tmp_path / "reads" / "done", copies=copies),
        "good": Job("good", ("--version",), tmp_path / "good" / "done"),
    }
    failed = work(jobs, 1)
    assert set(failed) == {"reads"}
    assert "memory.sqlite" in failed["reads"]
    assert (tmp_path / "good" / "done").exists()


def test_what_another_command_made_is_not_taken_for_this_one(tmp_path: Path) -> None:
    def job(*argv: str) -> Job:
        return Job("play", argv, tmp_path / "runs" / "play" / "done")

    (tmp_path / "runs" / "play").mkdir(parents=True)
    assert work({"play": job("--version")}, 1) == {}
    assert work({"play": job("--version")}, 1) == {}
    failed = work({"play": job("--help")}, 1)
    assert "another command" in failed["play"]


def test_an_interrupt_leaves_no_child_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child, pid = tmp_path / "child", tmp_path / "pid"
    child.write_text(f"#!/bin/sh\necho $$ > {pid}.part\nmv {pid}.part {pid}\nexec sleep 600\n", encoding="utf-8")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))

    def interrupt() -> None:
        while not pid.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        work({"long": Job("long", ("train",), tmp_path / "out" / "long" / "done")}, 1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_mistakes_are_told_in_one_sentence(tmp_path: Path) -> None:
    given = ["--traces", str(tmp_path), "-o", str(tmp_path / "out")]
    for more, said in (
        (["--only", "best"], "no entry best"),
        (["--only", "kd-whitebox"], "--kd-teacher"),
        (["--seeds", "one"], "'one' is not a valid integer"),
    ):
        done = CliRunner().invoke(main, [*given, *more])
        assert done.exit_code
        assert said in done.output and "Traceback" not in done.output
        assert isinstance(done.exception, SystemExit)
