"""The page of an agent that serves: how it goes now, how it went, what it costs, what it learned, and why it failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from atlas.figures import UNPRICED, money, money_interval, percent, percent_interval, points_interval
from atlas.report import memory_map, tables
from atlas.report import served_charts as charts
from atlas.report.charts import responsive
from atlas.report.facts import Facts
from atlas.report.parts import FOOTER, Tile, anchor, lanes_picture, part, picture, tile, unbroken
from atlas.report.served import Service, Stretch
from atlas.report.tables import cell, moment, row_head, table, text
from atlas.report.transcript import choose, transcript
from atlas.traces.events import Learned
from atlas.traces.reader import StoredEpisode

LINKED, IN_FULL = 8, 3
"""Episodes that are named for each reason of failing, and those of them whose transcript is on the page."""
MOST = 12
"""Transcripts on the page."""
ROWS = 40
"""Versions of a memory that are listed; the others are counted."""


def body(facts: Facts, service: Service, stored: Sequence[StoredEpisode]) -> str:
    """What stands on the page."""
    shown = _transcribed(service, stored)
    ids = {episode.id for episode in shown}
    parts = [
        _head(facts, service, ids),
        _over_time(service),
        *(
            f"<h2>Supervision by task</h2>{lanes_picture(lanes)}"
            for group in facts.groups
            for lanes in group.supervised
        ),
        _cost(service),
        _learned(service, ids),
        _failures(service, ids),
        _transcripts(shown),
        _account(facts),
    ]
    sections = [f"<section>{part}</section>" if part else "" for part in parts]
    learned = memory_map.section(facts.learned) if facts.learned is not None else ""
    return "".join([*sections[:-2], learned, *sections[-2:]])


# --- what it comes to -------------------------------------------------------------------------------------------------


def sentences(service: Service) -> list[str]:
    """What is to be known first."""
    episodes = service.episodes
    first, last = moment(episodes[0].time), moment(episodes[-1].time)
    scored = service.older.n + service.newer.n
    said = [f"{len(episodes):,} episodes from {first} to {last} UTC, {scored:,} of them scored."]
    if service.older.n and service.newer.n:
        gap = points_interval(service.trend)
        rose = "rose" if service.trend.low > 0 else "fell" if service.trend.high < 0 else ""
        halves = f"from {percent_interval(service.older)} in the older half to {percent_interval(service.newer)}"
        said.append(
            f"Success {rose} {halves} in the newer half, by {gap} points."
            if rose
            else f"Success went {halves} in the newer half: {gap} points, not told apart from none."
        )
    if service.dollars is not None and service.alone is not None and service.taught:
        share = service.dollars.mean / service.alone.mean if service.alone.mean else None
        part = f", {percent(share)} of the {money(service.alone.mean)}" if share is not None else ", against the $0"
        said.append(
            f"An episode cost {money(service.dollars.mean)}{part} that the teacher alone would have cost, as estimated "
            "below."
        )
    return said


def tiles(service: Service) -> list[Tile]:
    """How it goes now, in large figures."""
    newest = service.windows[-1]
    of = f"the newest {newest.episodes} episodes"
    found = [Tile(figure=percent_interval(newest.success), label=f"success of {of}")] if newest.scored else []
    if newest.dollars is not None:
        found.append(Tile(figure=money(newest.dollars.mean), label=f"an episode, over {of}"))
        if service.taught and newest.alone is not None and newest.alone.mean:
            share = newest.dollars.mean / newest.alone.mean
            found.append(Tile(figure=percent(share), label=f"of the teacher's cost as estimated, over {of}"))
    if service.taught:
        found.append(Tile(figure=percent(newest.teacher_share), label=f"of the steps of {of} were the teacher's"))
    if service.demonstrations:
        found.append(Tile(figure=f"{service.demonstrations:,}", label="episodes became demonstrations"))
    return found


def _head(facts: Facts, service: Service, ids: set[str]) -> str:
    made = datetime.fromtimestamp(facts.created, UTC).strftime("%d %B %Y, %H:%M UTC")
    lines = "".join(f'<p class="lede">{unbroken(line)}</p>' for line in sentences(service))
    notes = "".join(f"<p>{text(note)}</p>" for note in facts.notes)
    found = service.checked.findings
    looks = "".join(
        f"<p>{unbroken(finding.said)}</p>" + (f"<p>{_links(finding.episodes, ids)}</p>" if finding.episodes else "")
        for finding in found
    )
    alert = (
        f'<div class="alert"><p><b>Something to look at</b></p>{looks}</div>'
        if found
        else '<div class="alert fine"><p>Nothing to look at: success keeps to its level, and recent episodes ended '
        "without errors.</p></div>"
    )
    return (
        f'<header><p class="kicker">atlas run report · an agent that serves · begun {made}</p>'
        f"<h1>{text(facts.title)}</h1>{part(facts.shown)}{lines}{alert}"
        + (f'<div class="notes">{notes}</div>' if notes else "")
        + f'<div class="tiles">{"".join(tile(each) for each in tiles(service))}</div></header>'
    )


# --- over time --------------------------------------------------------------------------------------------------------


def _over_time(service: Service) -> str:
    chart = picture(
        responsive(partial(charts.success_over_time, service), height=360, narrow=320),
        "A point is the success of a window of episodes, the band its 95 % interval (Wilson, every scored episode "
        "counted). Ticks are single episodes: above those that succeeded, below those that failed. Dashed lines are "
        "changes of supervision.",
    )
    whole = f"{chart}{_stretches('episodes', service.windows)}"
    if service.calendar:
        whole += (
            "<details class=rows><summary>The same by the clock (UTC)</summary>"
            f"{_stretches('time', service.calendar)}</details>"
        )
    return f"<h2>Success over time</h2>{whole}"


def _stretches(name: str, stretches: Sequence[Stretch]) -> str:
    head = [name, "n", "success [95 %]", "$ / episode", "teacher alone, est.", "teacher acts", "learned"]
    clock = name == "time"
    return table(
        head if clock else [head[0], "from", *head[1:]],
        (
            [
                row_head(w.name if clock else f"{w.first} to {w.last}"),
                *([] if clock else [cell(moment(w.begin))]),
                cell(w.episodes if w.scored == w.episodes else f"{w.scored} of {w.episodes} scored"),
                cell(percent_interval(w.success)),
                cell(money(None if w.dollars is None else w.dollars.mean)),
                cell("-" if w.alone is None else money(w.alone.mean)),
                cell(percent(w.teacher_share)),
                cell(w.demonstrations or "-"),
            ]
            for w in stretches
        ),
    )


def _cost(service: Service) -> str:
    if all(w.dollars is None for w in service.windows):
        return f"<h2>What an episode costs</h2><p class=intro>{text(UNPRICED)}: a model has no known price.</p>"
    chart = picture(
        responsive(partial(charts.cost_over_time, service), height=360, narrow=320),
        "Dollars per episode by windows, with 95 % intervals (bootstrap over episodes). " + _estimate(service),
    )
    return f"<h2>What an episode costs</h2>{chart}"


def _estimate(service: Service) -> str:
    """How the teacher's cost was estimated, in words."""
    if not service.taught or service.call is None:
        return (
            "The teacher acted alone: this is its cost."
            if service.call is not None
            else "The teacher was never asked in this run, or has no price: there is nothing to estimate its cost from."
        )
    measured = (
        f" The {service.measured.n} episodes in which it did take every step cost {money_interval(service.measured)}."
        if service.measured is not None
        else ""
    )
    return unbroken(
        "What the teacher alone would have cost (dashed) is an estimate: the steps that were played, times what a call "
        f"of the teacher cost in this run, {money_interval(service.call)} (over {service.call.n} episodes). Alone it "
        f"might have needed fewer steps, or more.{measured}"
    )


