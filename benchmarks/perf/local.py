"""``python -m atlas.benchmarks.perf local``: a step of the embedded 1.5B model as it was, as it is, and through torch.

The same states of official games, one after the other, each way in a process of its own: CPU seconds of the process,
all threads, since the wall says more about what else a machine does; how often the action is right; the memory it took
at most. A step the old way takes a minute of CPU, so few states are asked, answers are kept as they come, and the same
command goes on with what is missing.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from atlas.benchmarks.alfworld.suite import Alfworld
from atlas.benchmarks.forced import Asked, State, ask, cpu_seconds, states
from atlas.benchmarks.perf.table import Aim, Table
from atlas.errors import DataError
from atlas.figures import percent_interval
from atlas.memory import Memory
from atlas.models import load
from atlas.policies.recall import Every
from atlas.protocols import RanksActions
from atlas.records import BARE, CHAT, TRANSCRIPT, Form
from atlas.stats import wilson

MODEL = "qwen2.5-coder-1.5b"
STATES, GAMES = 8, 2
PLACE = Path("runs/perf-local")


@dataclass(frozen=True)
class Way:
    """How the model is asked."""

    what: str
    model: str
    k: int
    every: Every
    form: Form = TRANSCRIPT


WAYS = {
    "before": Way("6 windows at every step, as a chat with thoughts; llama.cpp", MODEL, 6, "step", CHAT),
    "llama.cpp": Way(
        "1 demonstration an episode, as a transcript; llama.cpp", f"{MODEL}?form={TRANSCRIPT}", 1, "episode"
    ),
    "torch": Way("the same; bfloat16 through torch", f"hf:{MODEL}?form={TRANSCRIPT}&dtype=bfloat16", 1, "episode"),
}


def measure(place: Path = PLACE) -> Table:
    """Ask what was not asked yet, and compare."""
    place.mkdir(parents=True, exist_ok=True)
    memory = _memory(place)
    ways = [name for name in WAYS if name != "torch" or find_spec("torch") is not None]
    try:
        for name in reversed(ways):  # the quickest first
            done = subprocess.run([sys.executable, "-m", __name__, name, str(place), str(memory)], check=False)
            if done.returncode:
                raise DataError(f"asking by way {name!r} ended early: read what is said above, and start again")
    except KeyboardInterrupt:
        # Who has waited long enough sees what there is.
        if not all(answers(place, name) for name in ways):
            raise
    return table({name: answers(place, name) for name in ways})


def table(found: dict[str, list[dict[str, float]]]) -> Table:
    """The figures of each way at the states that all of them were asked at, and what was aimed for."""
    asked = min(map(len, found.values()))
    found = {name: own[:asked] for name, own in found.items()}
    before = found["before"]
    rows, aims = [], []
    for name, own in found.items():
        cost, first = _mean(own, "cpu"), _mean(before, "cpu")
        good = int(sum(row["good"] for row in own))
        rows.append(
            (
                WAYS[name].what,
                round(cost, 2),
                round(first / cost, 1),
                round(_mean(own, "prompt_tokens")),
                f"{sum(r['cached_tokens'] for r in own) / sum(r['prompt_tokens'] for r in own):.0%}",
                f"{good} of {len(own)}: {percent_interval(wilson(good, len(own)))}",
                round(_mean(own, "load"), 1),
                round(max(row["peak_mb"] for row in own)),
            )
        )
        if name != "before":
            limit = 10 if name == "llama.cpp" else 30
            aims.append(Aim(what=f"{name}: times fewer CPU seconds", limit=limit, measured=first / cost, at_least=True))
            right = int(sum(row["good"] for row in before))
            aims.append(Aim(what=f"{name}: right, of {len(own)}", limit=right, measured=good, at_least=True))
            peak = max(row["peak_mb"] for row in before)
            aims.append(Aim(what=f"{name}: peak MB", limit=peak, measured=max(row["peak_mb"] for row in own)))
    return Table(
        name="local",
        title=f"A step of {MODEL} at {len(before)} states of official valid_unseen games, one after the other",
        columns=("way", "CPU s a step", "times less", "tokens", "cached", "good", "CPU s to load", "peak MB"),
        rows=tuple(rows),
        aims=tuple(aims),
        note="Of so few states accuracy is a check, not a comparison: python -m atlas.benchmarks.forced asks more.",
    )


def answers(place: Path, way: str) -> list[dict[str, float]]:
    """What was asked so far by one way."""
    file = place / f"{way}.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _mean(rows: Sequence[dict[str, float]], what: str) -> float:
    return sum(row[what] for row in rows) / len(rows)


def _memory(place: Path) -> Path:
    """500 demonstrations of the scripted expert in train games."""
    memory = place / "memory" / "memory.sqlite"
    options = ("--split", "valid_unseen", "--n", "1", "--arms", "icd", "--student", "nearest", "--demos", "500")
    if not memory.exists():
        command = [sys.executable, "-m", "atlas", "bench", "alfworld", *options, "-o", str(memory.parent)]
        if subprocess.run(command, check=False).returncode:
            raise DataError(f"no demonstrations could be made in {memory.parent}: read what is said above")
    return memory


async def work(name: str, place: Path, memory: Path) -> None:
    """Ask by one way what is missing, and keep each answer as it comes."""
    found = (await states(Alfworld(), "valid_unseen", GAMES, 1))[:STATES]
    done = len(answers(place, name))
    if done >= len(found):
        return
    way, began = WAYS[name], cpu_seconds()
    model = load(way.model)
    assert isinstance(model, RanksActions)
    if way.form != BARE:
        model.form = way.form
    loaded = cpu_seconds() - began
    with Memory(memory) as remembered:
        if done and found[done].game == found[done - 1].game:
            # Of an episode that goes on the beginning has been read: so it is here.
            await ask(model, remembered, [found[done - 1]], way.k, way.every)
        for state in found[done:]:
            (row,) = await ask(model, remembered, [state], way.k, way.every)
            _keep(place / f"{name}.jsonl", state, row, loaded)


def _keep(file: Path, state: State, row: Asked, loaded: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    told = {"state": f"{state.game}/{state.view.index}", **asdict(row), "load": loaded, "peak_mb": peak}
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
