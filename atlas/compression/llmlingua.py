"""LLMLingua-2 (arXiv 2403.12968): a small encoder that says of each token whether a compressed prompt keeps it.

Its weights are read from a folder, as Hugging Face has them; none come with this package. The paper drops single
tokens; here an action or a clause is worth the mean of its tokens' probabilities, so that what stays can be read and
acted on.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from atlas import assets
from atlas.compression.compressor import Worth
from atlas.compression.pieces import LONG, pieces
from atlas.errors import ConfigError, MissingExtra
from atlas.record import whole_characters
from atlas.records import Window

_REMEMBERED = 1024
"""Windows whose figures are kept."""
_KEPT = 1
"""The label of a token that stays, as the paper's models have it."""


class TokenClassifier:
    """A token classifier of two labels, of which the second says that a token stays; on the CPU."""

    long: ClassVar[int] = LONG

    def __init__(self, folder: str | Path) -> None:
        """Raises ConfigError for a folder without ``config.json``; the weights are loaded when they are first
        needed."""
        self._folder = Path(folder)
        if not (self._folder / "config.json").is_file():
            raise ConfigError(
                f"{folder} holds no token classifier: name a folder with config.json, a tokenizer and weights, such as "
                "those of LLMLingua-2"
            )
        self._digest = assets.fingerprint(self._folder)
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], Worth] = OrderedDict()

    @property
    def digest(self) -> str:
        return self._digest

    def worth(self, window: Window, task: str) -> Worth:
        """The mean probability to stay, of the tokens of each piece and of each action with the observation after it.
        ``task`` is not read."""
        key = tuple(text for step in window.steps for text in (step.observation, step.action))
        with self._lock:
            if key not in self._known:
                self._known[key] = self._worth(window)
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            return self._known[key]

    def _worth(self, window: Window) -> Worth:
        actions = []
        for n, step in enumerate(window.steps):
            after = window.steps[n + 1].observation if n + 1 < len(window.steps) else ""
            text = step.action if pieces(after) else f"{step.action}\n{after}"
            actions.append(self._classified(text, (text,))[0])
        return Worth(actions, [self._classified(s.observation, pieces(s.observation)) for s in window.steps])

    def _classified(self, text: str, parts: Sequence[str]) -> tuple[float, ...]:
        """Of each of the ``parts`` that ``text`` is made of."""
        if not parts:
            return ()
        import torch

        model, tokenizer = self._load()
        most = min(512, getattr(model.config, "max_position_embeddings", 512) - 2)
        # Of as many characters, so that the places of its tokens are those in the text.
        whole = whole_characters(text)
        encoded = tokenizer(whole, truncation=True, max_length=most, return_offsets_mapping=True, return_tensors="pt")
        offsets = encoded.pop("offset_mapping")[0].tolist()
        with torch.inference_mode():
            likely = model(**encoded).logits[0].softmax(-1)[:, _KEPT].tolist()
        ends, end = [], 0
        for part in parts:
            end += len(part)
            ends.append(end)
        sums, counts = [0.0] * len(parts), [0] * len(parts)
        at = 0
        for (begin, stop), chance in zip(offsets, likely, strict=True):
            if begin == stop:  # a token that stands for no text
                continue
            while begin >= ends[at]:
                at += 1
            sums[at] += chance
            counts[at] += 1
        # What is beyond the length that it reads is worth nothing.
        return tuple(total / count if count else 0.0 for total, count in zip(sums, counts, strict=True))

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            try:
                from transformers import AutoModelForTokenClassification, AutoTokenizer
            except ImportError as error:
                raise MissingExtra("a token classifier as compressor", "transformers") from error
            try:
                tokenizer = AutoTokenizer.from_pretrained(str(self._folder), local_files_only=True)
                model = AutoModelForTokenClassification.from_pretrained(str(self._folder), local_files_only=True)
            except (OSError, ValueError) as error:
                raise ConfigError(f"the token classifier in {self._folder} cannot be loaded: {error}") from error
            if model.config.num_labels != 2 or not tokenizer.is_fast:
                raise ConfigError(
                    f"{self._folder} is no token classifier of two labels with a fast tokenizer: name a model such as "
                    "LLMLingua-2's"
                )
            self._loaded = model.eval(), tokenizer
        return self._loaded
