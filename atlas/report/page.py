"""The page: one HTML document that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from atlas.figures import money
from atlas.report import charts, headline, memory_map, served_page, tables
from atlas.report.facts import Facts, Group
from atlas.report.parts import FOOTER, document, lanes_picture, part, picture, tile, unbroken
from atlas.report.tables import text
from atlas.report.transcript import choose, transcript
from atlas.traces.reader import StoredEpisode


def page(facts: Facts, episodes: Sequence[StoredEpisode]) -> str:
    """The whole document."""
    if facts.service is not None:
        return document(facts.title, served_page.body(facts, facts.service, episodes))
    body = "".join(
        [
            _head(facts),
            *(_pictures(facts, group) for group in facts.groups),
            memory_map.section(facts.learned) if facts.learned is not None else "",
            _transcripts(facts, episodes),
            _tables(facts),
        ]
    )
    return document(facts.title, body)


def _head(facts: Facts) -> str:
    made = datetime.fromtimestamp(facts.created, UTC).strftime("%d %B %Y, %H:%M UTC")
    lines = "".join(f'<p class="lede">{unbroken(line)}</p>' for line in headline.sentences(facts))
    notes = "".join(f"<p>{text(note)}</p>" for note in facts.notes)
    tiles = "".join(tile(each) for each in headline.tiles(facts))
    return (
        f'<header><p class="kicker">atlas run report · {made} · {facts.episodes:,} episodes</p>'
        f"<h1>{text(facts.title)}</h1>{part(facts.shown)}{lines}"
        + (f'<div class="notes">{notes}</div>' if notes else "")
        + (f'<div class="tiles">{tiles}</div>' if tiles else "")
        + "</header>"
    )


def _pictures(facts: Facts, group: Group) -> str:
    parts = []
    of = f" · {text(group.name)}" if group.name else ""
    # One arm alone is compared with nothing; where it has a picture of its own, that one says more.
    if len(group.arms) > 1 or (group.arms and not group.supervised):
        parts.append(f"<h2>Success against cost{of}</h2>{_scatter(group)}")
    if group.curves:
        parts.append(f"<h2>As demonstrations grow{of}</h2>{_learning(group)}")
    for facts_of in group.supervised:
        parts.append(f"<h2>Supervision as tasks are mastered{of}</h2>{lanes_picture(facts_of)}")
    asking = any(p.arm.teacher_share.mean > 0 for curve in group.curves for p in curve.points)
    if asking or group.growth:
        begins = "grows" if part(facts.shown) else "starts empty and grows"
        parts.append(f"<h2>How often the teacher is asked{of}</h2>{_teacher(group, asking, begins)}")
    return f"<section>{''.join(parts)}</section>"


def _scatter(group: Group) -> str:
    unpriced = [arm.name for arm in group.arms if arm.dollars is None]
    unscored = [arm.name for arm in group.arms if arm.dollars is not None and not arm.row.scored]
    left_out = "".join(
        f" Not shown: {text(', '.join(names))} ({why})."
        for names, why in ((unpriced, "unpriced"), (unscored, "nothing scored yet"))
        if names
    )
    return picture(
        charts.responsive(partial(charts.scatter, group), height=430),
        "Up is better, left is cheaper. A mark is an arm's mean; its lines are the 95 % intervals of success (Wilson) "
        f"and of dollars per episode (bootstrap).{left_out}",
    )


def _learning(group: Group) -> str:
    bands = "Bands are 95 % intervals; the dashed line is the teacher alone."
    return (
        '<div class="pair">'
        + picture(
            charts.responsive(partial(charts.success_curve, group.curves, group.teacher)),
            f"Success, with n demonstrations in memory. {bands}",
        )
        + picture(
            charts.responsive(partial(charts.cost_curve, group.curves, group.teacher)),
            "Dollars per episode, same episodes. What collecting the demonstrations cost is in the account below.",
        )
        + "</div>"
    )


def _teacher(group: Group, asking: bool, begins: str) -> str:
    figures = [
        picture(
            charts.responsive(partial(charts.over_time, growth)),
            f"{text(growth.arm)}: the memory {begins} while it serves. Lines are means over the last "
            f"{growth.window} episodes, dots are single episodes' shares of teacher steps.",
        )
        for growth in group.growth
    ]
    if asking:
        figures.append(
            picture(
                charts.responsive(partial(charts.share_curve, group.curves)),
                "Share of steps on which the teacher acted, by demonstrations in memory, with its 95 % interval.",
            )
        )
    return f'<div class="pair">{"".join(figures)}</div>'


def _transcripts(facts: Facts, episodes: Sequence[StoredEpisode]) -> str:
    cascades = {group.cascade.row.arm for group in facts.groups if group.cascade is not None}
    points = {p.arm.row.arm for group in facts.groups for c in group.curves for p in c.points if p.arm.role.base}
    chosen = choose(episodes, cascades=cascades, points=points)
    if not chosen:
        return ""
    failed = any(e.result is not None and not e.result.success for e in chosen)
    others = f"others stand below it{', failed ones first' if failed else ''}, and " if len(chosen) > 1 else ""
    shown = "".join(transcript(e, opened=i == 0) for i, e in enumerate(chosen))
    return (
        '<section><h2>One episode, step by step</h2><p class="intro">What was seen, what was done and by whom, how '
        "the samples voted, which demonstrations were recalled, and which entries of pamphlets were shown. It was "
        "chosen as an example; "
        f"{others}all are in the trace.</p>{shown}</section>"
    )


def _explained(facts: Facts) -> str:
    """What an arm is, what each of them is, and what a tie with chance means."""
    said = "".join(
        f'<dt class="h{arm.hue}">{text(arm.row.arm)}</dt><dd>{text(arm.role.says)}</dd>'
        for arm in facts.arms
        if arm.role.says
    )
    collected = "<dt>collect</dt><dd>the teacher collects the demonstrations: what they cost, and no result</dd>"
    routed = any(arm.role.kind == "route" for arm in facts.arms)
    tie = (
        '<p class="note"><b>A tie with random routing</b> means that it made no difference that this run could show '
        "<em>which</em> steps the teacher took: as many of them at random did as well. What was gained over the "
        "student alone is then owed to the demonstrations, and to the teacher's steps as such, and not to asking it "
        "where the student's samples disagree.</p>"
    )
    return (
        '<p class="intro">An <em>arm</em> is one way to play; all arms play the same tasks. A <em>control</em> is an '
        "arm that lacks what another claims to gain by, and is compared with that one.</p>"
        + (f'<dl class="arms">{collected if facts.collect else ""}{said}</dl>' if said else "")
        + (tie if routed else "")
    )


def _tables(facts: Facts) -> str:
    rows = ([facts.collect] if facts.collect else []) + [arm.row for arm in facts.arms]
    curve_rows = [p.arm.row for g in facts.groups for c in g.curves for p in c.points if p.arm.role.base]
    spends = [(row.arm, spend) for row in [*rows, *curve_rows] for spend in row.spend]
    parts = [f"<h2>The arms</h2>{_explained(facts)}{tables.arms(rows, facts.hues)}"]
    if curve_rows:
        points = tables.arms(curve_rows, facts.hues)
        parts.append(f"<details class=rows><summary>The learning curves' arms</summary>{points}</details>")
    if facts.changes:
        parts.append(f"<h2>Supervision</h2>{tables.changes(facts.changes)}")
    if facts.pairs:
        parts.append(
            f"<h2>The same tasks, side by side</h2>{tables.pairs(facts.pairs)}"
            '<p class="note">Differences are first minus second, over the tasks that both have played; <em>won by one '
            "only</em> counts the tasks that only the first, or only the second, has won. Intervals are "
            "percentile bootstraps of the paired differences; p is McNemar's exact test. Other pairs: "
            "<code>atlas report RUN --compare A,B</code>.</p>"
        )
    parts.append(f"<h2>The account</h2>{tables.spend(spends, facts.hues)}")
    if facts.break_even:
        parts.append(tables.break_even(facts))
    if facts.cut_off:
        parts.append(
            f'<p class="note">{facts.cut_off} attempts have no result of their own (killed, interrupted, still '
            f"running, or played again after an error). They used "
            f"{money(facts.cut_off_usage.dollars)}, which no row above holds.</p>"
        )
    parts.append(tables.lost(facts))
    parts.append(f"<h2>What this is</h2>{tables.about(facts)}")
    parts.append(FOOTER)
    return f"<section>{''.join(parts)}</section>"
