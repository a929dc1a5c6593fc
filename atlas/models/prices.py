"""What models cost. Prices change: every figure can be overridden, and an unknown model is unpriced, never free."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from atlas.errors import ConfigError
from atlas.records import Price

_NOTE = "list price as of 2026-11, check"

_LIST: dict[str, dict[str, tuple[float, float, float]]] = {
    # For where litellm, whose map has more models and more of their prices, is not installed:
    # dollars per million tokens: prompt, completion, prompt read from cache; by provider
    "openai": {
        "gpt-4.1": (2.00, 8.00, 0.50),
        "gpt-4.1-mini": (0.40, 1.60, 0.10),
        "gpt-4.1-nano": (0.10, 0.40, 0.025),
        "gpt-4o": (2.50, 10.00, 1.25),
        "gpt-4o-2024-05-13": (5.00, 15.00, 5.00),
        "gpt-4o-mini": (0.15, 0.60, 0.075),
        "o4-mini": (1.10, 4.40, 0.275),
        "gpt-5": (1.25, 10.00, 0.125),
        "gpt-5-mini": (0.25, 2.00, 0.025),
        "gpt-5-nano": (0.05, 0.40, 0.005),
        "gpt-5.4": (2.50, 15.00, 0.25),
        "gpt-5.4-mini": (0.75, 4.50, 0.075),
        "gpt-5.4-nano": (0.20, 1.25, 0.02),
        "gpt-5.6-sol": (4.00, 20.00, 0.40),
        "gpt-5.6-terra": (2.00, 12.00, 0.20),
        "gpt-5.6-luna": (0.20, 1.20, 0.02),
        "gpt-6-sol": (2.00, 10.00, 0.20),
        "gpt-6-luna": (0.10, 0.50, 0.01),
    },
    "anthropic": {
        "claude-haiku-4-5": (1.00, 5.00, 0.10),
        "claude-sonnet-4-5": (3.00, 15.00, 0.30),
        "claude-opus-4-5": (5.00, 25.00, 0.50),
        "claude-sonnet-4-6": (3.00, 15.00, 0.30),
        "claude-opus-4-8": (5.00, 25.00, 0.50),
        "claude-sonnet-5": (2.00, 10.00, 0.20),
        "claude-opus-5": (5.00, 25.00, 0.50),
        "claude-haiku-5-5": (0.10, 0.50, 0.01),
        "claude-sonnet-5-5": (2.00, 10.00, 0.10),
        "claude-opus-5-5": (4.00, 20.00, 0.20),
    },
    "gemini": {
        "gemini-2.5-flash-lite": (0.10, 0.40, 0.01),
        "gemini-2.5-flash": (0.30, 2.50, 0.03),
        "gemini-2.5-pro": (1.25, 10.00, 0.125),
        "gemini-3.1-flash-lite": (0.25, 1.50, 0.025),
        "gemini-3.5-flash-lite": (0.30, 2.50, 0.03),
        "gemini-3.5-flash": (1.50, 9.00, 0.15),
        "gemini-3.8-flash": (0.75, 3.75, 0.075),
    },
}
"""As in the price map of litellm 1.106 (November 2026)."""

_PRICES = {name: figures for models in _LIST.values() for name, figures in models.items()}

LISTED = tuple(f"{provider}/{name}" for provider, models in _LIST.items() for name in models)
"""The hosted models that are known by name, each with its provider."""

_MAP = "model_prices_and_context_window_backup.json"
"""The price map that comes with litellm: a row per model, in dollars per token."""

_TIERS = ("flex", "priority")
_LONG = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
_REGION = re.compile(r"/(?:eu|us|apac|au|jp|[a-z]{2}(?:-[a-z]+)+-\d)/")
"""A part of a name that says where a model runs, which has a price of its own."""

_DATED = re.compile(r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|latest)$")

LOCAL = Price(prompt=0, completion=0, note="runs here; no tokens are billed")
"""The price of a model that runs in this process. It is a real zero, not an unknown price."""


def price_of(name: str, overrides: Mapping[str, Price | str] | None = None) -> Price | None:
    """The price of a hosted model: the user's own, else that of litellm's price map where litellm is installed, else
    that of our list, else None.

    ``name`` may carry a provider ("anthropic/claude-sonnet-4-5") and a date; the most exact match wins, so that a dated
    or regional name that has a price of its own gets it.
    """
    names = _spellings(name)
    for spelling in names:
        if overrides and spelling in overrides:
            given = overrides[spelling]
            return parse_price(given) if isinstance(given, str) else given
    for spelling in names:
        if (found := _mapped(spelling)) is not None:
            return found
        if spelling in _PRICES:
            return _price(*_PRICES[spelling])
    return None


def longest_reply(name: str) -> int | None:
    """The most tokens of a reply that the model itself allows, by litellm's map; None where that does not say."""
    rows = _rows()
    limits = (rows[spelling].get("max_output_tokens") for spelling in _spellings(name) if spelling in rows)
    return next((limit for limit in limits if isinstance(limit, int) and limit > 0), None)


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
    """From the most to the least exact: as given, without its provider, without its date. What runs in a region of its
    own is not looked up as what runs anywhere."""
    bare = name if _REGION.search(name) else name.rsplit("/", 1)[-1]
    return list(dict.fromkeys([name, bare, _DATED.sub("", name), _DATED.sub("", bare)]))


