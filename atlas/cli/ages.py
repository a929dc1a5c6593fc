"""Ages and moments, as they are typed."""

from __future__ import annotations

import re
import time
from datetime import datetime

from atlas.errors import ConfigError

_UNITS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def seconds(age: str) -> float:
    """Raises ConfigError for what is no age."""
    if (found := _age(age)) is None:
        raise ConfigError(f"{age!r} is no age: write hours, days or weeks, such as 36h, 90d or 12w")
    return found


def moment(when: str) -> float:
    """The Unix time that an age ago was, or that a date or a moment is, here where it names no zone. Raises ConfigError
    for what is none."""
    if (age := _age(when)) is not None:
        return max(0.0, time.time() - age)
    try:
        return datetime.fromisoformat(when).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"{when!r} is no age and no date: write 36h, 90d or 12w, or 2026-11-30 or 2026-11-30T07:45"
        ) from None


def _age(text: str) -> float | None:
    found = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    return int(found[1]) * _UNITS[found[2]] if found else None
