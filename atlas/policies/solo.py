"""One model acts alone."""

from __future__ import annotations

from atlas.actions import Actions, TextActions
from atlas.asking import Answer, Desk
from atlas.errors import ConfigError
from atlas.given import check_model, has, real, shown, whole
from atlas.protocols import Model
from atlas.records import STUDENT, Decision, View


class Solo:
    """``model`` decides every step. A reply without an action is passed on as an empty one, marked ``no-action``."""

    def __init__(
        self,
        model: Model,
        *,
        actor: str = STUDENT,
        temperature: float = 0.0,
        max_tokens: int | None = 256,
        actions: Actions | None = None,
    ) -> None:
        check_model("what acts alone", model)
        check_asking(temperature, max_tokens, actions)
        self.model = model
        self.actor = actor
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.actions = actions or TextActions()

    async def decide(self, view: View, desk: Desk) -> Decision:
        answer = await desk.ask(
            self.model,
            view,
            actor=self.actor,
            actions=self.actions,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        return decision(answer, reason="solo")

    def config(self) -> dict[str, object]:
        return {
            "policy": "solo",
            "model": self.model.name,
            "actor": self.actor,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }


def check_asking(temperature: float, max_tokens: int | None, actions: Actions | None) -> None:
    """Raises ConfigError for what a model cannot be asked with."""
    if not real(temperature) or temperature < 0:
        raise ConfigError(f"a temperature is a number, 0 or more, not {shown(temperature)}")
    if max_tokens is not None and not (whole(max_tokens) and max_tokens >= 1):
        raise ConfigError(f"max_tokens is a whole number, 1 or more, or None for no limit, not {shown(max_tokens)}")
    if actions is not None and not has(actions, "parse"):
        raise ConfigError(f"actions are atlas.TextActions() or ChatActions(), not {shown(actions)}")


def decision(answer: Answer, *, reason: str, chosen: int = 0, before: Answer | None = None) -> Decision:
    """The decision to take reply ``chosen`` of ``answer``; ``before`` is what was asked first and did not decide."""
    asked = [a for a in (before, answer) if a is not None]
    has_reply = chosen < len(answer.replies)
    picked = answer.parsed[chosen] if has_reply else None
    return Decision(
        action=(picked.action if picked else None) or "",
        actor=answer.actor,
        reason=reason if picked and picked.action is not None else "no-action",
        thought=picked.thought if picked else "",
        votes=tuple(vote for a in asked for vote in a.votes),
        prompt=asked[0].prompt,
        tool_calls=answer.replies[chosen].tool_calls if has_reply else (),
        text=answer.replies[chosen].text if has_reply else "",
        finish=answer.replies[chosen].finish if has_reply else "",
        message=answer.replies[chosen].message if has_reply else None,
        seconds={a.actor: a.seconds for a in asked},
    )
