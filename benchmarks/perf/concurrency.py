"""A thousand episodes in flight in one process, over a model that takes 200 ms to answer."""

from __future__ import annotations

from atlas.benchmarks.perf.measured import FULL, LATENCY, SOLO, burst, policies
from atlas.benchmarks.perf.table import Aim, Table

ALLOWED = {SOLO: 10.0, FULL: 20.0}
"""Per cent over ideal."""


def measure(episodes: int = 1000, steps: int = 25) -> Table:
    """Wall time against ideal, traces on. Ideal is the latency of the calls that one episode makes in sequence."""
    found = {name: burst(policy, episodes, steps) for name, policy in policies(latency=LATENCY).items()}
    return Table(
        name="concurrency",
        title=f"{episodes:,} episodes in flight, a model of {LATENCY * 1e3:.0f} ms, traced",
        columns=("policy", "episodes", "steps", "ideal s", "wall s", "over ideal %", "CPU s", "steps / s"),
        rows=tuple(
            (
                name,
                episodes,
                seen.steps,
                seen.ideal,
                round(seen.wall, 2),
                round(seen.over, 1),
                round(seen.cpu, 2),
                round(seen.steps / seen.wall),
            )
            for name, seen in found.items()
        ),
        aims=tuple(
            Aim(what=f"{name}: wall over ideal, %", limit=limit, measured=round(found[name].over, 1))
            for name, limit in ALLOWED.items()
        ),
        note="Ideal is the sum of one episode's latencies: what unlimited cores would take.",
    )
