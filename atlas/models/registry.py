"""From the name of a model to the model, and the list of what there is."""

from __future__ import annotations

import difflib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from atlas.assets import ASSETS, cache_dir
from atlas.errors import ConfigError
from atlas.models.prices import LOCAL, listed, parse_price
from atlas.named import meaning
from atlas.named import names as given_names
from atlas.protocols import Model
from atlas.records import Price, Record

EMBEDDED = ("smollm2-135m", "qwen2.5-coder-1.5b")
"""Language models whose weights are assets of this package."""

SCRIPTED = {
    "alfworld": "atlas.benchmarks.alfworld.teacher:ScriptedExpert",
    "excytin": "atlas.benchmarks.excytin.teacher:ScriptedAnalyst",
}
"""Scripted experts by benchmark: module and class. Looked up by name, so that no model depends on a benchmark."""

FORMS = ("gguf:PATH", "hf:PATH_OR_NAME", "scratch:PATH", "PROVIDER/MODEL")


class Entry(Record):
    """One line of ``atlas models ls``."""

    name: str
    kind: str
    """``copying``, ``embedded``, ``scripted``, ``named`` by the user, ``hosted``, or ``file`` for your own weights."""
    what: str
    licence: str = ""
    size: int | None = None
    """Bytes of weights; None where there are none here."""
    installed: bool = True
    """Whether it can be used without installing or downloading anything."""
    extra: str | None = None
    """The extra of this package that it needs."""
    price: Price | None = None


def load(spec: str, *, price: Price | str | None = None, **options: Any) -> Model:
    """The model that ``spec`` names.

    ``nearest``; ``smollm2-135m``, ``qwen2.5-coder-1.5b`` (embedded, fetched on first use); ``gguf:PATH``;
    ``hf:PATH_OR_NAME``; ``scratch:PATH`` (a student of ``atlas train``); ``scripted:BENCHMARK``; ``PROVIDER/MODEL`` for
    every provider that litellm knows; and names that the user gave (:mod:`atlas.named`). ``price`` overrides
    what is known of its price; ``options`` go to the model's class. Raises ConfigError for a name that does not exist,
    MissingExtra where packages are missing, DataError for weights that cannot be had.
    """
    chosen = parse_price(price) if isinstance(price, str) else price
    kind, _, rest = spec.partition(":")
    try:
        model = _build(spec, kind, rest, options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise ConfigError(f"model {spec!r} was given an option that it does not take: {error}") from error
    if chosen is not None:
        model.price = chosen
    return model


def check_name(spec: str) -> None:
    """Raise ConfigError where :func:`load` knows no such name. Nothing is loaded, nothing looked for on the disk."""
    kind, _, rest = spec.partition(":")
    hosted = "/" in spec and not spec.startswith(("/", "./", "../", "~"))
    if not (spec in names() or hosted or (kind in ("gguf", "hf", "scratch") and rest) or meaning(spec) is not None):
        raise ConfigError(f"there is no model named {spec!r}{_nearest_name(spec)}: {_what_exists()}")


def _build(spec: str, kind: str, rest: str, options: dict[str, Any]) -> Model:
    if spec == "nearest":
        from atlas.copying.nearest import Nearest

        return Nearest(**options)
    if spec in EMBEDDED or (kind == "gguf" and rest):
        from atlas.models.llama import Llama

        return Llama(rest if kind == "gguf" else spec, **options)
    if kind == "hf" and rest:
        from atlas.models.hf import HF

        return HF(rest, **options)
    if kind == "scratch" and rest:
        from atlas.models.scratch import Scratch

        return Scratch(rest, **options)
    if kind == "scripted" and rest in SCRIPTED:
        return _scripted(rest, options)
    if "/" in spec and not spec.startswith(("/", "./", "../", "~")):
        from atlas.models.hosted import Hosted

        return Hosted(spec, **options)
    given = meaning(spec)
    if given is not None:
        return load(given.model, **options)
    raise ConfigError(f"there is no model named {spec!r}{_nearest_name(spec)}: {_what_exists()}")


def _scripted(benchmark: str, options: dict[str, Any]) -> Model:
    module, _, name = SCRIPTED[benchmark].partition(":")
    model: Model = getattr(import_module(module), name)(**options)
    return model


def names() -> list[str]:
    """Every model that can be named without a path or a provider."""
    return ["nearest", *EMBEDDED, *(f"scripted:{name}" for name in SCRIPTED)]


def _nearest_name(spec: str) -> str:
    if Path(spec).expanduser().suffix == ".gguf":
        return f" (did you mean gguf:{spec}?)"
    hosted = {name: f"{_provider(name)}/{name}" for name in listed()}
    close = difflib.get_close_matches(spec.casefold(), [*names(), *hosted], n=1, cutoff=0.5)
    return f" (did you mean {hosted.get(close[0], close[0])}?)" if close else ""


def _what_exists() -> str:
    return f"choose one of {', '.join(names())}, or write {', '.join(FORMS[:-1])} or {FORMS[-1]}"


def _provider(name: str) -> str:
    return {"gpt": "openai", "claude": "anthropic"}.get(name.split("-", 1)[0], "gemini")


def catalogue() -> list[Entry]:
    """What ``load`` knows by name, for a table. Loads nothing and downloads nothing."""
    entries = [
        Entry(name="nearest", kind="copying", what="the nearest demonstrations vote; no language model", price=LOCAL)
    ]
    for name in EMBEDDED:
        asset = ASSETS[name]
        fetched = (cache_dir() / asset.filename).is_file()
        entries.append(
            Entry(
                name=name,
                kind="embedded",
                what=asset.what,
                licence=asset.licence,
                size=asset.size,
                installed=fetched and find_spec("xllamacpp") is not None,
                extra="local",
                price=LOCAL,
            )
        )
    for name in SCRIPTED:
        what = f"a scripted expert for {name}: a program, not a model, at a stated price"
        entries.append(Entry(name=f"scripted:{name}", kind="scripted", what=what, price=_scripted(name, {}).price))
    for name, named in given_names().items():
        what = f"{named.now.model}{f' ({named.now.why})' if named.now.why else ''}"
        entries.append(Entry(name=name, kind="named", what=what))
    here = find_spec("xllamacpp") is not None
    entries.append(
        Entry(name="gguf:PATH", kind="file", what="a GGUF file of yours", installed=here, extra="local", price=LOCAL)
    )
    here = find_spec("transformers") is not None and find_spec("torch") is not None
    what = "a folder or a name for transformers"
    entries.append(
        Entry(name="hf:PATH_OR_NAME", kind="file", what=what, installed=here, extra="transformers", price=LOCAL)
    )
    here = find_spec("torch") is not None and find_spec("safetensors") is not None
    what = "a student trained from scratch by 'atlas train'"
    entries.append(Entry(name="scratch:PATH", kind="file", what=what, installed=here, extra="train", price=LOCAL))
    here = find_spec("litellm") is not None
    for name, cost in listed().items():
        provider = _provider(name)
        entries.append(
            Entry(
                name=f"{provider}/{name}",
                kind="hosted",
                what="needs a key",
                installed=here,
                extra="litellm",
                price=cost,
            )
        )
    return entries
