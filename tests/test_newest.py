"""The newest episodes of a run alone: the same wherever it is, and only what holds them is read."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import time
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atlas.cli import main
from atlas.cli.ages import moment
from atlas.cli.collecting import RARELY
from atlas.errors import ConfigError
from atlas.records import Episode, Prompt, Spend, Stop, Task, Usage
from atlas.standing import Change
from atlas.traces import Run, RunWriter, StoredEpisode
from atlas.traces import index_file as files
from atlas.traces.copying import copy
from atlas.traces.events import Learned, Supervised
from atlas.traces.index import Index
from atlas.traces.newest import Newest
from atlas.traces.packing import pack
from atlas.traces.place import place_of
from atlas.traces.prune import Choice, prune
from atlas.traces.segment_log import TraceLog
from atlas.traces.segments import LIMIT, closed
from tests.postgres_server import drop, fresh
from tests.test_traces import step_of

BEGAN = 1_760_000_000.0
COUNT = 60
KINDS = ["one", "segments", "packed", "earlier", "server"]
OTHER_TIMES = 1.0
"""What the lines of beginnings tell: they were all written on another day than the episodes were."""


def ended(id: str, arm: str, number: int, started: float, steps: int, **changes: Any) -> Episode:
    return Episode(
        id=id,
        run="run",
        arm=arm,
        task=Task(id=f"task-{number}", goal="tidy up"),
        seed=0,
        config="c",
        stop=Stop.DONE,
        score=1.0,
        success=True,
        steps=steps,
        teacher_steps=0,
        spend=(Spend(actor="student", model="s", usage=Usage(calls=steps, dollars=0.01 * steps)),),
        seconds=1.0,
        started=started,
    ).replace(**changes)


def write(folder: Path, count: int = COUNT, seed: int = 3) -> Path:
    """Episodes of many lengths, several at once, whose clock went back twice; some never end, some are scored late,
    some are played again. One text is written once, by the first of them."""
    rng = random.Random(seed)
    with RunWriter(folder, {"n": 1}) as writer:
        open_: list[list[Any]] = []
        late: list[Episode] = []
        for number in range(count):
            clock = BEGAN + 100.0 * (number if number < count // 3 else number - count // 4) - 7_000 * (number == 5)
            id, arm = f"e{number:04d}{rng.getrandbits(32):08x}", ("student", "cascade")[number % 2]
            writer.start(id, arm, Task(id=f"task-{number}", goal="tidy up"), 0, "c")
            open_.append([id, arm, number, clock, 0, rng.choice((1, 2, 3, 40))])
            while len(open_) > 3:
                one = rng.choice(open_)
                writer.step(one[0], step_of(one[4], Prompt(stable="the same for all", ask=f"{one[0]}, what next?")))
                one[4] += 1
                if one[4] < one[5]:
                    continue
                open_.remove(one)
                if one[2] % 11 == 7:
                    continue  # killed
                failed = one[2] % 13 == 4
                result = ended(*one[:5], **({"stop": Stop.ERROR, "success": None, "score": None} if failed else {}))
                writer.end(result)
                if failed:
                    again = f"a{one[0]}"
                    writer.start(again, one[1], result.task, 0, "c")
                    writer.end(ended(again, one[1], one[2], one[3] - 5_000, 0, retries=one[0]))
                elif one[2] % 9 == 2:
                    late.append(result)
            if number % 10 == 9:
                event = {"time": clock, "arm": "student", "episode": id}
                writer.tell(Learned(**event, demonstration=True))
        for result in late:
            writer.end(result.replace(score=0.0, success=False))
        change = Change(turned="dropped", succeeded=1, episodes=9, level=0.5)
        writer.tell(Supervised(time=BEGAN, arm="student", episode=open_[0][0], change=change, raised=True, said="low"))
    return folder


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In segments of some kilobytes, whose indexes are made."""
    folder = tmp_path_factory.mktemp("newest") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LIMIT, "0.012")
        patch.setattr("atlas.traces.writer.time", SimpleNamespace(time=lambda: OTHER_TIMES))
        write(folder)
    Run(folder).episodes()
    assert len(closed(folder)) > 10
    return folder


