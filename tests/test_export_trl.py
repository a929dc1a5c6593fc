"""TRL's trainers load what is exported for them and train on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atlas.export import ExportPlan, export
from atlas.traces import Run
from tests.export_fixtures import desk_run, homes_run, lines

pytestmark = pytest.mark.torch

TEMPLATE = (
    "{% for t in tools or [] %}<tool>{{ t | tojson }}{% endfor %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of random weights over bytes, with a chat template."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    marks = ["<pad>", "<end>", "<assistant>"]
    vocabulary = {token: i for i, token in enumerate([*marks, *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())])}
    bytes_only = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    bytes_only.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = tokenizers.decoders.ByteLevel()
    bytes_only.add_special_tokens(marks)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, pad_token="<pad>", eos_token="<end>", chat_template=TEMPLATE
    )
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
    )
    folder = tmp_path_factory.mktemp("model")
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exports")
    for run in (Run(homes_run(root / "runs" / "homes", 2)), Run(desk_run(root / "runs" / "desk"))):
        for form in ("trl-sft", "trl-preference"):
            export([run], root / run.name / form, ExportPlan(format=form, permitted=("*",)))
    return root


def loaded(file: Path, cache: Path) -> Any:
    """As the card in the folder says: through the datasets library, with the columns that it names."""
    datasets = pytest.importorskip("datasets", minversion="4.7")
    return datasets.load_dataset(str(file.parent), split="train", cache_dir=str(cache))


def settings(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "logging_steps": 1,
        "dataloader_num_workers": 0,
    }


@pytest.mark.parametrize("run", ["homes", "desk"])
def test_the_sft_trainer_trains_on_completions_alone(
    run: str, exports: Path, model_folder: Path, tmp_path: Path
) -> None:
    trl = pytest.importorskip("trl")
    file = exports / run / "trl-sft" / "train.jsonl"
    data = loaded(file, tmp_path / "cache")
    assert len(data) == len(lines(file)) and {"prompt", "completion"} <= set(data.column_names)
    arguments = trl.SFTConfig(**settings(tmp_path), max_length=2048)
    trainer = trl.SFTTrainer(model=str(model_folder), args=arguments, train_dataset=data)
    batch = next(iter(trainer.get_train_dataloader()))
    tokenizer = trainer.processing_class
    learned = tokenizer.batch_decode([[t for t in row if t != -100] for row in batch["labels"].tolist()])
    everything = "\n".join(row["completion"][0]["content"] for row in lines(file))
    for text in learned:
        assert text.endswith("<end>")
        said = text.removesuffix("<end>").partition("<call>")
        assert said[0] in everything or said[0] == ""
        if said[1]:
            assert said[2].endswith('"}') and said[2].startswith(("refund{", "look_up{")), "arguments are written once"
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2 and all(loss > 0 for loss in losses)


@pytest.mark.parametrize("run", ["homes", "desk"])
def test_the_dpo_trainer_trains_on_pairs(run: str, exports: Path, model_folder: Path, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    file = exports / run / "trl-preference" / "train.jsonl"
    data = loaded(file, tmp_path / "cache")
    assert len(data) == len(lines(file)) > 0 and {"prompt", "chosen", "rejected"} <= set(data.column_names)
    arguments = trl.DPOConfig(**settings(tmp_path), max_length=2048)
    trainer = trl.DPOTrainer(model=str(model_folder), args=arguments, train_dataset=data)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2 and all(loss > 0 for loss in losses)
