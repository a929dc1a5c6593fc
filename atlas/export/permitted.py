"""Whose words may be trained on.

Providers' terms differ, and a trace does not know them. Scripts, and models that ran on the user's own machine, are
permitted; every other model only where the user says so, for this export or in the run's ``permitted`` fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from atlas.errors import ConfigError
from atlas.records import Record, Spend

OURS = ("nearest", "smollm2-135m", "qwen2.5-coder-1.5b")
"""Names of models that this package runs in process; their weights may be trained against."""


class Permissions(Record):
    """What the user stated: names of models, or patterns as the shell writes them (``openai/*``)."""

    stated: tuple[str, ...] = ()
    """Permitted by whoever exports."""
    recorded: tuple[str, ...] = ()
    """Permitted by the run itself."""
    imported: bool = False
    """Whether the run was made elsewhere: its prices then say nothing about where a model ran."""

    def why(self, model: str, spends: Iterable[Spend] = ()) -> str | None:
        """Why the outputs of ``model`` may be trained on; None where nobody said that they may.

        A model without a provider in its name (``provider/model``) that billed exactly $0 in ``spends`` ran here: a
        local model's price is a stated 0, an unknown one is None.
        """
        if any(fnmatchcase(model, pattern) for pattern in self.stated):
            return "stated for this export"
        if any(fnmatchcase(model, pattern) for pattern in self.recorded):
            return "recorded in the run"
        if model.startswith("scripted"):
            return "scripted"
        if model in OURS or model.startswith(("local:", "gguf:", "hf:")):
            return "local"
        billed = [s.usage.dollars for s in spends if s.model == model]
        if billed and all(d == 0 for d in billed) and "/" not in model and not self.imported:
            return "local"
        return None


def permissions(about: Mapping[str, Any], stated: Iterable[str] = ()) -> Permissions:
    """What is permitted in a run, of which ``about`` is told, with what is ``stated`` for this export.

    Raises ConfigError where the run's fact is no list of names.
    """
    recorded = about.get("permitted", ())
    if isinstance(recorded, str) or not all(isinstance(name, str) for name in recorded):
        raise ConfigError("the run's 'permitted' fact is no list of model names: write it as [\"provider/model\", ...]")
    imported = bool(about.get("imported")) or about.get("kind") == "imported"
    return Permissions(stated=tuple(stated), recorded=tuple(recorded), imported=imported)