@pytest.fixture(scope="module", params=KINDS)
def where(request: pytest.FixtureRequest, grown: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "server":
        url = fresh()
        copy(place_of(grown), place_of(f"{url}&run=run"))
        yield f"{url}&run=run"
        drop(url)
        return
    folder = tmp_path_factory.mktemp("kinds") / "run"
    if request.param == "one":
        copy(place_of(grown), place_of(folder))
        assert not closed(folder)
    else:
        shutil.copytree(grown, folder)
    if request.param == "packed":
        pack(place_of(folder))
    if request.param == "earlier":
        as_before(folder)
    yield str(folder)


def as_before(folder: Path) -> None:
    """The indexes as the build before wrote them."""
    log = TraceLog(folder)
    for piece, index in zip(log._look(), log.indexes(), strict=True):
        if piece.segment is not None:
            body = old_body(index, log._mark(piece))
            piece.segment.index.write_bytes(files._FIRST + blake2b(body, digest_size=16).digest() + body)


def old_body(index: Index, of: files.Mark) -> bytes:
    steps = index.steps.values()
    return files._ENCODE(
        files._KeptBefore(
            of=of,
            lines=index.lines,
            numbers=index.numbers.tobytes(),
            places=index.places.tobytes(),
            told=index.told_packed(),
            episodes=list(index.steps),
            counts=array("q", (len(found.places) for found in steps)).tobytes(),
            retrieved=[found.retrieved for found in steps],
            step_places=b"".join(found.places.tobytes() for found in steps),
            step_indexes=b"".join(found.indexes.tobytes() for found in steps),
            texts=list(index.texts),
            text_places=array("q", (int(place) for place in index.texts.values())).tobytes(),
        )
    )


def began(episode: StoredEpisode) -> float:
    return episode.result.started if episode.result is not None else OTHER_TIMES


def wanted(all_: list[StoredEpisode], last: int | None, since: float | None) -> list[str]:
    """What is to be found, the plain way."""
    found = [e for e in all_ if since is None or began(e) >= since]
    ranked = sorted(range(len(found)), key=lambda i: (began(found[i]), i))[-(last or len(found)) :]
    return [found[i].id for i in sorted(ranked)]


def told(episodes: list[StoredEpisode]) -> list[Any]:
    return [(e.id, e.result, e.lost, e.retried, e.recorded, e.spend, e.steps) for e in episodes]


CHOICES = [
    (1, None),
    (7, None),
    (COUNT // 2, None),
    (10_000, None),
    (None, BEGAN + 2_000),
    (3, BEGAN + 3_000),
    (None, 0.0),
    (50, BEGAN + 4_400),
]


@pytest.mark.parametrize(("last", "since"), CHOICES)
def test_the_newest_are_whole_and_the_same_wherever_the_run_is(
    where: str, grown: Path, last: int | None, since: float | None
) -> None:
    everything = Run(grown).episodes()
    ids = wanted(everything, last, since)
    assert ids
    part = Newest(Run(where), last=last, since=since)
    assert told(part.episodes()) == [row for row in told(everything) if row[0] in ids]
    assert part.shown is not None and (part.shown.episodes, part.shown.of) == (len(ids), len(everything))
    assert [e.id for e in part.results()] == [e.id for e in Run(grown).results() if e.id in ids]
    learned = [e for e in Run(grown).events() if e.episode in ids or isinstance(e, Supervised)]
    assert part.events() == learned


@pytest.mark.parametrize("seed", range(6))
def test_any_number_of_any_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv(LIMIT, "0.01")
    monkeypatch.setattr("atlas.traces.writer.time", SimpleNamespace(time=lambda: OTHER_TIMES))
    folder = write(tmp_path / "run", 30, seed)
    everything = Run(folder).episodes()
    for last in range(1, len(everything) + 2):
        found = Newest(Run(folder), last=last).episodes()
        assert told(found) == [row for row in told(everything) if row[0] in wanted(everything, last, None)]


def test_segments_that_hold_none_of_them_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "0.01")
    folder = tmp_path / "run"
    with RunWriter(folder, {"n": 1}) as writer:
        for number in range(200):
            writer.start(f"e{number}", "student", Task(id="t", goal="g"), 0, "c")
            writer.step(f"e{number}", step_of(0, Prompt(stable="the same for all")))
            writer.end(ended(f"e{number}", "student", number, BEGAN + number, 1))
    Run(folder).episodes()
    read: list[str] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.append(self.name) or real(self))  # type: ignore[func-returns-value]
    lines = TraceLog._lines
    monkeypatch.setattr(
        TraceLog,
        "_lines",
        lambda self, piece, start=0: read.append(f"{piece.segment}") or lines(self, piece, start),  # type: ignore[func-returns-value]
    )
    part = Newest(Run(folder), last=5)
    assert [e.id for e in part.episodes()] == [f"e{n}" for n in range(195, 200)]
    assert part.pruned() is None and part.events() == [] and len(part.results()) == 5
    assert len([name for name in read if name.endswith(".index")]) <= 2 < len(closed(folder))
    assert {name for name in read if not name.endswith(".index")} <= {"None"}
    # The text that all were shown is in the first one: its place alone is looked for.
    assert {e.steps[0].decision.prompt.stable for e in part.episodes()} == {"the same for all"}
    assert len([name for name in read if name.endswith(".index")]) <= 2


