"""The manifest of a run in a folder: read, and written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from atlas.errors import StoreError
from atlas.jsontext import read_json
from atlas.traces.format import GROWN
from atlas.traces.place import Manifest, checked, written


def read_manifest(path: Path) -> Manifest:
    """The content of a ``run.json``, checked."""
    try:
        content = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is not a readable run manifest: {error}") from error
    return checked(content, str(path))


def replace_manifest(path: Path, content: Manifest) -> None:
    """Write a manifest whole or not at all. To be called under the trace's lock."""
    partial = path.with_suffix(".tmp")
    partial.write_text(written(content), encoding="utf-8")
    partial.replace(path)


def mark_grown(path: Path) -> None:
    """Say in the manifest, where there is one, that readers of before there were segments misread the run. To be called
    under the trace's lock."""
    if path.is_file() and (found := read_manifest(path))["schema"] < GROWN:
        replace_manifest(path, {**found, "schema": GROWN})
