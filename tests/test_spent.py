"""What a run has used, read off the totals of its parts: to the last bit what reading every line tells."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from hashlib import blake2b
from math import fsum
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.benchmarks.sharing import Shared
from atlas.budget import Budget
from atlas.errors import StoreError
from atlas.records import Episode, Price, Prompt, Spend, Stop, Task, Usage
from atlas.testing import ScriptedModel
from atlas.traces import Run, RunWriter
from atlas.traces import index_file as files
from atlas.traces.copying import copy
from atlas.traces.packing import pack
from atlas.traces.place import TRACE, place_of
from atlas.traces.prune import Choice, prune
from atlas.traces.segment_log import TraceLog
from atlas.traces.segments import LIMIT, closed
from tests.postgres_server import drop, fresh
from tests.test_newest import as_before, old_body
from tests.test_traces import step_of

KINDS = ["one", "segments", "packed", "first", "second", "none", "server"]
TASK = Task(id="t", goal="tidy up")
COUNTS = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "unmetered", "failed")


def spend_of(rng: random.Random) -> tuple[Spend, ...]:
    """Of any kind: without a price, with an estimate, of many orders of magnitude."""
    rows = []
    for _ in range(rng.randint(0, 3)):
        dollars = rng.choice([None, 0.0, 0.1, rng.random() * 10 ** rng.randint(-9, 6)])
        usage = Usage(
            calls=rng.randint(0, 3),
            prompt_tokens=rng.randint(0, 5_000),
            completion_tokens=rng.randint(0, 500),
            dollars=dollars if rng.random() < 0.9 else None,
            saved=rng.uniform(-1e-3, 1e-3),
            most=rng.choice([None, None, rng.random()]),
        )
        rows.append(Spend(actor=rng.choice(("student", "teacher")), model=rng.choice("ab"), usage=usage))
    return tuple(rows)


def result(id: str, number: int, spend: tuple[Spend, ...], **changes: Any) -> Episode:
    fields: dict[str, Any] = {"stop": Stop.DONE, "score": 1.0, "success": True, "steps": 1, "teacher_steps": 0}
    fields |= {"seconds": 1.0, "started": 1.76e9 + number, "seed": number, "config": "c", "run": "run"}
    return Episode(id=id, arm=f"arm{number % 2}", task=TASK, spend=spend, **{**fields, **changes})


def write(folder: Path, seed: int, count: int = 60) -> Path:
    """Episodes of which some never end, some are scored late or begun anew, and some have lost a beginning."""
    rng = random.Random(seed)
    with RunWriter(folder, {"n": 1}) as writer:
        over: list[Episode] = []
        open_: list[tuple[str, int]] = []
        for number in range(count):
            id = f"e{number:03d}"
            if rng.random() < 0.95:
                writer.start(id, f"arm{number % 2}", TASK, number, "c")
            open_.append((id, number))
            while len(open_) > 3:
                id, number = open_.pop(rng.randrange(4))
                for index in range(rng.randint(1, 4)):
                    writer.step(id, step_of(index, Prompt(stable="s", ask="x" * 100)).replace(spend=spend_of(rng)))
                if rng.random() < 0.1:
                    continue  # killed
                over.append(result(id, number, spend_of(rng)))
                writer.end(over[-1])
                if rng.random() < 0.1:
                    writer.start(id, "arm0", TASK, number, "c")  # by an import that was cut off
                    if rng.random() < 0.7:
                        writer.step(id, step_of(0, Prompt(stable="s")).replace(spend=spend_of(rng)))
                    if rng.random() < 0.7:
                        writer.end(over[-1].replace(spend=spend_of(rng)))
            if over and rng.random() < 0.3:
                late = rng.choice(over)
                writer.end(late.replace(score=0.5, spend=late.spend + spend_of(rng)))
    return folder


def torn(folder: Path) -> None:
    """What a kill leaves of a line that tells of an end."""
    with (folder / TRACE).open("ab") as file:
        file.write(b'{"type":"end","id":"e001","run":"run","arm":"arm1","spend":[{"act')


def plainly(where: str | Path) -> dict[tuple[str, str], Usage]:
    """What every line tells."""
    found: dict[tuple[str, str], list[Usage]] = {}
    run = Run(where)
    gone = run.pruned()
    for spends in (*(e.spend for e in run.episodes()), gone.spend if gone is not None else ()):
        for spend in spends:
            found.setdefault((spend.actor, spend.model), []).append(spend.usage)
    return {key: added(usages) for key, usages in found.items() if added(usages) != Usage()}


def added(usages: list[Usage]) -> Usage:
    def exactly(numbers: list[float | None]) -> float | None:
        return fsum(n for n in numbers if n is not None) if None not in numbers else None

    dollars, most = exactly([u.dollars for u in usages]), exactly([u.at_most for u in usages])
    counts = {name: sum(getattr(u, name) for u in usages) for name in COUNTS}
    saved = fsum(u.saved for u in usages)
    return Usage(**counts, dollars=dollars, saved=saved, most=None if most == dollars else most)


def by_totals(where: str | Path) -> dict[tuple[str, str], Usage]:
    used = Run(where).used()
    assert len({(s.actor, s.model) for s in used}) == len(used)
    return {(s.actor, s.model): s.usage for s in used}


def as_second(folder: Path) -> None:
    """The indexes as the build wrote them that had heads and no totals."""
    log = TraceLog(folder)
    for piece, index in zip(log._look(), log.indexes(), strict=True):
        if piece.segment is None:
            continue
        of = log._mark(piece)
        raw = piece.segment.index.read_bytes()
        head, texts, *_ = files._pieces(raw, files._MAGIC, files._SIZES)
        texts_of, index.texts = index.texts, {}
        pieces = (head, texts, old_body(index, of))
        index.texts = texts_of
        content = b"".join(blake2b(piece, digest_size=16).digest() + piece for piece in pieces)
        piece.segment.index.write_bytes(files._SECOND + files._SIZES_SECOND.pack(*map(len, pieces)) + content)


def without(folder: Path) -> None:
    for segment in closed(folder):
        segment.index.unlink(missing_ok=True)


@pytest.fixture(scope="module", params=range(4))
def grown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spent") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LIMIT, ("0.004", "0.012", "0.03", "0.012")[request.param])
        write(folder, request.param)
    Run(folder).episodes()
    assert len(closed(folder)) > 3
    return folder


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest, grown: Path, tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "run"
    if request.param == "server":
        url = f"{fresh()}&run=run"
        copy(place_of(grown), place_of(url))
        yield url
        drop(url.removesuffix("&run=run"))
        return
    if request.param == "one":
        copy(place_of(grown), place_of(folder))
    else:
        shutil.copytree(grown, folder)
        if request.param == "packed":
            pack(place_of(folder))
        older = {"first": as_before, "second": as_second, "none": without}
        if request.param in older:
            older[request.param](folder)
    torn(folder)
    yield str(folder)


def test_totals_tell_what_every_line_tells(where: str, grown: Path) -> None:
    known = plainly(grown)
    assert by_totals(where) == known
    assert by_totals(where) == known, "by the indexes that the first look has made"
    with Shared(where if "://" in where else Path(where)) as shared:
        total = added([usage for usage in known.values()])
        assert shared.past == total.replace(dollars=shared.past.dollars, most=shared.past.most, saved=shared.past.saved)
        assert shared.episodes == Run(grown).results()


def test_they_do_when_episodes_are_taken_out_and_others_are_played(
    grown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(grown, tmp_path / "run")
    gone = tuple(e.id for e in Run(folder).episodes()[::4])
    prune(place_of(folder), Choice(episodes=gone), by="me", reason="asked for")
    assert not [path for path in folder.iterdir() if any(id.encode() in path.read_bytes() for id in gone)]
    assert by_totals(folder) == plainly(folder)
    monkeypatch.setenv(LIMIT, "0.004")
    with RunWriter(folder, {"n": 1}) as writer:
        for number in range(100, 140):
            writer.start(f"n{number}", "arm0", TASK, number, "c")
            writer.step(f"n{number}", step_of(0, Prompt(stable="s", ask="x" * 300)))
            writer.end(result(f"n{number}", number, spend_of(random.Random(number))))
            assert by_totals(folder) == plainly(folder)


def test_segments_are_not_read_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "0.006")
    folder, rng = tmp_path / "run", random.Random(1)
    with RunWriter(folder, {"n": 1}) as writer:
        for number in range(80):
            writer.start(f"e{number}", "arm0", TASK, number, "c")
            writer.step(f"e{number}", step_of(0, Prompt(stable="s", ask="x" * 200)))
            if number:  # the one before ends when the next has begun, and is scored later still
                writer.end(result(f"e{number - 1}", number, spend_of(rng)))
            if number > 9:
                writer.end(result(f"e{number - 9}", number, spend_of(rng), score=0.0))
        writer.end(result("e79", 79, spend_of(rng)))
    known = plainly(folder)
    assert len(closed(folder)) > 8
    monkeypatch.setattr(TraceLog, "_of_segment", lambda self, *given: pytest.fail("a whole index is read"))
    assert by_totals(folder) == known


def test_what_is_damaged_is_told_of_as_ever(grown: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(grown, tmp_path / "run")
    segment = closed(folder)[1].path
    segment.write_bytes(segment.read_bytes().replace(b'"steps":1', b'"steps":x', 1))
    assert by_totals(folder) == plainly(folder), "no JSON: as a line that a kill cut off"
    before, after = segment.read_bytes().rsplit(b'"teacher_steps":0', 1)
    segment.write_bytes(before + b'"teacher_steps":[]' + after)
    for _ in range(2):
        with pytest.raises(StoreError, match="does not fit the trace format"):
            Run(folder).used()


@pytest.mark.parametrize("number", [2**70, 1e308])
def test_numbers_that_no_file_holds_are_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: float
) -> None:
    monkeypatch.setenv(LIMIT, "0.002")
    changed = {"prompt_tokens": number} if isinstance(number, int) else {"dollars": number}
    with RunWriter(tmp_path / "run", {"n": 1}) as writer:
        for n in range(12):
            writer.start(f"e{n}", "arm0", TASK, n, "c")
            writer.end(result(f"e{n}", n, (Spend(actor="a", model="m", usage=Usage(calls=1, **changed)),)))
    assert len(closed(tmp_path / "run")) > 2
    for _ in range(2):
        (used,) = Run(tmp_path / "run").used()
        assert used.usage.calls == 12 and used.usage.tokens + (used.usage.dollars or 0) >= 12 * number


def test_prices_that_are_known_by_now_count_for_what_older_builds_left_open(tmp_path: Path) -> None:
    unpriced = (Spend(actor="a", model="m", usage=Usage(calls=1, prompt_tokens=1_000_000, dollars=None)),)
    with RunWriter(tmp_path / "run", {"n": 1}) as writer:
        for n in range(3):
            writer.start(f"e{n}", "arm0", TASK, n, "c")
            writer.end(result(f"e{n}", n, unpriced))
    with Shared(tmp_path / "run") as shared:
        assert shared.past.at_most is None
    with Shared(tmp_path / "run", {"m": Price(prompt=2.0, completion=2.0)}) as shared:
        assert (shared.past.dollars, shared.past.at_most) == (None, 6.0)
        assert shared.claims.total() == (6.0, 3_000_000)


def test_an_agent_s_budget_begins_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "0.002")
    folder = tmp_path / "run"
    with RunWriter(folder, {"kind": "wrapped"}) as writer:
        for n in range(30):
            writer.start(f"e{n}", "agent", TASK, n, "c")
            usage = Usage(calls=1, prompt_tokens=7, dollars=0.1)
            writer.end(result(f"e{n}", n, (Spend(actor="student", model="m", usage=usage),)))
    with atlas.Agent(ScriptedModel("hi"), run=folder, run_budget=Budget(dollars=3.0)) as agent:
        assert agent.meter.total() == (3.0, 210) and agent.meter.spent
    assert json.loads((folder / "run.json").read_text())["schema"] == 3
