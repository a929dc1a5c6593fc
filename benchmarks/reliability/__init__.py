"""What happens when things break, as figures: ``python -m atlas.benchmarks.reliability [WHAT ...]``.

Each part is a module with ``measure(plan)``, which gives back a table with aims, as in :mod:`atlas.benchmarks.perf`.
What is drawn at random follows from a seed; each part says how far it has come, and ends within its time.
"""

from atlas.benchmarks.reliability.plan import Plan

__all__ = ["Plan"]
