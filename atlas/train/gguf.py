"""A trained language model as a GGUF file, which llama.cpp and the servers built on it load.

The file is written after the model of another GGUF file, that of the base: its settings, tokenizer and chat template
are taken over as they are, its tensors are replaced. So nothing of what a server does differs but the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atlas.errors import ConfigError, DataError, MissingExtra

_OWN = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")
"""What a writer sets by itself."""
_PERMUTED = ("attn_q.weight", "attn_q.bias", "attn_k.weight", "attn_k.bias")
"""llama.cpp pairs the halves of a head's dimensions differently for rotary positions, in models of the Llama family."""
_BLOCK = 32
"""Values of a row that share a scale in Q8_0."""


def write_gguf(folder: Path, out: Path, like: Path) -> int:
    """Write the student in ``folder`` (of transformers) to ``out`` in 8 bits (Q8_0); returns its size in bytes.

    ``like`` is a GGUF file of the base it was trained from. Raises DataError where either cannot be read or where their
    tensors do not fit each other; nothing is left at ``out`` then.
    """
    try:
        import gguf
        from safetensors.numpy import load_file
    except ImportError:
        raise MissingExtra("writing GGUF", "train") from None
    weights = _weights(folder, load_file)
    partial = out.with_name(out.name + ".partial")
    try:
        reader = gguf.GGUFReader(like)
        architecture = str(reader.fields["general.architecture"].contents())
        writer = gguf.GGUFWriter(partial, architecture)
        _settings(reader, writer, gguf)
        blocks = int(reader.fields[f"{architecture}.block_count"].contents())
        names = gguf.get_tensor_name_map(_architecture(gguf, architecture), blocks)
        ours = {names.get_name(name, try_suffixes=(".weight", ".bias")): name for name in weights}
        for name, tensor in _tensors(reader, weights, ours, architecture, gguf):
            writer.add_tensor(name, tensor[0], raw_dtype=tensor[1])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(out)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"the student in {folder} cannot be written as {out} after {like} ({error}): give the GGUF file of the "
            "base that it was trained from, and a folder with room"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return out.stat().st_size


def base_file(folder: Path) -> Path:
    """The GGUF file of the base that the student in ``folder`` says it was trained from.

    Raises ConfigError where it was trained from something else: then the file has to be named.
    """
    from atlas.assets import fetch
    from atlas.models.registry import EMBEDDED
    from atlas.trained.student import about

    base = str(about(folder).get("from", ""))
    if base in EMBEDDED:
        return fetch(base)
    kind, _, path = base.partition(":")
    if kind == "gguf":
        return Path(path).expanduser()
    raise ConfigError(
        f"the student in {folder} was trained from {base or 'an unknown base'}: name its GGUF with --like"
    )


def _weights(folder: Path, load_file: Any) -> Mapping[str, Any]:
    path = folder / "model.safetensors"
    if not path.is_file():
        raise ConfigError(
            f"{folder} holds no language model in one file (model.safetensors): only students that 'atlas train' made "
            "of a language model have a GGUF form"
        )
    weights: Mapping[str, Any] = load_file(path)
    return weights


def _architecture(gguf: Any, name: str) -> Any:
    known = {text: key for key, text in gguf.MODEL_ARCH_NAMES.items()}
    if name not in known:
        raise DataError(f"the architecture {name!r} is unknown to the installed gguf package: upgrade it")
    return known[name]


def _settings(reader: Any, writer: Any, gguf: Any) -> None:
    """All settings of the base, tokenizer included."""
    for name, field in reader.fields.items():
        if name.startswith(_OWN):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=inner)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _tensors(
    reader: Any, weights: Mapping[str, Any], ours: Mapping[str, str], architecture: str, gguf: Any
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Every tensor of the base by name, with the student's values and the type they are written in."""
    heads = int(reader.fields[f"{architecture}.attention.head_count"].contents())
    shared = reader.fields.get(f"{architecture}.attention.head_count_kv")
    kv_heads = int(shared.contents()) if shared is not None else heads
    for tensor in reader.tensors:
        if tensor.name not in ours:
            if tensor.name == "output.weight":
                raise ValueError("the base has an output layer of its own and the student has none")
            yield tensor.name, (tensor.data, tensor.tensor_type)  # rotary frequencies and the like
            continue
        values = weights[ours[tensor.name]].astype("float32")
        if tuple(reversed([int(n) for n in tensor.shape])) != values.shape:
            raise ValueError(f"{tensor.name} has another shape in the base")
        if architecture == "llama" and tensor.name.endswith(_PERMUTED):
            values = _permuted(values, kv_heads if "attn_k" in tensor.name else heads)
        if values.ndim < 2 or values.shape[-1] % _BLOCK:
            yield tensor.name, (values, gguf.GGMLQuantizationType.F32)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            yield tensor.name, (gguf.quants.quantize(values, kind), kind)


def _permuted(values: Any, heads: int) -> Any:
    return (
        values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    )
