"""What a training is timed on where nothing else is named: made-up episodes, and a language model of random weights."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from atlas.benchmarks.perf.instant import ACTIONS, INSTRUCTIONS, ROOM

if TYPE_CHECKING:
    from atlas.train.hf import HFBase
    from atlas.trained.trajectory import Trajectory

TEMPLATE = (
    "{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def toy(lora: int | None = None) -> HFBase:
    """A Llama of 0.9 million random weights that reads bytes: it shows that trainers run, and little of their speed."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from atlas.train.hf import HFBase, Lora

    alphabet = ["</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    letters = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    letters.add_special_tokens(["</s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="</s>", chat_template=TEMPLATE)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(alphabet), hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=8192, bos_token_id=None, eos_token_id=0, use_cache=False,
    )  # fmt: skip
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = LlamaForCausalLM(config).to(device)
    return HFBase(net, tokenizer, "toy", lora=None if lora is None else Lora(rank=lora))


def episodes(base: HFBase, tokens: int) -> list[Trajectory]:
    """Episodes of a household that fill more than ``tokens`` tokens of ``base``: from 2 to 24 steps, like real ones."""
    from atlas.trained.trajectory import Moment, Trajectory

    rng = random.Random(0)
    found: list[Trajectory] = []
    have = 0
    # A fifth more: batches are not quite full, and there are to be enough of them.
    while have < 1.2 * tokens + 4 * base.context:
        moments = tuple(
            Moment(
                observation=f"{ROOM} You see a {rng.choice(('mug', 'fork', 'pan'))} {n}.", action=rng.choice(ACTIONS)
            )
            for n in range(rng.randint(2, 24))
        )
        made = Trajectory(
            task=f"made-{len(found)}", goal="put a clean mug away", stable=INSTRUCTIONS, moments=moments, success=True
        )
        have += sum(len(item) for item in base.encode(made))
        found.append(made)
    return found