# --- what was learned -------------------------------------------------------------------------------------------------


def _learned(service: Service, ids: set[str]) -> str:
    chart = picture(
        responsive(partial(charts.teacher_over_time, service), height=320, narrow=300),
        "The teacher's share of the steps, by windows, and the demonstrations learned so far (dashed, as a share of "
        f"the {service.demonstrations} in all).",
    )
    changes = table(
        ["supervision changed", "after episode", "what", ""],
        (
            [
                row_head(moment(event.time)),
                cell(_number(service, event.episode)),
                cell(event.said, "wrap"),
                f'<td class="links">{_links([event.episode], ids)}</td>',
            ]
            for event in service.changes
        ),
        texts=("what",),
    )
    settled = [
        (event.time, entry, status)
        for event in service.events
        if isinstance(event, Learned)
        for entry, status in event.settled.items()
    ]
    entries = table(
        ["evidence settled", "entry", "now"],
        ([row_head(moment(time)), cell(entry, "text"), cell(status)] for time, entry, status in settled),
        texts=("entry",),
    )
    nothing = not service.demonstrations and not any(w.teacher_share for w in service.windows)
    return (
        f"<h2>What was learned, and when</h2>{'' if nothing else chart}"
        + (changes if service.changes else "<p class=note>Supervision never changed.</p>")
        + (entries if settled else "")
        + _memory(service)
    )


