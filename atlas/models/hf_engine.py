"""A model of transformers that answers several prompts in one pass."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.models.hf_prefixes import Prefixes
from atlas.models.ranking import Node, Ranked
from atlas.models.tree import Tree, flatten
from atlas.record import whole_characters

_NO_TREE = Tree(tokens=(), parents=(), depths=(), paths=())


@dataclass(frozen=True)
class _Pass:
    """What a forward pass over a batch of prompts left behind."""

    states: list[Any]
    """Per prompt, the last hidden states of its last token and of its tree: ``(1 + tree tokens, width)``."""
    cache: Any
    valid: Any
    """``(prompts, places in the cache)``: True where a place holds a token of that prompt, not padding and not tree."""
    cached: list[int]
    """Per prompt, how many of its tokens were not passed because an earlier prompt began with them."""


class Engine:
    """Models whose layers all attend to the whole context (Llama, SmolLM, Qwen 2 to 3, Mistral without window...).

    Calls must come one at a time.
    """

    def __init__(self, model: Any, tokenizer: Any, *, prefixes: int | None = None) -> None:
        """``model`` and ``tokenizer`` as :func:`atlas.models.hf_weights.load` gives them, where they are to compute."""
        import torch
        import transformers

        self._torch = torch
        self.tokenizer = tokenizer
        self.model = model.eval()
        self.device = str(model.device)
        self.on_gpu = self.device.startswith("cuda")
        self._cache_of = transformers.DynamicCache
        self._prefixes = Prefixes(prefixes or (64 if self.on_gpu else 8))
        ends = model.generation_config.eos_token_id
        listed = ends if isinstance(ends, list) else [ends]
        self.ends: set[int] = {end for end in (self.tokenizer.eos_token_id, *listed) if end is not None}

    @property
    def context(self) -> int:
        return int(self.model.config.max_position_embeddings)

    def tokenize(self, text: str) -> list[int]:
        return list(self.tokenizer(whole_characters(text), add_special_tokens=False)["input_ids"])

    def rank(
        self, prompts: Sequence[Sequence[int]], tries: Sequence[Node], counts: Sequence[int]
    ) -> list[tuple[Ranked, int]]:
        """For each prompt its trie's actions with exact log-probabilities, best first; and how much was cached."""
        torch = self._torch
        trees = [flatten(root, count) for root, count in zip(tries, counts, strict=True)]
        with torch.inference_mode():
            done = self._forward(prompts, trees)
            head = self.model.get_output_embeddings()
            steps = []
            for states, tree in zip(done.states, trees, strict=True):
                logits = head(states).float()
                pairs = torch.tensor([pair for path in tree.paths for pair in path], device=self.device)
                steps.append(logits[pairs[:, 0], pairs[:, 1]] - logits.logsumexp(-1)[pairs[:, 0]])
            values = iter(torch.cat(steps).tolist())
        answers = []
        for tree, cached in zip(trees, done.cached, strict=True):
            scores = [sum(next(values) for _ in path) for path in tree.paths]
            answers.append((sorted(enumerate(scores), key=lambda pair: -pair[1]), cached))
        return answers

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        *,
        temperatures: Sequence[float],
        limits: Sequence[int],
    ) -> list[tuple[list[list[int]], int]]:
        """For each prompt one continuation per seed, and how much of the prompt was cached.

        Each goes up to a token that ends a turn, which is left out, or to the prompt's limit of tokens.
        """
        torch = self._torch
        owners = [i for i, own in enumerate(seeds) for _ in own]
        generators = [random.Random(seed) for own in seeds for seed in own]
        texts: list[list[int]] = [[] for _ in owners]
        going = {row for row, owner in enumerate(owners) if limits[owner] > 0}
        with torch.inference_mode():
            done = self._forward(prompts, [_NO_TREE] * len(prompts))
            index = torch.tensor(owners, device=self.device)
            cache = self._cache([(layer.keys[index], layer.values[index]) for layer in done.cache.layers])
            valid = done.valid[index]
            places = torch.tensor([[len(prompts[owner])] for owner in owners], device=self.device)
            head = self.model.get_output_embeddings()
            states = torch.stack([done.states[owner][0] for owner in owners])
            while going:
                chosen = self._choose(head(states), [temperatures[owner] for owner in owners], generators)
                for row in list(going):
                    if chosen[row] not in self.ends:
                        texts[row].append(chosen[row])
                    if chosen[row] in self.ends or len(texts[row]) == limits[owners[row]]:
                        going.discard(row)
                valid = torch.cat([valid, torch.ones_like(valid[:, :1])], dim=1)
                states = self.model.base_model(
                    input_ids=torch.tensor(chosen, device=self.device)[:, None],
                    attention_mask=valid[:, None, None, :],
                    position_ids=places,
                    past_key_values=cache,
                    use_cache=True,
                ).last_hidden_state[:, -1]
                places = places + 1
        rows = iter(texts)
        return [([next(rows) for _ in own], cached) for own, cached in zip(seeds, done.cached, strict=True)]

    def _choose(self, logits: Any, temperatures: Sequence[float], generators: Sequence[random.Random]) -> list[int]:
        best = logits.argmax(-1).tolist()
        if not any(temperatures):
            return [int(token) for token in best]
        heat = self._torch.tensor([[t or 1.0] for t in temperatures], device=self.device)
        mass = self._torch.softmax(logits.double() / heat, -1).cumsum(-1).cpu().numpy()
        drawn = [
            min(np.searchsorted(row, g.random() * row[-1], side="right"), len(row) - 1)
            for row, g in zip(mass, generators, strict=True)
        ]
        return [int(d) if t else int(b) for d, b, t in zip(drawn, best, temperatures, strict=True)]

    def _forward(self, prompts: Sequence[Sequence[int]], trees: Sequence[Tree]) -> _Pass:
        """One pass over what is new in each prompt, and over its tree; remembers the prompts' caches.

        Cached prefixes are padded on the left and new tokens on the right, so that all prompts' new tokens begin at one
        place of the cache.
        """
        torch = self._torch
        found = [self._prefixes.find(prompt) for prompt in prompts]
        before = max(length for _, length in found)
        fresh = [len(prompt) - length for prompt, (_, length) in zip(prompts, found, strict=True)]
        width = max(f + len(tree.tokens) for f, tree in zip(fresh, trees, strict=True))
        ids = np.zeros((len(prompts), width), dtype=np.int64)
        places = np.zeros_like(ids)
        seen = np.zeros((len(prompts), width, before + width), dtype=np.bool_)
        # Padding sees itself: a row that sees nothing is not a number, and would spread.
        seen[:, np.arange(width), before + np.arange(width)] = True
        valid = np.zeros((len(prompts), before + width), dtype=np.bool_)
        for i, (prompt, tree) in enumerate(zip(prompts, trees, strict=True)):
            held, size = found[i][1], fresh[i] + len(tree.tokens)
            ids[i, :size] = [*prompt[held:], *tree.tokens]
            places[i, :size] = [*range(held, len(prompt)), *(len(prompt) - 1 + depth for depth in tree.depths)]
            visible = tree.visible(held, fresh[i])
            seen[i, :size, before - held : before] = visible[:, :held]
            seen[i, :size, before : before + size] = visible[:, held:]
            valid[i, before - held : before + fresh[i]] = True
        cache = self._cache(self._padded([kept for kept, _ in found], before))
        hidden = self.model.base_model(
            input_ids=torch.from_numpy(ids).to(self.device),
            attention_mask=torch.from_numpy(seen).to(self.device)[:, None],
            position_ids=torch.from_numpy(places).to(self.device),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        for i, prompt in enumerate(prompts):
            span = slice(before - found[i][1], before + fresh[i])
            pairs = [torch.stack((la.keys[i, :, span], la.values[i, :, span])) for la in cache.layers]
            self._prefixes.keep(prompt, torch.stack(pairs))
        return _Pass(
            states=[
                hidden[i, f - 1 : f + len(tree.tokens)] for i, (f, tree) in enumerate(zip(fresh, trees, strict=True))
            ],
            cache=cache,
            valid=torch.from_numpy(valid).to(self.device),
            cached=[length for _, length in found],
        )

    def _padded(self, kept: Sequence[Any], before: int) -> list[tuple[Any, Any]]:
        """Keys and values by layer, ``(prompts, heads, before, width)``; none where no prompt has a cached prefix."""
        some = next((cache for cache in kept if cache is not None), None)
        if some is None:
            return []
        layers, _, heads, _, width = some.shape
        whole = some.new_zeros((layers, 2, len(kept), heads, before, width))
        for i, cache in enumerate(kept):
            if cache is not None:
                whole[:, :, i, :, before - cache.shape[3] :] = cache
        return [(layer[0], layer[1]) for layer in whole]

    def _cache(self, layers: Sequence[tuple[Any, Any]]) -> Any:
        cache = self._cache_of()
        for i, (keys, values) in enumerate(layers):
            cache.update(keys, values, i)
        return cache
