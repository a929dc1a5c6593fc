"""Text embedders: a small sentence model that runs offline, any sentence-transformers model, and a hashing one."""

from __future__ import annotations

import hashlib
import re
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import util
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atlas import assets
from atlas.errors import ConfigError, MissingExtra
from atlas.given import has, shown
from atlas.protocols import Embedder
from atlas.record import whole_characters

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]

CACHED_TEXTS = 16_384
_SHORT = 32
"""Letters of a word up to which its features are remembered."""
PREFIX = "sentence-transformers/"


def load_embedder(name: str) -> Embedder:
    """``minilm``, ``hash``, ``sentence-transformers/`` and a name or a folder, or the path of a folder that holds a
    model of sentence-transformers; weights are loaded at the first use."""
    if name == "minilm":
        return MiniLM()
    if name == "hash":
        return HashEmbedder()
    if name.startswith(PREFIX) and len(name) > len(PREFIX):
        return SentenceTransformer(name)
    if Path(name).expanduser().is_dir():
        return SentenceTransformer(PREFIX + name)
    raise ConfigError(
        f"there is no embedder {name!r}: choose minilm, hash, {PREFIX}NAME, or a folder with a model of "
        "sentence-transformers"
    )


def embedder_of(given: Embedder | str) -> Embedder:
    """``given``, or what its name stands for. Raises ConfigError for what embeds nothing."""
    if isinstance(given, str):
        return load_embedder(given)
    if not has(given, "embed") or not hasattr(given, "name"):
        raise ConfigError(f"an embedder is one, or the name of one, not {shown(given)}: write 'minilm' or 'hash', say")
    return given


class _Cached(ABC):
    """Remembers the vectors of the texts used last. Safe from many threads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._cache: OrderedDict[str, Floats] = OrderedDict()
        self._cache_lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Floats:
        """``(len(texts), dim)``, rows of unit length."""
        found: dict[str, Floats] = {}
        with self._cache_lock:
            for text in texts:
                if text in self._cache:
                    self._cache.move_to_end(text)
                    found[text] = self._cache[text]
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            computed = self._compute([whole_characters(text) for text in missing])
            found.update(zip(missing, computed, strict=True))
            with self._cache_lock:
                self._cache.update((text, found[text]) for text in missing)
                while len(self._cache) > CACHED_TEXTS:
                    self._cache.popitem(last=False)
        return np.stack([found[text] for text in texts]) if texts else np.empty((0, self.dim), np.float32)

    @property
    @abstractmethod
    def dim(self) -> int:
        """How many numbers a vector has."""

    @abstractmethod
    def _compute(self, texts: list[str]) -> Floats:
        """The vectors of texts that are not remembered."""


def _unit(vectors: NDArray[Any]) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit


_READ = 65_536
"""Characters of a text that MiniLM's tokenizer is given: far more than the tokens that the model reads are made of."""


