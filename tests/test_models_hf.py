"""Local models through torch, with a tiny random one made here: no weights are fetched and no GPU is needed."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atlas.errors import ConfigError, DataError, ModelError
from atlas.models.fit import _tell
from atlas.models.hf import HF
from atlas.models.ranking import Remembered, trie
from atlas.prompts import render, reply_text
from atlas.records import TRANSCRIPT, Ask, DemoStep, Prompt, Task, Turn, View, Window
from tests.tiny_llama import write_tiny_llama

torch = pytest.importorskip("torch", reason="needs the extra transformers")
transformers = pytest.importorskip("transformers", reason="needs the extra transformers")

pytestmark = pytest.mark.torch

ACTIONS = ("look", "go to drawer 1", "go to drawer 10", "take mug 1 from desk 1")
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TASK = Task(id="t", goal="put a mug in a drawer", instructions="You act in a house.")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HF:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_llama(folder, TEMPLATE, hidden_size=32, intermediate_size=64, initializer_range=0.3)
    return HF(folder, device="cpu", dtype="float32")


def ask(n: int = 1, temperature: float = 0.0, **changes: object) -> Ask:
    view = View(**{"task": TASK, "opening": "You see a desk 1.", "admissible": ACTIONS, **changes})
    return Ask(view=view, prompt=render(view), n=n, temperature=temperature, max_tokens=12)


def by_hand(model: HF, prompt: list[int], action: str) -> float:
    """The log-probability of an action by one plain pass over prompt and action."""
    sequence = [*model._word(action), model._end]
    with torch.inference_mode():
        logits = model._engine.model(input_ids=torch.tensor([[*prompt, *sequence]])).logits[0].log_softmax(-1)
    return sum(logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(sequence))


async def test_the_tree_pass_scores_every_action_exactly_with_and_without_a_cached_prefix(model: HF) -> None:
    turns: tuple[Turn, ...] = ()
    for step in range(3):
        asked = ask(turns=turns)
        prompt = model._tokens(asked.prompt, reply_text("").rstrip(), room=50)
        sequences = [(*model._word(action), model._end) for action in ACTIONS]
        [(ranked, cached)] = model._engine.rank([prompt], [trie(sequences)], [len(sequences)])
        assert bool(cached) == bool(step)
        for index, logprob in ranked:
            assert logprob == pytest.approx(by_hand(model, prompt, ACTIONS[index]), abs=1e-3)
        done = await model.sample(asked)
        assert done.replies[0].text == reply_text(ACTIONS[ranked[0][0]])
        turns += (Turn(action="look", observation="Nothing."),)


async def test_samples_follow_their_seed_and_the_queue_keeps_episodes_apart(model: HF) -> None:
    together = await model.sample(ask(n=8, temperature=100.0))
    alone = await asyncio.gather(*(model.sample(ask(temperature=100.0).replace(first=i)) for i in range(8)))
    assert [r.text for r in together.replies] == [c.replies[0].text for c in alone]
    assert len({r.text for r in together.replies}) > 1


async def test_prompts_of_unlike_lengths_share_a_pass_without_touching_each_other(model: HF) -> None:
    asks = [
        ask(n=2, opening="You see a desk. " * size, admissible=ACTIONS[: size + 1], temperature=heat)
        for size, heat in ((1, 0.0), (9, 5.0), (3, 1.0))
    ]
    texts = [one.replace(purpose="plan") for one in asks]
    for batch in (asks, texts, asks):
        prompts = [model._prompt(one) for one in batch]
        work = model._rank if batch is asks else model._write
        together = work(batch, prompts)
        for one, prompt, done in zip(batch, prompts, together, strict=True):
            model._known = Remembered()
            [alone] = work([one], [prompt])
            assert [reply.text for reply in alone.replies] == [reply.text for reply in done.replies]
            assert [r.logprob for r in alone.replies] == pytest.approx([r.logprob for r in done.replies], abs=1e-4)


async def test_the_same_prompt_is_ranked_once(model: HF) -> None:
    asked = ask(opening="A quiet room.", n=3, temperature=1.0)
    first, other = await asyncio.gather(model.sample(asked), model.sample(ask(opening="A loud room.")))
    again, new = await asyncio.gather(model.sample(asked.replace(n=1)), model.sample(ask(opening="A third room.")))
    assert first.usage.cached_tokens < again.usage.cached_tokens == again.usage.prompt_tokens
    assert again.replies[0] == first.replies[0]
    assert other.usage.cached_tokens < other.usage.prompt_tokens and new.usage.cached_tokens < new.usage.prompt_tokens


async def test_ranking_by_the_mean_takes_the_highest_mean_and_tells_the_same_probability(model: HF) -> None:
    asked = ask(opening="A hall.")
    sums = [by_hand(model, model._prompt(asked), action) for action in ACTIONS]
    means = [lp / (len(model._word(action)) + 1) for lp, action in zip(sums, ACTIONS, strict=True)]
    model.rank = "mean"
    (reply,) = (await model.sample(asked)).replies
    model.rank = "sum"
    best = max(range(len(ACTIONS)), key=lambda i: means[i])
    assert reply.text == reply_text(ACTIONS[best])
    assert reply.logprob == pytest.approx(sums[best] - math.log(sum(map(math.exp, sums))), abs=1e-3)


async def test_a_prompt_that_does_not_fit_fails_alone(model: HF) -> None:
    batch = [ask(), ask(opening="far too long " * 2000), ask()]
    outcomes = await asyncio.gather(*(model.sample(one) for one in batch), return_exceptions=True)
    assert [isinstance(outcome, ModelError) for outcome in outcomes] == [False, True, False]


async def test_free_text_agrees_with_generate(model: HF) -> None:
    asked = ask(admissible=())
    done = await model.sample(asked)
    prompt = torch.tensor([model._tokens(asked.prompt, "", room=12)])
    out = model._engine.model.generate(prompt, max_new_tokens=12, do_sample=False, pad_token_id=0)
    expected = model._engine.tokenizer.decode(out[0][prompt.shape[1] :], skip_special_tokens=True).strip()
    assert done.replies[0].text == expected
    drawn = await model.sample(ask(n=3, temperature=1.0, admissible=()))
    assert len({reply.text for reply in drawn.replies}) == 3


async def test_a_prompt_longer_than_the_context_is_cut(model: HF) -> None:
    turns = tuple(Turn(action="look", observation="word " * 40) for _ in range(60))
    done = await model.sample(ask(turns=turns))
    assert done.usage.prompt_tokens < 4096 and done.replies[0].text.removeprefix("Action: ") in ACTIONS


async def test_odd_prompts_do_not_crash(model: HF) -> None:
    for prompt in (Prompt(), Prompt(stable="\x00 </s> 你好 \U0001f600")):
        done = await model.sample(ask().replace(prompt=prompt))
        assert done.replies[0].finish == "ranked"


async def test_a_transcript_that_grows_too_long_keeps_its_best_example_longest(
    model: HF, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = (DemoStep(observation="word " * 60, action="look"),)
    near = [Window(demo_id=str(i), task_id=str(i), goal=f"number {i}", steps=steps) for i in range(12)]
    read: list[str] = []
    _tell.cache_clear()
    tokenize = model._engine.tokenize
    model.form, model._engine.tokenize = TRANSCRIPT, lambda text: (read.append(text), tokenize(text))[1]  # type: ignore
    try:
        for turns in range(0, 60, 20):
            past = tuple(Turn(action="look", observation=f"word {i} " * 10) for i in range(turns))
            view = View(task=TASK, opening="A room.", turns=past, admissible=ACTIONS, retrieved=tuple(near))
            asked = Ask(view=view, prompt=render(view, list_actions=False, form=TRANSCRIPT))
            done = await model.sample(asked)
            prompt = [text for text in read if len(tokenize(text)) == done.usage.prompt_tokens][-1]
            kept = [i for i in range(12) if f"number {i}\n" in prompt]
            assert kept == list(range(len(kept))) and len(kept) < 12
    finally:
        model.form, model._engine.tokenize = "bare", tokenize  # type: ignore
    assert capsys.readouterr().err.count("examples are left out, then the oldest turns") == 1


def test_a_tokenizer_of_another_model_and_layers_that_forget_are_said(tmp_path: Path, model: HF) -> None:
    from atlas.models.hf_weights import _check, load

    write_tiny_llama(tmp_path / "m", TEMPLATE, hidden_size=32, intermediate_size=64)
    config = json.loads((tmp_path / "m" / "tokenizer.json").read_text())
    config["model"]["vocab"] |= {f"w{i}": 257 + i for i in range(9)}
    (tmp_path / "m" / "tokenizer.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"a tokenizer of 266 tokens and a model of 257: give a folder whose two"):
        load(str(tmp_path / "m"), device="cpu", dtype="float32")
    plain, tokenizer = model._engine.model, model._engine.tokenizer
    plain.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(DataError, match=r"do not read the whole prompt \(linear_attention\).*gguf:PATH"):
        _check("x", plain, tokenizer)
    plain.config.layer_types, plain.config.sliding_window = ["sliding_attention"], 1 << 20
    _check("x", plain, tokenizer)
    plain.config.layer_types = None


def test_a_processor_without_quick_bfloat16_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlas.models import hf_weights

    write_tiny_llama(tmp_path, TEMPLATE, hidden_size=32, intermediate_size=64)
    monkeypatch.setattr(hf_weights, "quickest", lambda: "float32")
    hf_weights._told.cache_clear()
    capsys.readouterr()
    for _ in range(2):
        loaded, _ = hf_weights.load(str(tmp_path), device="cpu")
        assert loaded.dtype == torch.float32
    assert capsys.readouterr().err.count("compute in float32") == 1


def test_a_hub_that_is_away_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what was fetched before is loaded all the same."""
    import huggingface_hub

    from atlas.models import hf_weights

    asked = []

    def away(url: str, **options: Any) -> None:
        asked.append((url, options["timeout"]))
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", away)
    read: list[dict[str, Any]] = []
    monkeypatch.setattr(hf_weights, "_read", lambda name, precision, **extra: read.append(extra))
    with pytest.raises(
        DataError, match=r"hf:somebody/small cannot be loaded \(Name or service not known\): give a folder"
    ):
        hf_weights.load("somebody/small", device="cpu", dtype="float32")
    assert len(asked) == 1 and asked[0][0].endswith("somebody/small/resolve/main/config.json") and asked[0][1] <= 10
    assert not read
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: str(tmp_path / file))
    hf_weights._fetched("somebody/small", "float32")
    assert read.pop() == {"local_files_only": True}
    assert "hf:somebody/small is what was fetched of it before" in capsys.readouterr().err

    def refuses(url: str, **options: Any) -> None:
        raise huggingface_hub.errors.GatedRepoError("ask for it", response=SimpleNamespace(headers={}, request=None))

    # An answer is no network that is not there: what was fetched before is not passed off as what is there now.
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuses)
    hf_weights._fetched("somebody/small", "float32")
    assert read == [{}]


