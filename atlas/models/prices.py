"""What models cost. Prices change: every figure can be overridden, and an unknown model is unpriced, never free."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from atlas.errors import ConfigError
from atlas.records import Price

_NOTE = "list price as of 2026-11, check"

_LIST: dict[str, tuple[float, float, float]] = {
    # dollars per million tokens: prompt, completion, prompt read from cache
    "gpt-4.1": (2.00, 8.00, 0.50),
    "gpt-4.1-mini": (0.40, 1.60, 0.10),
    "gpt-4.1-nano": (0.10, 0.40, 0.025),
    "gpt-4o": (2.50, 10.00, 1.25),
    "gpt-4o-mini": (0.15, 0.60, 0.075),
    "o4-mini": (1.10, 4.40, 0.275),
    "gpt-5": (1.25, 10.00, 0.125),
    "gpt-5-mini": (0.25, 2.00, 0.025),
    "gpt-5-nano": (0.05, 0.40, 0.005),
    "claude-haiku-4-5": (1.00, 5.00, 0.10),
    "claude-sonnet-4-5": (3.00, 15.00, 0.30),
    "claude-opus-4-5": (5.00, 25.00, 0.50),
    "gemini-2.5-flash-lite": (0.10, 0.40, 0.01),
    "gemini-2.5-flash": (0.30, 2.50, 0.03),
    "gemini-2.5-pro": (1.25, 10.00, 0.125),
}

_DATED = re.compile(r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|latest)$")

LOCAL = Price(prompt=0, completion=0, note="runs here; no tokens are billed")
"""The price of a model that runs in this process. It is a real zero, not an unknown price."""


def listed() -> dict[str, Price]:
    """The built-in price table."""
    return {name: _price(*figures) for name, figures in _LIST.items()}


def price_of(name: str, overrides: Mapping[str, Price | str] | None = None) -> Price | None:
    """The price of a hosted model: the user's own, else the list price, else litellm's where it is in use, else None.

    ``name`` may carry a provider ("anthropic/claude-sonnet-4-5") and a date; the most exact match wins.
    """
    names = _spellings(name)
    for spelling in names:
        if overrides and spelling in overrides:
            given = overrides[spelling]
            return parse_price(given) if isinstance(given, str) else given
    for spelling in names:
        if spelling in _LIST:
            return _price(*_LIST[spelling])
    return _from_litellm(names)


def parse_price(text: str) -> Price:
    """``"0.40/1.60"`` or ``"0.40/1.60/0.10"``: dollars per million prompt, completion and cached prompt tokens."""
    try:
        figures = [float(part.strip().removeprefix("$")) for part in text.split("/")]
        if len(figures) not in (2, 3) or not all(0 <= figure < float("inf") for figure in figures):
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"{text!r} is not a price: write dollars per million tokens as PROMPT/COMPLETION or "
            "PROMPT/COMPLETION/CACHED, such as 0.40/1.60/0.10"
        ) from None
    return Price(
        prompt=figures[0],
        completion=figures[1],
        cached=figures[2] if len(figures) == 3 else None,
        note="price given by the user",
    )


def _price(prompt: float, completion: float, cached: float) -> Price:
    return Price(prompt=prompt, completion=completion, cached=cached, note=_NOTE)


def _spellings(name: str) -> list[str]:
    """From the most to the least exact: as given, without its provider, without its date."""
    bare = name.rsplit("/", 1)[-1]
    return list(dict.fromkeys([name, bare, _DATED.sub("", name), _DATED.sub("", bare)]))


def _from_litellm(names: list[str]) -> Price | None:
    """Only where litellm is loaded already: looking up a price is not worth its import of several seconds."""
    litellm = sys.modules.get("litellm")
    costs = getattr(litellm, "model_cost", {})
    for name in names:
        row = costs.get(name, {})
        prompt, completion = row.get("input_cost_per_token"), row.get("output_cost_per_token")
        if prompt is not None and completion is not None:
            cached = row.get("cache_read_input_token_cost")
            return Price(
                prompt=prompt * 1e6,
                completion=completion * 1e6,
                cached=None if cached is None else cached * 1e6,
                note="from litellm's price map, check",
            )
    return None
