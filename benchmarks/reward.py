"""Held-out environment reward: the student plays a few tasks while it is trained."""

from __future__ import annotations

import asyncio

from atlas.errors import ConfigError
from atlas.policies import Solo
from atlas.protocols import Model
from atlas.runner import Job, play
from atlas.train.trainer import Reward

_FORM = "write it as alfworld:SPLIT:N, for example alfworld:valid_seen:40"


def playing(spec: str) -> Reward:
    """``alfworld:SPLIT:N`` as a function from a student to its success on N tasks of the split, played greedily.

    The tasks are always the same ones, taken evenly from the split. Raises ConfigError for another form.
    """
    benchmark, _, rest = spec.partition(":")
    split, _, count = rest.partition(":")
    if benchmark != "alfworld" or not split or not count.isdigit() or not int(count):
        raise ConfigError(f"there is no reward {spec!r}: {_FORM}")
    from atlas.benchmarks.alfworld.suite import Alfworld

    suite = Alfworld()
    tasks = suite.tasks(split, int(count))

    def reward(student: Model) -> float:
        policy = Solo(student)
        jobs = [Job("held-out", task.id, policy, task.environment) for task in tasks]
        episodes = asyncio.run(play(jobs, concurrency=1, max_steps=suite.max_steps))
        return sum(bool(episode.success) for episode in episodes) / len(episodes)

    return reward
