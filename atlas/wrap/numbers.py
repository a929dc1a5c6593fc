"""The numbers an agent is made with: whether each can be one."""

from __future__ import annotations

from atlas.errors import ConfigError
from atlas.given import check_whole, real, shown, whole
from atlas.policies.cascade import MOST_SAMPLES
from atlas.policies.guided import MOST_TOKENS
from atlas.policies.recall import MOST_SHOWN
from atlas.record import finite


def check_numbers(
    samples: int,
    k: int,
    max_tokens: int | None,
    guidance: int,
    trials: float,
    expect: float | None,
    success_score: float,
) -> None:
    """Raises:
    ConfigError: one is out of its bounds, or none at all.
    """
    check_whole("an agent's samples", samples, 1, MOST_SAMPLES)
    check_whole("an agent's k", k, 1, MOST_SHOWN)
    if max_tokens is not None:
        check_whole("an agent's max_tokens", max_tokens, 1, MOST_TOKENS)
    if isinstance(success_score, bool) or not finite(success_score):
        raise ConfigError(f"an agent's success_score is a finite number, not {shown(success_score)}")
    if not whole(guidance) or not 0 <= guidance <= MOST_TOKENS or not real(trials) or not 0.0 <= trials <= 1.0:
        raise ConfigError(
            f"an agent's guidance is 0 to {MOST_TOKENS:,} tokens, its trials a share from 0 to 1, not "
            f"{shown(guidance)} and {shown(trials)}"
        )
    if expect is not None and not (real(expect) and 0.0 <= expect < 1.0):
        raise ConfigError(
            f"what an agent is expected to succeed in is a share from 0 to less than 1, not {shown(expect)}"
        )
