"""The lines of a trace that tell how an episode began and ended, read without making anything in between.

A run of a million steps has a hundred thousand of them, and whoever reports or resumes it reads all. Checked as
pydantic checks them, field by field: what does not fit is None, for the way that says what is wrong with it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import structs

from atlas.money import Spend, Usage
from atlas.record import Record
from atlas.records import Episode, Failure, Review, Stop, Task, Verdict

R = TypeVar("R", bound=Record)


class _Line(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    pass


class _Task(_Line):
    id: str
    goal: str
    family: str = ""
    split: str = ""
    instructions: str = ""


_Usage = msgspec.defstruct(
    "_Usage",
    [(field.name, field.type, field.default) for field in structs.fields(Usage)],
    forbid_unknown_fields=True,
    kw_only=True,
    gc=False,
)
"""As :class:`Usage`, but for fields that it does not know: they are refused."""


class _Spend(_Line):
    actor: str
    model: str
    usage: _Usage  # type: ignore[valid-type]


class _Start(_Line, tag_field="type", tag="start"):
    episode: str
    arm: str
    task: _Task
    seed: int
    config: str
    time: float | None = None


class _End(_Line, tag_field="type", tag="end"):
    id: str
    run: str
    arm: str
    task: _Task
    seed: int
    config: str
    stop: Stop
    score: float | None
    success: bool | None
    steps: int
    teacher_steps: int
    spend: tuple[_Spend, ...]
    seconds: float
    started: float
    plan: str = ""
    lane: str = ""
    asked_steps: int = 0
    reviews: tuple[msgspec.Raw, ...] = ()
    verdict: msgspec.Raw = msgspec.Raw(b"null")
    after: tuple[_Spend, ...] = ()
    failure: msgspec.Raw = msgspec.Raw(b"null")
    retries: str = ""


_START, _END = msgspec.json.Decoder(_Start).decode, msgspec.json.Decoder(_End).decode
BEGAN = b'{"type":"start"'
ENDED = b'{"type":"end"'


class Began(msgspec.Struct):
    """The beginning of an episode."""

    episode: str
    arm: str
    task: Task
    seed: int
    config: str


def began(line: bytes) -> Began | None:
    """What a line of type ``start`` says; None where it does not fit."""
    try:
        read = _START(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return Began(read.episode, read.arm, _made(Task, structs.asdict(read.task)), read.seed, read.config)


def ended(line: bytes) -> Episode | None:
    """What a line of type ``end`` says; None where it does not fit."""
    try:
        read = _END(line)
        fields = structs.asdict(read)
        fields["task"] = _made(Task, structs.asdict(read.task))
        fields["spend"], fields["after"] = _spends(read.spend), _spends(read.after)
        fields["reviews"], fields["verdict"], fields["failure"] = _others(read)
    except (msgspec.MsgspecError, ValueError):
        return None
    return _made(Episode, fields)


def begun(line: bytes) -> str | None:
    """The episode of a line of type ``start``, without the rest of it; None where that does not fit."""
    try:
        return _START(line).episode
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def used(line: bytes) -> tuple[str, tuple[Spend, ...]] | None:
    """The episode of a line of type ``end``, and what it used; None as :func:`ended`."""
    try:
        read = _END(line)
        _others(read)
    except (msgspec.MsgspecError, ValueError):
        return None
    return read.id, _spends(read.spend)


def start_of(event: dict[str, Any]) -> Began:
    """The beginning that an event of type ``start`` tells. Raises KeyError or ValueError where it does not fit."""
    task = Task.model_validate(event["task"])
    return Began(event["episode"], event["arm"], task, event["seed"], event["config"])


def result_of(event: dict[str, Any]) -> Episode:
    """The result that an event of type ``end`` tells. Raises ValueError where it does not fit."""
    return Episode.model_validate({k: v for k, v in event.items() if k != "type"})


def _others(read: _End) -> tuple[tuple[Review, ...], Verdict | None, Failure | None]:
    """What few lines have. Raises ValueError where it does not fit."""
    reviews = tuple([Review.model_validate_json(bytes(one)) for one in read.reviews])
    return reviews, _record(Verdict, read.verdict), _record(Failure, read.failure)


def _spends(rows: tuple[_Spend, ...]) -> tuple[Spend, ...]:
    return tuple([Spend(actor=row.actor, model=row.model, usage=Usage(**structs.asdict(row.usage))) for row in rows])


def _record(kind: type[R], raw: msgspec.Raw) -> R | None:
    text = bytes(raw)
    return None if text == b"null" else kind.model_validate_json(text)


_NAMES: dict[type[Record], set[str]] = {Task: set(Task.model_fields), Episode: set(Episode.model_fields)}
"""One set for all records of a kind, which nobody changes: the garbage collector looks at what there is, again and
again while a long trace is read."""


def _made(kind: type[R], fields: dict[str, Any]) -> R:
    """A record of ``fields`` that are all there and checked: what ``model_construct`` makes, in a tenth of its time."""
    made = kind.__new__(kind)
    for name, value in (
        ("__dict__", fields),
        ("__pydantic_fields_set__", _NAMES[kind]),
        ("__pydantic_extra__", None),
        ("__pydantic_private__", None),
    ):
        object.__setattr__(made, name, value)
    return made