def test_what_cannot_be_loaded_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    for source in (tmp_path, tmp_path / "absent.gguf", tmp_path / "broken.gguf"):
        with pytest.raises(DataError, match=str(source)):
            HF(source, device="cpu")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dtype": "nonsense"}, "is computed in bfloat16, float16, float32, float64, not in 'nonsense'"),
        ({"dtype": "nn"}, "not in 'nn'"),
        ({"device": "nonsense"}, "cannot be computed on 'nonsense'"),
        ({"device": "cuda:99"}, "cannot be computed on 'cuda:99'"),
    ],
)
def test_a_precision_or_device_that_is_none_is_one_sentence_before_anything_is_read(
    tmp_path: Path, given: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        HF(tmp_path / "absent.gguf", **given)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_kept_weights_that_are_damaged_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from atlas.models import hf_weights

    write_tiny_llama(tmp_path / "tiny", TEMPLATE, hidden_size=32, intermediate_size=64)
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "cache"))
    reading = hf_weights._read

    def read(where: str, precision: str, **extra: str) -> tuple[Any, Any]:
        return reading(str(tmp_path / "tiny") if extra else where, precision)

    monkeypatch.setattr(hf_weights, "_read", read)
    for damaged in (False, True, False):
        if damaged:
            (kept,) = tmp_path.glob("cache/converted/*/model.safetensors")
            kept.write_bytes(kept.read_bytes()[:-100])
        capsys.readouterr()
        hf_weights._converted(tmp_path / "tiny.gguf", "float32")
        assert ("is damaged" in capsys.readouterr().err) is damaged
