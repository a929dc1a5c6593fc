"""What an agent is made with, besides its numbers: whether each is what it is taken for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas.budget import checked
from atlas.chances import Foresight
from atlas.errors import ConfigError
from atlas.given import check_actor, check_arm, check_name, check_policy, check_switch, check_text, has, shown, whole
from atlas.memory import DemonstrationStore, Memory
from atlas.policies import LaneRules


def check_given(given: Mapping[str, Any]) -> None:
    """``given``: the arguments of an agent, by name.

    Raises ConfigError for what cannot be used as one of them, and for what does not go together.
    """
    both = given["student"] is not None and given["teacher"] is not None and not given["lanes"]
    if given["policy"] is not None and (given["student"] is not None or given["teacher"] is not None):
        raise ConfigError("an agent has a policy, or a student and a teacher: give one of the two")
    if given["policy"] is not None and given["lanes"]:
        raise ConfigError("lanes are a policy: give lanes with a student and a teacher, or a policy of your own")
    on = {"trust": given["trust"] is not None, "watch": given["watch"], "audit": given["audit"]}
    told = [name for name in on if on[name]]
    if told and not both:
        raise ConfigError(
            f"{' and '.join(told)} {'are' if len(told) > 1 else 'is'} for an agent that has a student and a "
            "teacher, and no lanes: give both models, or leave it out"
        )
    if given["otlp_content"] and given["otlp"] is None:
        raise ConfigError("otlp_content is for spans that are sent: give the URL of a collector as otlp")
    check_arm("an agent's arm, under which its episodes are compared,", given["arm"])
    for name in ("learn", "graph", "otlp_content"):
        check_switch(f"an agent's {name}", given[name])
    for name in ("budget", "run_budget"):
        checked(given[name], f"an agent's {name}")
    for name in ("student", "teacher"):
        if given[name] is not None and not isinstance(given[name], str):
            check_actor(f"an agent's {name}", given[name])
    if given["policy"] is not None:
        check_policy("an agent's policy", given["policy"])
    if given["actions"] is not None and not has(given["actions"], "parse"):
        raise ConfigError(f"an agent's actions are atlas.ChatActions() or TextActions(), not {shown(given['actions'])}")
    if not isinstance(given["lanes"], bool | LaneRules | Foresight | None):
        raise ConfigError(
            f"an agent's lanes are True, False, atlas.LaneRules(...) or a Foresight, not {shown(given['lanes'])}"
        )
    if given["otlp"] is not None:
        check_text("an agent's otlp", given["otlp"], "give the URL of a collector, or leave it out")
    _check_places(given)


def _check_places(given: Mapping[str, Any]) -> None:
    """The memory and the run, and what goes with either."""
    memory, run, permitted = given["memory"], given["run"], given["permitted"]
    for name in ("embedder", "index"):
        if given[name] is not None and not isinstance(memory, str | Path):
            raise ConfigError(f"an {name} is for a memory that is given as a path: give the path, or leave it out")
    known = isinstance(memory, Memory | DemonstrationStore | str | Path | None)
    if not known and not has(memory, "search", "similar", "add", "config"):
        raise ConfigError(f"an agent's memory is a path, a URL or an atlas.Memory, not {shown(memory)}")
    if not isinstance(run, str | Path | None) and not has(run, "start", "step", "end"):
        raise ConfigError(f"an agent's run is a folder, a URL or a recorder, not {shown(run)}")
    if isinstance(permitted, str):
        raise ConfigError(f"permitted is a list of names of models: write permitted=[{permitted!r}]")
    if not isinstance(permitted, list | tuple | set | frozenset | None):
        raise ConfigError(f"permitted is a list of names of models, not {shown(permitted)}")
    for name in permitted or ():
        check_name("a name of permitted", name)
    if permitted and not isinstance(run, str | Path):
        raise ConfigError(
            "permitted is kept in a run's folder: give the folder as run, or permitted to your own recorder "
            "(RunWriter's about)"
        )


def check_episode(goal: object, task: object, family: object, seed: object) -> None:
    """Raises ConfigError for what an episode cannot be begun with."""
    check_text("an episode's goal", goal, "say in words what is to be done")
    if task is not None:
        check_text("an episode's task", task, "write str(...) around its name, or leave it out")
    check_text("an episode's family", family, "write str(...) around its name, or leave it out")
    if not whole(seed):
        raise ConfigError(f"an episode's seed is a whole number, not {shown(seed)}: write int(...) around it")
