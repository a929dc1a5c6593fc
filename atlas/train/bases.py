"""From the name of a base to the base: where a training begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atlas.errors import ConfigError, DataError
from atlas.models.registry import EMBEDDED
from atlas.records import BARE, Form
from atlas.train.base import Base
from atlas.trained.student import ABOUT, FORM, about
from atlas.trained.trajectory import Trajectory

FORMS = "scratch, scratch:SIZE, hf:PATH_OR_NAME, gguf:PATH, an embedded model's name, or a trained student's folder"


def base_of(
    spec: str,
    trajectories: Sequence[Trajectory],
    *,
    thoughts: bool = False,
    seed: int = 0,
    lora: int | None = None,
    recompute: bool = False,
    form: Form | None = None,
) -> Base:
    """The base that ``spec`` names. ``lora``, the rank of adapters, ``recompute`` and ``form`` are for language models
    alone.

    ``thoughts`` and ``trajectories`` are for a base that begins from nothing: what its vocabulary has to hold. Raises
    ConfigError or DataError for what does not exist.
    """
    kind, _, rest = spec.partition(":")
    if kind == "scratch" or (Path(spec).is_dir() and about(spec).get("base") == "scratch"):
        from atlas.train.scratch import ScratchBase

        if lora is not None:
            raise ConfigError("LoRA is for language models: a base from scratch is small enough to be trained whole")
        if recompute:
            raise ConfigError("a base from scratch takes little memory: leave --recompute out")
        if form is not None:
            raise ConfigError("a base from scratch reads no text: leave --form out")
        if kind != "scratch":
            return ScratchBase.load(spec)
        return ScratchBase.new(rest or "small", trajectories, thoughts=thoughts, seed=seed)
    return _language_model(spec, kind, rest, lora, recompute, form)


def _language_model(spec: str, kind: str, rest: str, lora: int | None, recompute: bool, form: Form | None) -> Base:
    if spec in EMBEDDED:
        from atlas.assets import fetch

        source = str(fetch(spec))
    elif (kind in ("hf", "gguf") and rest) or Path(spec).is_dir():
        source = rest if kind in ("hf", "gguf") else spec
    else:
        raise DataError(f"there is no base {spec!r}: choose {FORMS}")
    from atlas.train.hf import HFBase, Lora

    adapters = Lora(rank=lora) if lora is not None else None
    if form is None and (Path(source) / ABOUT).is_file():
        form = about(source).get("training", {}).get(FORM)
    return HFBase.load(source, name=spec, lora=adapters, recompute=recompute, form=form or BARE)


def default_lr(spec: str, lora: int | None) -> float:
    """The highest learning rate where none is given: large from nothing, small for what was learnt before."""
    if spec.partition(":")[0] == "scratch":
        return 3e-3
    return 3e-4 if lora is not None or (Path(spec).is_dir() and about(spec).get("base") == "scratch") else 3e-5
