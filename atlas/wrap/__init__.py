"""Wrap an agent loop that exists: its chat calls go through a policy, its episodes into a trace and a memory."""

from atlas.wrap.agent import Agent
from atlas.wrap.current import episode
from atlas.wrap.wrapped import WrappedEpisode

__all__ = ["Agent", "WrappedEpisode", "episode"]
