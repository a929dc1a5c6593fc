"""What open episodes have beyond their traces is kept in the run's folder before who asked has the answer: what was
decided and has no outcome yet, what was used, and, by a server, what was answered.

A decision is written once, its prompt and its conversation as what they add to those before in the episode, as in a
trace. Of these lines :func:`atlas.traces.open_state.state_of` makes what
:meth:`atlas.wrap.WrappedEpisode.restore` goes on from.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.records import Message, Prompt
from atlas.traces.encode import line_of
from atlas.traces.format import pack_prompt
from atlas.traces.open_log import OPEN, OpenLog, open_lines
from atlas.traces.open_state import State, state_of
from atlas.wire.calls import Call
from atlas.wire.request import Told
from atlas.wrap.steps import Pending

if TYPE_CHECKING:
    from atlas.wrap.wrapped import WrappedEpisode

log = logging.getLogger("atlas.wrap")


@dataclass
class _Written:
    """What stands in the file of an episode."""

    count: int = 0
    """Its decisions so far."""
    prompt: Prompt = field(default_factory=Prompt)
    messages: tuple[Message, ...] = ()
    texts: set[str] = field(default_factory=set)


class KeptOpen:
    """Those of one tenant of a server, or of one agent. Where nothing can be written, calls are answered all the same,
    and that is said once. Safe from many threads."""

    def __init__(self, folder: Path, owner: str, *, takes: bool) -> None:
        """``owner`` is the tenant's name. ``takes``: whether what an owner of that name left before is this one's."""
        self._path = folder / OPEN
        self._owner = owner
        self._lock = threading.Lock()
        self._written: dict[str, _Written] = {}
        self._log: OpenLog | None = None
        self._broken = False
        self.left: dict[str, State] = {}
        """What was left, by episode; the newest last."""
        if self._path.exists():
            self._open()
            if takes and not self._broken:
                found = ((id, state_of(lines, owner)) for id, lines in open_lines(self._path).items())
                self.left = {id: state for id, state in found if state is not None}

    def keep(self, episode: WrappedEpisode, call: Call | None = None, told: Told | None = None) -> None:
        """A call of it is over; ``told`` is what is answered to ``call``, None where that came to nothing or nobody can
        ask for it again."""
        with self._lock:
            written = self._written.setdefault(episode.id, _Written())
            count, waiting = episode.unrecorded
            new = [
                _packed(count + place, pending, written)
                for place, pending in enumerate(waiting)
                if count + place >= written.count
            ]
            held = [
                (count + place, pending.outcome, pending.seconds, pending.chosen)
                for place, pending in enumerate(waiting)
                if pending.outcome is not None
            ]
            written.count = count + len(waiting)
            line: dict[str, Any] = {
                "type": "open",
                "episode": episode.id,
                "owner": self._owner,
                "state": {**episode.standing(), "count": count, "at": time.time()},
                "waiting": len(waiting),
                "new": new,
                "held": held,
            }
            if call is not None and told is not None:
                line["answer"] = {
                    "key": call.key,
                    "number": call.number,
                    "id": told.id,
                    "created": told.created,
                    "notes": told.notes,
                    "index": written.count - 1,
                }
            self._append(line)

    def had(self, id: str, key: str) -> None:
        """The client has the whole answer to a call of that key."""
        with self._lock:
            self._append({"type": "had", "episode": id, "key": key})

    def over(self, id: str) -> None:
        """All of it is in the trace."""
        with self._lock:
            self._written.pop(id, None)
            self._append({"type": "over", "episode": id})

    def sync(self) -> None:
        """Force it to the disk. It may take a while."""
        if self._log is not None:
            try:
                self._log.sync()
            except OSError as error:
                self._fail(error)

    def close(self) -> None:
        if self._log is not None:
            self.sync()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _append(self, line: dict[str, Any]) -> None:
        self._open()
        if self._log is not None:
            try:
                self._log.append(line_of(line))
            except OSError as error:
                self._fail(error)

    def _open(self) -> None:
        if self._log is None and not self._broken:
            try:
                self._log = OpenLog(self._path)
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._broken, found, self._log = True, self._log, None
        if found is not None:
            found.close()
        log.warning(
            "%s cannot be written (%s): who is killed loses the newest answer of each open episode",
            self._path,
            error.strerror,
        )


def _packed(index: int, pending: Pending, written: _Written) -> State:
    """A decision, as what it adds."""
    prompts, texts = [], {}
    for choice in pending.choices:
        packed, named = pack_prompt(choice.prompt, written.prompt)
        prompts.append(packed)
        texts.update({key: text for key, text in named.items() if key not in written.texts})
        written.texts.update(named)
        written.prompt = choice.prompt
    kept = _shared(pending.messages, written.messages)
    written.messages = pending.messages
    return {
        "index": index,
        "kept": kept,
        "messages": pending.messages[kept:],
        "observation": pending.observation,
        "choices": [choice.replace(prompt=Prompt()) for choice in pending.choices],
        "prompts": prompts,
        "texts": texts,
        "spend": pending.spend,
        "age": time.perf_counter() - pending.began,
    }


def _shared(new: tuple[Message, ...], old: tuple[Message, ...]) -> int:
    """Length of the common beginning."""
    if new[: len(old)] == old:  # the same objects mostly
        return len(old)
    return next((i for i, (a, b) in enumerate(zip(new, old, strict=False)) if a != b), min(len(new), len(old)))
