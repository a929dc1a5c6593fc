"""Names, prices, token estimates, secrets and fakes: what needs no model."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import ConfigError, DataError, ModelError
from atlas.models import catalogue, load, parse_price, price_of
from atlas.models.prices import _PRICES
from atlas.models.retry import GaveUp, Retry, Transient, with_retries
from atlas.protocols import Model
from atlas.records import Ask, Price, Prompt, Task, View
from atlas.redact import HIDDEN, scrub
from atlas.testing import FlakyModel, ScriptedModel, SlowModel
from atlas.tokens import estimate_tokens

ASK = Ask(view=View(task=Task(id="t", goal="g"), opening="here"), prompt=Prompt(stable="Act."))


def test_importing_the_models_loads_nothing_heavy() -> None:
    heavy = ("litellm", "torch", "transformers", "xllamacpp", "openai", "onnxruntime")
    code = "import sys, atlas.models, atlas.testing; atlas.models.catalogue(); "
    code += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("smolm2-135m", "smollm2-135m"),
        ("neerest", "nearest"),
        ("gpt-4.1-mini", "openai/gpt-4.1-mini"),
        ("qwen2.5", "qwen"),
    ],
)
def test_a_wrong_name_names_what_exists_and_what_was_meant(spec: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(spec)
    assert f"did you mean {meant}" in str(caught.value) and "PROVIDER/MODEL" in str(caught.value)


@pytest.mark.parametrize("spec", ["", "gguf:", "hf:", "scripted:chess", "./somewhere", "x.gguf"])
def test_a_name_without_a_model_is_a_config_error(spec: str) -> None:
    with pytest.raises(ConfigError, match="choose one of nearest"):
        load(spec)


def test_the_catalogue_names_what_load_takes_with_licence_and_price() -> None:
    entries = {entry.name: entry for entry in catalogue()}
    assert entries["smollm2-135m"].licence == "Apache-2.0" and (entries["smollm2-135m"].size or 0) > 9e7
    assert entries["anthropic/claude-sonnet-4-5"].price == price_of("claude-sonnet-4-5")
    assert {"nearest", "qwen2.5-coder-1.5b", "scripted:alfworld", "gguf:PATH", "hf:PATH_OR_NAME"} <= entries.keys()


def test_every_listed_model_stands_under_its_own_provider() -> None:
    """As litellm has them: ``gemini/o4-mini`` is a name that no call can be made with."""
    litellm = pytest.importorskip("litellm")
    hosted = {entry.name: entry for entry in catalogue() if entry.kind == "hosted"}
    assert "openai/o4-mini" in hosted and any("-6-" in name or "-5-5" in name for name in hosted), "of 2026 too"
    for full, entry in hosted.items():
        provider, _, name = full.partition("/")
        row = litellm.model_cost.get(full) or litellm.model_cost[name]
        assert row["litellm_provider"] == provider, full
        assert entry.price is not None and entry.price == price_of(full)
        keys = ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")
        assert _PRICES[name] == pytest.approx([row.get(key, row[keys[0]]) * 1e6 for key in keys]), full


def test_prices_are_found_by_provider_and_date_and_can_be_overridden() -> None:
    assert price_of("openai/gpt-4.1-mini") == price_of("gpt-4.1-mini-2025-04-14")
    listed = price_of("anthropic/claude-sonnet-4-5-20250929")
    assert listed is not None and (listed.prompt, listed.completion) == (3.0, 15.0) and "check" in listed.note
    assert price_of("openai/gpt-4.1-mini", {"gpt-4.1-mini": "1/2"}) == parse_price("1/2")
    assert price_of("openai/unheard-of") is None


def test_a_price_is_written_as_dollars_per_million() -> None:
    price = parse_price("0.40/1.60/0.10")
    assert (price.prompt, price.completion, price.cached) == (0.40, 1.60, 0.10)
    assert parse_price("$3/$15").cached is None


@given(st.text(max_size=20))
def test_anything_else_is_a_price_or_a_sentence(text: str) -> None:
    try:
        assert parse_price(text).prompt >= 0
    except ConfigError as error:
        assert "PROMPT/COMPLETION" in str(error)


@given(st.text())
def test_token_estimates_never_fail_and_grow_with_the_text(text: str) -> None:
    assert 0 <= estimate_tokens(text) <= 3 * len(text)
    assert estimate_tokens(text + "\n\nand more words") > estimate_tokens(text)


@pytest.mark.parametrize(
    "secret",
    ["sk-proj-abcdefghijklmnop", "Bearer abc.def.ghi", "x-api-key: 0123456789abcdef", "https://me:hunter22@host/v1"],
)
def test_key_shaped_words_are_hidden(secret: str) -> None:
    word = secret.split()[-1].removeprefix("https://me:").split("@")[0]
    assert word not in scrub(f"call failed with {secret}, sorry") and HIDDEN in scrub(secret)


def test_values_of_variables_named_like_keys_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_PROVIDER_API_KEY", "plainword1234")
    assert "plainword1234" not in scrub("wrong key plainword1234")
    assert scrub("given directly: qwertyuiop", ["qwertyuiop"]) == f"given directly: {HIDDEN}"
    assert scrub("Nothing happens. You see a desk 1, a task-list and a risk.") == (
        "Nothing happens. You see a desk 1, a task-list and a risk."
    )


async def test_retries_wait_longer_each_time() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def attempt() -> str:
        raise Transient("failed", "mend it")

    with pytest.raises(GaveUp) as caught:
        await with_retries(attempt, Retry(retries=3, base=1.0), sleep=sleep)
    assert caught.value.attempts == 4
    assert 0.5 <= waits[0] <= 1 <= waits[1] <= 2 <= waits[2] <= 4


async def test_the_fakes_do_as_they_are_told() -> None:
    scripted = ScriptedModel(["one", "two", "three"])
    assert isinstance(scripted, Model)
    done = await scripted.sample(ASK.replace(n=2))
    assert [reply.text for reply in done.replies] == ["one", "two"] and done.usage.dollars == done.usage.tokens / 1e6
    flaky = FlakyModel(ScriptedModel(lambda ask: "same"), fails={0})
    with pytest.raises(ModelError):
        await flaky.sample(ASK)
    assert (await SlowModel(flaky, latency=0.0).sample(ASK)).replies[0].text == "same"
    unpriced = await ScriptedModel(["one"], price=None).sample(ASK)
    assert unpriced.usage.dollars is None


def test_a_price_given_to_load_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("nearest", price="1/2").price == Price(prompt=1.0, completion=2.0, note="price given by the user")


def test_an_option_that_a_model_does_not_take_is_named() -> None:
    with pytest.raises(ConfigError, match="colour"):
        load("nearest", colour="blue")


def test_a_missing_gguf_file_is_named(tmp_path: object) -> None:
    pytest.importorskip("xllamacpp", reason="needs the extra local")
    with pytest.raises(DataError, match=r"absent\.gguf"):
        load(f"gguf:{tmp_path}/absent.gguf")
