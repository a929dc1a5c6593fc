"""What was learned, in a file of its own that people can read: its version, how it is read, and how it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from atlas.errors import DataError
from atlas.folders import write_whole
from atlas.jsontext import read_json
from atlas.record import Record

VERSION = 1
"""Of all of them. A later one means something else, which this build would take for what it knows."""


class LearnedFile(Record):
    """Base of the records that are a file each."""

    KIND: ClassVar[str]
    """What it is called."""
    MADE_BY: ClassVar[str]
    """The command that makes one."""
    INDENT: ClassVar[int | None] = 2

    version: int = VERSION

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote. Raises DataError for a file that is none, and for one of a later version."""
        try:
            text = Path(path).read_text(encoding="utf-8")
            # Looked at first: a later version may have other fields, and is no damaged file.
            later = _version(text)
            if later > VERSION:
                raise DataError(
                    f"the {cls.KIND} {path} is of version {later}, and this atlas reads version {VERSION}: "
                    f"upgrade atlas, or make one with {cls.MADE_BY}"
                )
            return cls.model_validate_json(text)
        except OSError as error:
            raise DataError(f"the {cls.KIND} {path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise DataError(f"{path} holds no {cls.KIND}: make one with {cls.MADE_BY}") from error

    def save(self, path: str | Path) -> None:
        """Write it as JSON. Raises DataError where that cannot be done."""
        try:
            write_whole(Path(path), self.model_dump_json(indent=self.INDENT) + "\n")
        except OSError as error:
            raise DataError(f"the {self.KIND} cannot be written to {path}: {error.strerror}") from error


def _version(text: str) -> int:
    found: Any = read_json(text)
    version = found.get("version", VERSION) if isinstance(found, dict) else VERSION
    return version if isinstance(version, int) else VERSION
