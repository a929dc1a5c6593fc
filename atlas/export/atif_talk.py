"""What the agent of an ATIF trajectory was shown before each of its turns.

The conversation that a chat API takes: each call of a tool is answered right after the message that made it, and what
came back later, or to no call, is told by the user. A boundary at which the agent's context was replaced (the format's
``extra.context_management``) begins the conversation anew, with the summary that took its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from atlas.export.atif import tool_calls_of
from atlas.export.atif_schema import Result, Trajectory, Turn, text_of
from atlas.records import Message


@dataclass(frozen=True)
class Own:
    """A turn that the agent took in this run, and what it was shown."""

    turn: Turn
    document: Trajectory
    stable: str
    history: tuple[Message, ...]
    whole: bool
    """Whether the trajectory tells all that was shown; not where it cut the context and does not say what was left."""
    after: str = ""
    """What was seen after it, up to the next turn."""

    @property
    def seen(self) -> str:
        return seen(self.history)


def own_turns(documents: Sequence[Trajectory]) -> list[Own]:
    """The turns that the agent took, in the documents of one run: a trajectory and those that continue it."""
    found: list[Own] = []
    talk, stable = _Talk(), ""
    for turn, following, document in _turns(documents):
        if turn is document.steps[0] and (talk.empty or _begins_anew(document)):
            talk = _Talk()
            if turn.source == "system" and _boundary(turn) is None:
                stable = text_of(turn.message)
                talk.observe(_results(turn), called=False)
                continue
        if turn.source == "agent" and not turn.is_copied_context:
            history = tuple(talk.messages())
            if found:
                found[-1] = replace(found[-1], after=seen(history))
            found.append(Own(turn, document, stable, history, talk.whole))
        talk.take(turn, following)
    if found:
        found[-1] = replace(found[-1], after=seen(talk.messages()))
    return found


def seen(messages: Sequence[Message]) -> str:
    """What was shown since the agent last spoke."""
    spoke = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=-1)
    return "\n".join(m.content for m in messages[spoke + 1 :] if m.role != "system" and m.content)


def _turns(documents: Sequence[Trajectory]) -> Iterator[tuple[Turn, Turn | None, Trajectory]]:
    """All turns, each with the one after it and the document that it is from."""
    pairs = [(turn, document) for document in documents for turn in document.steps]
    for i, (turn, document) in enumerate(pairs):
        yield turn, pairs[i + 1][0] if i + 1 < len(pairs) else None, document


def _begins_anew(document: Trajectory) -> bool:
    """Whether a document that continues another says itself what the agent was shown, and not only what came next."""
    return document.steps[0].source == "system" or any(turn.is_copied_context for turn in document.steps)


class _Talk:
    """The conversation so far."""

    def __init__(self) -> None:
        self.whole = True
        self._messages: list[Message] = []
        self._answers: dict[str, list[str]] = {}
        """What the calls of the last message returned."""
        self._after: list[Message] = []
        """What was said since: it stands after the answers."""

    @property
    def empty(self) -> bool:
        return not self._messages and not self._after

    def messages(self) -> list[Message]:
        answers = [
            Message(role="tool", content="\n".join(texts), tool_call_id=call) for call, texts in self._answers.items()
        ]
        return [*self._messages, *answers, *self._after]

    def take(self, turn: Turn, following: Turn | None) -> None:
        """What a turn adds, or puts in place of all that was."""
        boundary = _boundary(turn)
        if boundary == "replace":
            self._replace(turn, following)
            return
        if boundary not in (None, "append"):
            self.whole = False
        text, results = text_of(turn.message), _results(turn)
        if turn.source == "agent":
            calls = tool_calls_of(turn)
            self._messages = [*self.messages(), Message(role="assistant", content=text, tool_calls=calls)]
            self._answers, self._after = {call.id: [] for call in calls}, []
        # What a context manager says of its own work is for the reader; the agent is shown the result.
        elif text and not (boundary and results):
            self._after.append(Message(role=turn.source, content=text))
        self.observe(results, called=turn.source == "agent")

    def observe(self, results: Sequence[Result], *, called: bool) -> None:
        """What came back: to the calls of the last message, else as the user's word. ``called`` where the results are
        that message's own: those that name no call then belong to the calls without an answer."""
        loose: list[str] = []
        for result in results:
            text = text_of(result.content)
            if result.source_call_id is not None and result.source_call_id in self._answers:
                self._answers[result.source_call_id].append(text)
            elif result.source_call_id is None and called:
                loose.append(text)
            elif text:
                self._after.append(Message(role="user", content=text))
        unanswered = [texts for texts in self._answers.values() if not texts]
        if loose and len(loose) == len(unanswered):
            for texts, text in zip(unanswered, loose, strict=True):
                texts.append(text)
        elif loose and unanswered:
            # One screen for several commands is what stood there after the last of them.
            unanswered[-1].extend(loose)
        else:
            self._after.extend(Message(role="user", content=text) for text in loose if text)

    def _replace(self, turn: Turn, following: Turn | None) -> None:
        left = [text for result in _results(turn) if (text := text_of(result.content))]
        self._messages, self._answers, self._after = [Message(role="user", content=text) for text in left], {}, []
        self.whole = True
        if not left and (following is None or following.source == "agent"):
            # Nobody tells what the agent was shown from here on; else the next message does.
            self.whole = False
            if text := text_of(turn.message):
                self._messages.append(Message(role="system", content=text))


def _results(turn: Turn) -> tuple[Result, ...]:
    return turn.observation.results if turn.observation else ()


def _boundary(turn: Turn) -> str | None:
    """What a turn does to the context: ``replace``, ``append`` or another word of its producer; None for nothing."""
    managed = (turn.extra or {}).get("context_management")
    if not isinstance(managed, dict):
        return None
    kind = managed.get("type")
    return str(managed.get("boundary") or ("replace" if kind == "compaction" else "append"))
