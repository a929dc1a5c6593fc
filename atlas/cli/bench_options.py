"""Which options of ``atlas bench`` only some arms read: given for a run without such an arm, they would do nothing."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.core import ParameterSource

from atlas.errors import ConfigError

_ENTRIES = (
    "pamphlets", "pamphlets-sampled", "pamphlets-shuffled", "both", "both-shuffled", "cascade-pamphlets",
    "cascade-both", "pamphlets-elsewhere", "both-elsewhere",
)  # fmt: skip
_SAMPLED = (
    "cascade", "cascade-watch", "cascade-nodemos", "cascade-watch-nodemos", "online", "cascade-pamphlets",
    "cascade-both",
)  # fmt: skip
_RECALLED = (
    "icd", "icd-irrelevant", "cascade", "cascade-watch", "random-route", "online", "lanes", "both", "both-shuffled",
    "cascade-both", "icd-elsewhere", "both-elsewhere",
)  # fmt: skip
_LANES = ("lanes",)

READ_BY: dict[str, tuple[str, ...]] = {
    "trials": _ENTRIES,
    "guidance_tokens": _ENTRIES,
    "samples": _SAMPLED,
    "temperature": (*_SAMPLED, "pamphlets-sampled"),
    "audit": _SAMPLED,
    "k": _RECALLED,
    "plan": _RECALLED,
    "window": _RECALLED,
    "share": ("random-route", "random-route-nodemos"),
    "force_lane": _LANES,
    "forbid_lane": _LANES,
    "lane_dollars": _LANES,
}
"""Option -> the arms that read it. Options that are not here are read whatever the arms are."""


def check_read(arms: Sequence[str]) -> None:
    """Look at what was typed for the present command. Raises ConfigError for an option that none of ``arms`` reads,
    and for an arm that does not exist."""
    from atlas.benchmarks.arms import split_name

    context = click.get_current_context()
    chosen = {split_name(arm)[0] for arm in arms}
    for param in context.command.params:
        readers = READ_BY.get(param.name or "", ())
        if not readers or chosen & set(readers):
            continue
        if context.get_parameter_source(param.name or "") is not ParameterSource.DEFAULT:
            raise ConfigError(
                f"none of the arms {','.join(arms)} reads {param.opts[0]}: leave it out, or add to --arms one that "
                f"does ({', '.join(readers)})"
            )


def check_judge(arms: Sequence[str], folder: object) -> None:
    """Raises ConfigError where none of ``arms`` asks the judge that is given, or one asks and there is none."""
    from atlas.benchmarks.arms import needs_judge

    asking = [arm for arm in arms if needs_judge(arm)]
    if folder is not None and not asking:
        raise ConfigError(
            f"none of the arms {','.join(arms)} reads --step-judge: leave it out, or add to --arms one that does, such "
            "as cascade:judge:0.5"
        )
    if folder is None and asking:
        raise ConfigError(
            f"the arm {asking[0]} asks a judge of steps: train one with 'atlas train judge' and give its folder as "
            "--step-judge"
        )
