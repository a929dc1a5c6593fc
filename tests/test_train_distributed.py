"""Several processes train one student: equal networks, one writer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.errors import ConfigError, DataError

torch = pytest.importorskip("torch", reason="needs the extra train")

pytestmark = pytest.mark.torch

CHILD = """
import sys
import torch
from pathlib import Path
sys.path.insert(0, {tests!r})
from atlas.train import distributed
from atlas.train.recipes import SftSuccess
from atlas.train.scratch import ScratchBase
from atlas.train.trainer import Settings, Trainer
from train_fixtures import errand

torch.set_num_threads(1)
distributed.join()
data = [errand(i) for i in range(40)]
base = ScratchBase.new("tiny", data)
# Each process measures for itself, and on a busy machine they need not find the same.
base.precision = ("float32", "bfloat16")[distributed.rank()]
out = Path({out!r})
Trainer(base, SftSuccess(), data, data[:4], out, Settings(epochs=2, batch_tokens=256)).run()
weights = torch.cat([p.detach().flatten() for p in base.net.parameters()])
torch.save(weights, {out!r} + f"-{{distributed.rank()}}.pt")
distributed.leave()
"""


def test_all_processes_hold_the_same_student_and_one_writes_it(tmp_path: Path) -> None:
    child, out = tmp_path / "child.py", tmp_path / "student"
    child.write_text(CHILD.format(tests=str(Path(__file__).parent), out=str(out)), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(child)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=900, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"student-{rank}.pt") for rank in (0, 1))
    assert torch.equal(first, second)
    assert (out / "weights.safetensors").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["child.py", "student", "student-0.pt", "student-1.pt"]


def test_each_process_has_its_own_part_and_all_have_equally_many(monkeypatch: pytest.MonkeyPatch) -> None:
    from atlas.train.distributed import share

    assert share(range(5)) == [0, 1, 2, 3, 4]
    monkeypatch.setenv("WORLD_SIZE", "3")
    parts = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        parts.append(share(range(11)))
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_a_clock_is_no_common_measure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from atlas.train.recipes import SftSuccess
    from atlas.train.trainer import Settings, Trainer

    monkeypatch.setenv("WORLD_SIZE", "2")
    trainer = Trainer(None, SftSuccess(), [], [], tmp_path / "student", Settings(max_minutes=1.0))
    with pytest.raises(ConfigError, match="no common clock"):
        trainer.run()


def test_fewer_batches_than_processes_are_told_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from atlas.train.recipes import SftSuccess
    from atlas.train.scratch import ScratchBase
    from atlas.train.trainer import Settings, Trainer
    from tests.train_fixtures import errand

    monkeypatch.setenv("WORLD_SIZE", "2")
    data = [errand(0)]
    trainer = Trainer(ScratchBase.new("tiny", data), SftSuccess(), data, [], tmp_path / "s", Settings(tokens=100))
    with pytest.raises(DataError, match="1 batch for 2 processes"):
        trainer.run()
    assert not (tmp_path / "s").exists()
