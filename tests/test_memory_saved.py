"""A great index lies in a file beside the memory: it is opened as it was, grows, hides what is hidden, and is made anew
with a sentence where it does not fit."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from atlas.benchmarks.perf.retrieval import Remembering, queries
from atlas.benchmarks.perf.retrieval_data import DATA
from atlas.errors import DataError
from atlas.memory import Demonstration, DemonstrationStore, HashEmbedder, arrayfile, codes, held, rounded, saved
from atlas.memory.database import Write
from atlas.memory.erase import erase
from atlas.records import Window

faiss = pytest.importorskip("faiss")

EMBEDDER = Remembering(HashEmbedder(64))
MADE = DATA["household"](1_500)
ASKED = queries(MADE, 12)
ME = "person:me"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small memories take the ways of great ones."""
    monkeypatch.setattr(codes, "TRAINED_AT", (64, 256, 1_024))
    monkeypatch.setattr(saved, "SAVED_ABOVE", 300)


@pytest.fixture(params=["floats", "bytes"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a memory with an index beside it, of vectors as they are and of rounded ones."""
    if request.param == "bytes":
        monkeypatch.setattr(rounded, "ROUND_ABOVE", 200)
        monkeypatch.setattr(codes, "FINE_BELOW", 600)
        monkeypatch.setattr(held, "MOST_STEPS", 500)
    where = tmp_path / "memory.sqlite"
    with opened(where) as store:
        write(store, MADE[:90])
        store.warm()
    assert len(files(where)) == 1
    return where


def opened(path: Path, index: str = "faiss") -> DemonstrationStore:
    return DemonstrationStore(path, EMBEDDER, index)


def write(store: DemonstrationStore, demos: list[Demonstration]) -> None:
    writes = [Write("demonstration", demo.id, "admitted", demo.model_dump_json()) for demo in demos]
    store.database.write(writes, author=ME, reason="given")


def files(path: Path) -> list[Path]:
    return sorted(path.with_name("memory.sqlite.faiss").glob("*"))


def found(store: DemonstrationStore) -> list[list[Window]]:
    return [[*store.search(one, 6), *store.similar(one, 3)] for one in ASKED]


def anew(path: Path) -> list[list[Window]]:
    """What is found where no file is used."""
    copy = path.with_name("copy.sqlite")
    shutil.copy(path, copy)
    with opened(copy) as store:
        return found(store)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many demonstrations were put into an index, each time."""
    made: list[int] = []
    kept = DemonstrationStore._remember

    def remember(self: DemonstrationStore, demos: list[Demonstration], ids: list[str]) -> None:
        made.append(len(demos))
        kept(self, demos, ids)

    monkeypatch.setattr(DemonstrationStore, "_remember", remember)
    yield made


def test_what_is_opened_finds_what_was_made_and_makes_nothing(path: Path, built: list[int]) -> None:
    expected = anew(path)
    built.clear()
    with opened(path) as store:
        assert found(store) == expected
    assert built == []


def test_auto_takes_up_what_is_there(path: Path, built: list[int]) -> None:
    with opened(path, "auto") as store:
        store.warm()
        assert built == []
        write(store, MADE[90:92])
        store.warm()
        assert built == [2]


def test_what_was_written_since_is_read_from_the_memory(path: Path, built: list[int]) -> None:
    with DemonstrationStore(path, EMBEDDER, "exact") as other:
        write(other, MADE[90:])
        other.database.write(
            [Write("demonstration", demo.id, "quarantined") for demo in MADE[:40]], author=ME, reason="not to be found"
        )
    built.clear()
    with opened(path) as store:
        grown = found(store)
        assert sum(built) == len(MADE) - 90
        assert not {w.demo_id for some in grown for w in some} & {demo.id for demo in MADE[:40]}
    assert grown == anew(path)
    built.clear()
    with opened(path) as store:  # it had grown by more than a tenth, and was written again
        assert found(store) == grown
        store.database.rollback(1, author=ME, reason="as it was")
        back = found(store)
    assert built == []
    assert back == anew(path)


def test_hidden_ones_stay_hidden_and_come_back(path: Path) -> None:
    with opened(path) as store:
        seen = found(store)
        hidden = {w.demo_id for some in seen for w in some}
        store.database.write([Write("demonstration", name, "removed") for name in hidden], author=ME, reason="wrong")
    with opened(path) as store:
        assert not hidden & {w.demo_id for some in found(store) for w in some}
        store.database.write([Write("demonstration", name, "admitted") for name in hidden], author=ME, reason="right")
    with opened(path) as store:
        assert found(store) == seen


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut_at_the_beginning(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _changed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _changed_head(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [_cut, _cut_at_the_beginning, _emptied, _longer, _changed, _changed_head],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_file_is_told_of_and_made_anew(
    path: Path, damage: object, caplog: pytest.LogCaptureFixture, built: list[int]
) -> None:
    expected = anew(path)
    assert callable(damage)
    damage(files(path)[0])
    built.clear()
    with caplog.at_level(logging.WARNING, "atlas.memory"), opened(path) as store:
        assert found(store) == expected
    assert sum(built) == 90
    (said,) = caplog.messages
    assert "is damaged" in said and "it is made anew from the memory" in said
    with opened(path) as store:
        assert found(store) == expected
    assert sum(built) == 90


def test_parts_that_do_not_belong_together_are_told_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = anew(path)
    (file,) = files(path)
    for name, wrong in (("starts", -1), ("goal/places", 1 << 20), ("steps/thought+observation.places", 1 << 20)):
        read = arrayfile.read(file, lambda about: True)
        assert read is not None
        about, arrays = read
        arrays[name][-1] = wrong
        arrayfile.write(file, about, arrays)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "atlas.memory"), opened(path) as store:
            assert found(store) == expected
        assert "is damaged" in caplog.messages[0], name


def test_a_file_of_another_state_is_told_of(path: Path, caplog: pytest.LogCaptureFixture, built: list[int]) -> None:
    """An older copy of the memory is put in its place, and goes on from there in another way."""
    older = path.with_name("older.sqlite")
    with DemonstrationStore(older, EMBEDDER, "exact") as other:
        write(other, MADE[:40])
        (file,) = files(path)
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    older.rename(path)
    built.clear()
    with caplog.at_level(logging.WARNING, "atlas.memory"), opened(path) as store:
        first = found(store)
        assert {w.demo_id for some in first for w in some} <= {demo.id for demo in MADE[:40]}
    assert "is of another state of the memory" in caplog.messages[0]
    assert sum(built) == 40 and files(path) == [file]


def test_a_version_of_another_time_is_another_state(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(path) as store, store.database.backend.transaction():
        store.database.backend._db.execute("UPDATE versions SET time = time + 1")  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "atlas.memory"), opened(path) as store:
        store.warm()
    assert "is of another state of the memory" in caplog.messages[0]


def test_what_is_erased_is_in_no_file(path: Path) -> None:
    gone = MADE[0].model_copy(update={"source": MADE[0].source.model_copy(update={"run": "r", "episode": "e"})})
    with opened(path) as store, opened(path) as open_elsewhere:
        write(store, [gone])
        store.warm()
        open_elsewhere.warm()
        assert erase(store.database, [("r", "e")], author=ME, reason="asked for").demonstrations == (gone.id,)
        assert files(path) == []
        write(store, MADE[90:])
        for one in (store, open_elsewhere):
            assert gone.id not in {w.demo_id for some in found(one) for w in some}
        # They hold it in memory, and put it into no file.
        assert files(path) == []
    with opened(path) as store:
        store.warm()
    assert len(files(path)) == 1


def test_where_nothing_can_be_written_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "memory.sqlite.faiss").write_text("a file, where a folder is to be")
    with caplog.at_level(logging.WARNING, "atlas.memory"), opened(tmp_path / "memory.sqlite") as store:
        for part in (MADE[:60], MADE[60:]):
            write(store, part)
            assert found(store)
    (said,) = caplog.messages
    assert "cannot be kept" in said and "made anew whenever the memory is opened" in said


def test_what_is_frozen_small_or_not_yet_settled_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    with opened(path) as store:
        write(store, MADE[:10])
        store.warm()
        with store.database.transaction():
            write(store, MADE[10:90])
            store.warm()
        assert files(path) == []
        store.database.set_frozen(True, author=ME, reason="in use")
    with opened(path) as store:
        store.warm()
        assert files(path) == []


def test_arrays_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "some.arrays"
    arrays = {"empty": np.empty((0, 3), np.float32), "some": np.arange(7, dtype=np.int32)[::2]}
    arrayfile.write(path, {"of": "a test"}, arrays)
    read = arrayfile.read(path, lambda about: about["of"] == "a test")
    assert read is not None
    assert {name: array.tolist() for name, array in read[1].items()} == {"empty": [], "some": [0, 2, 4, 6]}
    assert arrayfile.read(path, lambda about: False) is None
    path.write_text("no such file")
    with pytest.raises(DataError):
        arrayfile.read(path, lambda about: True)
    assert list(tmp_path.iterdir()) == [path]


def test_retrieval_is_measured_in_the_ways_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlas.benchmarks.perf import retrieval

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            retrieval.main([*words, "--sizes", "300", "--queries", "3", "--no-chroma"])
        out, err = capsys.readouterr()
        return out if ended.value.code == 0 else err

    files = ("--files", str(tmp_path), "--data", "household")
    (row,) = json.loads(run(*files, "--way", "exact", "--json"))
    assert row["search"] == "exact" and row["cpu_ms"] > 0
    # There is nothing that they would be compared with.
    assert row["recall"] is None and row["times_faster"] is None
    assert "exact" in run(*files, "--way", "exact")
    assert "there is no way 'x' of searching here: name some of ('plain numpy', 'exact'" in run(*files, "--way", "x")
    assert "give that alone, or leave --way out" in run("--way", "exact")
