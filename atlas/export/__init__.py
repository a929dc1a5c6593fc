"""Traces as training data, and as what other tools read."""

from atlas.export.build import ExportPlan, export
from atlas.export.manifest import Manifest
from atlas.export.permitted import Permissions
from atlas.export.rows import Row, read_rows, run_rows
from atlas.export.select import Filters

__all__ = ["ExportPlan", "Filters", "Manifest", "Permissions", "Row", "export", "read_rows", "run_rows"]
