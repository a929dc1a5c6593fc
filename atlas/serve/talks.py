"""Which episode a conversation belongs to, told by what was said in it.

Nearly all clients send their whole conversation with every call, and most name nothing. What grows is recognised by its
beginning; what was cut, summarised or rewritten by the tool calls and the words of ours that are still in it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from atlas.records import Decision, Message

_WORDS = 80
"""Characters from which words of ours, found in a conversation, tell whose it is."""
_KEPT = 256
"""Moments and texts of an episode that are remembered."""


@dataclass(frozen=True)
class Found:
    """The episode of a conversation."""

    id: str
    rewritten: bool = False
    """Whether its past is another than it was."""


class Heard(NamedTuple):
    """What tells a conversation: digests of moments of it, and the ids of calls and the long texts that were said."""

    moments: Sequence[str] = ()
    calls: Sequence[str] = ()
    texts: Sequence[str] = ()


@dataclass
class _Known:
    """What is known of an episode."""

    moments: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    """Its conversations, as far as they were at some moment; the newest last."""
    calls: set[str] = field(default_factory=set)
    texts: OrderedDict[str, None] = field(default_factory=OrderedDict)


class Talks:
    """The conversations of one tenant's open episodes. Safe from many threads."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._moments: dict[bytes, list[str]] = {}
        """Who was at a moment; the likeliest to go on from it last."""
        self._calls: dict[str, str] = {}
        self._texts: dict[str, list[tuple[str, str]]] = {}
        """(episode, text) of the long texts, by their first characters: a conversation is read once, however many there
        are."""
        self._lock = threading.Lock()

    def find(self, messages: Sequence[Message]) -> Found | None:
        """The episode that a call with these ``messages`` goes on with; None where it begins one.

        A conversation in which the agent has not spoken yet, and that was asked just so before, begins another: two
        episodes may have the same task.
        """
        chain = list(_chain(messages))
        spoken = any(message.role == "assistant" for message in messages)
        with self._lock:
            for place in range(len(chain), 0, -1):
                here = self._moments.get(chain[place - 1])
                if not here:
                    continue
                if place == len(chain) and not spoken:
                    return None
                found = here[-1]
                # Others that said the same up to here go on from it next.
                here.insert(0, here.pop())
                newest = next(reversed(self._known[found].moments))
                return Found(found, rewritten=place < len(chain) and chain[place - 1] != newest)
            return self._by_words(messages)

    def asked(self, id: str, messages: Sequence[Message]) -> Heard:
        """An episode was asked with these messages."""
        # Nothing but system messages tells no conversation.
        heard = Heard(moments=[digest.hex() for digest in list(_chain(messages))[-1:]])
        self.learn(id, heard)
        return heard

    def said(self, id: str, messages: Sequence[Message], decisions: Iterable[Decision]) -> Heard:
        """What an episode answered to these messages."""
        answers = [Message(role="assistant", content=d.text, tool_calls=d.tool_calls) for d in decisions]
        heard = Heard(
            moments=[list(_chain([*messages, answer]))[-1].hex() for answer in answers],
            calls=[call.id for answer in answers for call in answer.tool_calls],
            texts=[answer.content for answer in answers if len(answer.content) >= _WORDS],
        )
        self.learn(id, heard)
        return heard

    def recall(self, id: str, moments: Iterable[bytes]) -> None:
        """An episode of a server before this one was at these moments, the newest last."""
        with self._lock:
            for moment in moments:
                self._remember(id, moment)

    def learn(self, id: str, heard: Heard) -> None:
        """What was heard of an episode, here or by another server."""
        with self._lock:
            known = self._known.setdefault(id, _Known())
            for moment in heard.moments:
                self._remember(id, bytes.fromhex(moment))
            for call in heard.calls:
                known.calls.add(call)
                self._calls[call] = id
            for text in heard.texts:
                if text not in known.texts:
                    known.texts[text] = None
                    self._texts.setdefault(text[:_WORDS], []).append((id, text))
                    if len(known.texts) > _KEPT:
                        self._unsay(id, known.texts.popitem(last=False)[0])

    def forget(self, id: str) -> None:
        """An episode is over."""
        with self._lock:
            known = self._known.pop(id, _Known())
            for moment in known.moments:
                self._leave(id, moment)
            for call in known.calls:
                self._calls.pop(call, None)
            for text in known.texts:
                self._unsay(id, text)

    def _remember(self, id: str, moment: bytes) -> None:
        known = self._known.setdefault(id, _Known())
        if moment not in known.moments:
            self._moments.setdefault(moment, []).append(id)
        known.moments[moment] = None
        known.moments.move_to_end(moment)
        if len(known.moments) > _KEPT:
            oldest, _ = known.moments.popitem(last=False)
            self._leave(id, oldest)

    def _leave(self, id: str, moment: bytes) -> None:
        here = self._moments[moment]
        here.remove(id)
        if not here:
            del self._moments[moment]

    def _unsay(self, id: str, text: str) -> None:
        here = self._texts[text[:_WORDS]]
        here.remove((id, text))
        if not here:
            del self._texts[text[:_WORDS]]

    def _by_words(self, messages: Sequence[Message]) -> Found | None:
        for message in reversed(messages):
            for call in [message.tool_call_id or "", *(c.id for c in message.tool_calls)]:
                if call in self._calls:
                    return Found(self._calls[call], rewritten=True)
        if not self._texts:
            return None
        for content in (message.content for message in reversed(messages)):
            for at in range(len(content) - _WORDS + 1):
                for id, text in self._texts.get(content[at : at + _WORDS], ()):
                    if content.startswith(text, at):
                        return Found(id, rewritten=True)
        return None


def _chain(messages: Iterable[Message]) -> Iterator[bytes]:
    """A digest after each message, of it and all before; but for system messages, which some agents write anew at each
    step. What the agent said is told by its tool calls where it made any: their ids are of this very answer."""
    so_far = blake2b(digest_size=16)
    for message in messages:
        if message.role == "system":
            continue
        ids = [call.id for call in message.tool_calls if call.id]
        said = "\0".join(ids) if ids else " ".join(message.content.split())
        line = f"{message.role}\0{message.tool_call_id or ''}\0{said}\1"
        so_far.update(line.encode("utf-8", "surrogatepass"))
        yield so_far.digest()
