"""JSON that went through other formats on its way here."""

from __future__ import annotations

import json
import re
from typing import Any

_INNER = re.compile(r'(?<![{\[,:])"(?![:,}\]])')
"""A quotation mark that neither begins nor ends a string of JSON."""


def loose_json(text: str) -> Any:
    """What JSON holds, also where it lost its escapes on its way through a CSV file; None where it is none."""
    for form in (text, _INNER.sub("'", text.replace("\\", "\\\\")).replace("''", "")):
        try:
            return json.loads(form)
        except (ValueError, RecursionError):
            continue
    return None
