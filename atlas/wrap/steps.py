"""The steps of a wrapped agent, in the order it asked for them, each written once its outcome is known."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from atlas.actions import Actions
from atlas.book import Book
from atlas.records import Decision, Message, Observation, Spend
from atlas.wrap.talk import action_of, after_last_turn


@dataclass
class Pending:
    """A decision whose outcome has not been shown yet."""

    messages: tuple[Message, ...]
    observation: str
    choices: tuple[Decision, ...]
    """What the agent was given to choose from; mostly one."""
    spend: tuple[Spend, ...]
    began: float
    outcome: Observation | None = None
    seconds: float = 0.0
    chosen: int = 0

    @property
    def decision(self) -> Decision:
        """What the agent carried out, as far as is known."""
        return self.choices[self.chosen]

    def chose(self, fits: Callable[[Decision], bool]) -> bool:
        """Whether the agent may have carried out one of the choices; then that is the decision."""
        found = next((i for i, choice in enumerate(self.choices) if fits(choice)), None)
        self.chosen = self.chosen if found is None else found
        return found is not None

    def settle(self, outcome: Observation) -> None:
        self.outcome, self.seconds = outcome, time.perf_counter() - self.began


class Steps:
    """Collects decisions, finds their outcomes in the messages of later calls, and writes both into the book.

    A loop that holds several conversations at once (subagents, say) is one episode all the same: an outcome is found by
    the ids of its tool calls, else by its action. Steps are written in the order of their decisions, so one that is
    never followed up holds back those after it until :meth:`finish`, which gives it an empty outcome. Safe from many
    threads.
    """

    def __init__(self, actions: Actions, book: Book) -> None:
        self._actions = actions
        self._book = book
        self._lock = threading.Lock()
        self._pending: deque[Pending] = deque()

    def begin(
        self,
        messages: tuple[Message, ...],
        observation: str,
        choices: tuple[Decision, ...],
        spend: tuple[Spend, ...],
        began: float,
    ) -> None:
        """A decision was handed to the agent, or several to choose from."""
        with self._lock:
            self._pending.append(Pending(messages, observation, choices, spend, began))

    def settle(self, messages: Sequence[Message]) -> None:
        """The agent asks again: what ``messages`` show after its last turn is the outcome of the decision behind it."""
        said, seen = after_last_turn(messages)
        if said is None:
            return
        with self._lock:
            found = self._behind(said, messages)
            if found is not None:
                found.settle(Observation(text=seen))
            while self._pending and self._pending[0].outcome is not None:
                self._record(self._pending.popleft())

    @property
    def unrecorded(self) -> tuple[int, tuple[Pending, ...]]:
        """How many are written, and what is not yet, in order."""
        with self._lock:
            return self._book.count, tuple(self._pending)

    def state(self) -> list[dict[str, Any]]:
        """What is not written yet, as plain values."""
        with self._lock:
            return [
                {
                    "messages": [message.model_dump(mode="json", exclude_defaults=True) for message in p.messages],
                    "observation": p.observation,
                    "choices": [choice.model_dump(mode="json") for choice in p.choices],
                    "spend": [spend.model_dump(mode="json") for spend in p.spend],
                    "age": time.perf_counter() - p.began,
                    "outcome": None if p.outcome is None else p.outcome.model_dump(mode="json"),
                    "seconds": p.seconds,
                    "chosen": p.chosen,
                }
                for p in self._pending
            ]

    def restore(self, state: Sequence[dict[str, Any]]) -> None:
        """Go on from there."""
        with self._lock:
            self._pending = deque(
                Pending(
                    messages=tuple(Message.model_validate(message) for message in p["messages"]),
                    observation=p["observation"],
                    choices=tuple(Decision.model_validate(choice) for choice in p["choices"]),
                    spend=tuple(Spend.model_validate(spend) for spend in p["spend"]),
                    began=time.perf_counter() - p["age"],
                    outcome=None if p["outcome"] is None else Observation.model_validate(p["outcome"]),
                    seconds=p["seconds"],
                    chosen=p["chosen"],
                )
                for p in state
            )

    def finish(self, score: float | None) -> None:
        """No more will be shown: write what is left, the last step with the score."""
        with self._lock:
            while self._pending:
                pending = self._pending.popleft()
                if not self._pending:
                    text = pending.outcome.text if pending.outcome else ""
                    pending.settle(Observation(text=text, score=score, done=True))
                elif pending.outcome is None:
                    pending.settle(Observation(text=""))
                self._record(pending)

    def leave(self) -> None:
        """Nobody goes on: write what is left, with the outcomes that are known."""
        with self._lock:
            while self._pending:
                pending = self._pending.popleft()
                if pending.outcome is None:
                    pending.settle(Observation(text=""))
                self._record(pending)

    def _behind(self, said: Message, messages: Sequence[Message]) -> Pending | None:
        """The open decision that the agent's last turn carried out."""
        waiting = [p for p in self._pending if p.outcome is None]
        ids = {call.id for call in said.tool_calls}
        for pending in waiting:
            if ids and pending.chose(lambda choice: ids == {call.id for call in choice.tool_calls}):
                return pending
        # By what was said: only where the conversation went on, since an agent may say the same thing twice.
        longer = [p for p in waiting if len(messages) > len(p.messages)]
        action, _ = action_of(said, self._actions)
        for pending in longer:
            if pending.chose(lambda choice: choice.action == action):
                return pending
        # The agent may have edited its words (cut them at a stop word): then the conversation itself tells.
        for pending in longer:
            if _talk(messages)[: len(_talk(pending.messages))] == _talk(pending.messages):
                return pending
        return None

    def _record(self, pending: Pending) -> None:
        assert pending.outcome is not None
        seen = Observation(text=pending.observation)
        self._book.step(seen, pending.decision, pending.outcome, pending.spend, pending.seconds)


def _talk(messages: Sequence[Message]) -> list[Message]:
    """Without system messages, which some agents rewrite at every step (the time, the state)."""
    return [message for message in messages if message.role != "system"]