def test_an_attempt_counts_no_more_though_the_one_that_does_is_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT, "0.01")
    folder = tmp_path / "run"
    task = Task(id="t", goal="g")
    with RunWriter(folder, {"n": 1}) as writer:
        writer.start("failed", "student", task, 0, "c")
        writer.end(ended("failed", "student", 0, BEGAN + 9_000, 0, stop=Stop.ERROR, score=None, success=None))
        for number in range(40):
            writer.start(f"e{number}", "student", task, 0, "c")
            writer.step(f"e{number}", step_of(0, Prompt(stable="s", ask="x" * 300)))
            writer.end(ended(f"e{number}", "student", number, BEGAN + number, 1))
        # By a clock that went back.
        writer.start("again", "student", task, 0, "c")
        writer.end(ended("again", "student", 0, BEGAN - 9_000, 0, retries="failed"))
        for number in range(40, 80):
            writer.start(f"e{number}", "student", task, 0, "c")
            writer.step(f"e{number}", step_of(0, Prompt(stable="s", ask="x" * 300)))
            writer.end(ended(f"e{number}", "student", number, BEGAN + number, 1))
    part = Newest(Run(folder), last=1)
    (found,) = part.episodes()
    assert (found.id, found.retried, part.results()) == ("failed", True, [])


def test_an_index_of_the_build_before_is_read_and_written_anew(grown: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(grown, tmp_path / "run")
    now = [segment.index.read_bytes() for segment in closed(folder)]
    as_before(folder)
    before = [segment.index.read_bytes() for segment in closed(folder)]
    shut = [*before]
    folder.chmod(0o500)
    try:
        assert told(Newest(Run(folder), last=9).episodes()) == told(Newest(Run(grown), last=9).episodes())
    finally:
        folder.chmod(0o700)
    if os.geteuid():
        assert [segment.index.read_bytes() for segment in closed(folder)] == shut
    as_before(folder)
    Newest(Run(folder), last=9)
    assert [segment.index.read_bytes() for segment in closed(folder)] == now


@pytest.mark.parametrize("place", [5, 20, 60, 300, -2_000, -3])
def test_an_index_that_is_damaged_anywhere_is_made_again(grown: Path, tmp_path: Path, place: int) -> None:
    folder = shutil.copytree(grown, tmp_path / "run")
    known = told(Newest(Run(grown), last=40).episodes())
    for segment in closed(folder):
        raw = bytearray(segment.index.read_bytes())
        raw[place % len(raw)] ^= 0xFF
        segment.index.write_bytes(raw)
    assert told(Newest(Run(folder), last=40).episodes()) == known
    for segment in closed(folder):
        segment.index.write_bytes(segment.index.read_bytes()[:place])
    assert told(Newest(Run(folder), last=40).episodes()) == known


def test_what_was_pruned_is_the_whole_run_s(grown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "0.012")
    folder = shutil.copytree(grown, tmp_path / "run")
    gone = Run(folder).episodes()[2].id
    prune(place_of(folder), Choice(episodes=(gone,)), by="me", reason="asked for")
    # Behind it many others, so that its line is in a segment that is passed over.
    with RunWriter(folder, {"n": 1}) as writer:
        for number in range(60):
            writer.start(f"n{number}", "student", Task(id="t", goal="g"), 0, "c")
            writer.step(f"n{number}", step_of(0, Prompt(stable="s", ask="x" * 500)))
            writer.end(ended(f"n{number}", "student", number, BEGAN + 1e6 + number, 1))
    part = Newest(Run(folder), last=1)
    assert part.pruned() == Run(folder).pruned() is not None
    assert [e.id for e in part.episodes()] == ["n59"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    main([*words])
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*words])
    return capsys.readouterr().err


