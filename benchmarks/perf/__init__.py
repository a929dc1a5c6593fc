"""What atlas itself costs in time: per step, with many episodes at once, in retrieval, at import.

``python -m atlas.benchmarks.perf`` measures all of it on this machine. Models and environments here answer at once or
after a fixed wait, so that what is left is ours.
"""

from atlas.benchmarks.perf.table import Aim, Table

__all__ = ["Aim", "Table"]
