"""Asking a model for a judgement, whatever it answers: a call that fails is told, and paid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atlas.asking import Desk
from atlas.errors import BudgetExceeded, ConfigError, ModelError
from atlas.evaluators.verdict import Case
from atlas.given import check_model
from atlas.protocols import Model, ReadsView
from atlas.records import Prompt, Turn, View

JUDGE = "judge"
"""The actor that a judge's calls are charged to, as ``judge:NAME``."""


@dataclass(frozen=True)
class Said:
    """What a model replied. ``failed`` tells why there is no reply, where there is none."""

    text: str
    failed: str = ""


def must_read(model: Model) -> None:
    """Raises ConfigError for a model that never reads its prompt: it has no judgement to give."""
    check_model("who judges", model)
    if isinstance(model, ReadsView):
        raise ConfigError(f"the model {model.name} only chooses actions and cannot judge: name a language model")


async def put_to(
    desk: Desk,
    model: Model,
    case: Case,
    prompt: Prompt,
    *,
    judge: str,
    temperature: float = 0.0,
    max_tokens: int = 1_024,
    schema: dict[str, Any] | None = None,
) -> Said:
    """One call of ``model`` with ``prompt`` at ``desk``, charged to ``judge``; ``schema`` is that of its reply."""
    opening = case.steps[0].observation if case.steps else ""
    turns = tuple(Turn(action=s.decision.action, observation=s.outcome.text) for s in case.steps)
    try:
        answer = await desk.ask(
            model,
            View(task=case.task, opening=opening, turns=turns),
            actor=f"{JUDGE}:{judge}",
            purpose=JUDGE,
            prompt=prompt,
            temperature=temperature,
            max_tokens=max_tokens,
            schema=schema,
        )
    except (ModelError, BudgetExceeded) as error:
        return Said(text="", failed=f"the judge could not be asked: {error}")
    return Said(text=answer.text)
