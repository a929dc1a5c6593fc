"""The rows of the table: what each of them takes, and what comes of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from atlas.benchmarks.peers.measured import Peer, Told, imported, played
from atlas.benchmarks.peers.provider import Provider
from atlas.benchmarks.perf import Table
from atlas.benchmarks.perf.table import Cell
from atlas.errors import ConfigError

SUPERVISES = ("teacher", "router")
JUDGES = ("judge", "arbiter", "learner")
PURPOSES = ("act", "supervise", "judge and learn")
NOTE = (
    "A session is one question with one answer, of a model on the loopback address. 'Right' is an answer to the "
    "session's own question. What was not kept when the program was killed is played again from its start."
)
Found = TypeVar("Found")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sessions: int = 30
    """At once."""
    killed: int = 6
    """One after another, of which one is cut by kill -9."""
    imports: int = 3
    limit: float = 300.0
    """Seconds for one program."""
    seconds: float = 0.2
    """What an answer takes where many are in flight."""


@dataclass(frozen=True)
class Cost:
    """Of one session: calls by what they are for, tokens, and its program."""

    calls: dict[str, int]
    tokens: int
    said: Told


@dataclass(frozen=True)
class Cut:
    """After a kill in mid-session: right and kept in the end, and what was asked beyond an undisturbed program."""

    right: int
    said: Told
    again: int


def compare(
    peers: Sequence[Peer], plan: Plan, left_out: Sequence[str] = (), tell: Callable[[str], None] = lambda _: None
) -> Table:
    """A row for each figure, a column for each of ``peers``. What one of them cannot do stands in its cell, in
    words."""
    rows: list[tuple[Cell, ...]] = []
    told: list[str] = []

    def ask(what: str, measure: Callable[[Peer], Found]) -> list[Found | None]:
        found: list[Found | None] = []
        for peer in peers:
            tell(f"{what}: {peer.name}")
            try:
                found.append(measure(peer))
            except ConfigError as error:
                told.append(f"{what}, {peer.name}: {error}.")
                found.append(None)
        return found

    def row(what: str, found: Sequence[Found | None], cell: Callable[[Found], Cell]) -> None:
        rows.append((what, *("not measured" if one is None else cell(one) for one in found)))

    taken = ask("import", lambda peer: imported(peer, plan.imports, plan.limit))
    row("import, CPU s", taken, lambda one: round(one[0], 2))
    row("import, MB", taken, lambda one: round(one[1]))
    cost = ask("a first session", lambda peer: first(peer, plan))
    for purpose in PURPOSES:
        row(f"a first session: calls that {purpose}", cost, lambda one, of=purpose: one.calls[of])  # type: ignore[misc]
    row("a first session: tokens, estimated", cost, lambda one: one.tokens)
    row("its process, CPU s", cost, lambda one: round(one.said.cpu, 2))
    row("its process, MB at most", cost, lambda one: round(one.said.megabytes))
    many = ask(f"{plan.sessions} at once", lambda peer: at_once(peer, plan))
    row(f"{plan.sessions} sessions at once: right", many, Told.right)
    row(f"{plan.sessions} sessions at once: kept", many, lambda one: _kept(one.kept))
    cuts = ask(f"{plan.killed}, one killed", lambda peer: cut(peer, plan))
    row(f"{plan.killed} sessions, killed in mid-session: right in the end", cuts, lambda one: one.right)
    row("the same: kept in the end", cuts, lambda one: _kept(one.said.kept))
    row("the same: doubled", cuts, lambda one: _kept(one.said.doubled))
    row("the same: calls made again", cuts, lambda one: one.again)
    return Table(
        name="peers",
        title="Beside two peers, in one run",
        columns=("what", *(peer.name for peer in peers)),
        rows=tuple(rows),
        note=" ".join([NOTE, *(f"Left out: {why}." for why in left_out), *told]),
    )


def _kept(count: int | None) -> Cell:
    return "has no storage" if count is None else count


def first(peer: Peer, plan: Plan) -> Cost:
    """What a first session costs, where nothing is known yet."""
    with tempfile.TemporaryDirectory() as place, Provider() as provider:
        said = played(peer, provider, place, [2], plan.limit)
    if said.right() != 1:
        raise ConfigError(f"it did not answer: {said.answers}")
    calls = dict.fromkeys(PURPOSES, 0)
    for role, count in provider.calls.items():
        calls["supervise" if role in SUPERVISES else "judge and learn" if role in JUDGES else "act"] += count
    return Cost(calls, sum(provider.tokens.values()), said)


def at_once(peer: Peer, plan: Plan) -> Told:
    """Many sessions in flight in one process."""
    with tempfile.TemporaryDirectory() as place, Provider(seconds=plan.seconds) as provider:
        return played(peer, provider, place, range(10, 10 + plan.sessions), plan.limit, at_once=plan.sessions)


def cut(peer: Peer, plan: Plan) -> Cut:
    """A program that is killed as the model is asked in the middle of its sessions, and one that goes on after it."""
    wanted = range(10, 10 + plan.killed)
    with tempfile.TemporaryDirectory() as place, Provider() as provider:
        played(peer, provider, place, wanted, plan.limit)
        undisturbed = provider.asked
    with tempfile.TemporaryDirectory() as place:
        with Provider() as provider:
            calls = undisturbed // plan.killed  # of one session, which is cut at the call in its middle
            provider.kills = (plan.killed // 2 * calls + (calls + 1) // 2, lambda: None)
            if not played(peer, provider, place, wanted, plan.limit).killed:
                raise ConfigError("it was to be killed, and was not")
            asked = provider.asked
        with Provider() as provider:
            said = played(peer, provider, place, wanted, plan.limit)
    kept_before = plan.killed - len(said.answers)
    return Cut(said.right() + kept_before, said, asked + provider.asked - undisturbed)
