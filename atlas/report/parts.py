"""What both kinds of page are put together from."""

from __future__ import annotations

import re
from functools import partial
from html import escape
from importlib.resources import files

from atlas.records import Record
from atlas.report.charts import responsive
from atlas.report.supervision import WINDOW, Supervision, lanes_chart
from atlas.report.tables import blocks_table, stated_table, text
from atlas.traces.newest import Shown
from atlas.words import clean

FOOTER = (
    "<footer>Every figure is computed from the run's trace. A success rate is over the episodes that were scored; "
    "those that ended with an error or an exhausted budget are counted apart. <em>unpriced</em> means that a model has "
    "no known price, never that it was free.</footer>"
)


class Tile(Record):
    """A figure worth large type."""

    figure: str
    label: str


def document(title: str, body: str) -> str:
    """The whole of a page."""
    style = files("atlas.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing may be loaded or run, whatever a model managed to write into a trace.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{text(title)}</title><style>{style}</style></head><body><main>{body}</main></body></html>\n"
    )


def unbroken(line: str) -> str:
    """Text as HTML whose intervals and percentages are not broken between lines."""
    return re.sub(r"\[[^\]<>]*\]", r'<span class="nw">\g<0></span>', text(line)).replace(" %", "&nbsp;%")


def part(shown: Shown | None) -> str:
    """That the page is of a part of the run, where it is."""
    if shown is None or not shown.some:
        return ""
    said = text(shown.said())
    return (
        f'<div class="notes"><p><b>A part of the run:</b> {said}. All that is counted here is of these. '
        "What collecting demonstrations cost, and when that has paid off, the whole run tells.</p></div>"
    )


def tile(shown: Tile) -> str:
    figure, bracket, interval = shown.figure.partition("[")
    small = f"<small>95 % interval {unbroken(bracket + interval)}</small>" if bracket else ""
    return f'<div class="tile"><b>{text(figure.strip())}{small}</b><span>{text(shown.label)}</span></div>'


def picture(inner: str, caption: str) -> str:
    """A figure with its caption, both HTML already."""
    return f"<figure>{inner}<figcaption>{caption}</figcaption></figure>"


def lanes_picture(facts: Supervision) -> str:
    """Which supervision each episode of an arm had that chooses it by task."""
    shown = picture(
        responsive(partial(lanes_chart, facts), height=470, narrow=430),
        f"{text(facts.arm)}: which lane each episode had (a cross is a failure), how often the teacher was called, and "
        f"what an episode cost, averaged over up to {WINDOW} episodes. Dotted lines are where the task family changes; "
        "the numbers are those of the table.",
    )
    return shown + blocks_table(facts) + stated_table(facts)


def anchor(episode: str) -> str:
    """What links to an episode's transcript name it by."""
    return escape(f"episode-{clean(episode)}", quote=True)
