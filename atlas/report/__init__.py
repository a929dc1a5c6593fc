"""``atlas report``: a run as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

from atlas.errors import StoreError
from atlas.folders import write_whole
from atlas.report.facts import Facts, gather
from atlas.report.page import page
from atlas.traces.reader import Run

__all__ = ["Facts", "gather", "render", "write_report"]


def render(run: Run) -> str:
    """The report of ``run`` as HTML. Raises :class:`~atlas.errors.DataError` where no episode has ended yet."""
    episodes = run.episodes()
    return page(gather(run, episodes), episodes)


def write_report(run: Run, path: str | Path) -> Path:
    """Write the report of ``run`` to ``path`` and return it."""
    html = render(run)
    path = Path(path)
    try:
        write_whole(path, html)
    except OSError as error:
        raise StoreError(
            f"the report {path} cannot be written ({error.strerror}): choose another path with -o"
        ) from error
    return path
