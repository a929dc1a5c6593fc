"""What an agent makes of a run's results is kept beside its segments, and is what it makes of all of them."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from atlas.records import Episode, Prompt
from atlas.traces import Run, RunWriter
from atlas.traces.copying import copy
from atlas.traces.packing import pack
from atlas.traces.place import place_of
from atlas.traces.prune import Choice, prune
from atlas.traces.segment_log import TraceLog
from atlas.traces.segments import FOLDED, LIMIT, closed
from atlas.wrap.supervision import InTrace
from tests.test_newest import as_before
from tests.test_spent import TASK, as_second, result, torn, without
from tests.test_traces import step_of

EXPECTED = 0.5


class Player:
    """Plays episodes whose success comes and goes; some are never scored, some late, some twice."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng, self.number = folder, random.Random(seed), 0
        self.open: list[Episode] = []

    def play(self, count: int) -> None:
        rng = self.rng
        with RunWriter(self.folder, {"kind": "wrapped"}) as writer:
            for number in range(self.number, self.number + count):
                id = f"e{number:04d}"
                writer.start(id, f"arm{number % 2}", TASK, number, "c")
                writer.step(id, step_of(0, Prompt(stable="s", ask="x" * 100)))
                won = rng.random() < (0.95, 0.05)[(number // 40) % 2]
                lane = rng.choice(("", "", "student", "teacher"))
                episode = result(id, number, (), lane=lane, score=float(won), success=won)
                if rng.random() < 0.2:
                    self.open.append(episode)
                    episode = episode.replace(score=None, success=None)
                writer.end(episode)
                if self.open and rng.random() < 0.15:
                    writer.end(self.open.pop(rng.randrange(len(self.open))))
                if rng.random() < 0.1:
                    writer.end(episode.replace(score=0.0, success=False))
        self.number += count


def known(folder: Path, arm: str = "arm0", expected: float = EXPECTED) -> Any:
    """All that an agent that begins on the run goes on from."""
    return InTrace(arm, expected, place_of(folder))._state()


def plainly(folder: Path, tmp_path: Path, **settings: Any) -> Any:
    """What is read of every line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(LIMIT)
        copy(place_of(folder), place_of(tmp_path / "plain"))
    assert not closed(tmp_path / "plain")
    try:
        return known(tmp_path / "plain", **settings)
    finally:
        shutil.rmtree(tmp_path / "plain")


@pytest.fixture
def player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Player:
    monkeypatch.setenv(LIMIT, "0.012")
    made = Player(tmp_path / "run", 1)
    made.play(170)
    assert len(closed(made.folder)) > 5
    return made


@pytest.mark.parametrize("seed", range(3))
def test_who_begins_knows_what_every_line_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv(LIMIT, "0.012")
    player = Player(tmp_path / "run", seed)
    said = 0
    for change in (None, as_before, None, as_second, torn, without, None, lambda run: pack(place_of(run)), None):
        player.play(60)
        if change is not None:
            change(player.folder)
        plain = plainly(player.folder, tmp_path)
        assert known(player.folder) == known(player.folder) == plain
        said = len(plain["said"])
        # Another one expects something else, and is kept in the place of the first.
        if change is None:
            assert known(player.folder, expected=0.8) == plainly(player.folder, tmp_path, expected=0.8)
        assert known(player.folder, "arm1") == plainly(player.folder, tmp_path, arm="arm1")
    assert said > 1 and len([*player.folder.glob(f"*{FOLDED}")]) == 2


def test_one_that_serves_meanwhile_knows_and_keeps_the_same(player: Player, tmp_path: Path) -> None:
    serving = InTrace("arm0", EXPECTED, place_of(player.folder))
    for _ in range(3):
        player.play(30)
        serving.now()
        assert serving._state() == known(player.folder) == plainly(player.folder, tmp_path)


def test_segments_are_read_once(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    told = TraceLog._told

    def reads(self: TraceLog, piece: Any) -> Any:
        read.append(piece.number)
        return told(self, piece)

    monkeypatch.setattr(TraceLog, "_told", reads)
    first = known(player.folder)
    count = len(closed(player.folder))
    assert read == [*range(1, count + 2)]
    read.clear()
    assert known(player.folder) == first and read == [count + 1]
    player.play(60)
    read.clear()
    known(player.folder)
    assert read == [*range(count + 1, len(closed(player.folder)) + 2)]


@pytest.mark.parametrize("place", [0, 20, 40, 200, -2])
def test_what_is_damaged_is_made_anew(player: Player, place: int) -> None:
    plain = known(player.folder)
    (kept,) = player.folder.glob(f"*{FOLDED}")
    whole = kept.read_bytes()
    for bad in (whole[:place], whole[:place] + b"?" + whole[place:], b""):
        kept.write_bytes(bad)
        assert known(player.folder) == plain and kept.read_bytes() == whole


def test_what_another_build_kept_is_passed_over(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.wrap.supervision.RULE", ["another"])
    monkeypatch.setattr("atlas.wrap.supervision.Standing.after", lambda self, *given: (self.replace(rest=9), None))
    assert known(player.folder)["standing"]["rest"] == 9
    monkeypatch.undo()
    assert known(player.folder)["standing"]["rest"] != 9
    monkeypatch.setattr(InTrace, "_state", lambda self: {"standing": {"low": "perhaps"}, "counted": [], "said": []})
    (kept,) = player.folder.glob(f"*{FOLDED}")
    kept.unlink()
    known(player.folder)
    monkeypatch.undo()
    assert kept.is_file() and len(known(player.folder)["counted"]) > 40


def test_nothing_is_kept_of_episodes_that_are_taken_out(player: Player, tmp_path: Path) -> None:
    known(player.folder)
    gone = tuple(e.id for e in Run(player.folder).episodes()[::3])
    prune(place_of(player.folder), Choice(episodes=gone), by="me", reason="asked for")
    assert not [path for path in player.folder.iterdir() if any(id.encode() in path.read_bytes() for id in gone)]
    assert known(player.folder) == known(player.folder) == plainly(player.folder, tmp_path)


def test_a_segment_that_was_changed_is_read_again(player: Player) -> None:
    before = known(player.folder)
    segment = closed(player.folder)[0].path
    segment.write_bytes(segment.read_bytes().replace(b'"success":true', b'"success":null'))
    assert known(player.folder) == known(player.folder) != before


def test_a_run_that_nobody_may_write_to_is_read(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, target: Path) -> Path:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "replace", refused)
    assert known(player.folder) == known(player.folder)
    assert not [*player.folder.glob(f"*{FOLDED}*")]


def test_check_reads_what_is_kept_of_a_segment_that_was_changed(player: Player) -> None:
    before = known(player.folder)
    segment = closed(player.folder)[0].path
    found = segment.stat()
    end = segment.read_bytes()[-4096:]
    segment.write_bytes(segment.read_bytes()[:-4096].replace(b'"success":true', b'"success":null') + end)
    os.utime(segment, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert known(player.folder) == before, "size, time and end are what they were"
    Run(player.folder).damaged()
    assert known(player.folder) != before