def _rows() -> Mapping[str, Any]:
    """litellm's price map: as it is in use, else from its file, since its import takes seconds."""
    loaded = getattr(sys.modules.get("litellm"), "model_cost", None)
    return loaded if loaded else _file()


@lru_cache(maxsize=1)
def _file() -> Mapping[str, Any]:
    found = find_spec("litellm")
    path = Path(found.origin).parent / _MAP if found is not None and found.origin else None
    if path is None or not path.is_file():
        return {}
    rows: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _mapped(name: str) -> Price | None:
    """The price in litellm's map. A row of zeros stands there for a price that nobody has written down."""
    row = _rows().get(name)
    if row is None:
        return None
    ranges = [(int(at["range"][0]), _rates(at, "", "")) for at in row.get("tiered_pricing") or () if at.get("range")]
    price = _rates(row, "", "") or next((first for tokens, first in ranges if not tokens), None)
    if price is None or not (price.prompt or price.completion):
        return None
    above = _above(row, "") or tuple((tokens, longer) for tokens, longer in ranges if tokens and longer is not None)
    tiers: dict[str, Price] = {}
    for tier in _TIERS:
        if (dear := _rates(row, "", f"_{tier}")) is not None:
            # Where the map has no long-context price of the tier, it is to the usual one as the tier's price is.
            more = _above(row, f"_{tier}") or _scaled(above, dear.prompt / price.prompt if price.prompt else 1.0)
            tiers[tier] = dear.replace(above=more)
    return price.replace(above=above, tiers=tiers)


def _rates(row: Mapping[str, Any], above: str, tier: str) -> Price | None:
    """The figures of one length of prompt and one tier, in dollars per million; None where the row has none."""
    prompt, completion = (_figure(row, f"{key}_cost_per_token{above}{tier}") for key in ("input", "output"))
    if prompt is None or completion is None:
        return None
    write = "cache_creation_input_token_cost"
    return Price(
        prompt=prompt,
        completion=completion,
        cached=_figure(row, f"cache_read_input_token_cost{above}{tier}"),
        cache_write=_figure(row, f"{write}{above}{tier}"),
        cache_write_hour=_figure(row, f"{write}_above_1hr{above}{tier}"),
        note="from litellm's price map, check",
    )


def _figure(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    return round(value * 1e6, 9) if isinstance(value, int | float) and value >= 0 else None


def _above(row: Mapping[str, Any], tier: str) -> tuple[tuple[int, Price], ...]:
    """What longer prompts cost, from the shortest length on."""
    lengths = sorted({int(found[1]) for key in row if (found := _LONG.match(key))})
    longer = [(thousands * 1_000, _rates(row, f"_above_{thousands}k_tokens", tier)) for thousands in lengths]
    return tuple((tokens, price) for tokens, price in longer if price is not None)


def _scaled(above: tuple[tuple[int, Price], ...], by: float) -> tuple[tuple[int, Price], ...]:
    def times(figure: float | None) -> float | None:
        return None if figure is None else figure * by

    return tuple(
        (
            tokens,
            price.replace(
                prompt=price.prompt * by,
                completion=price.completion * by,
                cached=times(price.cached),
                cache_write=times(price.cache_write),
                cache_write_hour=times(price.cache_write_hour),
            ),
        )
        for tokens, price in above
    )
