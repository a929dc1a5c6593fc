"""Dollars as a bill says them: cache writes, tiers of service, long prompts, dated and regional names."""

from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from atlas.models import price_of
from atlas.money import Price, Spend, Tally, Usage
from atlas.tables import spend_table

PRICE = Price(prompt=3, completion=15, cached=0.3, cache_write=3.75, cache_write_hour=6)


def test_what_is_written_to_the_cache_costs_by_how_long_it_is_kept() -> None:
    assert PRICE.dollars(12_307, 550, written=12_304) == pytest.approx((3 * 3 + 12_304 * 3.75 + 550 * 15) / 1e6)
    assert PRICE.dollars(10_003, 5, written_hour=10_000) == pytest.approx((3 * 3 + 10_000 * 6 + 5 * 15) / 1e6)
    bare = Price(prompt=3, completion=15)
    assert bare.dollars(100, 0, 10, written=20, written_hour=30) == bare.dollars(100, 0), "else as any prompt token"


def test_a_tier_and_a_long_prompt_have_prices_of_their_own() -> None:
    price = Price(prompt=1, completion=2, above=((200, Price(prompt=10, completion=20)),), tiers={"flex": PRICE})
    assert price.dollars(200, 1) == pytest.approx(202 / 1e6)
    assert price.dollars(201, 1) == pytest.approx(2030 / 1e6), "the whole call, not what is above"
    assert price.dollars(1, 1, tier="flex") == pytest.approx(18 / 1e6)
    assert price.dollars(1, 1, tier="default") == price.dollars(1, 1)


def test_the_most_exact_name_has_its_own_price() -> None:
    pytest.importorskip("litellm", reason="the price map comes with it")

    def dollars(name: str, prompt: int = 100, completion: int = 10, tier: str = "") -> float | None:
        price = price_of(name)
        return None if price is None else price.dollars(prompt, completion, tier=tier)

    assert dollars("openai/gpt-4o-2024-05-13") == pytest.approx((100 * 5 + 10 * 15) / 1e6)
    assert dollars("azure/eu/gpt-4o") == pytest.approx((100 * 2.75 + 10 * 11) / 1e6)
    assert dollars("azure/eu/a-model-without-a-row") is None
    assert dollars("gemini/gemini-2.5-pro", 300_000, 1_000) == pytest.approx((300_000 * 2.5 + 1_000 * 15) / 1e6)
    assert dollars("gemini/gemini-2.5-pro", 300_000, 0, "flex") == pytest.approx(300_000 * 1.25 / 1e6)
    assert dollars("openai/gpt-5", tier="flex") == pytest.approx((100 * 0.625 + 10 * 5) / 1e6)
    assert dollars("openai/gpt-5", tier="priority") == pytest.approx((100 * 2.5 + 10 * 20) / 1e6)
    assert dollars("dashscope/qwen-flash", 300_000, 0) == pytest.approx(300_000 * 0.25 / 1e6)
    assert dollars("volcengine/deepseek-v3-2-251201") is None, "0/0 in the map is a price that nobody wrote down"


COUNTS = st.integers(0, 10**9)


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS), max_size=5))
def test_sums_keep_every_count(rows: list[tuple[int, int, int]]) -> None:
    tally = Tally()
    for written, reasoned, saved in rows:
        tally.add(Usage(calls=1, cache_write_tokens=written, reasoning_tokens=reasoned, saved=float(saved)))
    whole = tally.usage
    assert whole.cache_write_tokens == sum(row[0] for row in rows)
    assert whole.reasoning_tokens == sum(row[1] for row in rows)
    assert whole.saved == sum(row[2] for row in rows)


def test_the_account_shows_what_the_cache_saved_where_it_did() -> None:
    def shown(usage: Usage) -> str:
        out = StringIO()
        console = Console(file=out, width=160)
        console.print(spend_table([("agent", Spend(actor="student", model="m", usage=usage))]))
        return out.getvalue()

    assert "saved" not in shown(Usage(calls=1, prompt_tokens=5))
    told = shown(Usage(calls=1, cache_write_tokens=1234, reasoning_tokens=567, saved=0.5))
    assert all(part in told for part in ("saved", "$0.500", "written", "1,234", "567"))
