"""JSON of files, models and clients."""

from __future__ import annotations

import json
from typing import Any


class TooDeep(ValueError):
    """It is nested more deeply than Python reads."""


def read_json(text: str | bytes) -> Any:
    """What ``text`` says.

    Raises:
        ValueError: it is no JSON.
        TooDeep: it is nested more deeply than Python reads: brackets alone, from a thousand on, would end whoever looks
            out for a ValueError.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise TooDeep("it is nested too deeply") from error
