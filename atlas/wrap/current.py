"""The agent of a ``with agent:`` block, and episodes of it."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from atlas.errors import ConfigError
from atlas.given import has, shown

if TYPE_CHECKING:
    from atlas.wrap.agent import Agent
    from atlas.wrap.wrapped import WrappedEpisode

current: ContextVar[Agent | None] = ContextVar("atlas_agent", default=None)
"""The agent of the ``with agent:`` block that this thread or task is in."""


def left(tokens: list[Token[Agent | None]]) -> None:
    """One of the blocks that ``tokens`` are of has ended: the newest one of this thread or task."""
    for token in reversed(tokens):
        try:
            current.reset(token)
        except ValueError:
            continue  # of a block that another one is in
        tokens.remove(token)
        return
    # It was entered in one task and is left in another, as fixtures and the lifespans of servers are.
    tokens.pop()


def episode(
    goal: str, *, agent: Agent | None = None, task: str | None = None, family: str = "", seed: int = 0, **settings: Any
) -> WrappedEpisode:
    """An episode of ``agent``; of the agent whose ``with agent:`` block this is called in; or of one made here from
    ``settings`` (the arguments of :class:`Agent`) and closed with the episode.

    Tasks started inside of a ``with agent:`` block know that agent, new threads do not: pass it to them.
    """
    if settings:
        if agent is not None:
            raise ConfigError(
                f"atlas.episode() was given an agent and settings for one ({', '.join(sorted(settings))})"
            )
        from atlas.wrap.agent import Agent

        agent = Agent(**settings)
    if agent is not None and not has(agent, "episode"):
        raise ConfigError(f"atlas.episode's agent is an atlas.Agent, not {shown(agent)}: give one, or its settings")
    owner = current.get() if agent is None else agent
    if owner is None:
        raise ConfigError(
            "atlas.episode() knows no agent here: call it inside 'with atlas.Agent(...):', or give it agent=, or "
            "student= and teacher="
        )
    try:
        return owner.episode(
            goal, task=task, family=family, seed=seed, closed=owner.close if settings else lambda: None
        )
    except ConfigError:
        if settings:
            owner.close()
        raise
