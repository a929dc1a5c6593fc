"""From the name of a model to the model, and the list of what there is."""

from __future__ import annotations

import difflib
import os
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

from atlas.assets import ASSETS, cache_dir
from atlas.errors import ConfigError
from atlas.given import check_text, shown
from atlas.models.prices import LISTED, LOCAL, parse_price, price_of
from atlas.models.readings import reading_of, readings
from atlas.named import Meaning, meaning
from atlas.named import names as given_names
from atlas.own import made
from atlas.protocols import Model
from atlas.records import Price, Record
from atlas.redact import scrub

EMBEDDED = ("smollm2-135m", "qwen2.5-coder-1.5b")
"""Language models whose weights are assets of this package."""

MODEL = ("name", "price", "shares_prompt", "sample")
"""What every model has: see :class:`atlas.protocols.Model`."""

SCRIPTED = {
    "alfworld": "atlas.benchmarks.alfworld.teacher:ScriptedExpert",
    "excytin": "atlas.benchmarks.excytin.teacher:ScriptedAnalyst",
}
"""Scripted experts by benchmark: module and class. Looked up by name, so that no model depends on a benchmark."""

PYTHON = "python"
"""Before the name of a model that the user wrote: ``python:mine.py:Clerk``, ``python:mine.models:Clerk``."""


class Source(Record):
    """A way to name a model by what follows a prefix: ``gguf:PATH``."""

    takes: str
    """What follows."""
    what: str
    model: str
    """Module and class; empty where what follows names it. Looked up by name: nothing is loaded until it is needed."""
    packages: tuple[str, ...] = ()
    extra: str | None = None
    """The extra of this package that it needs."""
    options: tuple[str, ...] = ()
    """What may follow the name: ``hf:PATH?form=transcript&dtype=float32``."""


SOURCES = {
    "gguf": Source(
        takes="PATH",
        what="a GGUF file of yours",
        model="atlas.models.llama:Llama",
        packages=("xllamacpp",),
        extra="local",
        options=("form", "rank", "remind"),
    ),
    "hf": Source(
        takes="PATH_OR_NAME",
        what="a folder or a name for transformers",
        model="atlas.models.hf:HF",
        packages=("transformers", "torch"),
        extra="transformers",
        options=("form", "rank", "remind", "dtype", "device"),
    ),
    "scratch": Source(
        takes="PATH",
        what="a student trained from scratch by 'atlas train'",
        model="atlas.models.scratch:Scratch",
        packages=("torch", "safetensors"),
        extra="train",
    ),
    PYTHON: Source(takes="FILE.py:NAME", what="a class, function or object of yours, or MODULE:NAME", model=""),
}
"""A new source of models is a line here and a module."""

FORMS = (*(f"{prefix}:{source.takes}" for prefix, source in SOURCES.items()), "openai/NAME@URL", "PROVIDER/MODEL")

SERVER_KEY = "ATLAS_SERVER_KEY"
"""The variable with the key of a server of the user's own, ``openai/NAME@URL``, where it checks one: the keys of
providers are not sent there."""


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
    reading: str = ""
    """How it reads prompts best, as ``atlas models tune`` found; empty where it was not tuned."""


def _read_best(name: str) -> str:
    found = reading_of(name)
    return f"tuned: {found.best.words} ({found.best.good} of {found.best.states} right)" if found else ""


def load(spec: str, *, price: Price | str | None = None, **options: Any) -> Model:
    """The model that ``spec`` names.

    ``nearest``; ``smollm2-135m``, ``qwen2.5-coder-1.5b`` (embedded, fetched on first use); ``gguf:PATH``;
    ``hf:PATH_OR_NAME``, also of an embedded one; ``scratch:PATH`` (a student of ``atlas train``);
    ``python:FILE.py:NAME`` and ``python:MODULE:NAME`` (a model of yours); ``scripted:BENCHMARK``; ``PROVIDER/MODEL``
    for every provider that litellm knows; ``openai/NAME@URL`` for a server of your own; and names that the user gave
    (:mod:`atlas.named`). Local models take options, as in ``hf:PATH?form=transcript``. ``price`` overrides what is
    known of its price; ``options`` go to the model's class. Raises ConfigError for a name that does not exist or whose
    key is missing, MissingExtra where packages are, DataError for weights that cannot be had.
    """
    check_text("a model's name", spec, "write 'PROVIDER/MODEL', say")
    chosen = parse_price(price) if isinstance(price, str) else price
    if not isinstance(chosen, Price | None):
        raise ConfigError(f"a price is an atlas.Price, or a text such as '0.5/1.5', not {shown(price)}")
    bare, typed = _options(spec)
    told = _tuned(bare) | typed
    kind, _, rest = bare.partition(":")
    try:
        model = _build(bare, kind, rest, options | _meant(told))
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise ConfigError(f"model {spec!r} was given an option that it does not take: {error}") from error
    if chosen is not None:
        model.price = chosen
    if told:
        # Another form is another player: runs and tables tell them apart.
        model.name = f"{model.name}?{spec.partition('?')[2] if told == typed else urlencode(told)}"
    return model


def _options(spec: str) -> tuple[str, dict[str, str]]:
    """A name, and the options that follow it. ConfigError for options that such a name does not take."""
    bare, mark, rest = spec.partition("?")
    source = SOURCES.get("gguf" if bare in EMBEDDED else bare.partition(":")[0])
    if not mark or source is None or not source.options:
        return spec, {}
    pairs = parse_qsl(rest, keep_blank_values=True)
    told = dict(pairs)
    if not told or not told.keys() <= set(source.options) or not all(told.values()) or len(told) < len(pairs):
        raise ConfigError(
            f"the model {bare!r} takes the options {', '.join(source.options)}, each once, as in "
            f"{bare}?{source.options[0]}=..., not {rest!r}"
        )
    return bare, told


