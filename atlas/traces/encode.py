"""An event as the line of JSON that the trace holds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from numbers import Integral, Real
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import structs
from pydantic_core import PydanticSerializationError, to_json

from atlas.records import Decision, Light, Observation, Record, Step


def encoded(event: dict[str, Any]) -> bytes:
    """An event of plain values."""
    try:
        return to_json(event)
    except PydanticSerializationError:
        # Half a surrogate pair, which some models write, is no UTF-8: json keeps it as it is.
        return json.dumps(event, ensure_ascii=False, separators=(",", ":"), default=_plain).encode(
            "utf-8", "surrogatepass"
        )


def line_of(event: dict[str, Any]) -> bytes:
    """An event that holds records, which leave out their fields that have defaults."""
    try:
        return _ENCODER.encode(event)
    except (UnicodeEncodeError, TypeError):
        return encoded(msgspec.to_builtins(event, enc_hook=_plain, str_keys=True))


def step_line(episode_id: str, step: Step, prompt: dict[str, Any]) -> bytes:
    """A step with its packed ``prompt``; fields that have their defaults are left out."""
    try:
        line = _ENCODER.encode(_line(step, prompt))
    except (UnicodeEncodeError, TypeError):
        line = _slowly(step, prompt)
    else:
        # It writes null for numbers that JSON has no word for, and a score may be one.
        if not _finite(step, prompt):
            line = _slowly(step, prompt)
    return _began(episode_id) + line[1:]


@lru_cache(maxsize=4096)
def _began(episode_id: str) -> bytes:
    """How the lines of an episode's steps begin."""
    return encoded({"type": "step", "episode": episode_id})[:-1] + b","


def _plain(value: Any) -> Any:
    """What the encoder does not know: records that are checked, and the numbers and texts of other libraries."""
    if isinstance(value, Record):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"a trace holds no {type(value).__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


_ALWAYS: Any = object()
"""The default, which no value has, of fields that are always written."""


def _less(kind: type[Light], *left_out: str, more: Sequence[str] = ()) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """What a line holds of a ``kind`` of record: all fields but those ``left_out``, and ``more`` behind them; and what
    reads the fields off a record, in order."""
    fields = [field for field in structs.fields(kind) if field.name not in left_out]
    written: list[tuple[str, Any, Any]] = [
        (field.name, Any, msgspec.field(default_factory=field.default_factory))
        if field.default_factory is not msgspec.NODEFAULT
        else (field.name, Any, _ALWAYS if field.required else field.default)
        for field in fields
    ]
    written += [(name, Any, _ALWAYS) for name in more]
    made = msgspec.defstruct(f"{kind.__name__}Line", written, omit_defaults=True, gc=False)
    return made, attrgetter(*(field.name for field in fields))


_Decided, _decided = _less(Decision, "prompt")
_Outcome, _outcome = _less(Observation, "admissible")
_Line, _fields = _less(Step, more=("outcome_admissible", "prompt"))
_DECISION, _OUTCOME = (Step.__struct_fields__.index(name) for name in ("decision", "outcome"))


def _line(step: Step, prompt: dict[str, Any]) -> Any:
    values = [*_fields(step), len(step.outcome.admissible), prompt]
    values[_DECISION] = _Decided(*_decided(step.decision))
    values[_OUTCOME] = _Outcome(*_outcome(step.outcome))
    return _Line(*values)


def _slowly(step: Step, prompt: dict[str, Any]) -> bytes:
    """The same for any text and any number."""
    left_out: dict[str, Any] = {"decision": {"prompt"}, "outcome": {"admissible"}}
    fields = step.model_dump(exclude=left_out, exclude_defaults=True)
    return encoded(fields | {"outcome_admissible": len(step.outcome.admissible), "prompt": prompt})


def _finite(step: Step, prompt: dict[str, Any]) -> bool:
    """Whether JSON has a word for every number of the step."""
    decision = step.decision
    total = step.seconds + (step.outcome.score or 0.0) + sum(decision.seconds.values())
    for hit in decision.retrieved:
        total += hit.score
    for vote in decision.votes:
        if vote.logprob is not None:
            total += vote.logprob
        if vote.chance is not None:
            total += vote.chance
    for cited in decision.guidance:
        total += cited.score + (cited.p or 0.0)
    for spend in step.spend:
        usage = spend.usage
        total += (usage.dollars or 0.0) + usage.saved + (usage.most or 0.0)
    sent = [message for message in prompt.get("added", ()) if len(message) > 2]
    if sent or decision.lane is not None or decision.reviews or decision.message is not None:
        rest = _values((sent, decision.lane, decision.reviews, decision.message))
        total += sum(value for value in rest if isinstance(value, float))
    # A sum is finite only where all its parts are.
    return math.isfinite(total)


def _values(held: Any) -> Iterator[Any]:
    if isinstance(held, Light):
        held = structs.asdict(held)
    elif isinstance(held, Record):
        held = dict(held)
    if isinstance(held, dict):
        held = held.values()
    elif not isinstance(held, list | tuple):
        yield held
        return
    for part in held:
        yield from _values(part)
