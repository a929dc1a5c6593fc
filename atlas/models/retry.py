"""The one place where model calls are tried again.

Rate limits (429), server errors (5xx), timeouts and cut connections are; a wrong key, name or request is not, because
the same call would fail the same way. Client libraries' own retries are switched off, so that attempts do not multiply.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import Field

from atlas.given import Given

T = TypeVar("T")


class Retry(Given):
    """How often and how patiently."""

    retries: int = Field(default=4, ge=0, le=1_000)
    """Attempts after the first."""
    base: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Seconds before the first retry; doubled for each further one, with jitter."""
    longest: float = Field(default=30.0, ge=0)
    """Seconds. No wait of our own choice is longer."""
    patience: float = Field(default=120.0, ge=0)
    """Seconds. A server that asks for a longer wait is taken as a refusal."""


class Transient(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(
        self, cause: str, mend: str, *, retry_after: float | None = None, sent: bool = False, status: int = 502
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.mend = mend
        self.status = status
        """The HTTP status that says so."""
        self.retry_after = retry_after
        self.sent = sent
        """Whether the request was sent, and may be answered and billed by now."""


class GaveUp(Exception):
    """No attempt succeeded."""

    def __init__(self, last: Transient, attempts: int) -> None:
        super().__init__(last.cause)
        self.cause = last.cause
        self.mend = last.mend
        self.status = last.status
        self.attempts = attempts


async def with_retries(
    attempt: Callable[[], Awaitable[T]],
    retry: Retry,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """The first success of ``attempt``.

    ``attempt`` raises :class:`Transient` for what may be tried again; every other exception passes through.
    Raises :class:`GaveUp` after the last attempt.
    """
    for number in range(retry.retries + 1):
        try:
            return await attempt()
        except Transient as failure:
            too_long = failure.retry_after is not None and failure.retry_after > retry.patience
            if too_long or number == retry.retries:
                raise GaveUp(failure, number + 1) from failure
            await sleep(_wait(retry, number, failure.retry_after))
    raise AssertionError("unreachable: the last attempt returns or raises")


def _wait(retry: Retry, number: int, asked: float | None) -> float:
    """What the server asked for, else a random point in the upper half of the exponential wait."""
    jitter = random.uniform(0.5, 1.0)
    own = min(retry.longest, retry.base * 2.0**number) * jitter
    # Jitter on top of the server's figure: a hundred episodes that were refused together must not return together.
    return own if asked is None else asked + own * 0.5
