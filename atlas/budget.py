"""Budgets in dollars and tokens that stop cleanly.

They are checked before each step and before each call of a model, and a call that is under way is finished and paid: an
episode can pass its budget by at most one call, and a run by at most one call of each episode in flight.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from atlas.errors import BudgetExceeded, ConfigError
from atlas.records import Record, Usage

if TYPE_CHECKING:
    from atlas.protocols import Model


class Budget(Record):
    """A limit; None is no limit."""

    dollars: float | None = None
    tokens: int | None = None


class Meter:
    """Adds up what was used and says when ``budget`` is spent. Shared by threads."""

    def __init__(self, budget: Budget | None = None, *, what: str = "episode") -> None:
        self.budget = budget or Budget()
        self.what = what
        self.used = Usage()
        self._lock = threading.Lock()

    def add(self, usage: Usage) -> None:
        with self._lock:
            self.used = self.used + usage

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
        if dollars is not None and self.used.dollars is None:
            raise ConfigError(
                f"the {self.what} has a budget in dollars but uses a model without a price: "
                "state its price, or use a budget in tokens"
            )
        if dollars is not None and (self.used.dollars or 0.0) >= dollars:
            raise BudgetExceeded(f"the {self.what}'s budget of ${dollars:g} is spent", self.what)
        if tokens is not None and self.used.tokens >= tokens:
            raise BudgetExceeded(f"the {self.what}'s budget of {tokens:,} tokens is spent", self.what)

    @property
    def spent(self) -> bool:
        """Whether nothing further may start."""
        try:
            self.check()
        except BudgetExceeded:
            return True
        return False
