"""Arms that play each task with several arms, one after the other, and give the best answer: ``select:FILE``."""

from __future__ import annotations

from pathlib import Path

from atlas.benchmarks.arm import Arm, Played, Stage
from atlas.chances.selector import Selector
from atlas.errors import ConfigError
from atlas.policies import Replayed, Select
from atlas.protocols import Environment, Policy

NAME = "select"


def selecting(file: str) -> Played:
    """The arm of a selector in ``file``, whose tiers are arms."""
    from atlas.benchmarks.arms import played

    selector = Selector.load(file)
    try:
        tiers = [played(name) for name in selector.tiers]
    except ConfigError as error:
        raise ConfigError(
            f"the selector {file} chooses among {', '.join(selector.tiers)}, which are not all arms: say which "
            "arms they are with 'atlas trust select ... --as student,teacher'"
        ) from error
    unfit = [t.name for t in tiers if t.arm.grows or t.arm.routes or t.arm.reviewer or t.arm.tiers]
    if unfit:
        raise ConfigError(
            f"the arm {unfit[0]!r} of the selector {file} cannot be one of several tiers: it learns while it serves, "
            "is reviewed, or is a control"
        )

    def build(on: Stage) -> Policy:
        return Select([on.tier(tier) for tier in tiers], selector, steps=on.options.max_steps)

    def replays(make: object) -> Environment:
        assert callable(make)
        return Replayed(make, selector.answers)

    read = [tier.arm.options for tier in tiers]
    arm = Arm(
        NAME,
        f"{', then '.join(selector.tiers)}, each to its answer: the best so far is given, by what was learned",
        build,
        kind=NAME,
        reads=tuple(dict.fromkeys(name for names in read if names is not None for name in names)),
        demos=any(tier.arm.demos for tier in tiers),
        pamphlets=any(tier.arm.pamphlets for tier in tiers),
        tiers=len(tiers),
        replays=replays,
    )
    suffix = f":{Path(file).stem}"
    return Played(arm, f"{NAME}{suffix}", suffix)
