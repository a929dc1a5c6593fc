"""Packing: sequences that share a row are read as if each stood alone, or they do not share it."""

from __future__ import annotations

import json
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from atlas.trained.vocabulary import Encoded
from tests.tiny_llama import write_tiny_llama

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")

pytestmark = pytest.mark.torch

SMALL = {"vocab_size": 257, "hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": None, "eos_token_id": 0}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 512}
TEMPLATE = "{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("letters")
    write_tiny_llama(folder, TEMPLATE, hidden_size=32, intermediate_size=64)
    torch.set_num_threads(1)
    return transformers.AutoTokenizer.from_pretrained(folder)


def configuration(name: str) -> Any:
    """Llama and Qwen 2 attend to the whole sequence, Mistral to a window, and Mamba is recurrent, with no places."""
    match name:
        case "llama":
            return transformers.LlamaConfig(**SMALL, **HEADS)
        case "qwen2":
            return transformers.Qwen2Config(**SMALL, **HEADS)
        case "mistral":
            return transformers.MistralConfig(**SMALL, **HEADS, sliding_window=8)
        case "mamba":
            return transformers.MambaConfig(**SMALL, state_size=4)
    return transformers.Qwen3NextConfig(
        **SMALL, **HEADS, layer_types=["linear_attention", "full_attention"], head_dim=8, num_experts=2,
        num_experts_per_tok=1, moe_intermediate_size=16, shared_expert_intermediate_size=16, decoder_sparse_step=1,
        linear_num_key_heads=2, linear_num_value_heads=2, linear_key_head_dim=8, linear_value_head_dim=8,
    )  # fmt: skip


def base(name: str, tokenizer: Any) -> Any:
    from atlas.train.hf import HFBase

    torch.manual_seed(0)
    net = transformers.AutoModelForCausalLM.from_config(configuration(name))
    # Random networks are small at first, and what one token tells another would drown in rounding.
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    net.config.use_cache = False
    return HFBase(net.eval(), tokenizer, name)


def sequences(*lengths: int) -> list[Encoded]:
    rng = random.Random(0)
    return [
        Encoded([rng.randrange(1, 257) for _ in range(n)], [float(i > 2 and i % 3 == 0) for i in range(n)])
        for n in lengths
    ]


def rows(of: Any) -> list[int]:
    """The number of rows of each pass from now on."""
    seen: list[int] = []
    of.net.get_decoder().register_forward_pre_hook(
        lambda module, args, given: seen.append(len(given["input_ids"])), with_kwargs=True
    )
    return seen


def test_rows_are_filled_and_none_is_wider_than_the_longest() -> None:
    from atlas.train.packing import fill

    lengths = [10, 3, 7, 4, 6, 9]
    found = fill(lengths)
    assert sorted(i for row in found for i in row) == list(range(6))
    assert all(sum(lengths[i] for i in row) <= 10 for row in found)
    assert len(found) == 4


@pytest.mark.parametrize("name", ["llama", "qwen2", "mistral"])
def test_packed_and_alone_are_the_same_to_rounding(name: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores and gradients, in float32: of a batch that shares rows, and of its sequences one by one."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **settings: nullcontext())
    whole, batch = base(name, tokenizer), sequences(40, 11, 9, 25, 4, 17)
    assert whole._packs()
    passes = rows(whole)
    together = whole.scores(batch)
    assert passes == [3]
    together.logits.logsumexp(-1).sum().backward()
    packed = {k: p.grad.clone() for k, p in whole.net.named_parameters()}
    whole.net.zero_grad()
    single = [whole.scores([item]) for item in batch]
    alone = torch.cat([scores.logits for scores in single])
    alone.logsumexp(-1).sum().backward()
    torch.testing.assert_close(together.logits, alone, rtol=1e-4, atol=1e-4)
    assert torch.equal(together.targets, torch.cat([scores.targets for scores in single]))
    assert together.owners.tolist() == [i for i, scores in enumerate(single) for _ in scores.targets]
    for key, parameter in whole.net.named_parameters():
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(packed[key], parameter.grad, rtol=1e-3, atol=1e-4 * scale)


def test_sequences_of_one_length_keep_their_rows(tokenizer: Any) -> None:
    """Without a mask, which costs more than the little padding between them."""
    whole = base("llama", tokenizer)
    whole._packs()
    given: list[Any] = []
    whole.net.get_decoder().register_forward_pre_hook(lambda m, args, kw: given.append(set(kw)), with_kwargs=True)
    whole.scores(sequences(20, 19, 18))
    assert given == [{"input_ids"}]


@pytest.mark.parametrize("name", ["mamba", "qwen3_next"])
def test_what_does_not_keep_sequences_apart_is_padded_and_told_once(
    name: str, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mamba has no places; layers of linear attention take them and carry their state on."""
    whole, batch = base(name, tokenizer), sequences(40, 11, 9, 25)
    whole.scores(batch)
    passes = rows(whole)
    whole.scores(batch)
    assert passes == [4]
    assert capsys.readouterr().err.count(f"{name} does not keep sequences of one row apart") == 1


@pytest.mark.parametrize("rank", [None, 4])
def test_layers_computed_again_give_the_same_gradients(rank: int | None, tokenizer: Any) -> None:
    from atlas.train.hf import HFBase, Lora

    found = []
    for again in (False, True):
        plain = base("llama", tokenizer).net
        lora = None if rank is None else Lora(rank=rank)
        torch.manual_seed(1)
        whole = HFBase(plain, tokenizer, "llama", lora=lora, recompute=again)
        whole._packs()
        calls: list[int] = []
        plain.model.layers[0].mlp.register_forward_pre_hook(lambda *given, seen=calls: seen.append(1))
        whole.net.train()
        whole.scores(sequences(20, 19)).logits.logsumexp(-1).sum().backward()
        found.append([p.grad for p in whole.net.parameters() if p.requires_grad])
        assert len(calls) == (2 if again else 1)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_one_sequence_without_targets_has_no_scores(tokenizer: Any) -> None:
    found = base("llama", tokenizer).scores([Encoded([1, 2, 3], [0.0, 0.0, 0.0])])
    assert found.logits.shape == (0, 257) and not len(found.targets)


def test_both_trainers_run_on_the_same_batches_and_learn_the_same() -> None:
    """The comparison at toy size: what it prints of both, and that one update has the same effect."""
    pytest.importorskip("trl", reason="compares with TRL")
    from click.testing import CliRunner

    from atlas.benchmarks.perf.training import main

    done = CliRunner().invoke(main, ["--steps", "2", "--batch-tokens", "2048", "--json"], catch_exceptions=False)
    table = json.loads(done.stdout)["tables"][0]
    ours, same, own = table["rows"]
    assert [row[0] for row in table["rows"]] == ["atlas", "TRL, the same batches", "TRL, batches of its own"]
    assert all(row[1] > 0 and row[3] > 0 for row in (ours, same, own))
    assert ours[4] == pytest.approx(same[4], abs=0.005)
    assert "atlas over TRL on the same batches" in table["note"]
