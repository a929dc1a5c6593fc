"""The numbers an agent is made with: whether each can be one."""

from __future__ import annotations

from atlas.errors import ConfigError
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
    bounds = (("samples", samples, MOST_SAMPLES), ("k", k, MOST_SHOWN), ("max_tokens", max_tokens, MOST_TOKENS))
    for name, number, most in bounds:
        if number is not None and not (_whole(number) and 1 <= number <= most):
            raise ConfigError(f"an agent's {name} is a whole number from 1 to {most:,}, not {number}")
    if not finite(success_score):
        raise ConfigError(f"an agent's success_score is a finite number, not {success_score}")
    if not _whole(guidance) or not 0 <= guidance <= MOST_TOKENS or not 0.0 <= trials <= 1.0:
        raise ConfigError(
            f"an agent's guidance is 0 to {MOST_TOKENS:,} tokens, its trials a share from 0 to 1, not {guidance} and "
            f"{trials}"
        )
    if expect is not None and not 0.0 <= expect < 1.0:
        raise ConfigError(f"what an agent is expected to succeed in is a share from 0 to less than 1, not {expect}")


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
