"""This build beside an earlier one: the same measurements of both, in turn, on one machine in the same minutes.

An earlier build is a revision of the repository that this one stands in. It is written to a temporary folder, today's
measurements (``measured.py``, ``instant.py`` and ``remembering.py``) are laid over it, and each is run in processes of
its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from atlas.benchmarks.perf.concurrency import ALLOWED
from atlas.benchmarks.perf.measured import COLLECTOR, FULL, LATENCY, MEASURED
from atlas.benchmarks.perf.table import Aim, Cell, Table
from atlas.errors import ConfigError

ROUNDS = 3
"""Each measures one build and then the other, the other way round every second time."""
STEP_CPU = 0.4
"""What a traced step of ``Recall(Cascade)`` may cost, as a share of what it cost before."""
SAME = 1.1
"""The ratio up to which two figures of two cores that others use too are the same."""
OVERLAID = ("instant.py", "measured.py", "remembering.py")
Figures = dict[str, float]


class Pair(NamedTuple):
    """What was measured of the two builds, a dictionary each round."""

    before: Sequence[Figures]
    now: Sequence[Figures]

    def least(self, what: str) -> tuple[float, float]:
        return min(seen[what] for seen in self.before), min(seen[what] for seen in self.now)

    def ratios(self, what: str) -> list[float]:
        """Now over before in each round that has a ratio, the least first."""
        rounds = zip(self.before, self.now, strict=True)
        return sorted(now[what] / before[what] for before, now in rounds if before[what] > 0)


class Earlier(NamedTuple):
    """An earlier build that can be run, until its folder goes."""

    commit: str
    said: str
    """The commit in short, and the first line of its message."""
    tree: Path
    scratch: Path
    """Where processes put their temporary files: it goes with the tree, whatever becomes of them."""

    def compare(self, name: str, settings: Mapping[str, object] | None = None, rounds: int = ROUNDS) -> Table:
        """One of the measurements ``MEASURED``, of both builds."""
        before: list[Figures] = []
        now: list[Figures] = []
        for number in range(rounds):
            turns = [(self.tree, before), (_here(), now)]
            for tree, seen in turns[:: -1 if number % 2 else 1]:
                seen.append(self._figures(tree, name, settings or {}))
        return table(name, self.said, Pair(before, now))

    def _figures(self, tree: Path, name: str, settings: Mapping[str, object]) -> Figures:
        path = os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            [sys.executable, "-m", "atlas.benchmarks.perf.measured", name, json.dumps(settings)],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(self.scratch)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            build = f"the build {self.said}" if tree == self.tree else "this build"
            why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ConfigError(f"{name} cannot be measured on {build} ({why}): choose another revision or measurement")
        figures: Figures = json.loads(done.stdout)
        return figures


@contextmanager
def earlier(revision: str) -> Iterator[Earlier]:
    """The build at ``revision``, in a folder that is removed afterwards: after an error, Ctrl-C or SIGTERM too."""
    here = _here()
    if shutil.which("git") is None or not (here / ".git").exists():
        raise ConfigError(f"an earlier build is taken from git, and {here} is no git checkout: run this in a clone")
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    if not commit:
        raise ConfigError(f"there is no revision {revision!r} in {here}: name a commit, branch or tag that it has")
    with _ended_by_sigterm(), tempfile.TemporaryDirectory(prefix="atlas-before-") as folder:
        tree, scratch = Path(folder).resolve() / "tree", Path(folder).resolve() / "scratch"
        scratch.mkdir()
        # By an index of its own: the checkout, its index and its list of worktrees stay as they are.
        index = {"GIT_INDEX_FILE": str(scratch / "index")}
        _git("read-tree", commit, **index)
        _git("checkout-index", "--all", f"--prefix={tree}/", **index)
        overlaid = tree / "benchmarks" / "perf"
        overlaid.mkdir(parents=True, exist_ok=True)
        for name in OVERLAID:
            shutil.copyfile(Path(__file__).with_name(name), overlaid / name)
        said = _git("log", "-1", "--format=%h %s", commit).strip()
        yield Earlier(commit, said, tree, scratch)


def comparable(names: Sequence[str]) -> list[str]:
    """The measurements that are made of two builds: all, or ``names``."""
    for name in names:
        if name not in MEASURED:
            raise ConfigError(f"{name} is not measured against an earlier build: choose of {', '.join(MEASURED)}")
    return list(names or MEASURED)


def table(name: str, said: str, pair: Pair) -> Table:
    """Both builds side by side, with the aims."""
    title, aims, note = _told(name, pair)
    rounds = len(pair.now)
    return Table(
        name=name,
        title=title,
        columns=("what", "before", "now", "now / before", "in each round"),
        rows=tuple(_row(what, pair) for what in pair.now[0] if what != COLLECTOR),
        aims=aims,
        note=f"Before: {said}. Now: these files. The least of {rounds} round{'s' * (rounds != 1)}, in which the builds "
        f"take turns.{note}",
    )


def _row(what: str, pair: Pair) -> tuple[Cell, ...]:
    before, now = pair.least(what)
    ratios = pair.ratios(what)
    spread = f"{ratios[0]:.2g} to {ratios[-1]:.2g}" if ratios else None
    return what, _figure(before), _figure(now), float(f"{now / before:.2g}") if before > 0 else None, spread


def _told(name: str, pair: Pair) -> tuple[str, tuple[Aim, ...], str]:
    """A table's title, its aims, and what else its note has to say."""
    if name == "orchestration":
        what = f"{FULL}, traced"
        before, now = pair.least(what)
        aim = Aim(what=f"{what}: now / before", limit=STEP_CPU, measured=round(now / before, 2))
        return "CPU microseconds per step, user and system", (aim,), ""
    if name == "concurrency":
        aims = [
            Aim(what=f"{who}: over ideal now, %", limit=limit, measured=_figure(pair.least(f"{who}: over ideal, %")[1]))
            for who, limit in ALLOWED.items()
        ]
        before, now = (max(seen[COLLECTOR] for seen in build) for build in pair)
        aims.append(Aim(what=f"{COLLECTOR} now", limit=0, measured=now))
        changes = [label for label, changed in (("the build before", before), ("this one", now)) if changed]
        note = " The settings of the garbage collector are changed while episodes are played by "
        title = f"Many episodes in flight at once, a model of {LATENCY * 1e3:.0f} ms, traced"
        return title, tuple(aims), f"{note}{' and '.join(changes) or 'neither build'}."
    if name == "memory":
        aims = []
        for what in pair.now[0]:
            before, now = pair.least(what)
            aims.append(Aim(what=f"{what}: now / before", limit=SAME, measured=round(now / before, 2)))
        return "The memory, CPU milliseconds each", tuple(aims), ""
    return "Watch, CPU milliseconds per decision beyond the policy inside and the teacher", (), ""


def _figure(value: float) -> float:
    return round(value, 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 4)


def _here() -> Path:
    """The checkout that this build stands in, or the folder that it was installed to."""
    return Path(__file__).resolve().parents[2]


def _git(*arguments: str, **environment: str) -> str:
    """What git says in this checkout; nothing where ``rev-parse`` finds nothing, which it says by exit code 1."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments], cwd=_here(), env={**known, **environment}, capture_output=True, text=True
    )
    if done.returncode and (arguments[0], done.returncode) != ("rev-parse", 1):
        raise ConfigError(f"git {arguments[0]} failed ({done.stderr.strip()}): see to the checkout {_here()}")
    return done.stdout


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl-C does, so that what it made is removed."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
