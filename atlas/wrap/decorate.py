"""The decorator: every call of a function is an episode."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from atlas.errors import ConfigError
from atlas.given import shown
from atlas.wrap.wrapped import WrappedEpisode

R = TypeVar("R")
SUPPLIED = ("client", "episode")


class Wrap:
    """``agent.wrap(goal=..., score=...)``, ready to be put on a function."""

    def __init__(
        self,
        begin: Callable[[str], WrappedEpisode],
        goal: str | Callable[..., str],
        score: Callable[[Any], float | None] | None,
    ) -> None:
        if not isinstance(goal, str) and not callable(goal):
            raise ConfigError(
                f"agent.wrap's goal is a text, or a function that makes one of a call's arguments, not {shown(goal)}"
            )
        if inspect.isfunction(goal) and goal.__name__ != "<lambda>" and "client" in inspect.signature(goal).parameters:
            raise ConfigError(
                f"agent.wrap was put on {goal.__name__}() without a goal: write @agent.wrap(goal='...') above it"
            )
        if score is not None and not callable(score):
            raise ConfigError(
                f"agent.wrap's score is a function of what the wrapped one returns, not {shown(score)}: write "
                "score=lambda answer: ..., or leave it out"
            )
        self._begin = begin
        self._goal = goal
        self._score = score

    def __call__(self, function: Callable[..., R]) -> Callable[..., R]:
        if not callable(function):
            raise ConfigError(f"agent.wrap(goal=...) is put on a function, not on {shown(function)}")
        wanted = [name for name in SUPPLIED if name in inspect.signature(function).parameters]
        if not wanted:
            raise ConfigError(f"{function.__name__}() cannot be wrapped: give it a parameter named client")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(f"{function.__name__}() is a generator: use 'with agent.episode(...)' inside of it")
        if inspect.iscoroutinefunction(function):
            return cast(Callable[..., R], self._async(function, wanted))
        return self._sync(function, wanted)

    def _sync(self, function: Callable[..., R], wanted: list[str]) -> Callable[..., R]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> R:
            with self._begin(self._goal_of(args, kwargs)) as episode:
                supplied = {"client": episode.client, "episode": episode}
                result = function(*args, **kwargs, **{name: supplied[name] for name in wanted})
                self._grade(episode, result)
            return result

        return call

    def _async(self, function: Callable[..., Awaitable[R]], wanted: list[str]) -> Callable[..., Awaitable[R]]:
        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> R:
            async with self._begin(self._goal_of(args, kwargs)) as episode:
                supplied = {"client": episode.async_client, "episode": episode}
                result = await function(*args, **kwargs, **{name: supplied[name] for name in wanted})
                self._grade(episode, result)
            return result

        return call

    def _goal_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        return self._goal if isinstance(self._goal, str) else self._goal(*args, **kwargs)

    def _grade(self, episode: WrappedEpisode, result: Any) -> None:
        value = None if self._score is None else self._score(result)
        if value is not None:
            episode.score(value)
