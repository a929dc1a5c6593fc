"""What a step of a local model cost, each way: the table of answers that were kept."""

from __future__ import annotations

from atlas.benchmarks.perf.local import WAYS, table


def row(cpu: float, good: bool) -> dict[str, float]:
    return {"cpu": cpu, "good": good, "prompt_tokens": 100, "cached_tokens": 50, "load": 2.0, "peak_mb": cpu}


def test_ways_are_compared_at_the_states_that_all_were_asked_at() -> None:
    found = {"before": [row(90, True), row(70, False)], "llama.cpp": [row(5, True), row(3, False), row(900, False)]}
    made = table(found)
    assert [cells[:3] for cells in made.rows] == [(WAYS["before"].what, 80, 1), (WAYS["llama.cpp"].what, 4, 20)]
    assert made.rows[1][5].startswith("1 of 2") and all(aim.met for aim in made.aims)  # type: ignore[union-attr]
    assert not table(found | {"torch": [row(5, False)] * 2}).aims[-2].met
