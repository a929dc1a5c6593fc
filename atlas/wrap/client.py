"""The clients that a wrapped agent calls in place of its own: ``client.chat.completions.create(...)``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from atlas.records import Decision, Spend
from atlas.wrap.chat import completion_of, completion_type, read_messages, read_options, read_tools

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

    from atlas.records import Message
    from atlas.wrap.background import Background


class Speaker(Protocol):
    """Who decides what the agent says next: an episode."""

    async def act(
        self, messages: tuple[Message, ...], tools: tuple[dict[str, Any], ...], options: dict[str, Any]
    ) -> tuple[Decision, tuple[Spend, ...]]:
        """What it says, and what deciding that used."""
        ...


class _Part:
    """A namespace of a client. What it lacks is named, so that nobody hunts through a bare AttributeError."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"an atlas client offers chat.completions.create, and no {name!r}")


class Completions(_Part):
    def __init__(self, speaker: Speaker, background: Background) -> None:
        self._speaker, self._background = speaker, background

    def create(self, *, messages: Iterable[Any], tools: Any = None, **options: Any) -> ChatCompletion:
        """One step of the agent, as ``openai.OpenAI`` takes and returns it.

        ``model``, ``temperature`` and ``seed`` are set aside: which models act, and how they are sampled, is the
        policy's. Raises ConfigError for what cannot be honoured (streaming, ``n`` above 1, images), BudgetExceeded when
        the episode's or the run's budget is spent, ModelError when a model cannot answer. Safe inside a running event
        loop, which it blocks as any synchronous client does.
        """
        step = self._speaker.act(read_messages(messages), read_tools(tools), read_options(options))
        return completion_of(*self._background.run(step))


class AsyncCompletions(_Part):
    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    async def create(self, *, messages: Iterable[Any], tools: Any = None, **options: Any) -> ChatCompletion:
        """One step of the agent, as ``openai.AsyncOpenAI`` takes and returns it; see :meth:`Completions.create`."""
        step = self._speaker.act(read_messages(messages), read_tools(tools), read_options(options))
        return completion_of(*await step)


class Chat(_Part):
    def __init__(self, completions: Completions) -> None:
        self.completions = completions


class AsyncChat(_Part):
    def __init__(self, completions: AsyncCompletions) -> None:
        self.completions = completions


class Client(_Part):
    """Stands in for ``openai.OpenAI``."""

    def __init__(self, speaker: Speaker, background: Background) -> None:
        completion_type()
        self.chat = Chat(Completions(speaker, background))


class AsyncClient(_Part):
    """Stands in for ``openai.AsyncOpenAI``."""

    def __init__(self, speaker: Speaker) -> None:
        completion_type()
        self.chat = AsyncChat(AsyncCompletions(speaker))
