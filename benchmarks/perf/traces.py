"""Reading a run that has grown: in segments, packed, and as one file, each command a process of its own.

    python -m atlas.benchmarks.perf.traces [--steps 1000000] [--length 20] [--folder FOLDER] [--json]

The three runs hold the same steps. The newest fiftieth of the episodes alone is shown, too, also of a run that has a
tenth of them, so that it is seen whether the time grows with what is shown or with what there is. Beside the wall time
stands the CPU time, which a busy machine changes less, and the most memory that the process held.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from atlas.benchmarks.perf.table import Aim, Cell, Table, machine
from atlas.benchmarks.program import Program
from atlas.records import (
    STUDENT,
    TEACHER,
    Decision,
    Episode,
    Message,
    Observation,
    Prompt,
    Spend,
    Step,
    Stop,
    Task,
    Usage,
    Vote,
    by_actor,
)
from atlas.traces import Run, RunWriter
from atlas.traces.place import MANIFEST, TRACE
from atlas.traces.segments import LIMIT, USUAL, closed

LENGTH = 20
"""Steps of an episode."""
MANY = 500_000
"""Steps from which on segments are as large as usual."""
ONE, SEGMENTS, PACKED = "one file", "segments", "packed"
NEWEST, FEWER = 50, 10
"""The newest of so many are shown, also of a run that has so many times fewer."""
PEAKED = """
import sys
peak = sys.argv.pop(1)
try:
    {}
finally:
    with open("/proc/self/status") as told, open(peak, "w") as file:
        file.write(next(line for line in told if line.startswith("VmHWM")).split()[1])
"""
"""What a process held at most, told by itself: what the system tells of a child begins with its parent's."""
COMMAND = "from atlas.cli import main; main(sys.argv[1:])"
RESUMED = """
from atlas.benchmarks.sharing import Shared
    from atlas.traces import Run, RunWriter
    with RunWriter(sys.argv[1], Run(sys.argv[1]).settings), Shared(sys.argv[1]) as shared:
        print(len(shared.episodes), shared.past.tokens)
"""
BEGUN = """
from atlas.traces import Run
    from atlas.traces.place import place_of
    from atlas.wrap.supervision import InTrace
    print(InTrace("student", 0.5, place_of(sys.argv[1])).now().raised, Run(sys.argv[1]).sums().total.tokens)
"""
"""What an agent with a budget and without a memory asks of its run when it begins."""
WORDS = [f"{first}{middle}{last}" for first in "bdfgklmnprst" for middle in "aeiou" for last in ("", "n", "rk", "ld")]


class Took(NamedTuple):
    """What a command took."""

    cpu: float
    wall: float
    megabytes: float

    def __str__(self) -> str:
        return f"{self.cpu:.2f} / {self.wall:.2f} / {self.megabytes:.0f}"