def test_the_table_and_the_page_say_that_they_show_a_part(
    where: str, grown: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = len(Run(grown).episodes())
    table = said(capsys, "traces", "show", where, "--last", "20")
    assert f"the newest 20 of {count} episodes: all below is of these" in table
    account = json.loads(said(capsys, "traces", "show", where, "--last", "20", "--since", "2025-10-09", "--json"))
    assert (account["shown"]["episodes"], account["shown"]["of"], account["shown"]["last"]) == (20, count, 20)
    assert account["shown"]["since"] == moment("2025-10-09")
    facts = json.loads(said(capsys, "report", where, "--last", "20", "--json"))
    assert facts["shown"] == {"episodes": 20, "of": count, "last": 20, "since": None}
    assert sum(arm["row"]["episodes"] for group in facts["groups"] for arm in group["arms"]) <= 20
    said(capsys, "report", where, "--last", "20", "-o", str(tmp_path / "r.html"))
    assert f"<b>A part of the run:</b> the newest 20 of {count} episodes." in (tmp_path / "r.html").read_text()
    everything = said(capsys, "traces", "show", where, "--last", "100000")
    assert f"all {count} episodes: all below" in everything
    said(capsys, "report", where, "--last", "100000", "-o", str(tmp_path / "r.html"))
    assert "A part of the run" not in (tmp_path / "r.html").read_text()
    assert json.loads(said(capsys, "traces", "show", where, "--json"))["shown"] is None


def test_lists_and_one_episode_are_of_the_part(where: str, grown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everything = Run(grown).episodes()
    ids = wanted(everything, 20, None)
    out = said(capsys, "traces", "show", where, "--arm", "cascade", "--last", "20", "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == [
        e.id for e in everything if e.id in ids and e.arm == "cascade"
    ]
    assert json.loads(said(capsys, "traces", "show", where, ids[0], "--last", "20", "--json"))["id"] == ids[0]
    other = next(e.id for e in everything if e.id not in ids)
    told_ = refused(capsys, "traces", "show", where, other, "--last", "20")
    assert f"no episode begins with '{other}' in the newest 20 of {len(everything)} episodes" in told_


def test_nothing_in_the_span_and_bad_values_are_one_sentence(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["traces", "show", where], ["report", where, "-o", str(tmp_path / "r.html")]):
        error = refused(capsys, *words, "--since", "2100-01-01")
        assert "no episode of the run" in error and "the newest began 2025-10-09" in error and error.count("\n") == 1
        for bad in ("yesterday", "3", "90days", "2026-13-01", "99999999d", ""):
            error = refused(capsys, *words, "--since", bad)
            assert f"{bad!r} is no age and no date" in error and error.count("\n") == 1
        for bad in ("0", "-3", "many"):
            assert "--last" in refused(capsys, *words, "--last", bad)
        said(capsys, *words, "--since", "999999w", "--last", "50")
    assert (tmp_path / "r.html").is_file()


def test_a_run_without_episodes_says_so_as_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunWriter(tmp_path / "run", {"n": 1}).close()
    out = said(capsys, "traces", "show", str(tmp_path / "run"), "--last", "3", "--since", "1h")
    assert "no episode has ended yet" in out
    with RunWriter(tmp_path / "run", {"n": 1}) as writer:
        writer.start("open", "student", Task(id="t", goal="g"), 0, "c")
    error = refused(capsys, "report", str(tmp_path / "run"), "--last", "3", "--json")
    assert "none of these episodes of the run" in error and "has finished yet" in error


def test_what_demonstrations_cost_is_told_by_the_whole_run_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlas.testing.runs import write_run

    folder = str(write_run(tmp_path / "run"))
    whole = json.loads(said(capsys, "report", folder, "--json"))
    part = json.loads(said(capsys, "report", folder, "--last", "30", "--json"))
    assert whole["break_even"] and whole["demonstrations"] and not part["break_even"] and not part["demonstrations"]
    assert json.loads(said(capsys, "traces", "show", folder, "--json"))["break_even"]
    assert not json.loads(said(capsys, "traces", "show", folder, "--last", "30", "--json"))["break_even"]
    compared = json.loads(said(capsys, "report", folder, "--last", "30", "--compare", "cascade,teacher", "--json"))
    assert 0 < compared["pairs"][0]["tasks"] < 12


def test_ages_and_moments_as_they_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert time.time() - moment("36h") == pytest.approx(36 * 3600, abs=60)
    assert moment("2026-11-30T07:45+00:00") == 1_796_024_700.0
    assert moment("2026-11-30T08:45+01:00") == moment("2026-11-30T07:45Z")
    with pytest.raises(ConfigError):
        moment("soon")


def test_who_calls_a_command_finds_his_collector_as_it_was(grown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = gc.get_threshold()
    seen: list[tuple[int, int, int]] = []
    real = Run.episodes
    monkeypatch.setattr(Run, "episodes", lambda *a, **k: seen.append(gc.get_threshold()) or real(*a, **k))  # type: ignore[func-returns-value]
    main(["traces", "show", str(grown)])
    with pytest.raises(SystemExit):
        main(["traces", "show", str(grown), "no such episode"])
    assert seen == [RARELY] * 2 and gc.get_threshold() == before
