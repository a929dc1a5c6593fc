"""The embedded model for real: ``make test-local``. Weights are fetched on first use."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.assets import fetch
from atlas.errors import AtlasError, DataError
from atlas.prompts import render
from atlas.records import Ask, Prompt, Task, Turn, View

pytest.importorskip("xllamacpp", reason="needs the extra local")

from atlas.models import load
from atlas.models.llama import Llama

local = pytest.mark.local
ACTIONS = ("look", "go to drawer 1", "go to drawer 10", "take mug 1 from desk 1", "inventory")
OPENING = "You see a desk 1 and a drawer 1."
TASK = Task(id="t", goal="put a mug in a drawer", instructions="You act in a house, step by step.")


@pytest.fixture(scope="module")
def model() -> Iterator[Llama]:
    try:
        loaded = load("smollm2-135m")
    except DataError as error:
        pytest.skip(str(error))
    assert isinstance(loaded, Llama)
    yield loaded


def ask(n: int = 1, temperature: float = 0.0, **changes: object) -> Ask:
    view = View(**{"task": TASK, "opening": OPENING, "admissible": ACTIONS, **changes})
    return Ask(view=view, prompt=render(view), n=n, temperature=temperature, max_tokens=12)


@local
async def test_ranking_returns_given_actions_with_exact_log_probabilities(model: Llama) -> None:
    done = await model.sample(ask(n=40, temperature=2.0))
    found = {reply.text: reply.logprob for reply in done.replies}
    assert found.keys() <= {f"Action: {action}" for action in ACTIONS} and len(found) > 1
    assert sum(math.exp(lp) for lp in found.values() if lp is not None) < 1.0
    assert done.usage.dollars == 0.0 and done.usage.completion_tokens >= 80
    best = await model.sample(ask())
    assert best.replies[0].logprob == pytest.approx(max(lp for lp in found.values() if lp is not None), abs=1e-3)


@local
async def test_samples_follow_their_seed(model: Llama) -> None:
    together = await model.sample(ask(n=4, temperature=2.0))
    alone = [await model.sample(ask(temperature=2.0).replace(first=i)) for i in range(4)]
    assert [r.text for r in together.replies] == [c.replies[0].text for c in alone]


@local
async def test_the_same_prompt_is_ranked_once(model: Llama) -> None:
    first = await model.sample(ask(opening="A quiet room.", n=3, temperature=1.0))
    assert first.usage.cached_tokens < first.usage.prompt_tokens
    for n, temperature in ((3, 1.0), (1, 0.1), (5, 0.0)):
        again = await model.sample(ask(opening="A quiet room.", n=n, temperature=temperature))
        assert again.usage.cached_tokens == again.usage.prompt_tokens == first.usage.prompt_tokens
    hotter = await model.sample(ask(opening="A quiet room.", temperature=5.0))
    assert hotter.usage.cached_tokens < hotter.usage.prompt_tokens  # more actions matter than were found


@local
async def test_ranking_by_the_mean_chooses_the_highest_mean(model: Llama) -> None:
    everything = await model.sample(ask(n=400, temperature=50.0))
    sums = {reply.text.removeprefix("Action: "): reply.logprob for reply in everything.replies}
    assert sums.keys() == set(ACTIONS)
    mean = {a: lp / (len(model._word(a)) + 1) for a, lp in sums.items() if lp is not None}
    best = max(mean, key=lambda action: mean[action])
    model.rank = "mean"
    try:
        (reply,) = (await model.sample(ask())).replies
    finally:
        model.rank = "sum"
    assert reply.text == f"Action: {best}" and reply.logprob == pytest.approx(sums[best], abs=1e-3)


@local
async def test_the_prefix_of_each_episode_is_found_again(model: Llama) -> None:
    async def episode(name: str) -> list[int]:
        fresh = []
        turns: tuple[Turn, ...] = ()
        for step in range(4):
            done = await model.sample(ask(turns=turns, opening=f"{name}. " * 25))
            fresh.append(done.usage.prompt_tokens - done.usage.cached_tokens)
            turns += (Turn(action="look", observation=f"Nothing {step}."),)
        return fresh

    for fresh in await asyncio.gather(episode("A red room"), episode("A blue hall")):
        assert max(fresh[1:]) < 100 < fresh[0]


@local
async def test_free_text_where_no_actions_are_listed(model: Llama) -> None:
    done = await model.sample(ask(n=2, temperature=0.8, admissible=()))
    assert len(done.replies) == 2 and all(reply.text for reply in done.replies)
    assert 0 < done.usage.completion_tokens <= 24


@local
async def test_a_plan_is_written_not_ranked(model: Llama) -> None:
    done = await model.sample(ask().replace(purpose="plan"))
    assert done.replies[0].finish != "ranked"


@local
async def test_odd_prompts_do_not_crash(model: Llama) -> None:
    for prompt in (Prompt(), Prompt(stable="\x00 <|im_end|> 你好 \U0001f600")):
        done = await model.sample(ask().replace(prompt=prompt))
        assert done.replies[0].text.removeprefix("Action: ") in ACTIONS


@pytest.mark.parametrize("content", [b"", b"not a model", b"GGUF\x03\x00\x00\x00 truncated"])
def test_a_file_that_is_no_model_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(AtlasError, match=r"broken\.gguf"):
        load(f"gguf:{path}")


@local
@pytest.mark.parametrize("kind", ["gguf", "hf"])
def test_a_real_file_cut_short_or_of_an_unknown_architecture_is_one_sentence(
    tmp_path: Path, kind: str, model: Llama, capfd: pytest.CaptureFixture[str]
) -> None:
    if kind == "hf":
        pytest.importorskip("torch", reason="needs the extra transformers")
    whole = fetch("smollm2-135m").read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: len(whole) // 3])
    other = tmp_path / "other.gguf"
    other.write_bytes(
        whole.replace(b"\x05\x00\x00\x00\x00\x00\x00\x00llama", b"\x05\x00\x00\x00\x00\x00\x00\x00lamma", 1)
    )
    for path in (cut, other):
        with pytest.raises(DataError) as told:
            load(f"{kind}:{path}")
        assert path.name in str(told.value) and "\n" not in str(told.value)
    assert "%|" not in capfd.readouterr().err


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.gguf cannot be read"):
        load(f"gguf:{tmp_path / 'absent.gguf'}")
