"""Wrap an agent loop that exists: its chat calls go through a policy, its episodes into a trace and a memory."""

from atlas.wrap.agent import Agent, episode
from atlas.wrap.wrapped import WrappedEpisode

__all__ = ["Agent", "WrappedEpisode", "episode"]
