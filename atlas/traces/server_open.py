"""The open episodes of a run on a server, so that any of its processes may go on with them; and responses that clients
go on from. What of it is whose is said by claims, like all else that processes share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from atlas.errors import StoreError
from atlas.jsontext import read_json
from atlas.traces.claims import Claims
from atlas.traces.place import TRACE
from atlas.traces.reader import Run, StoredEpisode
from atlas.traces.server import ServerRun
from atlas.traces.server_copy import NO_TALK

TALKS = "talks.jsonl"
"""The log of what was said in open episodes, by digests, and of which begin and end."""

State = dict[str, Any]


class Kept(NamedTuple):
    """What is kept of an open episode."""

    version: int
    state: State | None
    """None where the version is the one that is known already."""
    broken: bool
    """Whether a process has begun something with it and is gone: the trace may know more than this."""


class OpenEpisodes:
    """Those of one arm of a run."""

    def __init__(self, run: ServerRun, arm: str, me: str) -> None:
        """``me`` names this process."""
        self.run = run
        self.me = me
        self.arm = arm
        self.claims = Claims(run)
        self._log = run.log(TALKS)
        self._tail = self._log.tail(whole=True)

    def news(self) -> list[dict[str, Any]]:
        """What was told since the last call, by all processes."""
        told = (read_json(line) for line in self._tail.lines())
        return [event for event in told if event.get("arm") == self.arm]

    def tell(self, event: Mapping[str, Any]) -> None:
        said = json.dumps({"arm": self.arm, **event}).encode()
        self.run.connection().append(TALKS, [said], lasting=False)

    def begin(self, episode: str, state: State) -> None:
        """An episode is open, and this process is at it."""
        found = self.run.connection()
        query = """
            INSERT INTO {s}.run_open (run, episode, arm, version, state, began, trace, busy)
            SELECT %s, %s, %s, 1, %s, coalesce((SELECT lines FROM {s}.run_logs WHERE run = %s AND log = %s), 0),
                coalesce((SELECT lines FROM {s}.run_logs WHERE run = %s AND log = %s), 0), %s
            ON CONFLICT (run, episode) DO UPDATE SET busy = excluded.busy RETURNING version"""
        given = [found.run, episode, self.arm, _packed(state), found.run, TALKS, found.run, TRACE, self.me]
        found.rows(query, given)

    def take(self, episode: str, known: int) -> Kept | None:
        """What is kept of an episode that this process has claimed, which it is at from here on; None where it is
        over. ``known`` is the version that it has."""
        found = self.run.connection()
        query = """
            WITH was AS (
                SELECT busy, busy <> %s OR (busy IS NOT NULL AND version <> %s) AS broken, version <> %s AS other
                FROM {s}.run_open WHERE run = %s AND episode = %s FOR UPDATE
            )
            UPDATE {s}.run_open o SET busy = %s, used = now()
            FROM was, (SELECT set_config('synchronous_commit', 'off', true)) AS how WHERE o.run = %s AND o.episode = %s
            RETURNING o.version, was.broken, CASE WHEN was.other OR was.broken THEN o.state END"""
        given = [self.me, known, known, found.run, episode, self.me, found.run, episode]
        rows = found.rows(query, given, binary=True)
        if not rows:
            return None
        version, broken, state = rows[0]
        return Kept(version, None if state is None else read_json(bytes(state)), bool(broken))

    def steps(self, episode: str) -> int | None:
        """How many steps of an open episode are known; None where it is over."""
        found = self.run.connection()
        query = "SELECT state FROM {s}.run_open WHERE run = %s AND episode = %s"
        rows = found.rows(query, [found.run, episode], binary=True)
        return int(read_json(bytes(rows[0][0]))["count"]) if rows else None

    def put(self, episode: str, version: int, state: State, *, more: bool = False) -> None:
        """Keep what has become of it; this process is done with it for now, unless it is at ``more``."""
        found = self.run.connection()
        query = """
            UPDATE {s}.run_open SET version = %s, state = %s, busy = %s, used = now()
            WHERE run = %s AND episode = %s AND (busy = %s OR version = %s) RETURNING version"""
        busy = self.me if more else None
        if not found.rows(query, [version, _packed(state), busy, found.run, episode, self.me, version]):
            raise StoreError(f"episode {episode} of {self.run.path} is another process's by now: ask again")

    def end(self, episode: str) -> None:
        """It is over."""
        found = self.run.connection()
        found.rows("DELETE FROM {s}.run_open WHERE run = %s AND episode = %s RETURNING 1", [found.run, episode])

    def idle(self, seconds: float) -> list[str]:
        """Those that nobody has used for so long. What was said before the oldest open one began is forgotten."""
        found = self.run.connection()
        query = """
            DELETE FROM {s}.run_lines WHERE run = %s AND log = %s AND number <= coalesce(
                (SELECT min(began) FROM {s}.run_open WHERE run = %s),
                (SELECT lines FROM {s}.run_logs WHERE run = %s AND log = %s)) RETURNING 1"""
        found.rows(query, [found.run, TALKS, found.run, found.run, TALKS])
        query = """
            SELECT episode FROM {s}.run_open
            WHERE run = %s AND arm = %s AND used < now() - make_interval(secs => %s) ORDER BY used"""
        return [str(episode) for (episode,) in found.rows(query, [found.run, self.arm, min(seconds, 1e9)])]

    def stored(self, episode: str) -> StoredEpisode | None:
        """An episode as the trace has it: its own lines, and the texts that they refer to."""
        found = self.run.connection()
        rows = found.rows("SELECT trace FROM {s}.run_open WHERE run = %s AND episode = %s", [found.run, episode])
        after = int(rows[0][0]) if rows else 0
        run = Run(self.run)
        return next((one for one in run.episodes(self._lines(episode, after)) if one.id == episode), None)

    def _lines(self, episode: str, after: int) -> Iterator[tuple[int, int, bytes]]:
        """The lines of the trace after a number; before it, the texts and the beginning of the episode."""
        found = self.run.connection()
        query = """
            SELECT number, line FROM {s}.run_lines WHERE run = %s AND log = %s AND number <= %s AND
            (substring(line FROM 1 FOR 14) = %s OR substring(line FROM 1 FOR length(%s::bytea)) = %s) ORDER BY number"""
        began = f'{{"type":"start","episode":"{episode}"'.encode()
        given = [found.run, TRACE, after, b'{"type":"text"', began, began]
        for number, text in found.rows(query, given, binary=True):
            yield number, number, bytes(text) + b"\n"
        for number, line in found.lines(TRACE, after):
            yield number, number, line

    def close(self) -> None:
        self.claims.close()


class AgentEpisodes:
    """Those that agents of one arm have open in processes of their own. Nobody goes on with them: what one that is gone
    has left is recorded as far as it came."""

    def __init__(self, run: ServerRun, agent: str) -> None:
        self._run = run
        self._agent = agent

    def keep(self, episode: str, owner: str, state: State) -> None:
        """Keep what has become of an episode. It survives this process at once."""
        found = self._run.connection()
        query = """
            INSERT INTO {s}.run_open (run, episode, arm, version, state, began, trace, busy)
            SELECT %s, %s, %s, 1, %s, %s, 0, %s
            FROM (SELECT set_config('synchronous_commit', 'off', true)) AS how
            ON CONFLICT (run, episode) DO UPDATE SET version = 1, state = excluded.state, used = now() RETURNING 1"""
        given = [found.run, episode, self._agent, _packed({**state, "answers": [], "owner": owner}), NO_TALK, owner]
        found.rows(query, given)

    def over(self, episode: str) -> None:
        """All of it is in the trace."""
        found = self._run.connection()
        found.rows("DELETE FROM {s}.run_open WHERE run = %s AND episode = %s RETURNING 1", [found.run, episode])

    def owners(self) -> dict[str, str]:
        """Whose each open episode is."""
        found = self._run.connection()
        query = "SELECT episode, busy FROM {s}.run_open WHERE run = %s AND arm = %s AND busy IS NOT NULL"
        return {str(episode): str(owner) for episode, owner in found.rows(query, [found.run, self._agent])}

    def state(self, episode: str) -> State | None:
        """An open episode as its process kept it; None where it is not there any more."""
        found = self._run.connection()
        query = "SELECT state FROM {s}.run_open WHERE run = %s AND episode = %s"
        rows = found.rows(query, [found.run, episode], binary=True)
        return read_json(bytes(rows[0][0])) if rows else None


class ServerResponses:
    """The newest ``most`` responses, of ``largest`` bytes in all at the most."""

    def __init__(self, run: ServerRun, most: int, largest: int) -> None:
        self._run = run
        self._most, self._largest = most, largest

    def close(self) -> None:
        """The connection is the run's."""

    def put(self, owner: str, id: str, talk: Sequence[Mapping[str, Any]], own: Iterable[str], size: int) -> None:
        """Keep a response: the items up to it and with it, and the ids of its own."""
        found = self._run.connection()
        query = """
            INSERT INTO {s}.run_responses (run, owner, id, talk, own, size) VALUES (%s, %s, %s, %s, %s::text[], %s)
            ON CONFLICT (run, owner, id) DO UPDATE SET talk = excluded.talk, own = excluded.own RETURNING seq"""
        found.rows(query, [found.run, owner, id, _packed(list(talk)), list(own), size])
        query = """
            WITH kept AS (
                SELECT seq, row_number() OVER w AS place, sum(size) OVER w AS bytes FROM {s}.run_responses
                WHERE run = %s WINDOW w AS (ORDER BY seq DESC)
            )
            DELETE FROM {s}.run_responses r USING kept
            WHERE r.seq = kept.seq AND kept.place > 1 AND (kept.place > %s OR kept.bytes > %s) RETURNING 1"""
        found.rows(query, [found.run, self._most, self._largest])

    def talk(self, owner: str, id: str) -> tuple[Mapping[str, Any], ...] | None:
        """The items up to a response and with it; None where there is none."""
        return self._talk("id = %s", owner, id)

    def item(self, owner: str, id: str) -> Mapping[str, Any] | None:
        """An item of a response's output."""
        found = self._talk("%s = ANY(own)", owner, id) or ()
        return next((item for item in reversed(found) if item.get("id") == id), None)

    def _talk(self, where: str, owner: str, id: str) -> tuple[Mapping[str, Any], ...] | None:
        found = self._run.connection()
        query = f"SELECT talk FROM {{s}}.run_responses WHERE run = %s AND owner = %s AND {where}"
        rows = found.rows(f"{query} ORDER BY seq DESC LIMIT 1", [found.run, owner, id], binary=True)
        return tuple(read_json(bytes(rows[0][0]))) if rows else None


def _packed(state: Any) -> bytes:
    return json.dumps(state, separators=(",", ":")).encode()