def _tuned(bare: str) -> dict[str, str]:
    """The options that ``atlas models tune`` found best for a local model."""
    local = SOURCES.get("gguf" if bare in EMBEDDED else bare.partition(":")[0])
    reading = reading_of(bare) if local is not None and local.options else None
    return reading.best.options if reading is not None else {}


def _meant(told: dict[str, str]) -> dict[str, Any]:
    """Options as a model's class takes them."""
    if told.get("remind", "yes") not in ("yes", "no"):
        raise ConfigError(f"the option remind is yes or no, not {told['remind']!r}")
    return {name: value == "yes" if name == "remind" else value for name, value in told.items()}


def check_name(spec: str) -> None:
    """Raise ConfigError where :func:`load` knows no such name. Nothing is loaded, nothing looked for on the disk."""
    spec, _ = _options(spec)
    kind, _, rest = spec.partition(":")
    hosted = "/" in spec and not spec.startswith(("/", "./", "../", "~"))
    if not (spec in names() or hosted or (kind in SOURCES and rest) or meaning(spec) is not None):
        raise ConfigError(f"there is no model named {spec!r}{_nearest_name(spec)}: {_what_exists()}")


def _build(spec: str, kind: str, rest: str, options: dict[str, Any]) -> Model:
    if spec == "nearest":
        from atlas.copying.nearest import Nearest

        return Nearest(**options)
    if spec in EMBEDDED:
        return _called(SOURCES["gguf"].model, spec, **options)
    if kind == PYTHON and rest:
        return cast(Model, made(rest, MODEL, "model", **options))
    if kind in SOURCES and rest:
        return _called(SOURCES[kind].model, rest, **options)
    if kind == "scripted" and rest in SCRIPTED:
        return _called(SCRIPTED[rest], **options)
    if "/" in spec and not spec.startswith(("/", "./", "../", "~")):
        from atlas.models.hosted import Hosted

        name, url = at_server(spec)
        return Hosted(name, **({"base_url": url, "api_key": os.environ.get(SERVER_KEY)} if url else {}) | options)
    given = meaning(spec)
    if given is not None:
        return load(given.model, price=given.price or None, **options)
    raise ConfigError(f"there is no model named {spec!r}{_nearest_name(spec)}: {_what_exists()}")


def at_server(spec: str) -> tuple[str, str]:
    """The parts of ``openai/NAME@http://HOST/v1``, a model at a server of the user's own; no URL for any other name."""
    name, mark, url = spec.partition("@http")
    return (name, f"http{url}") if mark and re.match(r"s?://[^/\s]", url) else (spec, "")


def _price_of(given: Meaning) -> Price | None:
    """The price of what a name stands for, without loading it; None where only the model itself can tell."""
    if given.price:
        return parse_price(given.price)
    model, _ = _options(given.model)
    kind, _, rest = model.partition(":")
    if model in ("nearest", *EMBEDDED) or (kind in SOURCES and kind != PYTHON):
        return LOCAL
    if kind == "scripted" and rest in SCRIPTED:
        price: Price | None = _called(SCRIPTED[rest]).price
        return price
    return price_of(at_server(model)[0]) if "/" in model and kind != PYTHON else None


def _called(name: str, *arguments: str, **options: Any) -> Model:
    """``module:class``, called."""
    module, _, attribute = name.partition(":")
    model: Model = getattr(import_module(module), attribute)(*arguments, **options)
    return model


def names() -> list[str]:
    """Every model that can be named without a path or a provider."""
    return ["nearest", *EMBEDDED, *(f"scripted:{name}" for name in SCRIPTED)]


def _nearest_name(spec: str) -> str:
    if Path(spec).expanduser().suffix == ".gguf":
        return f" (did you mean gguf:{spec}?)"
    hosted = {full.partition("/")[2]: full for full in LISTED}
    close = difflib.get_close_matches(spec.casefold(), [*names(), *hosted], n=1, cutoff=0.5)
    return f" (did you mean {hosted.get(close[0], close[0])}?)" if close else ""


def _what_exists() -> str:
    return f"choose one of {', '.join(names())}, or write {', '.join(FORMS[:-1])} or {FORMS[-1]}"


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
                reading=_read_best(name),
                size=asset.size,
                installed=fetched and find_spec("xllamacpp") is not None,
                extra="local",
                price=LOCAL,
            )
        )
    for name in SCRIPTED:
        what = f"a scripted expert for {name}: a program, not a model, at a stated price"
        entries.append(Entry(name=f"scripted:{name}", kind="scripted", what=what, price=_called(SCRIPTED[name]).price))
    for name, named in given_names().items():
        what = f"{scrub(named.now.model)}{f' ({named.now.why})' if named.now.why else ''}"
        reading = _read_best(name)
        entries.append(Entry(name=name, kind="named", what=what, price=_price_of(named.now), reading=reading))
    for prefix, source in SOURCES.items():
        entries.append(
            Entry(
                name=f"{prefix}:{source.takes}",
                kind="file",
                what=source.what,
                installed=all(find_spec(package) is not None for package in source.packages),
                extra=source.extra,
                price=LOCAL if source.model else None,
            )
        )
    listed = {entry.name for entry in entries}
    for name in (name for name in readings() if name not in listed):
        entries.append(Entry(name=name, kind="file", what="a local model", price=LOCAL, reading=_read_best(name)))
    here = find_spec("litellm") is not None
    for name in LISTED:
        entries.append(
            Entry(
                name=name,
                kind="hosted",
                what="needs a key",
                installed=here,
                extra="litellm",
                price=price_of(name),
            )
        )
    return entries
