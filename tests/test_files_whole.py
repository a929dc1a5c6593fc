"""A file that a command writes is there whole or as it was before, also where there is no room for it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.folders import write_whole
from atlas.testing.runs import write_run
from atlas.trust import UNANIMITY


def _full(arguments: list[str], room: int) -> subprocess.CompletedProcess[str]:
    """A command where no file may have more than ``room`` bytes."""
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room))
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "atlas", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=here, preexec_fn=limit, timeout=300)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "out"
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == [], "nothing is left beside it"


@pytest.mark.parametrize("before", [None, "the report of yesterday"])
def test_a_report_without_room_leaves_what_was_there(tmp_path: Path, out: Path, before: str | None) -> None:
    write_run(tmp_path / "run")
    if before is not None:
        out.write_text(before)
    done = _full(["report", str(tmp_path / "run"), "-o", str(out)], 5_000)
    assert done.returncode == 2 and "cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert (out.read_text() if out.exists() else None) == before
    main(["report", str(tmp_path / "run"), "-o", str(out)])
    assert out.read_text().endswith("</html>\n")


def test_a_trust_without_room_leaves_what_was_there(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    UNANIMITY.save(out)
    before = out.read_bytes()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="No space left"):
        UNANIMITY.save(out)
    assert out.read_bytes() == before


def test_a_file_keeps_its_mode_its_link_and_may_be_a_device(tmp_path: Path, out: Path) -> None:
    out.write_text("old")
    out.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(out)
    write_whole(link, "new")
    assert out.read_text() == "new" and link.is_symlink() and out.stat().st_mode & 0o777 == 0o600
    write_whole(Path(os.devnull), "nowhere")
