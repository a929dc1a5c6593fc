"""The base of all records, and the identity of their content."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Generic, Self, TypeVar, dataclass_transform, get_type_hints, overload

import msgspec
from msgspec import structs
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, TypeAdapter
from pydantic_core import core_schema

T = TypeVar("T")


class once(Generic[T]):
    """A property that is worked out when it is first read, and kept in the object's ``__dict__``.

    As :func:`functools.cached_property`, without the lock that Python 3.11 takes for it, which costs more than most of
    these values: two threads may work out the same value, and either is right.
    """

    def __init__(self, work: Callable[[Any], T]) -> None:
        self._work = work
        self._name = work.__name__
        self.__doc__ = work.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...

    @overload
    def __get__(self, owner: object, kind: type) -> T: ...

    def __get__(self, owner: object | None, kind: type) -> Self | T:
        if owner is None:
            return self
        value = owner.__dict__[self._name] = self._work(owner)
        return value


class Record(BaseModel):
    """Base of the records that are stored or given from outside: immutable, checked when they are made, and strict
    about field names so that a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", ignored_types=(once,))

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, which nobody checks."""
        names = type(self).model_fields
        if not changes.keys() <= names.keys():
            raise TypeError(f"a {type(self).__name__} has no {', '.join(sorted(changes.keys() - names.keys()))}")
        return self.model_copy(update=changes)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without the cached properties, which would be those of the fields before."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Light(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Base of the records that a step makes by the dozen: immutable too, and a tenth of the price.

    Values are not checked one by one when such a record is made. Those that code of others makes are looked at
    (:meth:`checked`); what is read from a file goes through :meth:`model_validate`, which checks all, as in a
    :class:`Record`. The garbage collector does not look at them: they hold no circle, as what is immutable cannot.
    """

    @classmethod
    def model_validate(cls, value: Any) -> Self:
        """A record of a dictionary: raises pydantic's ValidationError where a field is missing, strange or wrong."""
        made: Self = _adapter(cls).validate_python(value)
        return made

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """The same of JSON."""
        made: Self = _adapter(cls).validate_json(text)
        return made

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """The record as a dictionary; ``options`` are pydantic's (``mode``, ``exclude``, ``exclude_defaults``)."""
        fields: dict[str, Any] = _adapter(type(self)).dump_python(self, **options)
        return fields

    def model_dump_json(self, **options: Any) -> str:
        """The same as JSON."""
        return _adapter(type(self)).dump_json(self, **options).decode()

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """:meth:`replace`, as it is called for a :class:`Record`."""
        return self.replace(**update or {})

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return structs.replace(self, **changes)

    def checked(self) -> None:
        """Check all fields, and make tuples of lists and the like: for ``__post_init__``, where a look at the types
        says that something does not fit. Raises ValidationError."""
        fitting = self.model_validate(structs.asdict(self))
        for name in self.__struct_fields__:
            structs.force_setattr(self, name, getattr(fitting, name))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """How pydantic reads and writes such a record, inside its own models too: as a model of these fields."""
        hints = get_type_hints(cls, include_extras=True)
        fields = {}
        for field in structs.fields(cls):
            schema = handler.generate_schema(hints[field.name])
            if field.default is not msgspec.NODEFAULT:
                schema = core_schema.with_default_schema(schema, default=field.default)
            elif field.default_factory is not msgspec.NODEFAULT:
                schema = core_schema.with_default_schema(schema, default_factory=field.default_factory)
            fields[field.name] = core_schema.typed_dict_field(schema, required=field.required)

        def validate(value: Any, read: core_schema.ValidatorFunctionWrapHandler) -> Any:
            return value if isinstance(value, cls) else cls(**read(value))

        told = core_schema.typed_dict_schema(fields, extra_behavior="forbid", config={"ser_json_inf_nan": "constants"})
        return core_schema.no_info_wrap_validator_function(
            validate,
            told,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda record, write: write(structs.asdict(record)), schema=told
            ),
        )


@cache
def _adapter(kind: type[Light]) -> TypeAdapter[Any]:
    """What checks and writes records of a class; made when it is first needed."""
    return TypeAdapter(kind, config={"title": kind.__name__})


def finite(number: object) -> bool:
    """Whether ``number`` is one, and one that a float can hold; whole numbers may be too large for that."""
    try:
        return math.isfinite(number)  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):
        return False


def whole_characters(text: str) -> str:
    """``text`` with a replacement character for each half of a surrogate pair: JSON can spell them, and models, clients
    and environments do, but no text encoding or database takes them."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


def whole_texts(value: Any) -> Any:
    """A JSON value with :func:`whole_characters` alone in all of its texts."""
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, dict):
        return {whole_texts(name): whole_texts(inner) for name, inner in value.items()}
    return [whole_texts(inner) for inner in value] if isinstance(value, list) else value


_HALF = re.compile("[\ud800-\udfff]")


_alike = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
"""Equal values as equal JSON."""


def content_hash(value: Any, length: int = 16) -> str:
    """Hex identity of a JSON-serialisable value; equal content gives an equal hash on every machine."""
    text = _alike(value)
    # Models do write lone surrogates; they have an identity like everything else.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
