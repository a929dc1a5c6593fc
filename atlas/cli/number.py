"""A number on the command line."""

from __future__ import annotations

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A float within bounds. ``nan`` is within any to a comparison, and a budget or threshold of it holds nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is no number: give one that is finite", param, ctx)
        return found

    def _describe_range(self) -> str:
        # click says "x<=None" of one without bounds.
        return super()._describe_range() if self.min is not None or self.max is not None else ""
