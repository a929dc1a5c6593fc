"""``atlas report``: a run as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atlas.errors import StoreError
from atlas.folders import write_whole
from atlas.report.facts import Facts, gather
from atlas.report.page import page
from atlas.traces.reader import Run

__all__ = ["Facts", "gather", "render", "write_report"]


def render(run: Run, *, compare: Sequence[str] = (), memory: str | Path | None = None) -> str:
    """The report of ``run`` as HTML; the arguments are those of :func:`gather`, and so are the errors."""
    episodes = run.episodes()
    return page(gather(run, episodes, compare=compare, memory=memory), episodes)


def write_report(run: Run, path: str | Path, *, compare: Sequence[str] = (), memory: str | Path | None = None) -> Path:
    """Write the report of ``run`` to ``path`` and return it."""
    html = render(run, compare=compare, memory=memory)
    path = Path(path)
    try:
        write_whole(path, html)
    except OSError as error:
        raise StoreError(
            f"the report {path} cannot be written ({error.strerror}): choose another path with -o"
        ) from error
    return path