def measure(steps: int = 40_000, folder: Path | None = None, length: int = LENGTH) -> Table:
    """``steps`` of them in episodes of ``length``; files in ``folder``, which are left there. Smaller runs have smaller
    segments, as many."""
    usual = os.environ.get(LIMIT) or (f"{USUAL:g}" if steps >= MANY else f"{steps / 5_000:g}")
    with _place(folder) as root:
        runs = {name: root / name / "run" for name in (ONE, SEGMENTS, PACKED)}
        began = time.process_time()
        write(runs[SEGMENTS], steps, usual, length)
        wrote = time.process_time() - began
        _joined(runs[SEGMENTS], runs[ONE])
        segments = len(closed(runs[SEGMENTS]))
        # Once, as whoever reads a segment first makes its index.
        first = _run(COMMAND, "traces", "show", str(runs[SEGMENTS]))
        shutil.copytree(runs[SEGMENTS], runs[PACKED])
        pack = _run(COMMAND, "traces", "pack", str(runs[PACKED]))
        episode = Run(runs[ONE]).episodes()[steps // length // 3].id
        last = ("--last", str(max(1, steps // length // NEWEST)))
        page = ("report", "RUN", "-o", str(root / "report.html"))
        commands = {
            "traces show RUN EPISODE": (COMMAND, "traces", "show", "RUN", episode, "--json"),
            "traces show RUN": (COMMAND, "traces", "show", "RUN"),
            "report RUN": (COMMAND, *page),
            f"traces show RUN {' '.join(last)}": (COMMAND, "traces", "show", "RUN", *last),
            f"report RUN {' '.join(last)}": (COMMAND, *page, *last),
            "traces ls": (COMMAND, "traces", "ls", "ROOT"),
            "traces ls, again": (COMMAND, "traces", "ls", "ROOT"),
            "a run is resumed": (RESUMED, "RUN"),
            "an agent begins on it": (BEGUN, "RUN"),
            "another begins on it": (BEGUN, "RUN"),
            "traces check RUN": (COMMAND, "traces", "check", "RUN"),
        }
        took = {
            what: {name: _run(*(_place_in(word, run) for word in words)) for name, run in runs.items()}
            for what, words in commands.items()
        }
        fewer = root / "fewer" / "run"
        write(fewer, steps // FEWER, usual, length)
        _run(COMMAND, "traces", "show", str(fewer))
        took_of_fewer = {
            f"{what} of {steps // length // FEWER:,} episodes": _run(
                *(_place_in(word, fewer) for word in commands[what])
            )
            for what in commands
            if what.startswith(("traces show RUN --last", "report", "traces ls"))
        }
        sizes = [round(_size(run) / 1e6, 1) for run in runs.values()]
    rows: list[tuple[Cell, ...]] = [
        ("MB on the disk", *sizes),
        ("all steps are written, CPU s", None, round(wrote, 1), None),
        ("the first reading, which makes the indexes", None, str(first), None),
        ("traces pack RUN", None, None, str(pack)),
        *((what, *map(str, found.values())) for what, found in took.items()),
        *((what, None, str(found), None) for what, found in took_of_fewer.items()),
    ]
    most = max(one.megabytes for found in took.values() for name, one in found.items() if name != ONE)
    return Table(
        name="traces",
        title=f"A run of {steps:,} steps in {steps // length:,} episodes, {segments} closed segments: CPU s / wall s / "
        "peak MB",
        columns=("what", *runs),
        rows=tuple(rows),
        aims=(Aim(what="peak MB of any reader of segments", limit=1000, measured=round(most)),),
        note=f"{LIMIT}={usual}; more steps: python -m atlas.benchmarks.perf.traces --steps 1000000",
    )


def _place_in(word: str, run: Path) -> str:
    return {"RUN": str(run), "ROOT": str(run.parent)}.get(word, word)


def write(folder: Path, steps: int, megabytes: str, length: int = LENGTH) -> None:
    """A run of one arm whose steps say nothing twice, about 2.3 kB each, in segments of so many ``megabytes``."""
    before = os.environ.get(LIMIT)
    os.environ[LIMIT] = megabytes
    try:
        rng = random.Random(1)
        with RunWriter(folder, {"title": "made up, to be measured", "student": "s", "teacher": "t"}) as writer:
            for number in range(max(1, steps // length)):
                _episode(writer, number, rng, length)
    finally:
        os.environ.pop(LIMIT)
        if before is not None:
            os.environ[LIMIT] = before


def _episode(writer: RunWriter, number: int, rng: random.Random, length: int) -> None:
    task = Task(id=f"task-{number}", goal=_said(rng, 8), family=f"f{number % 6}", split="nowhere")
    id, arm = f"{rng.getrandbits(48):012x}", ("cascade", "student")[number % 2]
    writer.start(id, arm, task, 0, "made-up")
    history: tuple[Message, ...] = ()
    spent: list[Spend] = []
    seen = _said(rng, 100)
    for index in range(length):
        action, outcome = _said(rng, 3), _said(rng, 100)
        asked = arm == "cascade" and rng.random() < 0.1
        actor, cost = (TEACHER, 0.002) if asked else (STUDENT, 0.00002)
        usage = Usage(calls=1, prompt_tokens=400, completion_tokens=20, dollars=cost)
        history = (*history, Message(role="user", content=seen))
        step = Step(
            index=index,
            observation=seen,
            decision=Decision(
                action=action,
                actor=actor,
                reason="routed" if asked else "solo",
                votes=(Vote(actor=actor, model=actor, action=action, text=action),),
                prompt=Prompt(stable="You are tidying up.", history=history, ask="What next?"),
                text=action,
            ),
            outcome=Observation(text=outcome, score=0.0),
            spend=(Spend(actor=actor, model=actor, usage=usage),),
            seconds=0.2,
        )
        writer.step(id, step)
        history = (*history, Message(role="assistant", content=action))
        spent += step.spend
        seen = outcome
    won = rng.random() < 0.7
    writer.end(
        Episode(
            id=id,
            run=writer.name,
            arm=arm,
            task=task,
            seed=0,
            config="made-up",
            stop=Stop.DONE if won else Stop.MAX_STEPS,
            score=float(won),
            success=won,
            steps=length,
            teacher_steps=sum(s.actor == TEACHER for s in spent),
            spend=by_actor(spent),
            seconds=4.0,
            started=1_760_000_000.0 + number,
        )
    )


def _said(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _joined(source: Path, target: Path) -> None:
    """The same run as one file."""
    target.mkdir(parents=True)
    shutil.copy(source / MANIFEST, target)
    with (target / TRACE).open("wb") as file:
        for part in [*(segment.path for segment in closed(source)), source / TRACE]:
            with part.open("rb") as lines:
                shutil.copyfileobj(lines, file, 1 << 20)


def _run(code: str, *words: str) -> Took:
    """A process that runs ``code`` with these arguments."""
    with tempfile.NamedTemporaryFile("r") as peak:
        command = [sys.executable, "-c", PEAKED.format(code.strip()), peak.name, *words]
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wall, after = time.perf_counter() - began, os.times()
        if done.returncode not in (0, 1) or not (held := peak.read()):
            raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-500:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(cpu, wall, int(held) / 1e3)


@click.command(cls=Program)
@click.option("--steps", type=click.IntRange(min=LENGTH), default=40_000, show_default=True)
@click.option(
    "--length", type=click.IntRange(1, LENGTH), default=LENGTH, show_default=True, help="Steps of an episode."
)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Keep the runs here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(steps: int, length: int, folder: Path | None, as_json: bool) -> None:
    """Measure what reading, packing and resuming a run of so many steps takes, in segments beside one file."""
    from atlas.benchmarks.perf.__main__ import show

    where = machine()
    made = measure(steps, folder, length)
    if as_json:
        click.echo(json.dumps({"machine": where, "tables": [made.model_dump()]}, indent=2))
    else:
        show(made)
        click.echo(f"Measured on {where}.")


if __name__ == "__main__":
    main()
