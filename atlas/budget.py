"""Budgets in dollars and tokens that stop cleanly.

They are checked before each step and before each call of a model, and a call that is under way is finished and paid: an
episode can pass its budget by at most one call, and a run by at most one call of each episode in flight. Where a reply
did not tell what it used, the budget counts what it may have cost at the most (:attr:`atlas.records.Usage.at_most`).
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Protocol, Self

from pydantic import field_validator, model_validator

from atlas.errors import BudgetExceeded, ConfigError
from atlas.given import Given, shown
from atlas.money import Tally
from atlas.records import Usage

if TYPE_CHECKING:
    from atlas.protocols import Model


class Budget(Given):
    """A limit; None is no limit."""

    dollars: float | None = None
    tokens: int | None = None

    @field_validator("dollars", "tokens", mode="before")
    @classmethod
    def _number(cls, limit: Any) -> Any:
        if isinstance(limit, bool):
            raise ValueError("a budget's dollars and tokens are numbers, and True and False are none")
        return limit

    @model_validator(mode="after")
    def _holds(self) -> Self:
        # No comparison with NaN is true, so that nobody would ever have spent it.
        for name, limit in (("dollars", self.dollars), ("tokens", self.tokens)):
            if limit is not None and not 0 <= limit < math.inf:
                raise ConfigError(f"a budget's {name} are 0 or more, not {limit}: leave out what has no limit")
        return self


def checked(budget: Budget | None, what: str = "a budget") -> Budget | None:
    """``budget``. Raises ConfigError for what is none: it would be found out when something is to be paid."""
    if budget is not None and not isinstance(budget, Budget):
        raise ConfigError(f"{what} is an atlas.Budget, not {shown(budget)}: write Budget(dollars=...) or (tokens=...)")
    return budget


class Ledger(Protocol):
    """What the processes of a run tell each other of what they used."""

    def post(self, dollars: float | None, tokens: int) -> None:
        """This process has used so much so far; dollars are None where a model has no price."""

    def total(self) -> tuple[float | None, int]:
        """Dollars and tokens that all of them have used, and that were used before them."""


class Meter:
    """Adds up what was used and says when ``budget`` is spent. Shared by threads.

    ``past`` was used before and counts. Where there is a ``ledger`` its total counts: what other processes use as well.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        *,
        what: str = "episode",
        past: Usage | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.budget = checked(budget) or Budget()
        self.what = what
        self._past = past or Usage()
        self._used = Tally()
        self._lock = threading.Lock()
        self._ledger = ledger

    @property
    def used(self) -> Usage:
        """What counted here so far: the past, and what was added."""
        with self._lock:
            return self._past + self._used.usage

    def add(self, usage: Usage) -> None:
        with self._lock:
            self._used.add(usage)
            if self._ledger is not None:
                self._ledger.post(self._used.at_most, self._used.tokens)

    def check(self, model: Model | None = None) -> None:
        """Raise :class:`BudgetExceeded` when nothing further may start, and ConfigError where ``model``, which is to be
        asked next, has no price and the budget is in dollars."""
        dollars, tokens = self.budget.dollars, self.budget.tokens
        if dollars is None and tokens is None:
            return
        if dollars is not None and model is not None and model.price is None:
            raise ConfigError(
                f"the {self.what} has a budget in dollars, and the model {model.name} has no price: state one, or use "
                "a budget in tokens"
            )
        paid, used = self.total()
        if dollars is not None and paid is None:
            raise ConfigError(
                f"the {self.what} has a budget in dollars but uses a model without a price: "
                "state its price, or use a budget in tokens"
            )
        if dollars is not None and (paid or 0.0) >= dollars:
            raise BudgetExceeded(f"the {self.what}'s budget of ${dollars:g} is spent", self.what)
        if tokens is not None and used >= tokens:
            raise BudgetExceeded(f"the {self.what}'s budget of {tokens:,} tokens is spent", self.what)

    def total(self) -> tuple[float | None, int]:
        """Dollars, None where they are unknown, and tokens that count so far, by whoever shares the budget."""
        if self._ledger is not None:
            return self._ledger.total()
        past, more = self._past.at_most, self._used.at_most
        return (None if past is None or more is None else past + more), self._past.tokens + self._used.tokens

    @property
    def spent(self) -> bool:
        """Whether nothing further may start."""
        try:
            self.check()
        except BudgetExceeded:
            return True
        return False
