"""Traces as training data, and as what other tools read."""

from atlas.export.permitted import Permissions
from atlas.export.rows import Row, read_rows, run_rows

__all__ = ["Permissions", "Row", "read_rows", "run_rows"]