class MiniLM(_Cached):
    """all-MiniLM-L6-v2 (Reimers and Gurevych), int8 weights, on onnxruntime: mean pooling, 384 dimensions."""

    def __init__(self, threads: int = 2, batch: int = 512, max_tokens: int = 256) -> None:
        """``threads`` is what one call may use, ``batch`` how many tokens it reads at once (at least one text); texts
        longer than ``max_tokens`` are cut, as the model's authors do."""
        super().__init__("minilm-l6-v2-int8")
        self._threads, self._batch, self._max_tokens = threads, batch, max_tokens
        self._loaded: tuple[InferenceSession, Tokenizer] | None = None
        self._load_lock = threading.Lock()

    @property
    def dim(self) -> int:
        return 384

    def _load(self) -> tuple[InferenceSession, Tokenizer]:
        with self._load_lock:
            if self._loaded is None:
                try:
                    import onnxruntime
                    from tokenizers import Tokenizer
                except ImportError as error:
                    raise MissingExtra("the embedder minilm", "local") from error
                tokenizer = Tokenizer.from_file(str(assets.fetch("minilm-tokenizer")))
                tokenizer.no_padding()
                tokenizer.enable_truncation(self._max_tokens)
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = self._threads
                options.log_severity_level = 3
                # Threads that spin while they wait starve the other processes of a small machine.
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                model = str(assets.fetch("minilm-onnx"))
                session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
                self._loaded = session, tokenizer
            return self._loaded

    def _batches(self, order: list[int], tokens: list[list[int]]) -> Iterator[list[int]]:
        """Texts in order of length, as many at once as have room: what a batch needs in memory is never given back."""
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * len(tokens[order[end]]) <= self._batch:
                end += 1
            yield order[start:end]
            start = end

    def _compute(self, texts: list[str]) -> Floats:
        session, tokenizer = self._load()
        # All of a text would be made tokens, of which the first are kept: seconds for one of some megabytes.
        tokens = [encoding.ids for encoding in tokenizer.encode_batch([text[:_READ] for text in texts])]
        # Texts of like length share a batch, so that little is spent on padding.
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        vectors = np.empty((len(texts), self.dim), np.float32)
        for part in self._batches(order, tokens):
            ids = np.zeros((len(part), len(tokens[part[-1]])), np.int64)
            for row, i in enumerate(part):
                ids[row, : len(tokens[i])] = tokens[i]
            mask = (np.arange(ids.shape[1]) < np.array([[len(tokens[i])] for i in part])).astype(np.int64)
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            states = session.run(["last_hidden_state"], feed)[0]
            pooled = (states * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
            vectors[part] = _unit(pooled)
        return vectors


class SentenceTransformer(_Cached):
    """Any model of the sentence-transformers library, by name or from a folder.

    A folder's vectors are kept in a memory under what its files hold, wherever it lies: another model in its place is
    another embedder.
    """

    def __init__(self, name: str, device: str | None = None) -> None:
        """``name``: as on Hugging Face (of the organisation ``sentence-transformers`` where it names none), or a
        folder; ``sentence-transformers/`` may stand before either. Raises ConfigError for a folder without a model."""
        wanted = name.removeprefix(PREFIX)
        folder = Path(wanted).expanduser()
        if folder.is_dir():
            self._model_name = str(folder)
            super().__init__(f"{PREFIX}{folder.resolve().name}@{_fingerprint(folder)}")
        elif wanted.startswith(("/", ".", "~")):
            raise ConfigError(f"there is no folder {wanted}: name one that holds a model of sentence-transformers")
        else:
            self._model_name = wanted if "/" in wanted else PREFIX + wanted
            super().__init__(PREFIX + wanted)
        if util.find_spec("sentence_transformers") is None:
            raise MissingExtra(f"the embedder {name}", "sentence-transformers")
        self._device = device
        self._model: Any = None
        self._load_lock = threading.Lock()

    @property
    def dim(self) -> int:
        """Of its vectors; the weights are loaded for it."""
        model = self._load()
        told = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
        return int(told())

    def _load(self) -> Any:
        with self._load_lock:
            if self._model is None:
                import transformers
                from sentence_transformers import SentenceTransformer as Model

                transformers.utils.logging.disable_progress_bar()
                try:
                    self._model = Model(self._model_name, device=self._device)
                except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
                    said = (str(error).splitlines() or [type(error).__name__])[0]
                    raise ConfigError(f"the embedder {self.name} could not be loaded: {said}") from error
            return self._model

    def _compute(self, texts: list[str]) -> Floats:
        return _unit(np.asarray(self._load().encode(texts, show_progress_bar=False)))


def _fingerprint(folder: Path) -> str:
    """Which model a folder holds."""
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise ConfigError(
            f"the folder {folder} holds no model of sentence-transformers (no modules.json or config.json): name one "
            "that does"
        )
    return assets.fingerprint(folder)


class HashEmbedder(_Cached):
    """Counts of hashed words, word pairs and letter triples: it sees shared wording, never meaning.

    No model and no dependency, about 30 microseconds a text; the same on every machine.
    """

    def __init__(self, dim: int = 512) -> None:
        super().__init__(f"hash-{dim}")
        self._dim = dim

    @property
    def dim(self) -> int:
        return self._dim

    def _compute(self, texts: list[str]) -> Floats:
        vectors = np.empty((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            codes = np.array(_codes(text), np.uint64)
            signs = np.where(codes >> np.uint64(63), 1.0, -1.0)
            vectors[row] = np.bincount((codes % np.uint64(self.dim)).astype(np.intp), signs, self.dim)
            if not vectors[row].any():
                vectors[row, 0] = 1.0
        return _unit(vectors)


def _codes(text: str) -> list[int]:
    """A number for each feature of a text: its words, the pairs of them, and their letter triples."""
    words = re.findall(r"\w+", text.lower())
    said = (_of_word(word) if len(word) <= _SHORT else _features(word) for word in words)
    return [code for some in said for code in some] + [_code(f"{a} {b}") for a, b in pairwise(words)]


@lru_cache(maxsize=65_536)
def _of_word(word: str) -> tuple[int, ...]:
    return _features(word)


def _features(word: str) -> tuple[int, ...]:
    return (_code(word), *(_code(f"#{word[i : i + 3]}") for i in range(len(word) - 2)))


def _code(feature: str) -> int:
    return int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
