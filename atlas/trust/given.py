"""The trust that belongs to a model's name: what 'atlas promote' calibrated when it gave the name."""

from __future__ import annotations

from pydantic import ValidationError

from atlas.errors import DataError
from atlas.named import meaning, names_file
from atlas.trust.record import UNANIMITY, Trust


def trust_for(name: str) -> Trust:
    """How far a cascade trusts the model that ``name`` stands for; unanimity where nothing was calibrated."""
    given = meaning(name)
    if given is None or given.trust is None:
        return UNANIMITY
    try:
        return Trust.model_validate(given.trust)
    except ValidationError as error:
        raise DataError(f"{names_file()} holds a trust of {name!r} that cannot be read: promote it again") from error
