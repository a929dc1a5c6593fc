"""The base of all records, and the identity of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from pydantic import BaseModel, ConfigDict

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
    """Base of all records: immutable, and strict about field names so that a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", ignored_types=(once,))

    _shared: ClassVar[dict[str, Any]] = {}
    """The defaults that all records of the class may share."""
    _names: ClassVar[set[str]] = set()
    """The names of its fields."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        fields = cls.model_fields
        cls._names = set(fields)
        cls._shared = {n: f.default for n, f in fields.items() if not f.is_required() and f.default_factory is None}

    @classmethod
    def trusted(cls, **fields: Any) -> Self:
        """A record of values that are known to fit, which nobody checks: for the dozens that a step makes of its own
        parts. All fields have to be given that have no default, or one that is made anew each time; cached properties
        may be, where their value is known."""
        return cls.whole(cls._shared | fields)

    @classmethod
    def whole(cls, fields: dict[str, Any]) -> Self:
        """As :meth:`trusted`, of a dictionary with every field, which becomes the record's own."""
        record = _new(cls)
        _set_fields(record, fields)
        _set_names(record, cls._names)
        _set_extra(record, None)
        _set_private(record, None)
        return record

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, which nobody checks. Cached properties are worked out anew."""
        names = self._names
        if not changes.keys() <= names:
            raise TypeError(f"a {type(self).__name__} has no {', '.join(sorted(changes.keys() - names))}")
        kept = self.__dict__
        fields = kept if len(kept) == len(names) else {name: kept[name] for name in names}
        return self.whole(fields | changes)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without the cached properties, which would be those of the fields before."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - self._names:
            del copied.__dict__[name]
        return copied


_new = object.__new__
# The slots of every pydantic model, set without going through its checks.
_set_fields = BaseModel.__dict__["__dict__"].__set__
_set_names = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


def content_hash(value: Any, length: int = 16) -> str:
    """Hex identity of a JSON-serialisable value; equal content gives an equal hash on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Models do write lone surrogates; they have an identity like everything else.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
