"""From a folder, a file or a name to a model of transformers in memory, in the precision that is quickest here."""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from atlas.assets import ASSETS, cache_dir, fetch, say
from atlas.errors import ConfigError, DataError, MissingExtra
from atlas.trained.precision import quickest

CONVERTED = "converted"
"""Folder of the cache where weights read from GGUF files are kept as they are computed with."""

_CONFIG, _HUB_SECONDS = "config.json", 10.0
"""What each model on the hub has, and how long its answer is waited for."""

DTYPES = ("bfloat16", "float16", "float32", "float64")
"""What a model can be computed in."""


def load(source: str, *, device: str | None = None, dtype: str | None = None) -> tuple[Any, Any]:
    """The model and the tokenizer of a folder, a ``.gguf`` file (read dequantised, and kept so: to dequantise 1.5
    billion weights takes a minute of CPU), an embedded model's name or a name on the model hub.

    ``device`` None takes the GPU where there is one; ``dtype`` None is bfloat16 there, and on a CPU whichever of
    bfloat16 and float32 is quicker there (:func:`quickest`). Raises DataError for what cannot be loaded, ConfigError
    for a device or a dtype that is not there, MissingExtra where torch or transformers is not installed.
    """
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(
            f"hf:{source} is computed in {', '.join(DTYPES)}, not in {dtype!r}: give one of them as dtype"
        )
    # Spinning OpenMP threads starve a busy machine. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch
        import transformers
    except ImportError:
        raise MissingExtra("a transformers model", "transformers") from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise ConfigError(
            f"hf:{source} cannot be computed on {device!r} ({first}): give cpu, cuda or cuda:0 as device"
        ) from error
    precision = dtype or ("bfloat16" if device.startswith("cuda") else _told(quickest()))
    where = str(fetch(source)) if source in ASSETS else source
    path = Path(where).expanduser()
    try:
        if path.suffix != ".gguf":
            model, tokenizer = _read(str(path), precision) if path.exists() else _fetched(where, precision)
        elif path.is_file():
            model, tokenizer = _converted(path, precision)
        else:
            raise DataError(f"{path} does not exist: give the path of a GGUF file")
        _check(source, model, tokenizer)
    except DataError:
        raise
    except Exception as error:  # the boundary to loaders that raise whatever a broken file makes them
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"hf:{source} cannot be loaded ({first}): give a folder, a .gguf file or a name that can be downloaded"
        ) from error
    return model.to(device), tokenizer


def _check(source: str, model: Any, tokenizer: Any) -> None:
    """Raises DataError for what loads and would answer nonsense."""
    words, rows = max(tokenizer.get_vocab().values(), default=-1) + 1, model.get_input_embeddings().num_embeddings
    if words > rows:
        raise DataError(
            f"hf:{source} has a tokenizer of {words:,} tokens and a model of {rows:,}: give a folder whose two belong "
            "together"
        )
    kinds = {kind for kind in getattr(model.config, "layer_types", None) or () if kind != "full_attention"}
    reach = getattr(model.config, "sliding_window", None)
    if kinds == {"sliding_attention"} and reach and reach >= model.config.max_position_embeddings:
        return
    if kinds:
        raise DataError(
            f"hf:{source} has layers that do not read the whole prompt ({', '.join(sorted(kinds))}), and its actions "
            "could not be ranked in one pass: give its GGUF file, as gguf:PATH, or another model"
        )


@cache
def _told(precision: str) -> str:
    """Says where a model is slow here."""
    if precision == "float32":
        say(
            "atlas: this processor is no quicker in bfloat16 (it has no AMX or AVX-512 for it), so hf: models compute "
            "in float32; the same weights as gguf: may be the quicker ones here"
        )
    return precision


def whole(net: Any) -> Any:
    """A model without trace of the quantised file it was read from: its weights are whole by now, but save_pretrained
    and trainers would refuse them."""
    if not hasattr(net.config, "quantization_config"):
        return net
    config = copy.deepcopy(net.config)
    del config.quantization_config
    plain = type(net)(config).to(net.dtype)
    plain.load_state_dict(net.state_dict())
    plain.generation_config = net.generation_config
    return plain.to(net.device)


def _fetched(name: str, precision: str) -> tuple[Any, Any]:
    """The model of a name on the hub, or what was fetched of it before where the hub cannot be reached. It is asked
    once before anything else, as each file of a hub that is away is asked for again for half a minute."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    try:
        get_hf_file_metadata(hf_hub_url(name, _CONFIG), timeout=_HUB_SECONDS)
    except HfHubHTTPError:
        pass  # it answered, and what it refuses is told by who reads
    except Exception:  # whatever it raises of a network that is not there, or that it was told not to use
        if not isinstance(try_to_load_from_cache(name, _CONFIG), str):
            raise
        say(f"atlas: the hub cannot be reached, so hf:{name} is what was fetched of it before")
        return _read(name, precision, local_files_only=True)
    return _read(name, precision)


def _read(where: str, precision: str, **extra: Any) -> tuple[Any, Any]:
    import torch
    import transformers

    with _unseen():
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(where, **extra)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            where, dtype=getattr(torch, precision), attn_implementation="sdpa", **extra
        )
    return model, tokenizer


@contextmanager
def _unseen() -> Iterator[None]:
    """Without the progress bar of GGUF files, which transformers' own switch does not reach."""
    from transformers import modeling_gguf_pytorch_utils as reading

    bar = reading.tqdm
    reading.tqdm = lambda tensors, **told: tensors
    try:
        yield
    finally:
        reading.tqdm = bar


def _converted(path: Path, precision: str) -> tuple[Any, Any]:
    """The model of a GGUF file, from the folder that an earlier load left, or read and left there."""
    seen = path.resolve().stat()
    key = hashlib.sha256(f"{path.resolve()}|{seen.st_size}|{seen.st_mtime_ns}|{precision}".encode()).hexdigest()[:16]
    folder = cache_dir() / CONVERTED / f"{path.stem}-{precision}-{key}"
    if folder.is_dir():
        try:
            return _read(str(folder), precision)
        except Exception as error:  # whatever a broken file makes loaders raise
            first = next(iter(str(error).splitlines()), type(error).__name__)
            say(f"atlas: what was kept of {path.name} is damaged ({first}), and is made anew")
            shutil.rmtree(folder, ignore_errors=True)
    say(f"atlas: {path.name} is read and kept as {precision}, once, in {folder.parent}")
    model, tokenizer = _read(str(path.parent), precision, gguf_file=path.name)
    model = whole(model)

    aside = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        aside.mkdir(parents=True)
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        with suppress(FileExistsError):  # another process was as quick
            os.rename(aside, folder)
    except Exception as error:  # safetensors says "no space left" in an exception of its own
        # A cache: without it the next start takes longer, and says the same.
        say(f"atlas: the weights of {path.name} are not kept in {folder.parent} ({error})")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return model, tokenizer