def _memory(service: Service) -> str:
    log = service.memory
    if log is None:
        return (
            "<p class=note>The memory's own versions are not shown, as the run names no memory that is there: name it "
            "with <code>--memory</code>.</p>"
        )
    demos, entries = (sum(getattr(v, kind) for v in log.versions) for kind in ("demonstrations", "entries"))
    said = (
        f"The memory {log.path} has {len(log.versions)} versions since this run began ({log.before} before): "
        f"{demos} demonstrations and {entries} entries were added."
    )
    rows = [v for v in log.versions if v.entries or v.other or v.demonstrations > 1 or v.author[:6] != "trace:"]
    plain = len(log.versions) - len(rows)
    listed = table(
        ["version", "made", "by", "did", "why"],
        (
            [
                row_head(str(v.number)),
                cell(moment(v.time)),
                cell(v.author, "text"),
                cell(_did(v.demonstrations, v.entries, v.other), "text"),
                cell(v.reason, "wrap"),
            ]
            for v in rows[-ROWS:]
        ),
        texts=("by", "did", "why"),
    )
    hidden = [
        *([f"{plain} that added one demonstration each"] if plain else []),
        *([f"{len(rows) - ROWS} earlier ones"] if len(rows) > ROWS else []),
    ]
    less = f" Not listed: {' and '.join(hidden)}." if hidden else ""
    return f"<p class=note>{text(said)}{text(less)}</p>" + (listed if rows else "")


def _did(demonstrations: int, entries: int, other: dict[str, int]) -> str:
    counts = {"demonstrations added": demonstrations, "entries added": entries, **other}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


# --- failures ---------------------------------------------------------------------------------------------------------


def _failures(service: Service, ids: set[str]) -> str:
    if not service.failures:
        return "<h2>Failures</h2><p class=intro>None: no episode failed or ended with an error.</p>"
    every = len(service.episodes)
    rows = table(
        ["why", "episodes", "of all", "the newest"],
        (
            [
                row_head(failed.reason),
                cell(len(failed.episodes)),
                cell(percent(len(failed.episodes) / every)),
                f'<td class="links wrap">{_links(failed.episodes[:LINKED], ids, service)}</td>',
            ]
            for failed in service.failures
        ),
        texts=("the newest",),
    )
    return (
        '<h2>Failures</h2><p class="intro">By what the trace tells of them. A number that is a link has its transcript '
        "below; any episode is shown by <code>atlas traces show RUN ID</code>.</p>" + rows
    )


def _links(episodes: Sequence[str], ids: set[str], service: Service | None = None) -> str:
    """Episodes by their number, where it is known, and id: as links where the transcript is on the page."""
    numbers = {e.id: e.number for e in service.episodes} if service is not None else {}
    said = []
    for name in episodes:
        label = text(f"{numbers[name]}: {name}" if name in numbers else name)
        said.append(f'<a href="#{anchor(name)}">{label}</a>' if name in ids else f"<code>{label}</code>")
    return " ".join(said)


def _number(service: Service, episode: str) -> str:
    return next((str(e.number) for e in service.episodes if e.id == episode), "-")


# --- episodes, and the account ----------------------------------------------------------------------------------------


def _transcribed(service: Service, stored: Sequence[StoredEpisode]) -> list[StoredEpisode]:
    """The newest failures of each reason, in turn, then an episode that went well."""
    by_id = {episode.id: episode for episode in stored}
    wanted = [
        failed.episodes[place]
        for place in range(IN_FULL)
        for failed in service.failures
        if place < len(failed.episodes)
    ]
    found = [by_id[name] for name in wanted[: MOST - 1] if name in by_id]
    well = [episode for episode in choose(stored) if episode.result is not None and episode.result.success]
    return found + well[:1]


def _transcripts(shown: Sequence[StoredEpisode]) -> str:
    if not shown:
        return ""
    episodes = "".join(transcript(episode, opened=place == 0) for place, episode in enumerate(shown))
    return (
        '<h2>Episodes, step by step</h2><p class="intro">The newest failures of each kind, and one episode that went '
        f"well. All are in the trace.</p>{episodes}"
    )


def _account(facts: Facts) -> str:
    rows = [*([facts.collect] if facts.collect else []), *(arm.row for arm in facts.arms)]
    spends = [(row.arm, spend) for row in rows for spend in row.spend]
    cut = (
        f'<p class="note">{facts.cut_off} episodes have no result of their own (killed, cancelled, or still running). '
        f"They used {money(facts.cut_off_usage.dollars)}, which no row above holds.</p>"
        if facts.cut_off
        else ""
    )
    spend = tables.spend(spends, facts.hues)
    return f"<h2>The account</h2>{spend}{cut}{tables.lost(facts)}<h2>What this is</h2>{tables.about(facts)}{FOOTER}"
