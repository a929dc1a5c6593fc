"""A Llama of two layers that reads letters, with random weights: for tests that need some language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_tiny_llama(folder: Path, template: str, **config: Any) -> None:
    """Write the model, its tokenizer and the chat ``template`` to ``folder``; ``config`` goes to its configuration."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(["</s>", *letters])}
    raw = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(["</s>"])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        vocab_size=len(vocab),
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        eos_token_id=0,
        bos_token_id=None,
        **config,
    )
    transformers.LlamaForCausalLM(shape).save_pretrained(folder)
