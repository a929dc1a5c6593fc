"""Seeds as the command line takes them."""

from __future__ import annotations

from atlas.errors import ConfigError


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas, each once."""
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise ConfigError(f"--seeds takes whole numbers separated by commas, not {text!r}") from None
