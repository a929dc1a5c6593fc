"""A trace that is rolled into segments, indexed and packed reads as one that was left in one file, whoever reads it."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from atlas.cli import main
from atlas.errors import ConfigError, StoreError
from atlas.records import total
from atlas.testing.runs import MadeUpArm, write_episode, write_run
from atlas.traces import Run, RunWriter
from atlas.traces.copying import copy
from atlas.traces.packing import pack
from atlas.traces.place import TRACE, log_hash, place_of
from atlas.traces.prune import Choice, prune
from atlas.traces.reader import Results
from atlas.traces.segment_log import TraceLog
from atlas.traces.segments import LIMIT, Written, closed
from tests.serve_fixtures import CHAT, ask, chat, serving
from tests.test_serve_returning import agent, first
from tests.test_traces import start_writer

ARMS = {"collect": MadeUpArm(4, 0.9, teacher=1.0), "cascade": MadeUpArm(8, 0.8, teacher=0.3, retrieves=True)}
TINY = "0.02"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run, as one file, in segments, and packed."""
    root = tmp_path_factory.mktemp("grown")
    one = write_run(root / "one" / "run", ARMS)
    with RunWriter(one, Run(one).settings) as writer:
        rng = random.Random(5)
        begun = write_episode(writer, "cascade", ARMS["cascade"], 20, rng)
        write_episode(writer, "cascade", ARMS["cascade"], 21, rng)
        writer.end(begun.replace(score=0.0, success=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LIMIT, TINY)
        patch.setattr("atlas.traces.copying._PART", 5)
        for name in ("segments", "packed"):
            copy(place_of(one), place_of(root / name / "run"))
    pack(place_of(root / "packed" / "run"))
    assert len(closed(root / "segments" / "run")) > 5
    return {name: root / name / "run" for name in ("one", "segments", "packed")}


@pytest.fixture(params=["segments", "packed"])
def both(request: pytest.FixtureRequest, kept: dict[str, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies of the run in one file, and of one that has grown."""
    for name in ("one", request.param):
        shutil.copytree(kept[name].parent, tmp_path / name)
    return tmp_path / "one" / "run", tmp_path / request.param / "run"


def printed(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> str:
    """What a command says of a run, without where that is."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        with suppress(SystemExit):
            main([*words])
    return capsys.readouterr().out


def lines(folder: Path) -> list[bytes]:
    return [line for _, _, line in place_of(folder).log(TRACE).lines()]


def packed_again(folder: Path) -> None:
    if any(segment.packed for segment in closed(folder)):
        pack(place_of(folder))


def test_a_run_that_stays_small_is_one_file_as_ever(kept: dict[str, Path]) -> None:
    assert sorted(path.name for path in kept["one"].iterdir()) == ["run.json", "trace.jsonl"]
    assert Run(kept["one"]).manifest["schema"] == 2 and Run(kept["packed"]).manifest["schema"] == 3


def test_lines_places_episodes_and_events_are_the_same(both: tuple[Path, Path]) -> None:
    one, grown = both
    log = place_of(grown).log(TRACE)
    there = [*log.lines()]
    assert there == [*place_of(one).log(TRACE).lines()]
    chosen = random.Random(1).sample(there, 40)
    assert [*log.at([place for _, place, _ in chosen])] == [line for _, _, line in chosen]
    for _ in range(2):  # once with indexes that are made, once with those that are kept
        for found, known in zip(Run(grown).episodes(), Run(one).episodes(), strict=True):
            assert (found.result, found.lost, found.retrieved) == (known.result, known.lost, known.retrieved)
            assert found.steps == known.steps and found.spend == known.spend
        assert Run(grown).results() == Run(one).results() and Run(grown).events() == Run(one).events()
        assert [*Results(grown).new()][-1] == Results(one).new()[-1]
    assert all(segment.index.is_file() for segment in closed(grown))


@pytest.mark.parametrize(
    "words",
    [
        ("traces", "show", "run", "--json"),
        ("traces", "show", "run"),
        ("traces", "show", "run", "--arm", "cascade"),
        ("traces", "show", "run", "--failed", "--json"),
        ("traces", "check", "run", "--json"),
        ("report", "run", "--json"),
        ("traces", "ls", ".", "--json"),
    ],
)
def test_commands_say_the_same(
    both: tuple[Path, Path], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, both[1], *words) == printed(capsys, both[0], *words)


def test_an_episode_is_shown_and_the_page_made(both: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    one, grown = both
    for episode in Run(one).episodes()[::4]:
        words = ("traces", "show", "run", episode.id[:8], "--prompts", "--json")
        assert printed(capsys, grown, *words) == printed(capsys, one, *words)
    for folder in both:
        printed(capsys, folder, "report", "run", "-o", "page.html")
    assert (grown.parent / "page.html").read_text() == (one.parent / "page.html").read_text()


def test_an_export_is_the_same(both: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for folder in both:
        printed(capsys, folder, "export", "run", "--format", "rows", "--any-outcome", "-o", "out")
    one, grown = (folder.parent / "out" for folder in both)
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in grown.iterdir())
    for name in names:
        if name != "manifest.json":
            assert (one / name).read_bytes() == (grown / name).read_bytes()
    told = [json.loads((out / "manifest.json").read_text())["sources"][0]["trace_sha256"] for out in (one, grown)]
    assert told[0] == told[1]


def test_a_copy_is_one_again_and_a_cut_one_is_finished(both: tuple[Path, Path], tmp_path: Path) -> None:
    grown = both[1]
    made = copy(place_of(grown), place_of(tmp_path / "back" / "run"))
    assert lines(tmp_path / "back" / "run") == lines(grown) and made.lines[TRACE] == len(lines(grown))
    assert copy(place_of(grown), place_of(tmp_path / "back" / "run")).written == 0
    with RunWriter(grown, Run(grown).settings) as writer:
        write_episode(writer, "cascade", ARMS["cascade"], 30, random.Random(30))
    assert copy(place_of(grown), place_of(tmp_path / "back" / "run")).written > 5


def test_a_late_score_and_its_correction(both: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    one, grown = both
    episode = Run(grown).episodes()[5]
    for value in ("1", "0.25"):
        printed(capsys, grown, "score", "run", episode.id[:8], value)
    stored = {e.id: e for e in Run(grown).episodes()}[episode.id]
    assert stored.result is not None and (stored.result.score, stored.result.success) == (0.25, False)
    assert len(Run(grown).results()) == len(Run(one).results())


def test_a_run_goes_on_and_is_followed(both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    one, grown = both
    monkeypatch.setenv(LIMIT, TINY)
    tail, results = place_of(grown).log(TRACE).tail(), Results(grown)
    assert [e.id for e in results.new()][:3] == [e.id for e in Results(one).new()][:3] and not [*tail.lines()]
    before = len(lines(grown))
    for number in range(3):
        with RunWriter(grown, Run(grown).settings) as writer:
            made = [write_episode(writer, "cascade", ARMS["cascade"], 40 + n, random.Random(number)) for n in range(2)]
            if number == 1:
                with pytest.raises(StoreError, match="being written"):
                    prune(place_of(grown), Choice(everything=True), by="me", reason="r")
        packed_again(grown)
        assert [e.id for e in results.new()] == [e.id for e in made]
        new = [*tail.lines()]
        assert new == lines(grown)[before:]
        before += len(new)
    assert total(Run(grown).used()).tokens > total(Run(one).used()).tokens


def test_episodes_are_taken_out_of_segments(both: tuple[Path, Path]) -> None:
    one, grown = both
    gone = [e.id for e in Run(one).episodes()[::3]]
    steps = Run(grown).episodes()[0]
    for folder in both:
        prune(place_of(folder), Choice(episodes=tuple(gone)), by="me", reason="asked for")
    with pytest.raises(StoreError, match=r"pruned meanwhile|changed meanwhile"):
        _ = steps.steps
    assert lines(grown)[:-1] == lines(one)[:-1]
    assert [e.steps for e in Run(grown).episodes()] == [e.steps for e in Run(one).episodes()]
    assert total(Run(grown).used()) == total(Run(one).used())
    left = b"".join(
        gzip.decompress(raw) if path.suffix == ".gz" else raw for path in grown.iterdir() for raw in [path.read_bytes()]
    )
    assert not [name for name in gone if name.encode() in left]
    assert not Run(grown).damaged() and not list(grown.glob("*.pruned-*"))


def test_an_index_that_does_not_fit_is_made_again(kept: dict[str, Path], tmp_path: Path) -> None:
    grown = shutil.copytree(kept["segments"], tmp_path / "run")
    known = [e.result for e in Run(grown).episodes()]
    segment = closed(grown)[1]
    whole = segment.index.read_bytes()
    for bad in (b"", whole[:-3], whole[:100] + b"x" + whole[101:], closed(grown)[2].index.read_bytes()):
        segment.index.write_bytes(bad)
        assert [e.result for e in Run(grown).episodes()] == known
        assert segment.index.read_bytes() == whole
    # The segment is another, of the same size.
    raw = segment.path.read_bytes()
    segment.path.write_bytes(raw.replace(b'"score":0.0', b'"score":0.5').replace(b'"score":1.0', b'"score":0.5'))
    changed = [e.result for e in Run(grown).episodes()]
    assert changed != known and segment.path.stat().st_size == len(raw)
    segment.index.unlink()
    grown.chmod(0o500)
    try:
        assert [e.result for e in Run(grown).episodes()] == changed
    finally:
        grown.chmod(0o700)


def test_a_damaged_member_costs_its_lines_and_is_told(
    kept: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grown = shutil.copytree(kept["packed"], tmp_path / "run")
    count, segment = len(lines(grown)), closed(grown)[2]
    raw = bytearray(segment.path.read_bytes())
    raw[len(raw) // 2] ^= 0x55
    segment.path.write_bytes(raw)
    assert 0 < len(lines(grown)) < count
    assert len(Run(grown).episodes()) >= 10
    said = json.loads(printed(capsys, grown, "traces", "check", "run", "--json"))
    assert [f for f in said["findings"] if f["kind"] == "damaged" and segment.path.name in f["said"]]
    segment.path.write_bytes(raw[:-5])
    assert len(lines(grown)) < count and Run(grown).damaged()


def test_check_reads_what_an_index_would_pass_over(
    kept: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grown = shutil.copytree(kept["segments"], tmp_path / "run")
    Run(grown).episodes()
    segment = closed(grown)[2]
    before, raw = segment.path.stat(), segment.path.read_bytes()
    place = raw.index(b'{"type":"step"', len(raw) // 2)
    segment.path.write_bytes(raw[:place] + b"\0" * 40 + raw[place + 40 :])
    os.utime(segment.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not any(e.lost for e in Run(grown).episodes()), "size, time and end are what they were"
    said = json.loads(printed(capsys, grown, "traces", "check", "run", "--json"))
    assert [finding["kind"] for finding in said["findings"]] == ["lost"]
    assert sum(e.lost for e in Run(grown).episodes()) == 1


def test_a_full_disk_leaves_a_segment_as_it_was(
    kept: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = shutil.copytree(kept["segments"], tmp_path / "run")

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(StoreError, match=r"No space left.*the run is whole"):
        patch.setattr("atlas.traces.packing.os.fsync", full)
        pack(place_of(grown))
    assert lines(grown) == lines(kept["one"]) and not list(grown.glob("*.gz*"))


def test_what_is_packed_is_unpacked_by_gzip(kept: dict[str, Path]) -> None:
    raw = b"".join(gzip.decompress(segment.path.read_bytes()) for segment in closed(kept["packed"]))
    assert raw + (kept["packed"] / TRACE).read_bytes() == (kept["one"] / TRACE).read_bytes()


def test_the_pack_command(kept: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = shutil.copytree(kept["one"].parent, tmp_path / "one") / "run"
    before = log_hash(place_of(one).log(TRACE))
    assert "nothing to pack" in printed(capsys, one, "traces", "pack", "run")
    assert "1 segment packed" in printed(capsys, one, "traces", "pack", "run", "--all")
    assert "packed already" in printed(capsys, one, "traces", "pack", "run")
    told = json.loads(printed(capsys, one, "traces", "pack", "run", "--json"))
    assert (told["segments"], told["packed"], told["open"]) == (1, 0, 0)
    assert log_hash(place_of(one).log(TRACE)) == before
    with RunWriter(one, Run(one).settings) as writer:
        write_episode(writer, "cascade", ARMS["cascade"], 50, random.Random(50))
    assert len(Run(one).results()) == 15


@pytest.mark.parametrize("said", ["much", "0", "-1", "nan"])
def test_a_size_that_is_none_is_one_sentence(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, said)
    with pytest.raises(ConfigError, match="ATLAS_TRACE_MB"):
        RunWriter(tmp_path / "run", {})


# --- kills ------------------------------------------------------------------------------------------------------------

DIE = """
import os, signal, sys
from contextlib import suppress
from pathlib import Path
moment = sys.argv[2]
def dying(owner, name, when):
    real = getattr(owner, name)
    def wrapped(*given, **more):
        if when == "before": os.kill(os.getpid(), signal.SIGKILL)
        made = real(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)
    if moment == f"{when} {name}": setattr(owner, name, wrapped)
"""
ROLLING = (
    DIE
    + """
from atlas.traces import segments
from atlas.traces.segments import Written
for when in ("before", "after"):
    dying(segments, "mark_grown", when)
    dying(Path, "rename", when)
    dying(segments, "sync_folder", when)
file = Written(Path(sys.argv[1]))
for number in range(1000): file.append(b'{"type":"noise","n":%d}\\n' % number); print(number, flush=True)
"""
)
PACKING = (
    DIE
    + """
from atlas.traces import packing
from atlas.traces.place import place_of
for when in ("before", "after"):
    dying(os, "utime", when)
    dying(Path, "replace", when)
    dying(Path, "unlink", when)
    dying(packing, "sync_folder", when)
packing.pack(place_of(sys.argv[1]))
"""
)


def killed(code: str, folder: Path, moment: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), moment],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **env},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout


@pytest.mark.parametrize("moment", ["before mark_grown", "before rename", "after rename", "after sync_folder"])
def test_a_kill_while_a_segment_is_closed_loses_nothing(tmp_path: Path, moment: str) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(1, 0.5, steps=3)})
    known = lines(folder)
    size = (folder / TRACE).stat().st_size
    said = killed(ROLLING, folder, moment, **{LIMIT: str((size + 200) / 1e6)})
    noise = [b'{"type":"noise","n":%d}\n' % number for number in range(len(said.split()))]
    assert lines(folder) == known + noise and len(Run(folder).results()) == 1
    with RunWriter(folder, Run(folder).settings) as writer:
        write_episode(writer, "student", MadeUpArm(1, 0.5, steps=3), 1, random.Random(1))
    assert lines(folder)[: len(known) + len(noise)] == known + noise and len(Run(folder).results()) == 2


@pytest.mark.parametrize(
    "moment", ["before utime", "before replace", "after replace", "after sync_folder", "after unlink"]
)
def test_a_kill_while_a_segment_is_packed_loses_nothing(kept: dict[str, Path], tmp_path: Path, moment: str) -> None:
    folder = shutil.copytree(kept["segments"], tmp_path / "run")
    known = lines(folder)
    killed(PACKING, folder, moment)
    assert lines(folder) == known and len(Run(folder).results()) == 14
    pack(place_of(folder))
    assert lines(folder) == known and all(segment.packed for segment in closed(folder))
    names = {path.name.split(".", 2)[-1] for path in folder.iterdir()}
    assert names <= {"run.json", "claims", "trace.jsonl", "jsonl", "jsonl.gz", "index", "json"}


def test_what_a_killed_packing_left_does_not_keep_what_is_pruned(kept: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(kept["segments"], tmp_path / "run")
    killed(PACKING, folder, "after replace")
    gone = Run(folder).episodes()[0].id
    prune(place_of(folder), Choice(episodes=(gone,)), by="me", reason="r")
    assert not [path for path in folder.glob("trace*.jsonl") if gone.encode() in path.read_bytes()]


def test_processes_write_read_and_pack_at_once_and_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "0.06")
    folder = tmp_path / "run"
    said: list[str] = []
    other = start_writer(folder, "c", 1_000_000, 7)
    assert other.stdout is not None
    said += [other.stdout.readline().strip() for _ in range(5)]
    writers = [start_writer(folder, arm, 8, seed) for seed, arm in enumerate(("a", "b"))]
    results = Results(folder)
    followed: list[str] = []
    looked = 0
    while looked < 2 or any(writer.poll() is None for writer in writers):
        if looked == 1:
            os.kill(other.pid, signal.SIGKILL)
        looked += 1
        pack(place_of(folder))
        followed += [e.id for e in results.new()]
        for stored in Run(folder).episodes():
            assert [s.index for s in stored.steps] == list(range(len(stored.steps)))
    said += [line for line in other.stdout.read().split() if len(line) == 12]
    other.wait()
    other.stdout.close()
    said += [id for writer in writers for id in writer.communicate()[0].split()]
    pack(place_of(folder), everything=True)
    there = [e.id for e in Run(folder).results()]
    assert set(said) <= set(there) and len(there) == len(set(there)) and not Run(folder).damaged()
    assert sorted(followed + [e.id for e in results.new()]) == sorted(there)


def test_who_resumes_finds_what_was_played_and_paid(both: tuple[Path, Path]) -> None:
    from atlas.benchmarks.sharing import Shared

    with Shared(both[0]) as one, Shared(both[1]) as grown:
        assert grown.episodes == one.episodes and grown.past == one.past
        assert grown.episodes == Run(both[0]).results(), "what was told of an episode last counts"
        keys = {(e.arm, e.task.id, e.seed) for e in one.episodes[::2]}
        stored = [[(e.id, e.steps) for e in run.stored(keys, {one.episodes[0].id})] for run in (one, grown)]
        assert stored[0] == stored[1] and len(stored[0]) == len(one.episodes[::2]) - 1


def test_a_server_that_is_started_again_goes_on_in_what_was_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT, "0.0005")
    run = tmp_path / "run"
    with serving(agent(run)) as (server, _):
        id, said = first(server.url)
        first(server.url, "another")
    assert pack(place_of(run), everything=True).segments > 2
    with serving(agent(run)) as (server, _):
        told = ask(server.url, CHAT, chat("hello", said, "and then?"))[1]
        assert told["x-atlas-episode"] == id and "x-atlas-history" not in told
        over = ask(server.url, f"/v1/atlas/episodes/{id}/score", {"score": 1.0})[2]
        assert (over["steps"], over["success"]) == (2, True)
    (stored,) = Run(run).episodes(among=lambda one: one == id)
    assert stored.resumed == ["conversation"] and [step.index for step in stored.steps] == [0, 1]
    assert said in [message.content for message in stored.steps[1].decision.prompt.history]


def test_two_packings_do_not_meet(kept: dict[str, Path], tmp_path: Path) -> None:
    from atlas.traces.claims import Claims

    folder = shutil.copytree(kept["segments"], tmp_path / "run")
    with Claims(folder) as claims:
        assert claims.claim("pack")
        with pytest.raises(StoreError, match="another process packs"):
            pack(place_of(folder))


def test_a_writer_finds_the_newest_file_when_another_has_closed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(1, 0.5, steps=3)})
    one, two = Written(folder), Written(folder)
    one.append(b'{"n":1}\n')
    assert two.roll()
    one.append(b'{"n":2}\n')
    two.append(b'{"n":3}\n')
    one.close()
    two.close()
    assert (folder / TRACE).read_bytes() == b'{"n":2}\n{"n":3}\n' and len(closed(folder)) == 1


def test_one_episode_is_read_without_reading_the_others(kept: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(kept["packed"])
    wanted = run.episodes()[3].id
    assert all(segment.index.is_file() for segment in closed(kept["packed"]))
    seen: list[Any] = []
    real = TraceLog._lines
    monkeypatch.setattr(TraceLog, "_lines", lambda self, piece, start=0: seen.append(piece) or real(self, piece, start))
    (stored,) = Run(kept["packed"]).episodes(among=lambda id: id == wanted)
    assert stored.steps and all(piece.segment is None for piece in seen)


@pytest.mark.parametrize("how", ["emptied", "gone", "the newest gone"])
def test_a_segment_that_is_not_there_any_more_is_told_of(
    kept: dict[str, Path],
    tmp_path: Path,
    how: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(kept["packed"].parent, tmp_path / "packed")
    folder = tmp_path / "packed" / "run"
    assert Run(folder).damaged() == []
    path = closed(folder)[-1 if how == "the newest gone" else 1].path
    if how == "emptied":
        path.write_bytes(b"")
    else:
        path.unlink()
    name = path.name if how == "emptied" else path.name.removesuffix(".gz")
    (told,) = Run(folder).damaged()
    assert told == f"{name} {'has 1 damaged part' if how == 'emptied' else 'is not there'}"
    with pytest.raises(SystemExit) as ended:
        main(["traces", "check", str(folder)])
    assert ended.value.code == 1 and told in capsys.readouterr().out
    caplog.clear()
    main(["traces", "show", str(folder)])
    assert ("is damaged at byte 0" if how == "emptied" else "has no segment") in caplog.text
